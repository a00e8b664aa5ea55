"""Watches the figures of every step for what is no number, and for a loss that climbs. Plain logic, no torch.

**Not finite.** A loss or gradient norm that is NaN or infinite is said at the first step of a streak, every
``REPEAT_STEPS`` steps of it, and with the count when it ends; after ``TOLD_STREAKS`` streaks only every
``REPEAT_STEPS``-th such step is said. Under a gradient scaler (fp16) gradients overflow now and then by design, and the
scaler skips those steps: they are said only when ``SCALER_PATIENCE`` come in a row.

**Divergence.** The smoothed loss is the median of the last ``WINDOW`` steps, which single spikes do not move. When it
has stood above its lowest value by half of that value and 0.5 more (1.5 × lowest + 0.5) for ``RISEN_STEPS`` steps in a
row, that is said once; again only after it has come back halfway.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from engine.events import finite

REPEAT_STEPS = 100
TOLD_STREAKS = 20
SCALER_PATIENCE = 20
WINDOW, RISEN_STEPS = 20, 10
NONFINITE, DIVERGENCE = "nonfinite", "divergence"
RISE_SHARE, RISE_MORE = 0.5, 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a notice: ``kind`` is nonfinite or divergence, ``count`` the steps of the streak so far."""

    kind: str
    level: str
    step: int
    text: str
    count: int = 1


class Health:
    """One training's health. ``scaled`` says that a gradient scaler is at work."""

    def __init__(self, *, scaled: bool = False) -> None:
        self._not_finite = _NotFinite(scaled)
        self._rise = _Rise()

    def look(self, step: int, loss: float | None, grad_norm: float | None) -> list[Finding]:
        """What is to be said of a step (usually nothing)."""
        findings = (self._not_finite.look(step, loss, grad_norm), self._rise.look(step, loss))
        return [finding for finding in findings if finding is not None]

    def end(self) -> list[Finding]:
        """What is left to be said when training ends: the count of a streak that lasted until then."""
        if self._not_finite.count <= 1:  # said already
            return []
        finding = self._not_finite.over("until training ended")
        return [finding] if finding is not None else []


class _NotFinite:
    def __init__(self, scaled: bool) -> None:
        self.scaled = scaled
        self.first = self.last = self.count = 0
        self.told = False
        self.streaks = self.total = 0

    def look(self, step: int, loss: float | None, grad_norm: float | None) -> Finding | None:
        bad_loss = loss is not None and not math.isfinite(loss)
        bad_norm = grad_norm is not None and not math.isfinite(grad_norm)
        if not (bad_loss or bad_norm):
            return self.over(f"finite again at step {step}") if self.count else None
        self.first, self.last = self.first if self.count else step, step
        self.count += 1
        self.total += 1
        what = in_words(loss, grad_norm)
        if not self.told:
            return self._begin(what) if bad_loss or not self.scaled or self.count >= SCALER_PATIENCE else None
        if self.count % REPEAT_STEPS == 0 and self.streaks <= TOLD_STREAKS:
            return self._say("error", f"{what}, for {self.count} steps in a row since step {self.first}")
        return self._sum_up(what)

    def over(self, how: str) -> Finding | None:
        """The streak has ended; what to say of it."""
        count, told = self.count, self.told
        text = f"not finite for {count} step{'s' if count > 1 else ''} from step {self.first} on: {how}"
        finding = self._say("warning", text) if told and self.streaks <= TOLD_STREAKS else None
        self.count, self.told = 0, False
        return finding

    def _begin(self, what: str) -> Finding | None:
        self.told = True
        self.streaks += 1
        if self.streaks > TOLD_STREAKS:
            return self._sum_up(what)
        if self.count > 1:
            what += f", for {self.count} steps in a row since step {self.first}: the gradient scaler finds no scale that fits"
        elif self.streaks == TOLD_STREAKS:
            what += f"; this is streak {self.streaks}: from now on only every {REPEAT_STEPS}th such step is said"
        return self._say("error", what)

    def _sum_up(self, what: str) -> Finding | None:
        if self.streaks <= TOLD_STREAKS or self.total % REPEAT_STEPS:
            return None
        return self._say("error", f"{what}; {self.total} steps were not finite so far")

    def _say(self, level: str, text: str) -> Finding:
        return Finding(NONFINITE, level, self.last, f"Step {self.last}: {text}", self.count)


class _Rise:
    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.lowest = math.inf
        self.lowest_step = 0
        self.above = 0
        self.told = False

    def look(self, step: int, loss: float | None) -> Finding | None:
        if loss is None or math.isnan(loss):
            return None
        self.recent.append(loss)
        if len(self.recent) < WINDOW:
            return None
        smooth = sorted(self.recent)[WINDOW // 2]
        if smooth < self.lowest:
            self.lowest, self.lowest_step = smooth, step
        rise = RISE_SHARE * abs(self.lowest) + RISE_MORE
        if smooth <= self.lowest + rise:
            self.above = 0
            self.told = self.told and smooth > self.lowest + rise / 2
            return None
        self.above += 1
        if self.told or self.above < RISEN_STEPS:
            return None
        self.told = True
        text = (f"Step {step}: the loss is climbing: {_word(smooth)} over the last {WINDOW} steps, after "
                f"{_word(self.lowest)} at step {self.lowest_step}; a lower learning_rate may help")  # fmt: skip
        return Finding(DIVERGENCE, "warning", step, text, self.above)


def in_words(loss: float | None, grad_norm: float | None) -> str:
    """What of the two is not finite, e.g. ``the loss is NaN and the gradient norm is Infinity``."""
    named = (("loss", loss), ("gradient norm", grad_norm))
    return " and ".join(f"the {name} is {_word(v)}" for name, v in named if v is not None and not math.isfinite(v))


def values(loss: float | None, grad_norm: float | None) -> str:
    """Both values, e.g. ``loss NaN, gradient 0.53``."""
    named = (("loss", loss), ("gradient", grad_norm))
    return ", ".join(f"{name} {_word(value)}" for name, value in named if value is not None)


def _word(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(finite(float(value)))
