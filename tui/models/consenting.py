"""Asks to type a word before a model's own code may run: which model, which revision, which files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.launch.field import TextField
from tui.models import values
from tui.models.codefiles import Brought
from tui.screens.dialog import Dialog

if TYPE_CHECKING:
    from engine.models.consent import Code

DIGEST = 12
MOST_SHOWN = 200


class ConsentScreen(Dialog[bool]):
    """Dismissed with ``True`` once the word was typed, and consent to exactly this code is kept."""

    CSS_PATH = "../screens/dialog.tcss"
    BINDINGS = bindings("ask")

    def __init__(self, word: str, brought: Brought) -> None:
        super().__init__()
        assert brought.code is not None
        self._word, self._brought = word, brought
        self._code: Code = brought.code

    def compose(self) -> ComposeResult:
        """What it means, the files, and the word."""
        with Vertical(classes="dialog -wide"):
            yield Static(Content("Run the model's own code?"), classes="dialog--title")
            yield Static(Content(self._about()), classes="dialog--detail")
            with VerticalScroll(classes="dialog--body -code"):
                yield Static(file_list(self._brought))
            yield TextField(hint=f"type {self._word} to allow exactly this code")
            yield Static("", classes="dialog--error")
            keys = (("⏎", "ok"), ("↑↓", "scroll"), ("esc", "no"))
            parts = [part for key, label in keys for part in ((key, "bold $accent"), f" {label}   ")]
            yield Static(Content.assemble(*parts).rstrip(), classes="dialog--foot")

    def _about(self) -> str:
        code = self._code
        which = clean(code.name, 300)
        if code.commit:
            which += f", revision {clean(code.commit, 60)}"
        count = len(code.files)
        files = "this Python file" if count == 1 else f"these {count} Python files"
        return (
            f"{which} comes with {files}. They would run on this machine with your rights: they can read, change and send "
            f"whatever you can. If you have read them or trust their authors, type the word {self._word}. "
            f"Consent is for this code alone: a changed byte ends it. They lie in {values.short_path(self._brought.folder or '')}"
        )

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(VerticalScroll).can_focus = False
        self._make_room(self.app.size.height)
        self.query_one(TextField).focus()

    def on_resize(self, event: events.Resize) -> None:
        """The list gives way, so that the line to type in is always seen."""
        self._make_room(event.size.height)

    def _make_room(self, height: int) -> None:
        for body in self.query(VerticalScroll):  # a resize may come before there is one
            body.styles.max_height = max(3, height - 18)

    def on_key(self, event: events.Key) -> None:
        """Up and down move in the list while one types."""
        if event.key in ("up", "down", "pageup", "pagedown"):
            event.stop()
            by = {"up": -1, "down": 1, "pageup": -8, "pagedown": 8}[event.key]
            self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def on_text_field_changed(self) -> None:
        """A new try."""
        self._say("")

    def on_text_field_submitted(self) -> None:
        """Only the word itself counts."""
        if self.query_one(TextField).value.strip().lower() != self._word:
            self._say(f"Type {self._word}, or esc for no")
            return
        from engine.models import consent

        try:
            consent.agree(self._code)
        except OSError as error:
            self._say(f"The consent cannot be kept: {error.strerror or error}")
            return
        self.dismiss(True)

    def _say(self, text: str) -> None:
        box = self.query_one(".dialog--error", Static)
        if str(box.content) != text:
            box.update(Content(clean(text, 400)))

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(False)


def file_list(brought: Brought) -> Content:
    """The files: size, the beginning of the SHA-256, name; below them the one that stands for all."""
    code = brought.code
    assert code is not None
    sizes = [*code.sizes, *[None] * (len(code.files) - len(code.sizes))]
    digests = [*brought.digests, *[""] * (len(code.files) - len(brought.digests))]
    rows = [(fmt.size(size), digest[:DIGEST] or glyphs().dash, fmt.cells(clean(name, 300)))
            for name, size, digest in zip(code.files, sizes, digests, strict=False)]  # fmt: skip
    width = max((cell_len(size) for size, _, _ in rows), default=0)
    lines = [Content.assemble((fmt.fit(size, width, "right"), "$text-muted"), "  ",
                              (fmt.fit(digest, DIGEST), "$text-muted"), "  ", name)
             for size, digest, name in rows[:MOST_SHOWN]]  # fmt: skip
    if len(rows) > MOST_SHOWN:
        lines.append(Content.styled(f"and {len(rows) - MOST_SHOWN} more", "$text-muted"))
    lines.append(
        Content.assemble(
            (" " * width, ""), "  ", (code.sha256[:DIGEST], "bold"), ("  SHA-256 of all of it", "$text-muted")
        )
    )
    return Content("\n").join(lines)


def missing_words(brought: Brought) -> tuple[str, str]:
    """Why nothing can be agreed to yet, and what to do: the code is not here, or not all of it."""
    name, at = clean(brought.name, 200), f" --revision {clean(brought.revision, 100)}" if brought.revision else ""
    fetch = f"hf download {name}{at} --include '*.py' '*.json'"
    if not brought.here:
        return (
            f"Code of {name} can only be agreed to once it is here to be read, and its files are not on this machine",
            f"Fetch just the small ones, then set trust_remote_code again: {fetch}",
        )
    code = brought.code
    assert code is not None
    lacking = ", ".join(clean(text, 100) for text in code.missing[:6])
    more = f" and {len(code.missing) - 6} more" if len(code.missing) > 6 else ""
    hint = (
        f"Fetch them, then try again: {fetch}" if code.commit else "Copy the missing files into the model's directory"
    )
    return f"Not all code of {values.or_dash(code.name, 300)} can be read: {lacking}{more}", hint
