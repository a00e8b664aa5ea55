"""The one table of keys: bindings, footer, help and command palette are all made from it.

A screen's rows stand in the order in which its footer shows them; rows with ``show=False`` are in the help only.
"""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tui.keyrow import Key as Key
from tui.keys_models import LAUNCH_MODELS, MODELS
from tui.keys_sheet import LAUNCH_SHEET, SHEET
from tui.preview.keys import PREVIEW, PREVIEW_ASK

APP = (
    Key("app.help", "question_mark,f1", "app.help", "help", "Show the keys of this screen", display="?"),
    Key("app.palette", "ctrl+p", "app.command_palette", "commands", "Find an action or a run by name", show=False,
        display="^p", priority=True, palette=False),
    Key("app.redraw", "ctrl+l", "app.redraw", "redraw", "Draw the screen anew, after foreign output",
        show=False, display="^l"),
    Key("app.quit", "ctrl+c", "app.quit", "quit", "Leave tunedeck; runs go on", show=False, display="^c"),
    Key("app.suspend", "ctrl+z", "app.suspend_process", "suspend", "Go to the shell; fg comes back", show=False,
        display="^z", palette=False),
)  # fmt: skip

RUNS = (
    Key("runs.open", "enter", "open", "open", "Open the run: live, or all that is recorded of it",
        display="⏎"),
    Key("runs.compare", "v", "compare", "compare", "Compare the marked runs, two to eight", group="Marked runs"),
    Key("runs.export-marked", "X", "export_marked", "export", "Write a table of the marked runs to a file", group="Marked runs"),
    Key("runs.remove-marked", "D", "remove_marked", "delete", "Delete the marked runs; shows first what goes", group="Marked runs"),
    Key("runs.unmark", "M", "unmark", "no marks", "Take all marks away", group="Marked runs"),
    Key("runs.stop", "s", "stop", "stop", "Ask the selected run to finish its step, save and end"),
    Key("runs.cancel", "s", "cancel", "cancel", "Take the selected run out of the queue"),
    Key("runs.resume", "r", "resume", "resume", "Go on with the selected run from one of its checkpoints"),
    Key("runs.earlier", "left_square_bracket,ctrl+up", "move_queued(-1)", "earlier",
        "Move a queued run forward in the queue (also ^↑)", display="["),
    Key("runs.later", "right_square_bracket,ctrl+down", "move_queued(1)", "later",
        "Move a queued run back in the queue (also ^↓)", display="]"),
    Key("runs.new", "n", "new", "new run", "Set up a new run"),
    Key("runs.filter", "slash", "filter", "filter", "Show only some: words, model:qwen, loss<1.2, or, -x",
        display="/", group="The list"),
    Key("runs.mark", "space", "mark", "mark", "Mark the run or the group, and go to the next", display="␣",
        group="Marked runs"),
    Key("runs.order", "o", "order", "order", "Order by any column; the same again turns it round", group="The list"),
    Key("runs.group", "b", "group", "group", "Group by model, folder, tool or state, or not", group="The list"),
    Key("runs.columns", "C", "columns", "columns", "Choose the columns and their order", group="The list"),
    Key("runs.demo", "d", "demo", "sample run", "Set up the sample run: a tiny model, no GPU, no network"),
    Key("runs.clone", "c", "clone", "clone", "Set up a new run with the settings of the selected one"),
    Key("runs.remove", "D", "remove", "delete", "Delete the selected run; shows first what would go", show=False),
    Key("runs.root", "a", "add_root", "add folder", "Search one more folder for runs; it is remembered"),
    Key("runs.watch", "w", "watch", "live screen", "The live screen of the run, also if it has ended", show=False),
    Key("runs.note", "t", "note", "note, tags", "Name, note and tags of the run", show=False),
    Key("runs.export", "X", "export", "export", "Write the selected run's row to a file", show=False),
    Key("runs.prune", "p", "prune", "prune", "Free space: delete all checkpoints but the best and the last", show=False),
    Key("runs.mark-all", "m", "mark_all", "mark all", "Mark all runs that are shown, or none of them", show=False,
        group="Marked runs"),
    Key("runs.saved", "at,f2", "saved_filters", "saved filters", "Choose one of the saved filters (also F2)", show=False,
        display="@", group="The list"),
    Key("runs.reverse", "O", "reverse", "turn round", "The same order the other way round", show=False, group="The list"),
    Key("runs.fold", "left,h", "fold(True)", "fold", "Fold the group", show=False, display="←", palette=False, group="The list"),
    Key("runs.unfold", "right,l", "fold(False)", "unfold", "Open the group", show=False, display="→", palette=False,
        group="The list"),
    Key("runs.fold-all", "z", "fold_all", "fold all", "Fold all groups, or open them", show=False, group="The list"),
    Key("runs.rescan", "R", "rescan", "search again", "Search all folders again now", show=False),
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
    Key("launch.preview", "f10,ctrl+g", "preview", "preview", "The rows as the model would read them, token by token (also ^g)",
        display="F10"),
    LAUNCH_SHEET,
    LAUNCH_MODELS,
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
    Key("watch.back", "escape", "back", "runs", "Back: from a search, cursor, zoom or full screen, then to the runs",
        display="esc"),
    Key("watch.stop", "s", "stop", "stop", "Ask the run to finish its step, save and end"),
    Key("watch.cancel", "s", "cancel", "cancel", "Take the run out of the queue"),
    Key("watch.checkpoint", "k", "checkpoint", "checkpoint", "Ask for a checkpoint after this step"),
    Key("watch.resume", "r", "resume", "resume", "Go on with this run from one of its checkpoints"),
    Key("watch.evaluate", "e", "evaluate", "evaluate", "Ask for an evaluation after this step"),
    Key("watch.loss", "1", "chart(1)", "chart", "Choose the loss chart (2 learning rate, 3 speed, 4 memory)",
        display="1-4", group="Charts"),
    Key("watch.full", "f", "full", "full", "The chosen chart over the whole screen, and back", group="Charts"),
    Key("watch.zoom-in", "plus,equals_sign", "zoom(1)", "zoom", "Zoom in, around the cursor or the newest point",
        display="+-", group="Charts"),
    Key("watch.cursor-left", "left", "cursor(-1)", "read values", "A cursor that reads values; left and right move it",
        display="←→", palette=False, group="Charts"),
    Key("watch.other-next", "right_square_bracket", "other_run(1)", "next run", "Watch the next live run",
        display="[]"),
    Key("watch.samples", "v", "samples", "answers", "What the model says: its answers to sample_prompts, by step"),
    Key("watch.hardware", "h", "hardware", "hardware", "Graphics cards, processor, memory and disk"),
    Key("watch.more", "g", "more_charts", "more charts", "Further metrics: gradient norm, all that is logged",
        group="Charts"),
    Key("watch.axis", "x", "x_axis", "x axis", "Steps, epochs, tokens or time along the x axis", group="Charts"),
    Key("watch.search", "slash", "search_log", "search log", "Search the log", display="/", group="Log"),
    Key("watch.stop-now", "S", "stop_now", "stop now", "End the run at once, without saving", display="S"),
    Key("watch.clone", "c", "clone", "clone", "Set up a new run with these settings"),
    Key("watch.log-scale", "l", "log_scale", "log axis", "Logarithmic or linear axis of the chosen chart", group="Charts"),
    Key("watch.note", "t", "note", "note, tags", "Name, note and tags of this run"),
    Key("watch.copy", "y", "copy_path", "copy path", "Copy the run's path to the clipboard"),
    Key("watch.copy-command", "Y", "copy_command", "copy command", "Copy the command that watches or resumes this run",
        show=False, display="Y"),
    Key("watch.shell", "o", "shell", "shell here", "A shell in the output directory; exit comes back", show=False),
    Key("watch.zoom-out", "minus", "zoom(-1)", "zoom out", "Zoom out", show=False, display="-", group="Charts"),
    Key("watch.whole", "0", "whole", "whole run", "The whole run along the x axis again", show=False, group="Charts"),
    Key("watch.pan-left", "less_than_sign,shift+left", "pan(-1)", "earlier steps", "Move a zoomed chart to earlier steps",
        show=False, display="<", group="Charts"),
    Key("watch.pan-right", "greater_than_sign,shift+right", "pan(1)", "later steps", "Move a zoomed chart to later steps",
        show=False, display=">", group="Charts"),
    Key("watch.cursor-right", "right", "cursor(1)", "cursor right", "Move the cursor to later steps", show=False,
        display="→", palette=False, group="Charts"),
    Key("watch.smoother", "full_stop", "smoothing(1)", "smoother", "Smooth the curves more", show=False, display=".", group="Charts"),
    Key("watch.rougher", "comma", "smoothing(-1)", "rougher", "Smooth the curves less", show=False, display=",", group="Charts"),
    Key("watch.next", "tab", "next_chart", "next chart", "Choose the next chart", show=False, group="Charts"),
    Key("watch.previous", "shift+tab", "next_chart(-1)", "previous chart", "Choose the previous chart", show=False,
        display="shift+tab", palette=False, group="Charts"),
    Key("watch.rate", "2", "chart(2)", "learning rate", "Choose the learning rate chart", show=False, group="Charts"),
    Key("watch.speed", "3", "chart(3)", "speed", "Choose the speed chart", show=False, group="Charts"),
    Key("watch.memory", "4", "chart(4)", "memory", "Choose the memory chart", show=False, group="Charts"),
    Key("watch.other-previous", "left_square_bracket", "other_run(-1)", "previous run", "Watch the previous live run",
        show=False, display="["),
    Key("watch.log-full", "L", "log_full", "log", "The log over the whole screen, and back", show=False, display="L", group="Log"),
    Key("watch.log-warnings", "w", "warnings", "only warnings", "Only warnings and errors, or all",
        show=False, group="Log"),
    Key("watch.log-match", "n", "match(1)", "next match", "The next match, towards the beginning", show=False,
        palette=False, group="Log"),
    Key("watch.log-match-back", "N", "match(-1)", "previous match", "The match before, towards the end", show=False,
        display="N", palette=False, group="Log"),
    Key("watch.log-back", "pageup", "scroll_log(1)", "log back", "Scroll back in the log", show=False, palette=False, group="Log"),
    Key("watch.log-on", "pagedown", "scroll_log(-1)", "log on", "Scroll on in the log", show=False, palette=False, group="Log"),
    Key("watch.log-end", "end", "follow_log", "log end", "Follow the end of the log again", show=False, group="Log"),
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
    Key("filter.take", "tab", "take", "complete", "Take the first completion (→ too)", palette=False),
    Key("filter.saved", "f2,ctrl+o", "saved", "saved", "Choose one of the saved filters (also ^o)", display="F2", palette=False),
    Key("filter.save", "f4,ctrl+t", "save", "save", "Save this filter under a name (also ^t)", display="F4", palette=False),
    Key("filter.clear", "escape", "clear", "all runs", "Show all runs again", display="esc", palette=False),
)  # fmt: skip

# Dialogs of the list.
COLUMNS = (
    Key("columns.flip", "space", "flip", "show, hide", "Show the column, or hide it", display="␣", palette=False),
    Key("columns.left", "less_than_sign,shift+up,K", "shift(-1)", "move", "Move the column to the left", display="< >",
        palette=False),
    Key("columns.right", "greater_than_sign,shift+down,J", "shift(1)", "right", "Move the column to the right", display=">",
        show=False, palette=False),
    Key("columns.usual", "u", "usual", "the usual", "The columns that there are without a choice", palette=False),
    Key("columns.done", "enter", "done", "done", "Show the list so", display="⏎", palette=False),
    Key("columns.cancel", "escape", "cancel", "back", "Go back, without a change", display="esc", palette=False),
)  # fmt: skip
SAVED = (
    Key("saved.use", "enter", "use", "filter by it", "Filter by it", display="⏎", palette=False),
    Key("saved.forget", "delete,D", "forget", "forget it", "Remove it from the saved filters", display="del", palette=False),
    Key("saved.cancel", "escape", "cancel", "back", "Go back", display="esc", palette=False),
)  # fmt: skip

SEARCH = (
    Key("search.keep", "enter", "submit", "keep the search", "Back to the log; n and N step through the matches",
        display="⏎", palette=False),
    Key("search.end", "escape", "clear", "end the search", "No search any more", display="esc", palette=False),
)  # fmt: skip

ASK = (Key("ask.cancel", "escape", "cancel", "back", "Go back", display="esc", palette=False),)

CLOSE = (Key("close.close", "escape,q,question_mark", "close", "close", "Close", display="esc", palette=False),)

SAMPLES = (
    Key("samples.back", "escape,v,q", "back", "back", "Back to the run", display="esc", palette=False),
    Key("samples.compare", "c,enter", "compare", "all steps", "The chosen prompt's answers at all steps below each other, and back"),
    Key("samples.older", "down", "step(1)", "older step", "The step below: older answers", display="↓", palette=False),
    Key("samples.newer", "up", "step(-1)", "newer step", "The step above: newer answers", display="↑", palette=False),
    Key("samples.next", "tab,right", "prompt(1)", "next prompt", "The next prompt (also →)", priority=True, palette=False),
    Key("samples.previous", "shift+tab,left", "prompt(-1)", "previous prompt", "The previous prompt (also ←)", show=False,
        display="shift+tab", priority=True, palette=False),
    Key("samples.down", "pagedown,space", "page(1)", "scroll on", "Scroll the answer on", show=False, palette=False),
    Key("samples.up", "pageup", "page(-1)", "scroll back", "Scroll the answer back", show=False, palette=False),
    Key("samples.newest", "home,g", "newest", "newest", "The newest step", show=False, display="home"),
    Key("samples.oldest", "end,G", "oldest", "oldest", "The oldest step", show=False, display="end"),
)  # fmt: skip

# Before the text sees them: a note has lines of its own.
NOTE = (
    Key("note.save", "f5,ctrl+r", "save", "save", "Write name, tags and note, and go back (also ^r)", display="F5",
        priority=True, palette=False),
    Key("note.next", "tab", "app.focus_next", "next field", "The next field", priority=True, palette=False),
    Key("note.previous", "shift+tab", "app.focus_previous", "previous field", "The field before", show=False,
        priority=True, palette=False),
    Key("note.cancel", "escape", "cancel", "back", "Go back without saving", display="esc", priority=True, palette=False),
)  # fmt: skip

# A key may do one thing on one page and another on the next: the screen says which of them counts.
DETAIL = (
    Key("detail.back", "escape,q", "back", "back", "Back: from a search, cursor or zoom, then from this run",
        display="esc"),
    Key("detail.page", "1", "page(1)", "page", "Go to a page by its number", display="1-9", palette=False),
    Key("detail.next", "right", "side(1)", "next page", "The next page; the one before with ←", display="→", show=False,
        palette=False),
    Key("detail.previous", "left", "side(-1)", "previous page", "The page before", display="←", show=False, palette=False),
    Key("detail.on", "right_square_bracket", "turn(1)", "next page", "The next page, on the curves too", display="]", show=False),
    Key("detail.before", "left_square_bracket", "turn(-1)", "previous page", "The page before, on the curves too",
        display="[", show=False),
    Key("detail.cursor-left", "left", "cursor(-1)", "read values", "A cursor that reads values; ← and → move it",
        display="←→", palette=False, group="Curves"),
    Key("detail.cursor-right", "right", "cursor(1)", "cursor right", "Move the cursor to later steps", display="→",
        show=False, palette=False, group="Curves"),
    Key("detail.zoom-in", "plus,equals_sign", "zoom(1)", "zoom", "Zoom in, around the cursor or the newest point",
        display="+-", group="Curves"),
    Key("detail.full", "f", "full", "full", "The chosen chart over the whole page, and back", group="Curves"),
    Key("detail.axis", "x", "x_axis", "x axis", "Steps, epochs, tokens or time along the x axis", group="Curves"),
    Key("detail.log-scale", "l", "log_scale", "log axis", "Logarithmic or linear axis of the chosen chart", group="Curves"),
    Key("detail.smoother", "full_stop", "smoothing(1)", "smooth", "Smooth the curves more (less with ,)", display=".,",
        group="Curves"),
    Key("detail.more", "g", "more_charts", "more charts", "Further metrics: all that was logged", group="Curves"),
    Key("detail.chart", "tab", "next_chart", "next chart", "Choose the next chart (shift+tab: the one before)", group="Curves"),
    Key("detail.search", "slash", "search", "search", "Search this page: settings, files, log", display="/"),
    Key("detail.rerun-here", "enter", "rerun_here", "rerun with another value", "A new run in which only this setting differs",
        display="⏎", palette=False),
    Key("detail.answers", "enter,v", "answers", "compare answers", "The model's answers by step, compared", display="⏎",
        palette=False),
    Key("detail.watch", "w", "watch", "watch", "Open the live screen of this run"),
    Key("detail.clone", "c", "clone", "clone", "Set up a new run with these settings"),
    Key("detail.resume", "r", "resume", "resume", "Go on with this run from one of its checkpoints"),
    Key("detail.rerun", "R", "rerun", "change one", "Choose one setting, and run again with only that changed"),
    Key("detail.note", "t", "note", "note, tags", "Name, note and tags of this run"),
    Key("detail.export", "X,x", "export", "export", "Write all numbers to a CSV or JSONL file (x, too)"),
    Key("detail.prune", "p", "prune", "prune", "Free space: only the best and last checkpoint stay"),
    Key("detail.remove", "D", "remove", "delete", "Delete this run; shows first what would go"),
    Key("detail.copy", "y", "copy_path", "copy path", "Copy the run's path to the clipboard", show=False),
    Key("detail.reread", "ctrl+r,f5", "reread", "read again", "Read the directory again now", display="F5", show=False),
    *(Key(f"detail.page-{number}", str(number), f"page({number})", "page", about, show=False, palette=False)
      for number, about in enumerate(("The settings: changed from our defaults first", "The curves", "The evaluations",
                                      "The model's answers", "The checkpoints", "The files with their sizes", "The log",
                                      "Name, tags and note"), 2)),
    Key("detail.up", "up,k", "move(-1)", "up", "Up a line", display="↑", show=False, palette=False),
    Key("detail.down", "down,j", "move(1)", "down", "Down a line", display="↓", show=False, palette=False),
    Key("detail.page-up", "pageup,ctrl+u", "scroll(-1)", "page up", "Up a screenful", display="PgUp", show=False, palette=False),
    Key("detail.page-down", "pagedown,space,ctrl+d", "scroll(1)", "page down", "Down a screenful", display="PgDn", show=False,
        palette=False),
    Key("detail.first", "home", "jump(0)", "first line", "To the beginning", show=False, palette=False),
    Key("detail.last", "end,G", "jump(-1)", "last line", "To the end", show=False, palette=False),
    Key("detail.zoom-out", "minus", "zoom(-1)", "zoom out", "Zoom out", display="-", show=False, group="Curves"),
    Key("detail.whole", "0", "whole", "whole run", "The whole run along the x axis again", show=False, group="Curves"),
    Key("detail.pan-left", "less_than_sign,shift+left", "pan(-1)", "earlier steps", "Move a zoomed chart to earlier steps",
        display="<", show=False, group="Curves"),
    Key("detail.pan-right", "greater_than_sign,shift+right", "pan(1)", "later steps", "Move a zoomed chart to later steps",
        display=">", show=False, group="Curves"),
    Key("detail.rougher", "comma", "smoothing(-1)", "rougher", "Smooth the curves less", display=",", show=False, group="Curves"),
    Key("detail.previous-chart", "shift+tab", "next_chart(-1)", "previous chart", "Choose the previous chart",
        display="shift+tab", show=False, palette=False, group="Curves"),
    Key("detail.match", "n", "match(1)", "next match", "The next match, towards the beginning", show=False, palette=False,
        group="Log"),
    Key("detail.match-back", "N", "match(-1)", "previous match", "The match before, towards the end", show=False,
        palette=False, display="N", group="Log"),
    Key("detail.errors", "e", "errors", "only warnings", "Only warnings and errors, or all lines", group="Log"),
)  # fmt: skip

# Letters show and hide runs, so that other keys of this screen are none of A to H.
COMPARE = (
    Key("compare.back", "escape,q", "back", "back", "Back: from cursor or zoom, then to the runs", display="esc"),
    Key("compare.next", "tab", "turn(1)", "next page", "Curves, differences, ranking: the next of them", display="tab"),
    Key("compare.metric", "m", "metric(1)", "metric", "The next metric (M: the one before)", group="Curves"),
    Key("compare.axis", "x", "x_axis", "x axis", "Steps, epochs, tokens or time along the x axis", group="Curves"),
    Key("compare.smoother", "full_stop", "smoothing(1)", "smooth", "Smooth all curves more (less with ,)", display=".,",
        group="Curves"),
    Key("compare.log-scale", "l", "log_scale", "log axis", "Logarithmic or linear axis", group="Curves"),
    Key("compare.zoom-in", "plus,equals_sign", "zoom(1)", "zoom", "Zoom in, around the cursor or the end", display="+-",
        group="Curves"),
    Key("compare.cursor-left", "left", "cursor(-1)", "read values", "A cursor that reads values; left and right move it",
        display="←→", palette=False, group="Curves"),
    Key("compare.letter", "a,A", "show_run(0)", "hide, show", "Hide or show a run by its letter",
        display="a-h", palette=False),
    Key("compare.order", "o", "order", "rank by", "Rank by the best, the last or the smoothed value", group="Ranking"),
    Key("compare.all", "s", "all_settings", "same ones too", "Settings that do not differ, too, or not", group="Differences"),
    Key("compare.open", "enter", "open", "open", "Open the run under the cursor", display="⏎", palette=False),
    Key("compare.everyone", "0", "whole", "whole runs", "The whole runs along the x axis again", show=False, group="Curves"),
    Key("compare.reread", "ctrl+r,f5", "reread", "read again", "Read all directories again now", display="F5", show=False),
    Key("compare.show", "v", "show_all", "show all", "Show all runs again", show=False),
    *(Key(f"compare.page-{number}", str(number), f"page({number})", name, f"Go to the {name}", show=False, palette=False)
      for number, name in enumerate(("curves", "differences", "ranking"), 1)),
    Key("compare.previous", "shift+tab", "turn(-1)", "page before", "The page before", display="shift+tab", show=False,
        palette=False),
    Key("compare.metric-back", "M", "metric(-1)", "metric before", "The metric before", display="M", show=False, group="Curves"),
    Key("compare.rougher", "comma", "smoothing(-1)", "rougher", "Smooth all curves less", display=",", show=False,
        group="Curves"),
    Key("compare.zoom-out", "minus", "zoom(-1)", "zoom out", "Zoom out", display="-", show=False, group="Curves"),
    Key("compare.cursor-right", "right", "cursor(1)", "cursor right", "Move the cursor on", display="→", show=False,
        palette=False, group="Curves"),
    Key("compare.pan-left", "less_than_sign,shift+left", "pan(-1)", "earlier", "Move a zoomed chart back", display="<",
        show=False, group="Curves"),
    Key("compare.pan-right", "greater_than_sign,shift+right", "pan(1)", "later", "Move a zoomed chart on", display=">",
        show=False, group="Curves"),
    Key("compare.up", "up,k", "move(-1)", "up", "Up a line", display="↑", show=False, palette=False),
    Key("compare.down", "down,j", "move(1)", "down", "Down a line", display="↓", show=False, palette=False),
    Key("compare.page-up", "pageup", "scroll(-1)", "page up", "Up a screenful", display="PgUp", show=False, palette=False),
    Key("compare.page-down", "pagedown,space", "scroll(1)", "page down", "Down a screenful", display="PgDn", show=False,
        palette=False),
    Key("compare.first", "home", "jump(0)", "first line", "To the beginning", show=False, palette=False),
    Key("compare.last", "end", "jump(-1)", "last line", "To the end", show=False, palette=False),
)  # fmt: skip

REMOVAL = (
    Key("removal.go", "enter", "go", "delete", "Do it, once the name is typed", display="⏎", priority=True, palette=False),
    Key("removal.up", "up", "move(-1)", "up", "Up a line", display="↑", show=False, priority=True, palette=False),
    Key("removal.down", "down", "move(1)", "down", "Down a line", display="↓", show=False, priority=True, palette=False),
    Key("removal.page-up", "pageup", "scroll(-1)", "page up", "Up a screenful", show=False, priority=True, palette=False),
    Key("removal.page-down", "pagedown", "scroll(1)", "page down", "Down a screenful", show=False, priority=True, palette=False),
    Key("removal.back", "escape", "back", "back", "Go back; while it works: stop after the present file", display="esc",
        priority=True, palette=False),
)  # fmt: skip

EXPORT = (
    Key("export.kind", "f6,ctrl+t", "switch", "CSV or JSONL", "A table for spreadsheets, or one JSON object a line",
        display="F6", priority=True, palette=False),
    Key("export.cancel", "escape", "cancel", "back", "Go back", display="esc", palette=False),
)  # fmt: skip

TABLES: dict[str, tuple[Key, ...]] = {
    "app": APP, "runs": RUNS, "launch": LAUNCH, "watch": WATCH, "confirm": CONFIRM, "filter": FILTER, "search": SEARCH, "ask": ASK,
    "close": CLOSE, "command": COMMAND, "save": SAVE, "warnings": WARNINGS,
    "resume": RESUME, "samples": SAMPLES, "note": NOTE, "columns": COLUMNS, "saved": SAVED,
    "detail": DETAIL, "compare": COMPARE, "removal": REMOVAL, "export": EXPORT, "preview": PREVIEW, "preview-ask": PREVIEW_ASK,
    "sheet": SHEET, "models": MODELS,
}  # fmt: skip
TITLES = {"app": "Everywhere", "runs": "Runs", "launch": "New run", "watch": "Watch", "samples": "Answers",
          "detail": "Run", "compare": "Compare", "preview": "Preview", "sheet": "Costs", "models": "Models"}  # fmt: skip


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
