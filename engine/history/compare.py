"""What differs between runs, and which did best.

Only what is known is compared: a setting that some runs do not tell differs only if two of those that tell it disagree.
Data are the same if their digests are, whatever they are called.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from engine.errors import InputError, Problem
from engine.history.record import RunRecord
from engine.history.summary import RunSummary

BY = ("best", "last", "smoothed")
WEIGHT = 0.9
GROUPS = ("settings", "data", "versions")
# What names a run or came out of it, and is no choice of anybody's; data are compared by digest, not by path.
_NAMES = frozenset({"output_dir", "run_name", "train_path", "eval_path", "logging_dir", "hub_model_id", "overwrite_output_dir",
                    "config_file", "timestamp", "add_version", "inference_mode"})  # fmt: skip
_OUTCOMES = frozenset({"total_flos", "num_input_tokens_seen", "best_metric", "best_model_checkpoint", "best_global_step",
                       "local_rank"})  # fmt: skip
_HIGHER = ("accuracy", "acc", "bleu", "rouge", "f1", "reward", "rewards", "margin", "margins", "precision", "recall",
           "chrf", "meteor", "pass", "score")  # fmt: skip
_SUMMARY = {"loss": ("best_loss", "last_loss"), "eval_loss": ("best_eval_loss", "last_eval_loss")}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing and what each run says of it; ``None`` where a run does not tell."""

    group: str
    name: str
    values: tuple[Any, ...]

    @property
    def told_by_all(self) -> bool:
        """Whether every run tells it."""
        return all(value is not None for value in self.values)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A run's place; ``None`` without the metric, or where no run has a number.

    ``value`` may be NaN; ``note`` says what must be known of it.
    """

    place: int | None
    run: int
    value: float | None
    step: float | None
    note: str = ""


@dataclass(slots=True)
class Comparison:
    """``differences`` are certain; ``partial`` is told by some runs only, who agree; ``same`` by all, who agree."""

    runs: list[RunSummary]
    metric: str
    by: str
    weight: float
    differences: list[Difference] = field(default_factory=list)
    partial: list[Difference] = field(default_factory=list)
    same: list[Difference] = field(default_factory=list)
    ranking: list[Ranked] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The document of ``compare --json``."""
        return {
            "runs": [run.as_dict() for run in self.runs],
            "metric": self.metric,
            "by": self.by,
            "smoothing": self.weight if self.by == "smoothed" else None,
            "higher_is_better": higher_is_better(self.metric),
            **{name: [{"group": d.group, "name": d.name, "values": list(d.values)} for d in getattr(self, name)]
               for name in ("differences", "partial", "same")},
            "ranking": [{"place": r.place, "id": self.runs[r.run].id, "name": self.runs[r.run].name,
                         "path": self.runs[r.run].path, "value": r.value, "step": r.step, "note": r.note or None}
                        for r in self.ranking],
        }  # fmt: skip


def compare(
    records: Sequence[RunRecord], metric: str = "eval_loss", by: str = "best", weight: float = WEIGHT
) -> Comparison:
    """Compare runs; ``weight`` is that of :func:`smooth`. Raises :class:`InputError` for a ``by`` that is none."""
    if by not in BY:
        raise InputError(Problem("bad-ranking", f"runs can be ranked by {', '.join(BY)}, not by {by!r}"))
    result = Comparison([record.summary for record in records], metric, by, weight)
    for group, tables in _tables(records).items():
        names = dict.fromkeys(name for table in tables for name in table)
        for name in names:
            shown, keys = zip(*(table.get(name, (None, None)) for table in tables), strict=True)
            found = Difference(group, name, shown)
            known = [key for key in keys if key is not None]
            if not known:
                continue
            if any(_disagree(a, b) for a, b in combinations(known, 2)):
                result.differences.append(found)
            else:
                (result.same if found.told_by_all else result.partial).append(found)
    result.ranking = _rank([_value(record, metric, by, weight) for record in records], higher_is_better(metric))
    return result


def metrics(records: Iterable[RunRecord]) -> list[str]:
    """What runs can be ranked by: metrics that one of them has, the losses first."""
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys([*record.evals.names, *record.steps.names]))
        for name, fields in _SUMMARY.items():
            if any(getattr(record.summary, field) is not None for field in fields):
                names[name] = None
    first = [name for name in _SUMMARY if name in names]
    return [*sorted(first), *(name for name in names if name not in _SUMMARY)]


def smooth(ys: Iterable[float], weight: float = WEIGHT) -> array[float]:
    """The exponential average with its start corrected: ``weight`` 0 changes nothing, towards 1 it follows slower.

    What is not finite leaves the average as it is and comes out as NaN.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"a weight is from 0 up to 1, not {weight}")
    out, average, mass = array("d"), 0.0, 0.0
    for y in ys:
        if math.isfinite(y):
            average = weight * average + (1 - weight) * y
            mass = weight * mass + (1 - weight)
            out.append(average / mass)
        else:
            out.append(math.nan)
    return out


def higher_is_better(metric: str) -> bool:
    """Whether more of it is better, by its name: accuracies and rewards, but nothing that ends in loss."""
    words = metric.lower().replace("/", "_").replace("-", "_").split("_")
    return "loss" not in words and any(word in _HIGHER or word.startswith("rouge") for word in words)


# The ranking.


def _value(record: RunRecord, metric: str, by: str, weight: float) -> tuple[float | None, float | None, str]:
    """A run's figure, at which step, and what must be known of it."""
    curves = record.evals if metric in record.evals.names else record.steps
    values = curves.values(metric)
    if not len(values):
        return _without_curve(record, metric, by)
    steps, paired = curves.pair(metric, "step")
    steps = steps if len(paired) == len(values) else array("d", [math.nan]) * len(values)
    bad = sum(not math.isfinite(value) for value in values)
    note = f"{bad} of {len(values)} values are no numbers" if bad else ""
    if by == "best":
        finite = [place for place, value in enumerate(values) if math.isfinite(value)]
        if not finite:
            return values[-1], _step(steps[-1]), note
        choose: Callable[..., int] = max if higher_is_better(metric) else min
        place = choose(finite, key=lambda place: values[place])
        return values[place], _step(steps[place]), note
    if by == "smoothed":
        return smooth(values, weight)[-1], _step(steps[-1]), note
    return values[-1], _step(steps[-1]), note


def _without_curve(record: RunRecord, metric: str, by: str) -> tuple[float | None, float | None, str]:
    """What was written of a metric without its curve."""
    best, last = _SUMMARY.get(metric, ("", ""))
    value = getattr(record.summary, best if by == "best" else last, None) if best else None
    if value is None:
        value = record.results.get(metric)
    if value is None:
        return None, None, f"has no {metric}"
    return value, None, "its curve is not known" if by == "smoothed" else ""


def _step(step: float) -> float | None:
    return None if math.isnan(step) else step


def _rank(found: list[tuple[float | None, float | None, str]], higher: bool) -> list[Ranked]:
    """Best first, equal ones in one place; then those that are no number, then those without the metric.

    Without any number there are no places.
    """

    def key(run: int) -> tuple[int, float]:
        value = found[run][0]
        if value is None:
            return 3, 0.0
        if not math.isfinite(value):
            return (2 if math.isnan(value) else 1), 0.0
        return 0, -value if higher else value

    out: list[Ranked] = []
    order = sorted(range(len(found)), key=key)
    for position, run in enumerate(order):
        value, step, note = found[run]
        place: int | None = position + 1
        if value is None or key(order[0])[0]:
            place = None  # where none has a number, nobody is best
        elif out and key(run) == key(order[position - 1]):
            place = out[-1].place
        out.append(Ranked(place, run, value, step, note))
    return out


# The differences. Each run is a table of name -> (what is shown, what is compared).

Told = dict[str, tuple[Any, Any]]


def _tables(records: Sequence[RunRecord]) -> dict[str, list[Told]]:
    settings = [_settings(record) for record in records]
    return {
        "settings": settings,
        "data": [_data(record) for record in records],
        "versions": [{n: (v, str(v)) for n, v in record.versions.items() if v is not None} for record in records],
    }


def _settings(record: RunRecord) -> Told:
    out: Told = {}
    for name, value in [*record.settings.items(), *record.other.items()]:
        if name in _NAMES or name in _OUTCOMES or name in out:
            continue
        chosen = record.auto.get(name)
        if value == "auto" and isinstance(chosen, dict) and chosen.get("value") is not None:
            value = chosen["value"]
        # None is told by those who know all their settings; in what others left it is a gap.
        if value is None and (record.summary.tool != "tunedeck" or name not in record.settings):
            continue
        out[name] = ("none" if value is None else value, _plain(value, name))
    if "base_model" not in out and record.summary.base_model:
        out["base_model"] = (record.summary.base_model, _plain(record.summary.base_model, "base_model"))
    return out


def _plain(value: Any, name: str = "") -> Any:
    """A value so that equal ones are equal however they were written: ``8``, ``8.0`` and ``"8"``, lists in any order."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(float(value)) if abs(value) < 1 << 53 else str(value)
    if isinstance(value, str):
        text = value.strip()
        try:
            return _number(float(text))
        except ValueError:
            return text.lower() if text.lower() in ("true", "false", "none") else text.rstrip("/") or text
    if isinstance(value, list | tuple | set):
        parts = [str(_plain(part)) for part in value]
        return "\n".join(sorted(parts) if name in ("target_modules", "modules_to_save", "report_to") else parts)
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def _number(value: float) -> str:
    return "nan" if value != value else repr(value)


@dataclass(frozen=True, slots=True)
class _Data:
    """What data are known by."""

    digest: str | None
    name: str


def _disagree(a: Any, b: Any) -> bool:
    """Whether two runs say different things; of data whose digest one of them does not tell the names decide."""
    if isinstance(a, _Data) and isinstance(b, _Data):
        if a.digest and b.digest:
            return a.digest != b.digest
        known_by_digest = bool(a.digest or b.digest)
        return _last_name(a.name) != _last_name(b.name) if known_by_digest else a.name != b.name
    return bool(a != b)


def _data(record: RunRecord) -> Told:
    out: Told = {}
    for name in dict.fromkeys(["train", "eval", *record.data]):
        found = record.data.get(name)
        if found is None and name in ("train", "eval"):
            found = record.settings.get(f"{name}_path")
            if found is None and name == "train":
                found = record.summary.dataset
        if isinstance(found, dict):
            out[name] = _described(found)
        elif found is not None and found != "":
            out[name] = (found, _Data(None, str(_plain(found))))
    return {name: told for name, told in out.items() if told[0]}


def _described(found: dict[str, Any]) -> tuple[str, _Data]:
    """A file of data in words: its name, rows and digest."""
    digest, path, rows = found.get("sha256"), found.get("path"), found.get("rows")
    known = digest.lower() if isinstance(digest, str) and digest else None
    about = ", ".join(
        [*([f"{rows} rows"] if isinstance(rows, int) else []), *([f"sha256 {known[:12]}"] if known else [])]
    )
    label = _last_name(str(path or "").rstrip("/"))
    return f"{label} ({about})".strip() if about else label, _Data(known, str(_plain(path or "")))


def _last_name(path: str) -> str:
    return path.rpartition("/")[2]
