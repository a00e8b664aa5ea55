"""How long a run will still take: the pace of its steps, and the evaluations and saves that are to come.

A step counts as long as it took, whatever came between steps; an evaluation or save counts as long as the last few of
its kind took, as often as it will still come. So the estimate does not jump when one of them is over. Before the first
evaluation, its length is guessed from its rows at a third of the training speed's cost a row.
"""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.view import RunView

# How many steps the pace is taken from: a tenth of those done, in these bounds.
FEWEST, MOST = 50, 1000
# A step of more than so many medians (a machine that slept, a debugger) counts as no longer.
OUTLIER = 10.0
RECENT = 3
# A forward pass is about a third of a training step's work, and needs no backward pass's memory traffic.
FORWARD_SHARE = 0.33


@dataclass(slots=True)
class Pace:
    """Kept beside a view, so that what does not change is found out once."""

    _key: tuple[int, ...] | None = None
    _costs: dict[str, float | None] = field(default_factory=dict)

    def remaining(self, view: RunView, now: float | None = None) -> float | None:
        """Seconds until the last step and the save after it, as of the last event; ``None`` if not known."""
        left = self.steps_left(view)
        if left is None or not view.state.live:
            return None
        step = self.step_seconds(view)
        if step is None:
            return None
        costs = self._pauses(view)
        evals, saves = self.evals_to_come(view), self.saves_to_come(view)
        evaluation = costs["eval"] if costs["eval"] is not None else _guess(view, step)
        seconds = left * step + evals * (evaluation or 0.0) + saves * (costs["save"] or 0.0)
        return max(0.0, seconds - self._done_of_phase(view, costs, now)) if math.isfinite(seconds) else None

    def steps_left(self, view: RunView) -> int | None:
        """Optimizer steps to come, ``None`` if the total is not known."""
        return max(0, view.total_steps - view.step) if view.total_steps else None

    def step_seconds(self, view: RunView) -> float | None:
        """Mean seconds of the recent steps without evaluations and saves; two steps of this attempt are needed."""
        rows = len(view.steps) - view.attempt_row
        if rows < 2:
            return None
        # The first step compiles and warms up: it tells nothing of the others where there are enough of them.
        window = min(rows - 1, max(FEWEST, min(MOST, rows // 10)))
        times, steps = view.steps.column("time")[-window - 1 :], view.steps.steps[-window - 1 :]
        own = view.steps.column("step_seconds")[-window:]
        paused = self._pause_steps(view, steps[0])
        found: list[float] = []
        for row in range(window):
            count = max(1, steps[row + 1] - steps[row])
            wall = (times[row + 1] - times[row]) / count
            alone = own[row]
            if (steps[row] in paused and math.isfinite(alone)) or not (math.isfinite(wall) and wall >= 0):
                wall = alone
            if math.isfinite(wall) and wall >= 0:
                found.append(wall)
        if not found:
            return None
        limit = OUTLIER * statistics.median(found)
        return statistics.fmean(min(value, limit) if limit > 0 else value for value in found)

    # -- how often --------------------------------------------------------------------------------------------------

    def evals_to_come(self, view: RunView) -> int:
        """Evaluations until the end, one that is under way among them."""
        return self._to_come(view, self._eval_every(view), _recent_steps(view.evals.steps), end=True)

    def saves_to_come(self, view: RunView) -> int:
        """Checkpoints until the end, one that is being written among them."""
        done = [step for step in (_step(entry) for entry in view.checkpoints[-6:]) if step is not None]
        every = _positive(view.config.get("save_steps")) if view.config.get("save_steps") else None
        return self._to_come(view, every, done, end=True)

    def _eval_every(self, view: RunView) -> int | None:
        config = view.config
        every = _positive(config.get("eval_steps"))
        if every is not None:
            return every
        if config.get("eval_path") or config.get("eval_fraction"):
            return _positive(config.get("save_steps"))
        return None

    def _to_come(self, view: RunView, every: int | None, done: Sequence[int], *, end: bool) -> int:
        total, step = view.total_steps, view.step
        if not total or step > total:
            return 0
        if every is None:
            if not done:
                return 0
            every = _observed(done)
        last = step // every
        at_now = bool(step) and step % every == 0 and not (done and done[-1] >= step) and self._between(view)
        count = total // every - last + (1 if at_now else 0)
        # Trainers save and, where they evaluate at every save, evaluate after the last step, too.
        after = end and total % every != 0 and not (done and done[-1] >= total)
        return max(0, count) + (1 if after else 0)

    def _between(self, view: RunView) -> bool:
        return view.phase.name in ("evaluating", "saving")

    # -- how long ---------------------------------------------------------------------------------------------------

    def _pauses(self, view: RunView) -> dict[str, float | None]:
        """Seconds of an evaluation and of a save, from the last few of each; ``None`` before the first."""
        key = (len(view.evals), len(view.checkpoints), view.evals.rewrites, view.steps.rewrites, view.attempt_row,
               int(bool(len(view.steps)) and len(view.evals) > 0 and view.steps.steps[-1] > view.evals.steps[-1]))  # fmt: skip
        if key == self._key:
            return self._costs
        saves: dict[int, float] = {}
        for entry in view.checkpoints[-8:]:
            step, seconds = _step(entry), entry.get("seconds")
            if step is not None and isinstance(seconds, int | float) and 0 <= seconds < 1e6:
                saves[step] = float(seconds)
        first = view.steps.steps[view.attempt_row] if len(view.steps) > view.attempt_row else 0
        evals = [s for s in _recent_steps(view.evals.steps) if s >= first][-RECENT:]
        costs = [cost for cost in (_pause(view, s, saves.get(s, 0.0)) for s in evals) if cost is not None]
        recent = list(saves.values())[-RECENT:]
        self._key = key
        self._costs = {
            "eval": statistics.median(costs) if costs else None,
            "save": statistics.median(recent) if recent else None,
        }
        return self._costs

    def _pause_steps(self, view: RunView, first: int) -> set[int]:
        """The steps from ``first`` on after which something was evaluated or saved."""
        evals = view.evals.steps
        found = set(evals[bisect_left(evals, first) :]) if len(evals) else set()
        for entry in reversed(view.checkpoints):
            step = _step(entry)
            if step is None or step < first:
                break
            found.add(step)
        return found

    def _done_of_phase(self, view: RunView, costs: dict[str, float | None], now: float | None) -> float:
        """Seconds of the evaluation or save under way that have passed already."""
        phase = view.phase
        kind = {"evaluating": "eval", "saving": "save"}.get(phase.name)
        cost = costs.get(kind) if kind else None
        if not cost or phase.since is None:
            return 0.0
        when = view.last_event if now is None else now
        return min(cost, max(0.0, (when or phase.since) - phase.since))


def _pause(view: RunView, step: int, saving: float) -> float | None:
    """Seconds between the end of ``step`` and the beginning of the next one, less those of a save."""
    steps = view.steps.steps
    row = bisect_left(steps, step)
    if row >= len(steps) or steps[row] != step:
        return None
    times, own = view.steps.column("time"), view.steps.column("step_seconds")
    if row + 1 < len(steps):
        count = max(1, steps[row + 1] - step)
        found = times[row + 1] - times[row] - own[row + 1] * count - saving
    else:
        evals = view.evals
        found = evals.column("time")[len(evals) - 1] - times[row]
    return max(0.0, found) if math.isfinite(found) else None


def _guess(view: RunView, step_seconds: float) -> float | None:
    """How long the first evaluation may take; ``None`` where its rows are not known."""
    data = view.run.get("data")
    entry = data.get("eval") if isinstance(data, dict) else None
    rows = _positive(entry.get("rows")) if isinstance(entry, dict) else None
    rate = view.steps.last("samples_per_second")
    if rows is None or not rate or not math.isfinite(rate) or rate <= 0:
        return None
    return min(rows / rate * FORWARD_SHARE, 3600 + 1000 * step_seconds)


def _recent_steps(steps: Sequence[int]) -> list[int]:
    return list(steps[-6:])


def _observed(done: Sequence[int]) -> int:
    """The usual distance between the last few, or from the beginning to the only one."""
    gaps = [b - a for a, b in itertools.pairwise(done) if b > a]
    return max(1, round(statistics.median(gaps))) if gaps else max(1, done[-1])


def _step(event: dict[str, Any]) -> int | None:
    return _positive(event.get("step"))


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
