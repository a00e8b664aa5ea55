"""What the model says: its answers to ``sample_prompts``, by step."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.worker import get_current_worker

from engine import status as states
from engine.text import clean
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.screens.dialog import in_front
from tui.watch import answertext
from tui.watch.answers import AnswerReader, Answers
from tui.watch.answertext import Page
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines

POLL_SECONDS = 1.0


class SamplesScreen(Screen[None]):
    """The answers of the run at ``path``; ``name`` is what the title calls it. Steps at the left, newest first."""

    CSS_PATH = "samples.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("samples")]
    KEYS = "samples"

    @dataclass
    class Read(Message):
        """There is something new."""

        answers: Answers

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.run_name = clean(name, 200)
        self.answers: Answers | None = None
        self.comparing = False
        self.chosen = -1  # the round; the newest is followed as long as it is the chosen one
        self.chosen_prompt = 0
        self._page = Page()
        self._top = 0
        self._stop = threading.Event()

    def compose(self) -> ComposeResult:
        """Steps, and what was said."""
        yield TopBar(f"Answers  {self.run_name}")
        with Horizontal(id="samples-body"):
            yield Lines(id="samples-steps")
            yield Lines(id="samples-text")
        yield KeyBar()

    def on_mount(self) -> None:
        """Start reading."""
        self.run_worker(self._follow, name="samples", thread=True, exit_on_error=False)

    def on_unmount(self) -> None:
        """Let the reader's thread end."""
        self._stop.set()

    def _follow(self) -> None:
        """In a thread: read on, and tell when there is more; the whole stream first, then once a second."""
        worker, reader = get_current_worker(), AnswerReader(self.path)
        told, new = False, False
        while not (worker.is_cancelled or self._stop.is_set()):
            new |= reader.poll()
            if reader.at_end:
                if new or not told:
                    live = (reader.run.read_status() or {}).get("state") in states.LIVE
                    self.post_message(self.Read(reader.answers(live=live)))
                    told, new = True, False
                self._stop.wait(POLL_SECONDS)

    def on_samples_screen_read(self, message: Read) -> None:
        """Show it; whoever looks at an older step stays there."""
        before, self.answers = self.answers, message.answers
        count = len(self.answers.rounds)
        if before is not None and 0 <= self.chosen < len(before.rounds) - 1:
            step = before.rounds[self.chosen].step
            self.chosen = max((at for at, r in enumerate(self.answers.rounds) if r.step <= step), default=count - 1)
        else:
            self.chosen = count - 1
        self.chosen_prompt = min(self.chosen_prompt, max(0, len(self.answers.prompts) - 1))
        self._draw(keep=before is not None)

    def on_resize(self) -> None:
        """Wrap for the new width."""
        self.call_after_refresh(self._draw)

    # -- drawing ----------------------------------------------------------------------------------------------------

    def _draw(self, *, keep: bool = False) -> None:
        """Lay out again and go to what is chosen; ``keep`` leaves what is seen where it is, as far as that is possible."""
        if not self.is_attached:  # left meanwhile
            return
        steps, text = self.query_one("#samples-steps", Lines), self.query_one("#samples-text", Lines)
        width, height = text.size
        if height < 1:
            return
        answers = self.answers
        if answers is None or not answers.rounds:
            self._set_empty(True)
            steps.show([])
            text.show(answertext.nothing_yet(answers, width))
            return
        self._set_empty(False)
        old = self._page.places.get(self._key, 0)
        lay_out = answertext.all_steps if self.comparing else answertext.one_step
        place, prompt = self.chosen, self.chosen_prompt
        self._page = (
            lay_out(answers, prompt, place, width) if self.comparing else lay_out(answers, place, prompt, width)
        )
        new = self._page.places.get(self._key, 0)
        self._top = self._top + new - old if keep else self._into_view(new, height)
        self._show()
        kept = f", of {answers.every} steps one is kept" if answers.every > 1 else ""
        count = f"{_count(len(answers.prompts), 'prompt')}, {_count(len(answers.rounds), 'step')}{kept}"
        self.query_one(TopBar).set_right(answers.trouble or count)

    def _set_empty(self, empty: bool) -> None:
        if self.has_class("-empty") != empty:
            self.set_class(empty, "-empty")
            self.refresh_bindings()

    @property
    def _key(self) -> int:
        return self.chosen if self.comparing else self.chosen_prompt

    def _into_view(self, place: int, height: int) -> int:
        """The first line to show: the beginning as long as all of it fits that far, else what is chosen at the top."""
        later = sorted(at for at in self._page.places.values() if at > place)
        end = later[0] if later else len(self._page.lines)
        return 0 if end <= height - 1 else place

    def _show(self) -> None:
        """The visible part of the page, and the steps."""
        answers = self.answers
        if answers is None or not answers.rounds:
            return
        steps, text = self.query_one("#samples-steps", Lines), self.query_one("#samples-text", Lines)
        height = text.size.height
        lines = self._page.lines
        self._top = max(0, min(self._top, len(lines) - height + 1 if len(lines) > height else 0))
        shown: list[Line] = list(lines[self._top : self._top + height])
        below = len(lines) - self._top - height
        if below > 0:
            shown[-1] = [(f"  {glyphs().down} {_count(below + 1, 'more line')}, PgDn", "muted")]
        text.show(shown + [[] for _ in range(height - len(shown))])
        steps.show(answertext.step_list(answers, self.chosen, self.chosen_prompt, steps.size.height))

    # -- actions ----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there are no answers there is nothing to choose."""
        return action == "back" or action.startswith("app.") or not self.has_class("-empty")

    def action_back(self) -> None:
        """Out of the comparison, then back to the run."""
        if self.comparing:
            self.action_compare()
        elif in_front(self):
            self.dismiss(None)

    def action_step(self, by: int) -> None:
        """Another step: positive towards the beginning."""
        if self.answers is not None and self.answers.rounds:
            self.chosen = min(max(0, self.chosen - by), len(self.answers.rounds) - 1)
            self._draw()

    def action_newest(self) -> None:
        """The newest step, which is followed from now on."""
        self.action_step(-1_000_000_000)

    def action_oldest(self) -> None:
        """The first step."""
        self.action_step(1_000_000_000)

    def action_prompt(self, by: int) -> None:
        """Another prompt, round and round."""
        if self.answers is not None and self.answers.prompts:
            self.chosen_prompt = (self.chosen_prompt + by) % len(self.answers.prompts)
            self._draw()

    def action_compare(self) -> None:
        """One prompt at all steps, or all prompts at one step."""
        self.comparing = not self.comparing
        self._draw()

    def action_page(self, by: int) -> None:
        """Scroll a page on or back."""
        self._scroll(by * max(1, self.query_one("#samples-text").size.height - 2))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Wheel: on."""
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Wheel: back."""
        self._scroll(-3)

    def on_click(self, event: events.Click) -> None:
        """A click on a step chooses it."""
        steps = self.query_one("#samples-steps", Lines)
        if event.widget is steps and self.answers is not None:
            place = answertext.row_of(event.screen_y - steps.region.y, self.answers, self.chosen, steps.size.height)
            if place >= 0:
                self.chosen = place
                self._draw()

    def _scroll(self, rows: int) -> None:
        self._top += rows
        self._show()


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
