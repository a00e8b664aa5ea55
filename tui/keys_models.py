"""The keys of the model picker: rows of the table in :mod:`tui.keys`. A text is typed there, so none of them is a letter."""

from __future__ import annotations

from tui.keyrow import Key

# In the form; works while a value is edited, too.
LAUNCH_MODELS = Key("launch.models", "f12,ctrl+n", "models", "models", "Pick a model: on this machine, or from the hub (also ^n)",
                    display="F12")  # fmt: skip

MODELS = (
    Key("models.take", "enter", "take", "take it", "Take the model into the form; of a hub id that is typed: ask the hub first",
        display="⏎", palette=False),
    Key("models.complete", "tab", "complete", "complete", "Complete the path, or the id of a model that is here",
        show=False, palette=False),
    Key("models.order", "f6,ctrl+t", "order", "order", "Order by last use, name, parameters, size: the next of them (also ^t)",
        display="F6"),
    Key("models.turn", "f7,ctrl+o", "turn", "turn round", "The same order the other way round (also ^o)", display="F7"),
    Key("models.rescan", "f5,ctrl+r", "rescan", "search again", "Search the hub cache and the folders again (also ^r)", display="F5"),
    Key("models.back", "escape", "back", "back", "Back: from a question to the hub, then from what is typed, then to the form",
        display="esc", palette=False),
    Key("models.down", "down", "move(1)", "down", "Down a line", display="↓", show=False, palette=False),
    Key("models.up", "up", "move(-1)", "up", "Up a line", display="↑", show=False, palette=False),
    Key("models.page-down", "pagedown", "page(1)", "page down", "Down a screenful", display="PgDn", show=False, palette=False),
    Key("models.page-up", "pageup", "page(-1)", "page up", "Up a screenful", display="PgUp", show=False, palette=False),
    Key("models.first", "ctrl+home", "jump(0)", "first line", "To the first model", display="^home", show=False, palette=False),
    Key("models.last", "ctrl+end", "jump(-1)", "last line", "To the last model", display="^end", show=False, palette=False),
)  # fmt: skip
