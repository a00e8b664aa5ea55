"""The line in which a filter is typed, and below it what helps to type it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from engine.text import clean
from tui.format import shorten
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.widgets.lines import Line, Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.history.query import Completion

PROMPT = "/ "
SHOWN = 8
EXAMPLES = (
    "words",
    "model:qwen",
    "state:failed",
    "loss<1.2",
    "lr>=1e-4",
    "date>2026-10",
    "tag:keep",
    "-x",
    "or",
    "@saved",
)


class FilterLine(Input):
    """One line to type a filter in; the rest of the first completion stands behind the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("filter"),
        Binding("up", "screen.rows(-1)", show=False),
        Binding("down", "screen.rows(1)", show=False),
        Binding("pageup", "screen.pages(-1)", show=False),
        Binding("pagedown", "screen.pages(1)", show=False),
    ]

    def __init__(self, value: str = "") -> None:
        super().__init__(
            value, placeholder="words, or fields such as model:qwen and loss<1.2", id="runs-filter", compact=True
        )
        self.cursor_blink = False
        self._completions: Sequence[Completion] = ()

    def offer(self, completions: Sequence[Completion]) -> None:
        """What the text could go on with; the first one is taken by tab."""
        self._completions = completions
        self._suggestion = self._whole(completions[0]) if completions and self.cursor_at_end else ""

    def _whole(self, completion: Completion) -> str:
        """The text with a completion taken, if that only adds to it."""
        whole = self.value[: completion.start] + clean(completion.text, 200)
        return whole if whole.startswith(self.value) else ""

    def action_take(self) -> None:
        """Take the first completion."""
        if self._completions:
            first = self._completions[0]
            text = clean(first.text, 200)
            self.value = self.value[: first.start] + text + self.value[first.end :]
            self.cursor_position = first.start + len(text)

    def action_clear(self) -> None:
        """Show all runs."""
        self.post_message(FilterBox.Ended())

    def action_saved(self) -> None:
        """Choose one of the saved filters."""
        self.post_message(FilterBox.Wanted("saved"))

    def action_save(self) -> None:
        """Save this one."""
        self.post_message(FilterBox.Wanted("save"))


class FilterBox(Vertical):
    """The filter's line and what is said about it."""

    DEFAULT_CSS = """
    FilterBox {
        height: 2; background: $panel;
        & > Horizontal { height: 1; padding: 0 1; background: $panel; }
        & .filter--prompt { width: 2; color: $accent; background: $panel; text-style: bold; }
        & Input {
            height: 1; width: 1fr; border: none; padding: 0; background: $panel; color: $foreground;
            &:focus { border: none; background: $panel; background-tint: transparent; }
            & > .input--suggestion { color: $text-muted; }
        }
        & > Lines { height: 1; padding: 0 1; background: $panel; }
        & > Lines > .lines--muted, & > Lines > .lines--error, & > Lines > .lines--key, & > Lines > .lines--text {
            background: $panel;
        }
    }
    """

    class Ended(Message):
        """No filter any more."""

    @dataclass
    class Wanted(Message):
        """One of the saved filters (``saved``), or to save this one (``save``)."""

        what: str

    def __init__(self) -> None:
        super().__init__()
        self._completions: Sequence[Completion] = ()
        self._wrong = False

    def compose(self) -> ComposeResult:
        """A sign, the line, what is said."""
        with Horizontal():
            yield Static(PROMPT, classes="filter--prompt", markup=False)
            yield FilterLine()
        yield Lines()

    @property
    def line(self) -> FilterLine:
        """Where one types."""
        return self.query_one(FilterLine)

    @property
    def said(self) -> Lines:
        """What is said below it."""
        return self.query_one(Lines)

    def on_resize(self) -> None:
        """What is said has another width, or is said for the first time."""
        if not self._wrong:
            self.help(self._completions)

    def help(self, completions: Sequence[Completion]) -> None:
        """Say how the text could go on, or what kinds of filters there are."""
        self._completions, self._wrong = completions, False
        self.line.offer(completions)
        width = self.size.width - 2
        parts: Line = []
        if completions:
            parts = [("tab ", "key"), (clean(completions[0].text, 60).strip(), "text")]
            if completions[0].help:
                parts.append((f"  {clean(completions[0].help, 100)}", "muted"))
            others = [clean(one.text, 40).strip() for one in completions[1:SHOWN]]
            room = width - sum(cell_len(text) for text, _ in parts)
            kept = _fitting(others, room - 4)
            if kept:
                parts.append((f"   {glyphs().dot} " + "  ".join(kept), "muted"))
        elif not self.line.value.strip():
            parts = [("  ".join(_fitting(list(EXAMPLES), width)), "muted")]
        self.said.show([parts])

    def complain(self, message: str, position: int, *, wrong: bool = True) -> None:
        """Say what is wrong, or what is missing yet, with a mark below the place."""
        self._wrong = True
        self.line.offer(())
        width = max(20, self.size.width - 2)
        scrolled = self.line.scroll_offset.x
        place = len(PROMPT) + cell_len(self.line.value[:position]) - round(scrolled)
        place = min(max(len(PROMPT), place), width - 1)
        text, colour = clean(message, 300), "error" if wrong else "muted"
        size = cell_len(text)
        if place + 2 + size <= width or place < width // 2:
            parts: Line = [(" " * place, "text"), ("^ ", "key"), (text, colour)]
        else:
            parts = [(" " * max(0, place - 1 - size), "text"), (shorten(text, place - 1), colour), (" ^", "key")]
        self.said.show([parts])


def _fitting(words: list[str], width: int) -> list[str]:
    """As many words as fit, two cells apart."""
    kept: list[str] = []
    for word in words:
        width -= cell_len(word) + 2
        if width < 0:
            break
        kept.append(word)
    return kept
