"""The one table of keys: bindings, footer, help and command palette are all made from it.

A screen's rows stand in the order in which its footer shows them; rows with ``show=False`` are in the help only.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One action and its key: ``key`` as Textual names it (commas between several), ``label`` for the footer."""

    id: str
    key: str
    action: str
    label: str
    help: str
    show: bool = True
    display: str = ""
    priority: bool = False
    palette: bool = True


APP = (
    Key("app.help", "question_mark,f1", "app.help", "help", "Show the keys of this screen", display="?"),
    Key("app.palette", "ctrl+p", "app.command_palette", "commands", "Find an action or a run by name", show=False,
        display="^p", priority=True, palette=False),
    Key("app.redraw", "ctrl+l", "app.redraw", "redraw", "Draw the screen anew, if something else wrote over it",
        show=False, display="^l"),
    Key("app.quit", "ctrl+c", "app.quit", "quit", "Leave tunedeck; runs go on", show=False, display="^c"),
    Key("app.suspend", "ctrl+z", "app.suspend_process", "suspend", "Go to the shell; fg comes back", show=False,
        display="^z", palette=False),
)  # fmt: skip

RUNS = (
    Key("runs.watch", "enter", "watch", "watch", "Open the selected run: live, or what is recorded of it",
        display="⏎"),
    Key("runs.new", "n", "new", "new run", "Set up a new run"),
    Key("runs.demo", "d", "demo", "sample run", "Set up the sample run: a tiny model, no GPU, no network"),
    Key("runs.clone", "c", "clone", "clone", "Set up a new run with the settings of the selected one"),
    Key("runs.stop", "s", "stop", "stop", "Ask the selected run to finish its step, save and end"),
    Key("runs.cancel", "s", "cancel", "cancel", "Take the selected run out of the queue"),
    Key("runs.resume", "r", "resume", "resume", "Go on with the selected run from one of its checkpoints"),
    Key("runs.earlier", "left_square_bracket,ctrl+up", "move_queued(-1)", "earlier",
        "Move a queued run forward in the queue (also ^↑)", display="["),
    Key("runs.later", "right_square_bracket,ctrl+down", "move_queued(1)", "later",
        "Move a queued run back in the queue (also ^↓)", display="]"),
    Key("runs.filter", "slash", "filter", "filter", "Show only runs with these words in name, model, state or id",
        display="/"),
    Key("runs.order", "o", "order", "order", "Order by start, name, state or loss"),
    Key("runs.root", "a", "add_root", "add folder", "Search one more folder for runs; it is remembered"),
    Key("runs.rescan", "R", "rescan", "rescan", "Search all folders again now", show=False),
    Key("runs.copy", "y", "copy_path", "copy path", "Copy the run's path to the clipboard", show=False),
    Key("runs.quit", "q", "app.quit", "quit", "Leave tunedeck; runs go on"),
)  # fmt: skip

# The rows of the Launch and Watch screens belong to their developers.
LAUNCH: tuple[Key, ...] = (
    Key("launch.start", "f5,ctrl+r", "start", "start run", "Check everything, then start the run (also ^r)",
        display="F5"),
    # While a value is edited.
    Key("launch.done", "enter", "done", "done", "End the edit", display="⏎", palette=False),
    Key("launch.climb", "up,down", "climb", "next value", "The next sensible value up or down", display="↑↓",
        palette=False),
    Key("launch.next", "tab", "next", "next field",
        "Edit the next setting; a path is completed first (shift+tab: the one before)", palette=False),
    Key("launch.take-back", "escape", "take_back", "cancel", "Take the edit back", display="esc", palette=False),
    # While none is.
    Key("launch.edit", "enter", "edit", "edit", "Edit the setting; typing edits it, too", display="⏎"),
    Key("launch.step", "left,right", "step", "change", "The next sensible value or word", display="←→", palette=False),
    Key("launch.view", "f6,ctrl+t", "view", "more settings", "Basic settings, all settings, only what you changed",
        display="F6"),
    Key("launch.presets", "f2,ctrl+o", "presets", "presets", "Take over the settings of a preset", display="F2"),
    Key("launch.find", "ctrl+f,slash", "find", "find", "Go to a setting by its name or meaning (/ too, where no path is typed)",
        display="^f"),
    Key("launch.load", "f3", "load", "load", "Take over the settings of a YAML file", display="F3"),
    Key("launch.save", "f4", "save", "save", "Write the settings to a YAML file", display="F4"),
    Key("launch.command", "f7", "command", "command", "The same run from the command line", display="F7"),
    Key("launch.default", "delete,backspace", "default", "default", "The setting's default", show=False, display="del"),
    Key("launch.clear", "f8", "clear", "defaults", "All settings back to their defaults", show=False, display="F8"),
    Key("launch.undo", "f9", "undo", "undo", "Back to before the last preset, file or F8", show=False, display="F9"),
    Key("launch.back", "escape", "back", "back", "Back to the runs; the form keeps what you typed", display="esc"),
)  # fmt: skip

# Dialogs of the form.
COMMAND = (
    Key("command.copy", "y", "copy", "copy", "Copy it to the terminal's clipboard", palette=False),
    Key("command.close", "escape,q,enter,f7", "close", "back", "Go back", display="esc", palette=False),
)
SAVE = (
    Key("save.all", "f6", "switch", "all or changed", "All settings, or only those that were changed", display="F6",
        palette=False),
    Key("save.cancel", "escape", "cancel", "back", "Go back", display="esc", palette=False),
)  # fmt: skip
WARNINGS = (
    Key("warnings.start", "f5,ctrl+r,enter", "start", "start all the same", "Start all the same", display="F5",
        palette=False),
    Key("warnings.cancel", "escape", "cancel", "back", "Go back", display="esc", palette=False),
)  # fmt: skip

WATCH: tuple[Key, ...] = (
    Key("watch.back", "escape", "back", "runs", "Back to the runs; this one goes on", display="esc"),
    Key("watch.stop", "s", "stop", "stop", "Ask the run to finish its step, save and end"),
    Key("watch.cancel", "s", "cancel", "cancel", "Take the run out of the queue"),
    Key("watch.checkpoint", "k", "checkpoint", "checkpoint", "Ask for a checkpoint after this step"),
    Key("watch.resume", "r", "resume", "resume", "Go on with this run from one of its checkpoints"),
    Key("watch.loss", "1", "chart(1)", "chart", "Choose the loss chart (2 learning rate, 3 speed, 4 memory)",
        display="1-4"),
    Key("watch.full", "f", "full", "full", "The chosen chart over the whole screen, and back"),
    Key("watch.clone", "c", "clone", "clone", "Set up a new run with these settings"),
    Key("watch.log-scale", "l", "log_scale", "log axis", "Logarithmic or linear axis of the loss"),
    Key("watch.evaluate", "e", "evaluate", "evaluate", "Ask for an evaluation after this step"),
    Key("watch.stop-now", "S", "stop_now", "stop now", "End the run at once, without saving", display="S"),
    Key("watch.copy", "y", "copy_path", "copy path", "Copy the run's path to the clipboard"),
    Key("watch.next", "tab", "next_chart", "next chart", "Choose the next chart", show=False),
    Key("watch.previous", "shift+tab", "next_chart(-1)", "previous chart", "Choose the previous chart", show=False,
        display="shift+tab", palette=False),
    Key("watch.rate", "2", "chart(2)", "learning rate", "Choose the learning rate chart", show=False),
    Key("watch.speed", "3", "chart(3)", "speed", "Choose the speed chart", show=False),
    Key("watch.memory", "4", "chart(4)", "memory", "Choose the memory chart", show=False),
    Key("watch.log-back", "pageup", "scroll_log(1)", "log back", "Scroll back in the log", show=False, palette=False),
    Key("watch.log-on", "pagedown", "scroll_log(-1)", "log on", "Scroll on in the log", show=False, palette=False),
    Key("watch.log-end", "end", "follow_log", "log end", "Follow the end of the log again", show=False),
)  # fmt: skip

RESUME = (
    Key("resume.start", "enter,f5,ctrl+r", "start", "resume", "Go on with the run", display="⏎", palette=False),
    # Before the field sees them: keys that come in one burst with a tab go to the field after it.
    Key("resume.next", "tab", "app.focus_next", "next field", "The next field", priority=True, palette=False),
    Key("resume.previous", "shift+tab", "app.focus_previous", "previous field", "The field before", show=False,
        priority=True, palette=False),
    Key("resume.newer", "up", "choose(-1)", "newer", "The checkpoint above", display="↑", palette=False),
    Key("resume.older", "down", "choose(1)", "older", "The checkpoint below", display="↓", palette=False),
    Key("resume.new", "f6,ctrl+t", "switch", "as a new run", "Into the same run, or as a new run in a directory of its own",
        display="F6", palette=False),
    Key("resume.cancel", "escape", "cancel", "back", "Go back", display="esc", palette=False),
)  # fmt: skip

CONFIRM = (
    Key("confirm.yes", "y", "yes", "yes", "Yes", show=False, palette=False),
    Key("confirm.no", "n,escape", "no", "no", "No, go back", show=False, display="esc", palette=False),
)

FILTER = (
    Key("filter.keep", "enter", "submit", "keep the filter", "Back to the rows", display="⏎", palette=False),
    Key("filter.clear", "escape", "clear", "all runs", "Show all runs again", display="esc", palette=False),
)

ASK = (Key("ask.cancel", "escape", "cancel", "back", "Go back", display="esc", palette=False),)

CLOSE = (Key("close.close", "escape,q,question_mark", "close", "close", "Close", display="esc", palette=False),)

TABLES: dict[str, tuple[Key, ...]] = {
    "app": APP, "runs": RUNS, "launch": LAUNCH, "watch": WATCH, "confirm": CONFIRM, "filter": FILTER, "ask": ASK,
    "close": CLOSE, "command": COMMAND, "save": SAVE, "warnings": WARNINGS,
    "resume": RESUME,
}  # fmt: skip
TITLES = {"app": "Everywhere", "runs": "Runs", "launch": "New run", "watch": "Watch"}


def bindings(*tables: str) -> list[BindingType]:
    """Textual bindings of the named tables; of several keys for one action the footer knows the first."""
    return [
        Binding(key, row.action, row.label, show=row.show and not other, key_display=row.display or None,
                priority=row.priority, tooltip=row.help, id=row.id)
        for table in tables
        for row in TABLES[table]
        for other, key in enumerate(row.key.split(","))
    ]  # fmt: skip


def display(row: Key) -> str:
    """The key as people read it, e.g. ``esc`` or ``n``."""
    return row.display or row.key.split(",")[0]
