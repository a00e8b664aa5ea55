"""The keys of the cost sheet: rows of the table in :mod:`tui.keys`."""

from __future__ import annotations

from tui.keyrow import Key

# In the form; works while a value is edited, too.
LAUNCH_SHEET = Key("launch.sheet", "f11,ctrl+x", "sheet", "costs", "Memory, data, disk and time of this run; the dry run (also ^x)",
                   display="F11")  # fmt: skip

SHEET = (
    Key("sheet.start", "f5,ctrl+r", "start", "start run", "Check everything, then start the run (also ^r)", display="F5"),
    Key("sheet.fix-1", "1", "fix(1)", "first remedy", "Put the first change that makes it fit into the form", palette=False),
    Key("sheet.fix-2", "2", "fix(2)", "second", "The second one", palette=False),
    Key("sheet.fix-3", "3", "fix(3)", "third", "The third one", palette=False),
    Key("sheet.try", "d", "try_out", "dry run", "Two real steps on the longest rows: the true peak and speed"),
    Key("sheet.undo", "f9,u", "undo", "undo", "Take the last change back (also u)", display="F9"),
    Key("sheet.preview", "f10,ctrl+g", "preview", "preview", "The rows as the model would read them (also ^g)", display="F10"),
    Key("sheet.back", "escape,q,f11,ctrl+x", "back", "back", "Back to the form; ends a dry run first", display="esc",
        palette=False),
    Key("sheet.reread", "r", "reread", "work it out anew", "Look at model, GPU and disk again now", show=False),
    Key("sheet.down", "down,j", "scroll(1)", "down", "Down a line", display="↓", show=False, palette=False),
    Key("sheet.up", "up,k", "scroll(-1)", "up", "Up a line", display="↑", show=False, palette=False),
    Key("sheet.page-down", "pagedown,space", "scroll(1, 'page')", "page down", "Down a screenful", display="PgDn", show=False,
        palette=False),
    Key("sheet.page-up", "pageup", "scroll(-1, 'page')", "page up", "Up a screenful", display="PgUp", show=False, palette=False),
    Key("sheet.first", "home", "scroll(0, 'to')", "first line", "To the beginning", show=False, palette=False),
    Key("sheet.last", "end,G", "scroll(-1, 'to')", "last line", "To the end", show=False, palette=False),
)  # fmt: skip
