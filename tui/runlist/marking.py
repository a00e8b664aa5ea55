"""Several runs at once: marks, and what is done to the marked ones, or to the selected run if none is marked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.text import clean
from tui import report
from tui.runlist.base import ListScreen

if TYPE_CHECKING:
    from engine.history import RunSummary

MOST_COMPARED = 8


class Marking(ListScreen):
    """Part of the list's screen: marks and what is done with them."""

    @property
    def chosen(self) -> list[RunSummary]:
        """The marked runs; without any the selected one."""
        run = self.table.selected
        return self.list.marked or ([run] if run is not None else [])

    def action_mark(self) -> None:
        """Mark the run under the cursor, or all of its group, and go on to the next row."""
        group, run = self.table.selected_group, self.table.selected
        if run is not None:
            self.list.toggle([run])
        elif group is not None:
            self.list.toggle(group.runs)
        else:
            return
        self.table.action_move(1)
        self.draw()

    def action_mark_all(self) -> None:
        """Mark all runs that pass the filter, or none of them if all are marked."""
        if self.list.visible:
            self.table.keep_selected()
            self.list.toggle(self.list.visible)
            self.draw()

    def action_unmark(self) -> None:
        """No marks."""
        self.list.clear_marks()
        self.draw()

    def key_v(self) -> None:
        """Say how to compare while nothing is marked; Textual also calls this for a key that is bound then."""
        if not self.list.marked:
            self._how_to_compare()

    def _how_to_compare(self) -> None:
        if len(self.list.runs) > 1:
            report.tell(self.app, f"Mark 2 to {MOST_COMPARED} runs with space, then v compares them")

    def action_compare(self) -> None:
        """The marked runs beside each other; with one mark, it and the selected run."""
        runs, selected = self.list.marked, self.table.selected
        if len(runs) == 1 and selected is not None and selected.path != runs[0].path:
            runs = [*runs, selected]
        if len(runs) < 2:
            self._how_to_compare()
        elif len(runs) > MOST_COMPARED:
            report.tell(self.app, f"{len(runs)} runs are marked; up to {MOST_COMPARED} can be compared at once")
        else:
            self.shell.open_compare([Path(run.path) for run in runs])

    def action_remove(self) -> None:
        """Show what would be deleted, and ask."""
        self._ask(prune=False)

    action_remove_marked = action_remove

    def action_prune(self) -> None:
        """Show which checkpoints would be deleted, and ask."""
        self._ask(prune=True)

    def _ask(self, *, prune: bool) -> None:
        live = [run for run in self.chosen if run.live]
        if live:
            name = clean(live[0].name, 100)
            report.tell(self.app, f"{name} has not ended; live runs are never deleted from", severity="warning")
        elif self.chosen:
            self.shell.ask_removal([Path(run.path) for run in self.chosen], prune, self._changed)

    def _changed(self, paths: list[Path]) -> None:
        self.list.clear_marks()
        self.draw()
        self.feed.visit([str(path) for path in paths])

    def action_export(self) -> None:
        """Write a table of the runs to a file."""
        from tui.launch.dialogs import PathScreen

        runs = self.chosen
        if not runs:
            return

        def answered(path: Path | None) -> None:
            if path is not None:
                report.tell(self.app, f"Written: {clean(path, 200)}")

        what = f"{len(runs):,} runs" if len(runs) > 1 else clean(runs[0].name, 60)
        detail = "One line a run, for spreadsheets; a name that ends in .jsonl gets a JSON object a line. "
        detail += "The curves of a run are exported from its own page."
        self.app.push_screen(
            PathScreen(f"Export {what}", lambda path: write(path, runs), text="runs.csv", detail=detail), answered
        )

    action_export_marked = action_export


def write(path: Path, runs: list[RunSummary]) -> str:
    """Write a table of runs, as JSON lines or as CSV; returns what went wrong, in words."""
    from engine.errors import TunedeckError
    from engine.history import export, fields

    try:
        if path.suffix.lower() in (".jsonl", ".json"):
            export.to_file(path, lambda file: export.write_lines(file, (run.as_dict() for run in runs)))
        else:
            export.to_file(path, lambda file: export.write_runs(file, runs, list(fields.FIELDS.values())))
    except TunedeckError as error:
        return f"{path.name} {error.problems[0].message}"
    return ""
