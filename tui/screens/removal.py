"""Deletes runs, or prunes their checkpoints: shows first what would go, asks for the name, says what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from engine.errors import Problem, TunedeckError
from engine.text import clean, shorten_path
from tui.glyphs import glyphs
from tui.history import removaltext
from tui.history.sheet import Sheet, static
from tui.keys import bindings
from tui.screens.dialog import Dialog
from tui.widgets.lines import Line, Lines

if TYPE_CHECKING:
    from engine.history.removal import Outcome, Plan

LOOKING, ASKING, WORKING, DONE = "looking", "asking", "working", "done"
# Lines of the dialog besides its list, and how often its progress is painted.
AROUND, SHARE = 12, 0.9
TOLD_SECONDS = 0.25


class RemovalScreen(Dialog[list[Path]]):
    """Dismisses with the directories that were changed (or are gone).

    A thread looks at what belongs to the runs; nothing is touched before the name is typed. While it works, Esc stops.
    """

    CSS_PATH: ClassVar = ["dialog.tcss", "removal.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("removal")]
    KEYS = "removal"
    AUTO_FOCUS = ""

    @dataclass
    class Planned(Message):
        """A thread has looked."""

        plans: list[Plan]

    @dataclass
    class Progress(Message):
        """A thread has removed some."""

        done: int
        planned: int
        freed: int

    @dataclass
    class Ended(Message):
        """A thread has done what it could."""

        outcomes: dict[int, Outcome | list[Problem]]

    def __init__(self, paths: Sequence[Path], *, prune: bool = False) -> None:
        super().__init__()
        self.paths, self.prune = [Path(path) for path in paths], prune
        self.state = LOOKING
        self.plans: list[Plan] = []
        self.outcomes: dict[int, Outcome | list[Problem]] = {}
        self._stop = threading.Event()
        self.bar, self.total = Lines(id="removal-bar"), Lines(id="removal-total")
        self.sheet = Sheet(id="removal-list")

    def compose(self) -> ComposeResult:
        """Title, how much, the list, the line to type in."""
        with Vertical(classes="dialog -wide", id="removal"):
            yield Static("", classes="dialog--title", id="removal-title", markup=False)
            yield self.total
            yield self.sheet
            yield self.bar
            yield Static("", id="removal-ask", markup=False)
            field = Input(compact=True, classes="dialog--input", id="removal-name", disabled=True)
            field.cursor_blink = False
            yield field
            yield Static("", classes="dialog--foot", id="removal-foot")

    def on_mount(self) -> None:
        """Look, in a thread."""
        self._title("Looking at what belongs to it" if len(self.paths) == 1 else "Looking at what belongs to them")
        self._foot(("esc", "back"))
        # Of a kind that never keeps the app from ending: a disk may not answer.
        threading.Thread(target=self._plan, name="tunedeck-plan", daemon=True).start()

    def on_resize(self) -> None:
        """The list takes what room there is."""
        self.call_after_refresh(self._draw)

    # -- threads ----------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        from engine.history import removal

        self.post_message(self.Planned([removal.plan(path, checkpoints_only=self.prune) for path in self.paths]))

    def _work(self) -> None:
        from engine.history import removal

        planned = sum(len(plan.entries) for plan in self.plans if plan.ok)
        done = freed = 0
        told = 0.0

        def progress(names: int, _planned: int, size: int) -> None:
            nonlocal told
            if time.monotonic() - told >= TOLD_SECONDS:
                told = time.monotonic()
                self.post_message(self.Progress(done + names, planned, freed + size))

        found: dict[int, Outcome | list[Problem]] = {}
        for place, plan in enumerate(self.plans):
            if not plan.ok or self._stop.is_set():
                continue
            try:
                outcome = removal.carry_out(plan, progress, self._stop)
            except TunedeckError as error:
                found[place] = error.problems
            except Exception as error:  # it must be said, and the other runs go on
                found[place] = [Problem("no-removal", f"cannot be removed: {clean(error, 200)}")]
            else:
                found[place] = outcome
                done, freed = done + len(plan.entries), freed + outcome.bytes
        self.post_message(self.Ended(found))

    # -- showing ----------------------------------------------------------------------------------------------------

    def on_removal_screen_planned(self, message: Planned) -> None:
        """Show what would go; ask."""
        self.plans, self.state = message.plans, ASKING
        self._title(removaltext.heading(self.plans, prune=self.prune))
        wanted = removaltext.needed(self.plans, prune=self.prune)
        ask, field = self.query_one("#removal-ask", Static), self.query_one("#removal-name", Input)
        if wanted:
            single = self.plans[0] if len(self.plans) == 1 else None
            other = f" (or {clean(single.id, 60)})" if single is not None and single.id and single.id != wanted else ""
            ask.update(f"Type {wanted}{other} to {self._verb}:")
            field.disabled = False
            field.focus()
        ask.display = field.display = bool(wanted)
        self._ready()
        self._draw()

    @property
    def _verb(self) -> str:
        return "prune" if self.prune else "delete"

    def _ready(self) -> None:
        """The foot says Enter once it would do something."""
        typed = self.query_one("#removal-name", Input).value
        if removaltext.confirmed(self.plans, typed, prune=self.prune):
            self._foot((glyphs().enter, f"{self._verb} now"), ("esc", "back, nothing is touched"))
        else:
            self._foot(("esc", "back, nothing is touched"))

    def on_input_changed(self) -> None:
        """Another name."""
        if self.state == ASKING:
            self._ready()

    def on_removal_screen_progress(self, message: Progress) -> None:
        """How far it is."""
        if self.state == WORKING:
            self.bar.show([removaltext.progress(message.done, message.planned, message.freed, self.bar.size.width)])

    def on_removal_screen_ended(self, message: Ended) -> None:
        """Show what became of it."""
        self.outcomes, self.state = message.outcomes, DONE
        good = all(not isinstance(found, list) and found.complete for found in self.outcomes.values())
        done = "Pruned" if self.prune else "Deleted"
        self._title(done if good and self.outcomes else "Not everything was removed")
        self.bar.display = False
        self._foot((glyphs().enter, "close"))
        self._draw()

    def _draw(self) -> None:
        if not self.is_attached or self.state == LOOKING:
            return
        width = max(20, self.sheet.size.width)
        if self.state == DONE:
            lines = removaltext.outcomes(self.plans, self.outcomes, width)
            self.total.show([[]])
        else:
            lines = removaltext.dry_run(self.plans, width)
            self.total.show([removaltext.total(self.plans, width)])
        room = max(3, int(SHARE * self.size.height) - AROUND)
        self.sheet.styles.height = min(room, max(1, len(lines)))
        self.sheet.set_page(static(lines), keep=True)

    def _title(self, text: str) -> None:
        where = f"\n{shorten_path(self.paths[0], 78)}" if len(self.paths) == 1 else ""
        content = Content.assemble((text, "bold"), (where, "$text-muted not bold"))
        self.query_one("#removal-title", Static).update(content)

    def _foot(self, *keys: tuple[str, str]) -> None:
        parts = [part for key, label in keys for part in ((key, "bold $accent"), f" {label}   ")]
        self.query_one("#removal-foot", Static).update(Content.assemble(*parts).rstrip())

    # -- actions ----------------------------------------------------------------------------------------------------

    def action_go(self) -> None:
        """Do it, if the name is right; close what is done."""
        if self.state == DONE:
            self.action_back()
        elif self.state == ASKING:
            field = self.query_one("#removal-name", Input)
            if not removaltext.confirmed(self.plans, field.value, prune=self.prune):
                if field.value.strip() and any(plan.ok for plan in self.plans):
                    self._foot(("", "that is not what is asked for, nothing is touched"), ("esc", "back"))
                return
            self.state = WORKING
            field.disabled = True
            field.display = self.query_one("#removal-ask").display = False
            self.bar.display = True
            self._title("Removing")
            self._foot(("esc", "stop"))
            planned = sum(len(plan.entries) for plan in self.plans if plan.ok)
            self.call_after_refresh(lambda: self.on_removal_screen_progress(self.Progress(0, planned, 0)))
            # The app's end waits for this one, which is told to stop then: a file is removed whole or not at all.
            self.run_worker(self._work, name="removal", thread=True, exit_on_error=False)

    def action_back(self) -> None:
        """Back; while it works, stop."""
        if self.state == WORKING:
            self._stop.set()
            self._foot(("", "stopping after the present file"))
            return
        self.dismiss([self.paths[place] for place, found in self.outcomes.items() if not isinstance(found, list)])

    def on_unmount(self) -> None:
        """The app ends."""
        self._stop.set()

    def action_move(self, by: int) -> None:
        """Up or down the list."""
        self.sheet.move(by)

    def action_scroll(self, by: int) -> None:
        """A screenful."""
        self.sheet.scroll_pages(by)

    @property
    def shown(self) -> list[Line]:
        """The lines of the list, for tests."""
        return self.sheet.lines
