"""What can be asked of a run in a list: one table for filters, sorting, columns and exported rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.history.summary import RunSummary

TEXT, NUMBER, COUNT, TIME, SECONDS, BYTES, TAGS = "text", "number", "count", "time", "seconds", "bytes", "tags"
NUMERIC = frozenset({NUMBER, COUNT, TIME, SECONDS, BYTES})


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a run: ``get`` returns its value, ``None`` if it is unknown.

    ``kind`` is text, number, count, time (Unix seconds), seconds, bytes or tags. ``measured`` numbers have more digits
    than people type: they are compared as far as they were typed.
    """

    name: str
    title: str
    kind: str
    get: Callable[[RunSummary], Any]
    help: str
    aliases: tuple[str, ...] = ()
    measured: bool = False

    @property
    def numeric(self) -> bool:
        """Whether values have an order as numbers."""
        return self.kind in NUMERIC


def _date(run: RunSummary) -> float | None:
    """When it was begun; of runs that do not tell, when their files last changed."""
    return run.started or run.created or run.ended or run.modified


def _seconds(run: RunSummary) -> float | None:
    if run.seconds is not None:
        return run.seconds
    before = run.seconds_before or None
    if run.started is None or run.state == "queued":
        return before
    end = run.ended or ((time.time() if run.here else run.heard) if run.live else None)
    return before if end is None else max(0.0, end - run.started) + run.seconds_before


def _text(name: str) -> Callable[[RunSummary], str | None]:
    read = attrgetter(name)
    return lambda run: read(run) or None


_ALL = (
    Field("id", "id", TEXT, _text("id"), "the run's id"),
    Field("name", "name", TEXT, _text("name"), "the run's name"),
    Field("tool", "tool", TEXT, _text("tool"), "what trained it: tunedeck, trl, llama-factory, …"),
    Field("state", "state", TEXT, _text("state"), "completed, running, failed, …", ("status",)),
    Field("model", "model", TEXT, _text("base_model"), "the base model", ("base_model", "base")),
    Field("step", "step", COUNT, attrgetter("step"), "steps done", ("steps_done",)),
    Field("steps", "steps", COUNT, attrgetter("total_steps"), "steps in all", ("total_steps", "total", "max_steps")),
    Field("epoch", "epoch", NUMBER, attrgetter("epoch"), "epochs done", measured=True),
    Field("epochs", "epochs", NUMBER, attrgetter("num_train_epochs"), "epochs in all", ("num_train_epochs",)),
    Field("loss", "loss", NUMBER, attrgetter("last_loss"), "the last training loss", ("last_loss", "last"), True),
    Field("best", "best", NUMBER, attrgetter("best_loss"), "the smallest training loss", ("best_loss",), True),
    Field("eval", "eval", NUMBER, attrgetter("last_eval_loss"), "the last evaluation's loss",
          ("eval_loss", "last_eval_loss", "last_eval"), True),
    Field("best_eval", "best eval", NUMBER, attrgetter("best_eval_loss"), "the smallest loss of an evaluation",
          ("best_eval_loss",), True),
    Field("points", "points", COUNT, attrgetter("points"), "logged rows of training", ("rows", "logged")),
    Field("lr", "rate", NUMBER, attrgetter("learning_rate"), "the learning rate", ("learning_rate", "rate")),
    Field("r", "r", COUNT, attrgetter("lora_r"), "the rank of LoRA", ("lora_r", "rank")),
    Field("alpha", "alpha", NUMBER, attrgetter("lora_alpha"), "alpha of LoRA", ("lora_alpha",)),
    Field("batch", "batch", COUNT, attrgetter("batch_size"), "samples at once on a GPU", ("batch_size",)),
    Field("length", "length", COUNT, attrgetter("max_seq_length"), "tokens of a sample at most",
          ("max_seq_length", "max_length", "seq")),
    Field("data", "data", TEXT, _text("dataset"), "the training data", ("dataset", "train_path")),
    Field("seconds", "time", SECONDS, _seconds, "how long it trained", ("time", "duration", "took", "elapsed")),
    Field("created", "created", TIME, attrgetter("created"), "when it was made", ("made",)),
    Field("started", "started", TIME, attrgetter("started"), "when its training began", ("begun",)),
    Field("ended", "ended", TIME, attrgetter("ended"), "when its training ended", ("finished",)),
    Field("modified", "modified", TIME, attrgetter("modified"), "when its files last changed", ("changed", "mtime")),
    Field("date", "date", TIME, _date, "when it was begun, or else last changed", ("when", "day")),
    Field("bytes", "size", BYTES, attrgetter("bytes"), "how much disk it takes", ("size",)),
    Field("checkpoints", "checkpoints", COUNT, attrgetter("checkpoints"), "checkpoints that stand", ("checkpoint", "ckpts")),
    Field("tags", "tags", TAGS, lambda run: run.tags or None, "your tags", ("tag",)),
    Field("host", "host", TEXT, _text("host"), "the machine that it ran on", ("machine",)),
    Field("path", "path", TEXT, _text("path"), "its directory", ("dir", "directory")),
    Field("root", "root", TEXT, _text("root"), "the folder below which it was found", ("folder", "below")),
    Field("reason", "reason", TEXT, _text("reason"), "why it ended", ("why",)),
    Field("problems", "problems", TEXT, lambda run: "; ".join(run.problems) or None, "what could not be read", ("problem",)),
)  # fmt: skip

FIELDS: dict[str, Field] = {field.name: field for field in _ALL}
NAMES: dict[str, Field] = {name: field for field in _ALL for name in (*field.aliases, field.name)}


def find(name: str) -> Field | None:
    """The field that a person means: by name or alias, in any case, hyphens as good as underscores."""
    return NAMES.get(name.casefold().replace("-", "_"))


def near(name: str, others: tuple[str, ...] = ()) -> list[str]:
    """Names of fields that look like a mistyped one, the likeliest first."""
    import difflib

    found = difflib.get_close_matches(name.casefold().replace("-", "_"), [*others, *NAMES], n=5, cutoff=0.6)
    names = [NAMES[one].name if one in NAMES else one for one in found]
    return list(dict.fromkeys(names))[:3]


def sort_key(field: Field, *, reverse: bool = False) -> Callable[[RunSummary], tuple[int, Any]]:
    """Orders runs by a field; NaN and unknown values come last, also when the list is then sorted in reverse."""
    get = field.get
    known, odd, unknown = (2, 1, 0) if reverse else (0, 1, 2)

    def number(run: RunSummary) -> tuple[int, Any]:
        value = get(run)
        if value is None:
            return unknown, 0.0
        return (known, value) if value == value else (odd, 0.0)

    def text(run: RunSummary) -> tuple[int, Any]:
        value = get(run)
        if not value:
            return unknown, ""
        return known, (value if isinstance(value, str) else ", ".join(value)).casefold()

    return number if field.numeric else text
