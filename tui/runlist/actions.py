"""What can be done to the runs of the list, and to the selected one: watch, start, clone, resume, queue, stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.text import clean
from tui import report
from tui.runlist.base import ListScreen

if TYPE_CHECKING:
    from engine.history import RunSummary
    from engine.history.clone import Clone


class RunActions(ListScreen):
    """Part of the list's screen: its actions that open other screens or reach into a run."""

    def action_open(self) -> None:
        """Open the selected run: live, or what is recorded of it; a group is folded, or opened again."""
        run, group = self.table.selected, self.table.selected_group
        if run is not None:
            self.shell.open_run(run)
        elif group is not None:
            self.list.fold([group.key], not group.folded)
            self.table.keep_selected()
            self.draw()

    def action_watch(self) -> None:
        """The live screen of the selected run, also if it has ended."""
        run = self.table.selected
        if run is not None and run.tool == "tunedeck":
            self.shell.open_watch(Path(run.path))

    def action_new(self) -> None:
        """An empty form."""
        self.shell.open_launch()

    def action_demo(self) -> None:
        """The form, filled in with the sample run."""
        from engine.samples import demo_values

        self.shell.open_launch(demo_values(), "Sample run")

    def action_clone(self) -> None:
        """The form, filled in with the selected run's settings."""
        run = self.table.selected
        if run is not None:
            self.run_worker(lambda: self._clone(run), thread=True, group="clone", exclusive=True)

    def _clone(self, run: RunSummary) -> None:
        from engine.errors import Problem
        from engine.history import clone, readers

        record = readers.read_record(Path(run.path))
        made = clone.clone(record) if record is not None else None
        if made is None or not made.values:
            problem = Problem("no-config", "holds no record of its settings", "Set up a new run instead", file=run.path)
            self.app.call_from_thread(report.show_problems, self.app, problem, "This run cannot be cloned")
            return
        title = f"Clone of {clean(run.name, 200)}"
        self.app.call_from_thread(self._open_form, made, title)

    def _open_form(self, made: Clone, title: str) -> None:
        self.shell.open_launch(made.values, title, made.unknown, made.remarks)

    def action_resume(self) -> None:
        """Ask from where and with what, then go on."""
        run = self.table.selected
        if run is not None:
            self.shell.open_resume(Path(run.path), run.name)

    def action_move_queued(self, by: int) -> None:
        """One place forward or back in the queue."""
        run = self.table.selected
        if run is not None and run.state == "queued":
            self.run_worker(lambda: self._move(run, by), thread=True, group="move", exit_on_error=False)

    def _move(self, run: RunSummary, by: int) -> None:
        from engine.errors import TunedeckError
        from tui.runlist import queueing

        try:
            words, order = queueing.move(run, by)
        except TunedeckError as error:
            self.app.call_from_thread(report.show_problems, self.app, error.problems, "It was not moved")
            return
        self.app.call_from_thread(self.renumber, order)
        self.app.call_from_thread(report.tell, self.app, words)
        self.feed.resume()

    def action_stop(self) -> None:
        """Ask first, then ask the run."""
        run = self.table.selected
        if run is None or not run.live:
            return
        if run.state == "stopping":
            report.tell(self.app, "It is stopping already; open it to stop it at once")
            return
        from tui.screens.confirm import ConfirmScreen

        name = clean(run.name, 200)
        if run.state == "queued":
            detail_text = "It has not begun; it leaves the queue, and can be started again later."
        else:
            detail_text = "It finishes its current step, saves, and ends."
            if run.step is not None:
                detail_text += f"\nIt is at step {run.step} of {run.total_steps or 'an unknown number'}."
        if not run.here:
            detail_text += f"\nIt runs on {clean(run.host or 'another host', 60)}: the request is left in its folder."

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(lambda: self._stop(run), thread=True, group="stop")

        words = ("Cancel", "Cancel it", "Keep it") if run.state == "queued" else ("Stop", "Stop it", "Keep running")
        self.app.push_screen(ConfirmScreen(f"{words[0]} {name}?", detail_text, *words[1:]), answered)

    action_cancel = action_stop

    def _stop(self, run: RunSummary) -> None:
        from engine.errors import Problem, TunedeckError
        from engine.rundir import RunDir
        from tui.runlist import queueing

        try:
            if run.state == "queued" and run.here:
                queueing.cancel(run.path)
            else:
                RunDir(run.path).request("stop")
        except TunedeckError as queue_error:
            self.app.call_from_thread(report.show_problems, self.app, queue_error.problems, "It was not cancelled")
            return
        except OSError as error:
            problem = Problem("no-request", error.strerror or str(error), "Is the run yours, and the disk not full?",
                              file=run.path)  # fmt: skip
            self.app.call_from_thread(report.show_problems, self.app, problem, "The run could not be asked to stop")
            return
        what = "is taken out of the queue" if run.state == "queued" else "was asked to stop"
        self.app.call_from_thread(report.tell, self.app, f"{clean(run.name, 100)} {what}")
        self.feed.resume()

    def renumber(self, order: list[str]) -> None:
        """The queue has another order: the ids of all that wait."""
        self.table.keep_selected()
        self.list.renumber(order)
        self.draw()

    def action_note(self) -> None:
        """Name, note and tags of the selected run."""
        from tui.screens.note import NoteScreen

        run = self.table.selected
        if run is not None:
            path = run.path

            def told(words: str | None) -> None:
                if words:
                    report.tell(self.app, words)
                    self.feed.visit([path])

            self.app.push_screen(NoteScreen(Path(path)), told)

    def action_copy_path(self) -> None:
        """The path to the clipboard, through the terminal."""
        run = self.table.selected
        if run is not None:
            self.app.copy_to_clipboard(clean(run.path))
            report.tell(self.app, f"Copied: {clean(run.path, 200)}")
