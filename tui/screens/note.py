"""Name, note and tags of a run: people's own words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import Input, Label, Static, TextArea

from engine import notes
from engine.errors import TunedeckError
from engine.notes import Notes
from engine.text import clean
from tui.history.keepers import keeper
from tui.keys import bindings
from tui.screens.dialog import Dialog

LOW = 30


class NoteScreen(Dialog[str]):
    """Edits the words on the run at ``path``, wherever they are kept.

    Dismisses with words for the message line, empty if nothing was done.
    """

    CSS_PATH: ClassVar = ["dialog.tcss", "note.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("note")]
    KEYS = "note"
    AUTO_FOCUS = ""

    @dataclass
    class Loaded(Message):
        """A thread has read the notes, or knows why they cannot be edited."""

        notes: Notes
        name: str
        refusal: str

    @dataclass
    class Saved(Message):
        """A thread has saved them, or not: ``both`` is set where somebody else was faster."""

        problem: str = ""
        both: Notes | None = None
        theirs: Notes | None = None

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self._keeper = keeper(self.path)
        self._read: Notes | None = None
        self._words = self._filled = Notes()  # what was filled in, and how the fields hold it
        self.ready = False
        self._busy = False
        self._warned = False

    def compose(self) -> ComposeResult:
        """Name and tags in a line each, the note below."""
        with Vertical(classes="dialog -wide", id="note"):
            yield Static("Name, tags and note", classes="dialog--title", markup=False)
            for name, label, hint in (("name", "name", ""), ("tags", "tags", "words with spaces between")):
                with Horizontal(classes="note--row"):
                    yield Label(label)
                    field = Input(
                        id=f"note-{name}", placeholder=hint, compact=True, classes="dialog--input", disabled=True
                    )
                    field.cursor_blink = False
                    yield field
            area = TextArea(id="note-text", compact=True, highlight_cursor_line=False, disabled=True)
            area.cursor_blink = False
            yield area
            yield Static("", classes="dialog--error", id="note-message", markup=False)
            yield Static("F5 or ^r saves   tab next field   esc goes back", classes="dialog--foot", markup=False)

    def on_mount(self) -> None:
        """Read in a thread: a network's disk may be slow."""
        self.run_worker(self._load, name="note", thread=True, exit_on_error=False)

    def on_resize(self, event: Resize) -> None:
        """A shorter note on a low screen."""
        self.set_class(event.size.height < LOW, "-low")

    def _load(self) -> None:
        name, found = clean(self.path.name, notes.MAX_NAME), Notes()
        try:
            name = clean(self._keeper.own_name or self.path.name, notes.MAX_NAME)
            found, refusal = self._keeper.load(), self._keeper.refusal()
        except OSError as error:
            refusal = f"The notes cannot be read: {_words(error)}"
        self.post_message(self.Loaded(found, name, refusal))

    def on_note_screen_loaded(self, message: Loaded) -> None:
        """Fill in, and let people write if they may."""
        self.query_one("#note-name", Input).placeholder = message.name
        self._fill(message.notes)
        self.ready = True
        if self._keeper.where:
            title = Content.assemble(
                ("Name, tags and note", "bold"), (f"\n{self._keeper.where}", "$text-muted not bold")
            )
            self.query_one(".dialog--title", Static).update(title)
        if message.refusal:
            self._say(message.refusal)
            self.query_one(".dialog--foot", Static).update("esc goes back")
            return
        self._read = message.notes
        for field in self.query("Input, TextArea"):
            field.disabled = False
        self.query_one("#note-text").focus()

    # -- fields -----------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> Notes:
        """What the fields say; what nobody touched is as it was, however it was written."""
        now, words = self._fields(), self._words
        touched = {name: getattr(now, name) for name in ("name", "notes", "tags")
                   if getattr(now, name) != getattr(self._filled, name)}  # fmt: skip
        return replace(words, **touched)

    def _fields(self) -> Notes:
        name = clean(self.query_one("#note-name", Input).value.strip(), None)
        tags = notes.split_tags(clean(self.query_one("#note-tags", Input).value, None))
        return Notes(name, self.query_one("#note-text", TextArea).text, tags)

    def _fill(self, words: Notes) -> None:
        self.query_one("#note-name", Input).value = words.name
        self.query_one("#note-tags", Input).value = " ".join(words.tags)
        area = self.query_one("#note-text", TextArea)
        area.text = words.notes
        area.move_cursor(area.document.end)
        self._words, self._filled = words, self._fields()

    def on_input_submitted(self) -> None:
        """Enter goes on to the next field."""
        self.focus_next()

    def on_input_changed(self) -> None:
        """Something was typed."""
        self._typed()

    def on_text_area_changed(self) -> None:
        """Something was typed."""
        self._typed()

    def _typed(self) -> None:
        if self._warned:
            self._warned = False
            self._say("")

    def _say(self, text: str) -> None:
        self.query_one("#note-message", Static).update(clean(text, 500))

    # -- leaving ----------------------------------------------------------------------------------------------------

    def action_save(self) -> None:
        """Save in a thread, then go back; what could not be saved stays on the screen."""
        read = self._read
        if read is None or self._busy:
            return
        wanted = self.wanted
        if wanted == read:
            self.dismiss("")
            return
        self._busy = True

        def work() -> None:
            try:
                self._keeper.save(read, wanted)
            except notes.ChangedMeanwhileError as error:
                self.post_message(self.Saved(error.problems[0].message, error.both, error.theirs))
            except TunedeckError as error:
                self.post_message(self.Saved(error.problems[0].message or "was not saved"))
            except Exception as error:  # a full disk, a network's disk that is gone: what was written stays here
                self.post_message(self.Saved(_words(error)))
            else:
                self.post_message(self.Saved())

        self.run_worker(work, name="note-save", thread=True, exit_on_error=False)

    def on_note_screen_saved(self, message: Saved) -> None:
        """Go back, or say what is wrong."""
        self._busy = False
        if message.both is not None and message.theirs is not None:
            self._read = message.theirs
            self._fill(message.both)
            self._say(f"{message.problem}. F5 saves them")
        elif message.problem:
            self._say(f"Not saved: {message.problem}")
        else:
            self.dismiss("name, tags and note are saved")

    def action_cancel(self) -> None:
        """Back; words that were not saved are dropped at the second time only."""
        if self._read is not None and self._fields() != self._filled and not self._warned:
            self._warned = True
            going = "It is still being saved: esc once more goes back before that is known"
            self._say(going if self._busy else "Not saved yet: F5 saves, esc once more drops what you wrote")
        else:
            self.dismiss("")


def _words(error: Exception) -> str:
    return clean((error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__, 100)
