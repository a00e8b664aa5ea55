"""What can be done to the run of a page: watch, clone, resume, run again, note, export, prune, remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.screen import Screen

from engine import status as states
from engine.text import clean, clean_path
from tui import report
from tui.screens.dialog import in_front

if TYPE_CHECKING:
    from engine.history.record import RunRecord
    from tui.app import TunedeckApp


class RunPageActions(Screen[None]):
    """Part of the page of a run: its actions that open other screens."""

    path: Path
    own: bool
    record: RunRecord | None
    stale = False
    """What is in front now may change the run: read it again afterwards."""

    def flash(self, text: str) -> None:
        """Say something for a few seconds."""
        raise NotImplementedError

    def reread(self) -> None:
        """Read the directory again."""
        raise NotImplementedError

    @property
    def shell(self) -> TunedeckApp:
        """The app, by its own type."""
        return cast("TunedeckApp", self.app)

    @property
    def run_name(self) -> str:
        """The run's name, clean."""
        name = self.record.summary.name if self.record is not None else self.path.name
        return clean(name, 200)

    def able(self, action: str) -> bool | None:
        """Whether such an action makes sense for this run; ``None`` for actions that are not of these."""
        record = self.record
        if action in ("note", "copy_path"):
            return True
        if action not in ("watch", "resume", "clone", "rerun", "export", "prune", "remove"):
            return None
        if record is None:
            return action == "remove"
        run = record.summary
        if action == "watch":
            return self.own
        if action == "resume":
            return self.own and run.state in states.ENDED
        if action in ("clone", "rerun"):
            return bool(record.settings or record.other or run.base_model)
        if action == "export":
            return bool(len(record.steps) or len(record.evals))
        if action == "prune":
            return not run.live and len(record.checkpoints) > 1
        return not run.live

    def action_watch(self) -> None:
        """The live screen."""
        self.stale = True
        self.shell.open_watch(self.path)

    def action_clone(self) -> None:
        """The form, with these settings."""
        self._open_form("")

    def rerun_with(self, setting: str) -> None:
        """The form with these settings, opened at one of them."""
        self._open_form(setting)

    def _open_form(self, setting: str) -> None:
        record = self.record
        if record is None:
            return

        def work() -> None:
            from engine.history.clone import clone

            try:
                made = clone(record)
            except Exception as error:  # a record of a shape nobody foresaw must not end the app
                text = f"these settings cannot be taken over: {clean(error, 200)}"
                self.app.call_from_thread(report.tell, self.app, text, severity="error")
                return
            self.app.call_from_thread(self._show_form, made.values, list(made.unknown), list(made.remarks), setting)

        self.run_worker(work, name="clone", thread=True, group="clone", exclusive=True, exit_on_error=False)

    def _show_form(self, values: dict[str, Any], unknown: list[str], remarks: list[str], setting: str) -> None:
        if not in_front(self):  # left meanwhile
            return
        title = f"{'Again' if setting else 'Clone of'}: {self.run_name}" if setting else f"Clone of {self.run_name}"
        self.shell.open_launch(values, title, unknown, remarks)
        if setting:
            self._go_to(setting)

    def _go_to(self, setting: str) -> None:
        """Begin to edit one setting of the form, once it stands."""
        form = self.app.screen

        def go() -> None:
            if self.app.screen is form and form.is_mounted:
                form.list.go(setting, edit=True)  # type: ignore[attr-defined]

        self.app.call_after_refresh(lambda: form.call_after_refresh(go))

    def action_resume(self) -> None:
        """Ask from where and with what, then go on."""
        self.stale = True
        self.shell.open_resume(self.path, self.run_name)

    def action_note(self) -> None:
        """Name, tags and note."""
        from tui.screens.note import NoteScreen

        def told(words: str | None) -> None:
            if words:
                self.flash(words)

        self.stale = True
        self.app.push_screen(NoteScreen(self.path), told)

    def action_export(self) -> None:
        """Ask where to, then write."""
        from tui.history.exporting import ExportScreen

        if self.record is None:
            return

        def told(words: str | None) -> None:
            if words:
                self.flash(words)

        self.app.push_screen(ExportScreen(self.record), told)

    def action_prune(self) -> None:
        """Remove checkpoints but the best and the last."""
        self.stale = True
        self.shell.ask_removal([self.path], True)

    def action_remove(self) -> None:
        """Show what would go, ask for the name, remove."""
        self.stale = True
        self.shell.ask_removal([self.path], False, lambda _changed: self._removed())

    def _removed(self) -> None:
        if not self.path.exists() and in_front(self):
            self.dismiss(None)

    def action_copy_path(self) -> None:
        """Send the path to the terminal's clipboard (OSC 52)."""
        self.app.copy_to_clipboard(clean_path(self.path))
        self.flash("the path was sent to your terminal's clipboard")
