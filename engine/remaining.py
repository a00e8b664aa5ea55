"""How long a run will still take: the pace of its steps, and the evaluations and saves that are to come.

A step counts as long as it took, whatever came between steps; an evaluation or save counts as long as the last few of
its kind took, as often as it will still come. So the estimate does not jump when one of them is over. Before the first
evaluation, its length is guessed from its rows at a third of the training speed's cost a row. Where the model is asked
``sample_prompts``, its answers belong to the evaluation; without evaluation data they are one of their own, at every save.
"""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.events import number

if TYPE_CHECKING:
    from engine.view import RunView

# How many steps the pace is taken from: a fifth of those done, in these bounds.
FEWEST, MOST = 200, 1000
# The first steps compile and warm up: they count only while there are few others.
WARM_UP = 25
# A step of more than so many medians (a machine that slept, a debugger) counts as a usual one.
OUTLIER = 10.0
RECENT = 3
# No estimate is worth more: some figure in the record is none.
MOST_SECONDS = 1e10
# A forward pass is about a third of a training step's work, and needs no backward pass's memory traffic.
FORWARD_SHARE = 0.33


@dataclass(slots=True)
class Pace:
    """Kept beside a view, so that what does not change is found out once."""

    _key: tuple[int, ...] | None = None
    _costs: dict[str, float | None] = field(default_factory=dict)
    _step: float | None = None
    _step_key: tuple[int, int, int] = (-1, -1, -1)

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
        under_way = _whole_of_phase(view, now) if view.phase.name == "evaluating" else None
        if under_way is not None:
            evaluation = under_way if costs["eval"] is None else evaluation
        seconds = left * step + evals * (evaluation or 0.0) + saves * (costs["save"] or 0.0)
        costs = {"eval": evaluation, "save": costs["save"]}
        known = seconds < MOST_SECONDS  # which no NaN is
        return max(0.0, seconds - self._done_of_phase(view, costs, now)) if known else None

    def steps_left(self, view: RunView) -> int | None:
        """Optimizer steps to come, ``None`` if the total is not known."""
        return max(0, view.total_steps - view.step) if view.total_steps else None

    def step_seconds(self, view: RunView) -> float | None:
        """Mean seconds of the recent steps without evaluations and saves; two steps of this attempt are needed."""
        rows = len(view.steps) - view.attempt_row
        if rows < 2:
            return None
        window = min(rows - 1 - min(WARM_UP, rows // 4), max(FEWEST, min(MOST, rows // 5)))
        # A few more steps change the mean of many hardly: it is found anew once a twentieth of them is new.
        key = (view.attempt_row, view.steps.rewrites, len(view.steps) // max(1, window // 20))
        if key != self._step_key:
            self._step_key, self._step = key, self._mean(view, window)
        return self._step

    def _mean(self, view: RunView, window: int) -> float | None:
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
        usual = statistics.median(found)
        return statistics.fmean(value if value <= OUTLIER * usual or not usual else usual for value in found)

    # -- how often --------------------------------------------------------------------------------------------------

    def evals_to_come(self, view: RunView) -> int:
        """Evaluations until the end, one that is under way among them."""
        config = view.config
        has_data = bool(config.get("eval_path") or config.get("eval_fraction"))
        every = _positive(config.get("eval_steps")) if has_data or not _asks(view) else None
        if every is None and (has_data or _asks(view)):
            every = _positive(config.get("save_steps"))
        done = _evaluated(view)
        if view.phase.name == "evaluating" and every is None and not done and view.step:
            return max(1, round((view.total_steps or 0) / view.step))  # the first one tells how often they may come
        return _to_come(view, every, done)

    def saves_to_come(self, view: RunView) -> int:
        """Checkpoints until the end, one that is being written among them."""
        done = [step for step in (_step(entry) for entry in view.checkpoints[-6:]) if step is not None]
        return _to_come(view, _positive(view.config.get("save_steps")), done)

    # -- how long ---------------------------------------------------------------------------------------------------

    def _pauses(self, view: RunView) -> dict[str, float | None]:
        """Seconds of an evaluation and of a save, from the last few of each; ``None`` before the first."""
        done = _evaluated(view)
        key = (len(view.evals), len(view.checkpoints), view.evals.rewrites, view.steps.rewrites, view.attempt_row,
               *done[-1:], int(bool(len(view.steps)) and bool(done) and view.steps.steps[-1] > done[-1]))  # fmt: skip
        if key == self._key:
            return self._costs
        saves: dict[int, float] = {}
        for entry in view.checkpoints[-8:]:
            step, seconds = _step(entry), entry.get("seconds")
            if step is not None and isinstance(seconds, int | float) and 0 <= seconds < 1e6:
                saves[step] = float(seconds)
        first = view.steps.steps[view.attempt_row] if len(view.steps) > view.attempt_row else 0
        evals = [s for s in done if s >= first][-RECENT:]
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
        if phase.name == "evaluating":
            cost, over = costs["eval"], _evaluated(view)[-1:] >= [view.step]
        elif phase.name == "saving":
            cost, over = costs["save"], bool(view.checkpoints) and (_step(view.checkpoints[-1]) or 0) >= view.step
        else:
            return 0.0
        if not cost or over or phase.since is None:
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
        # A save comes after an evaluation, but before answers that are one of their own.
        found = _end_of(view, step) - times[row] - (0.0 if len(view.evals) else saving)
    return max(0.0, found) if math.isfinite(found) else None


def _asks(view: RunView) -> bool:
    """Whether the model answers prompts."""
    return bool(view.config.get("sample_prompts"))


def _evaluated(view: RunView) -> list[int]:
    """The steps after which the last few evaluations were done, answers and all."""
    done = list(view.evals.steps[-7:])
    if not done:
        done = list(dict.fromkeys(step for step in map(_step, view.samples) if step is not None))
    if done and _asks(view) and view.phase.name == "evaluating" and done[-1] >= view.step:
        done.pop()  # it still answers
    return done[-6:]


def _end_of(view: RunView, step: int) -> float:
    """When the newest evaluation, that after ``step``, was over; NaN if that is not known."""
    ends = [view.evals.column("time")[len(view.evals) - 1]] if len(view.evals) else []
    if view.samples and _step(view.samples[-1]) == step:
        ends.append(number(view.samples[-1].get("time")) or math.nan)
    return max((end for end in ends if math.isfinite(end)), default=math.nan)


def _guess(view: RunView, step_seconds: float) -> float | None:
    """How long the first evaluation may take; ``None`` where its rows are not known."""
    data = view.run.get("data")
    entry = data.get("eval") if isinstance(data, dict) else None
    rows = _positive(entry.get("rows")) if isinstance(entry, dict) else None
    rate, own = view.steps.last("samples_per_second"), view.steps.last("step_seconds")
    samples = rate * own if rate is not None and own is not None else math.nan  # of one step
    if rows is None or not math.isfinite(samples) or samples <= 0:
        return None
    return rows * step_seconds / samples * FORWARD_SHARE


def _whole_of_phase(view: RunView, now: float | None) -> float | None:
    """How long the evaluation under way will take as a whole, once a tenth of it, or of its answers, is done."""
    phase, when = view.phase, view.last_event if now is None else now
    if phase.since is None or when is None or not phase.done or not phase.total or phase.done < 0.1 * phase.total:
        return None
    begun = phase.since
    if _asks(view) and len(view.evals) and view.evals.steps[-1] >= view.step:
        begun = max(begun, view.evals.column("time")[len(view.evals) - 1])  # what is counted now are the answers
    return begun - phase.since + max(0.0, when - begun) * phase.total / min(phase.done, phase.total)


def _to_come(view: RunView, every: int | None, done: list[int]) -> int:
    """How many times something will still be done: by the settings, else as often as it was done so far.

    Trainers save and, where they evaluate at every save, evaluate after the last step, too.
    """
    total, step = view.total_steps, view.step
    if not total or step > total:
        return 0
    begun = view.steps.steps[view.attempt_row] if len(view.steps) > view.attempt_row else step
    last = done[-1] if done else 0
    if every is not None and last < -(-begun // every) * every < step:
        every = None  # the settings say that it should have been done by now, and it was not
    if every is None:
        if not done:
            return 0
        every, origin = _observed(done), last
    else:
        origin = 0
    open_now = last < step and (step == total or (step - origin) % every == 0)
    count = (total - origin) // every - (step - origin) // every
    if (total - origin) % every and step < total:
        count += 1
    return max(0, count) + int(open_now)


def _observed(done: Sequence[int]) -> int:
    """The usual distance between the last few, or from the beginning to the only one."""
    gaps = [b - a for a, b in itertools.pairwise(done) if b > a]
    return max(1, round(statistics.median(gaps))) if gaps else max(1, done[-1])


def _step(event: dict[str, Any]) -> int | None:
    return _positive(event.get("step"))


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
