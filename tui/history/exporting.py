"""Asks where the numbers of a run are to be written, and writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from engine.errors import InputError, TunedeckError
from engine.paths import expand
from engine.text import clean, clean_path
from tui.keys import bindings
from tui.screens.dialog import Dialog

if TYPE_CHECKING:
    from engine.history.record import RunRecord

KINDS = {".csv": ("CSV, for spreadsheets", "JSONL"), ".jsonl": ("JSONL, one object a line", "CSV")}


class ExportScreen(Dialog[str]):
    """Dismisses with words for the message line, empty if nothing was written."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("export")]
    KEYS = "export"
    AUTO_FOCUS = "Input"

    @dataclass
    class Written(Message):
        """A thread has written it, or not; ``stands`` says that something is in the way."""

        words: str = ""
        problem: str = ""
        stands: bool = False

    def __init__(self, record: RunRecord) -> None:
        super().__init__()
        self._record = record
        self._busy = False
        self._over: Path | None = None  # what may be written over, once it was said

    def compose(self) -> ComposeResult:
        """The path, and what would be written."""
        name = clean(self._record.summary.name, 60).replace("/", "-").strip(". ") or "run"
        steps, evals = len(self._record.steps), len(self._record.evals)
        with Vertical(classes="dialog -wide"):
            yield Static("Export", classes="dialog--title", markup=False)
            rows, evaluations = "row" if steps == 1 else "rows", "evaluation" if evals == 1 else "evaluations"
            about = f"{steps:,} training {rows} and {evals:,} {evaluations}, as they were logged"
            yield Static(about, classes="dialog--detail", markup=False)
            field = Input(str(Path.cwd() / f"{name}.csv"), compact=True, classes="dialog--input")
            field.cursor_blink = False
            yield field
            yield Static("", classes="dialog--error", markup=False)
            yield Static("", classes="dialog--foot", id="export-foot", markup=False)

    def on_mount(self) -> None:
        """Say the kind."""
        self._say("")

    @property
    def _target(self) -> Path:
        return expand(self.query_one(Input).value.strip())

    def _say(self, text: str) -> None:
        self.query_one(".dialog--error", Static).update(clean(text, 300))
        kind, other = KINDS.get(self._target.suffix.lower(), KINDS[".csv"])
        self.query_one("#export-foot", Static).update(f"{kind}   F6 {other}   enter writes   esc goes back")

    def on_input_changed(self) -> None:
        """Another path."""
        self._over = None
        self._say("")

    def action_switch(self) -> None:
        """CSV to JSONL and back."""
        field, target = self.query_one(Input), self._target
        other = ".csv" if target.suffix.lower() == ".jsonl" else ".jsonl"
        known = target.suffix.lower() in KINDS
        field.value = str(target.with_suffix(other)) if known else f"{field.value.strip()}{other}"
        field.cursor_position = len(field.value)

    def on_input_submitted(self) -> None:
        """Write, in a thread; what stands there already is replaced only if one says so again."""
        target = self._target
        if self._busy:
            return
        if not self.query_one(Input).value.strip() or target.name in ("", ".", ".."):
            self._say("Type the path of a file")
            return
        self._busy, force = True, self._over == target
        self.run_worker(lambda: self._write(target, force), name="export", thread=True, exit_on_error=False)

    def _write(self, target: Path, force: bool) -> None:
        from engine.history import export

        write = export.write_jsonl if target.suffix.lower() == ".jsonl" else export.write_csv
        try:
            rows = export.to_file(target, lambda file: write(self._record, file), force=force)
        except InputError as error:
            stands = not force and target.is_file()
            self.post_message(self.Written("", error.problems[0].message, stands))
        except TunedeckError as error:
            self.post_message(self.Written("", error.problems[0].message))
        except Exception as error:  # whatever a disk may do: it is said, and the words stay
            self.post_message(self.Written("", clean(error, 200) or type(error).__name__))
        else:
            self.post_message(self.Written(f"{rows:,} rows are written to {clean_path(target, 200)}"))

    def on_export_screen_written(self, message: Written) -> None:
        """Go back, or say what is wrong."""
        self._busy = False
        if message.words:
            self.dismiss(message.words)
        elif message.stands:
            self._over = self._target
            self._say("A file stands there already: enter once more replaces it")
        else:
            self._say(f"Not written: {message.problem}")

    def action_cancel(self) -> None:
        """Back without writing."""
        self.dismiss("")
