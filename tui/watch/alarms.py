"""What must not be overlooked while one watches: losses that are no number, and a loss that climbs."""

from __future__ import annotations

from engine.snapshot import RunView
from engine.text import clean
from tui.watch.signs import Watcher

NONFINITE, DIVERGENCE = "nonfinite", "divergence"


class Alarms:
    """Follows the notices of a run; one alarm for each streak, however often the run repeats it.

    ``newest`` is (running number, level, text); ``nonfinite`` says what is not finite while the streak lasts.
    """

    def __init__(self) -> None:
        self.newest: tuple[int, str, str] | None = None
        self.nonfinite = ""
        self.watcher = Watcher()
        self._caught_up = False
        self._seen = 0
        self._attempt = 0

    def follow(self, view: RunView) -> None:
        """Take in the notices that came since the last time."""
        if view.attempt_number != self._attempt:
            self._attempt, self.nonfinite = view.attempt_number, ""
        for notice in view.notices_since(self._seen):
            if notice.kind == NONFINITE:
                begins, text = not self.nonfinite and notice.level == "error", clean(notice.text, 300)
                self.nonfinite = text if notice.level == "error" else ""
                if begins:
                    self._ring("error", text)
            elif notice.kind == DIVERGENCE:
                self._ring("warning", clean(notice.text, 300))
        self._seen = view.notices_seen

    def is_reading(self, caught_up: bool) -> bool:
        """Whether a long record is still being read; a step that came just now is none."""
        before, self._caught_up = self._caught_up, caught_up
        return not (caught_up or before)

    def _ring(self, level: str, text: str) -> None:
        self.newest = ((self.newest[0] if self.newest else 0) + 1, level, text)
