"""The keys of the preview: rows of the table in :mod:`tui.keys`."""

from __future__ import annotations

from tui.keyrow import Key

PREVIEW = (
    Key("preview.back", "escape,q,f10", "back", "back", "Back: from a search, then to the form", display="esc", palette=False),
    Key("preview.next", "right", "row(1)", "next row", "The next row; the one before with ←", display="→", palette=False),
    Key("preview.previous", "left", "row(-1)", "row before", "The row before", display="←", show=False, palette=False),
    Key("preview.lengths", "tab,shift+tab", "page('lengths')", "lengths", "How long all rows are, and the length that suits them",
        display="tab", priority=True),
    Key("preview.rows", "tab,shift+tab", "page('rows')", "rows", "Back to the rows", display="tab", priority=True, palette=False),
    Key("preview.take", "s", "take", "take it over", "Take the suggested length over into the form (on the page of lengths)"),
    Key("preview.view", "t", "view", "view", "As text, with borders between tokens, or as a list with ids"),
    Key("preview.jump", "g,colon", "jump", "go to row", "Go to a row by its number; 2:17 is row 17 of the second file"),
    Key("preview.search", "slash", "search", "search", "Search the text of the rows", display="/"),
    Key("preview.cut", "c", "seek('cut')", "next cut", "The next row that max_seq_length cuts"),
    Key("preview.nothing", "e", "seek('nothing')", "next empty", "The next row in which nothing is trained, or that is refused"),
    Key("preview.to-cut", "x", "to_cut", "where cut", "Scroll to where max_seq_length cuts this row"),
    Key("preview.match", "n", "match(1)", "next match", "The next row with what was searched", palette=False),
    Key("preview.match-back", "N", "match(-1)", "match before", "The row before with what was searched", show=False,
        palette=False),
    Key("preview.reread", "f5,ctrl+r", "reread", "read again", "Read model and data again now", display="F5", show=False),
    Key("preview.down", "down,j", "scroll(1)", "down", "Down a line", display="↓", show=False, palette=False),
    Key("preview.up", "up,k", "scroll(-1)", "up", "Up a line", display="↑", show=False, palette=False),
    Key("preview.page-down", "pagedown,space", "scroll(1, 'page')", "page down", "Down a screenful", display="PgDn", show=False,
        palette=False),
    Key("preview.page-up", "pageup", "scroll(-1, 'page')", "page up", "Up a screenful", display="PgUp", show=False, palette=False),
    Key("preview.first", "home", "scroll(0, 'to')", "first line", "To the beginning of the row", show=False, palette=False),
    Key("preview.last", "end,G", "scroll(-1, 'to')", "last line", "To the end of the row", show=False, palette=False),
)  # fmt: skip
PREVIEW_ASK = (
    Key("preview-ask.go", "enter", "submit", "go", "Go there", display="⏎", palette=False),
    Key("preview-ask.cancel", "escape", "cancel", "back", "Back to the row", display="esc", palette=False),
)
