"""All columns that the list can show: how each is titled, written and ordered by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs
from tui.runlist.values import STATE_RANK, begun, elapsed, folder, state_words

if TYPE_CHECKING:
    from engine.history import RunSummary

Value = float | str | None
STATE_WIDTH = (11, 19)
STEPS_WIDTH = (7, 13)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``width`` cells at least, up to ``most``; narrow lists leave out columns of a high ``rank`` first.

    ``value`` is what the list can be ordered by, ``None`` if unknown; ``falling`` says that the largest are usually
    wanted first.
    """

    key: str
    title: str
    about: str
    width: int
    rank: int
    text: Callable[[RunSummary, float], str]
    value: Callable[[RunSummary], Value]
    most: int = 0
    right: bool = False
    cut: str = "end"
    colour: str = "text"
    falling: bool = False


def _words(text: str | None) -> str:
    return clean(text, 300) if text else glyphs().dash


def _folded(text: str | None) -> str | None:
    return text.casefold() if text else None


def _share(run: RunSummary) -> float | None:
    return fmt.share(run.step, run.total_steps)


def _epochs(run: RunSummary) -> str:
    done, total = (None if value is None else f"{value:.3g}" for value in (run.epoch, run.num_train_epochs))
    return glyphs().dash if done is None else done if total is None else f"{done}/{total}"


def _fall(run: RunSummary) -> float | None:
    """What is left of the loss: runs that fell most stand first."""
    values = [value for value in run.sparkline if value == value]
    return values[-1] / values[0] if len(values) > 1 and values[0] else None


# The table of fields stands in engine.history, which the first screen is too early to load: attributes are named here.


def _text(key: str, about: str, title: str = "", attribute: str = "", width: int = 14, most: int = 30, rank: int = 20,
          cut: str = "end", colour: str = "muted") -> Column:  # fmt: skip
    get = attrgetter(attribute or key)
    return Column(key, title or key, about, width, rank, lambda run, now: _words(get(run)), lambda run: _folded(get(run)),
                  most=most, cut=cut, colour=colour)  # fmt: skip


def _number(key: str, title: str, attribute: str, about: str, write: Callable[[float | None], str], width: int = 7,
            rank: int = 20, falling: bool = False) -> Column:  # fmt: skip
    get = attrgetter(attribute)
    return Column(key, title, about, width, rank, lambda run, now: write(get(run)), get, right=True, falling=falling)


def _moment(key: str, about: str) -> Column:
    get = attrgetter(key)
    return Column(key, key, about, 8, 20, lambda run, now: fmt.clock(get(run), now), get, right=True, colour="muted",
                  falling=True)  # fmt: skip


def _digits(count: int) -> Callable[[float | None], str]:
    return lambda value: fmt.number(value, count)


_ALL = (
    Column("state", "state", "how it stands", STATE_WIDTH[0], 0, lambda run, now: state_words(run),
           lambda run: STATE_RANK.get(run.state, 9)),
    Column("name", "name", "the run's name", 14, 0, lambda run, now: clean(run.name, 300), lambda run: run.name.casefold(),
           most=44, cut="middle"),
    Column("model", "model", "the base model", 13, 4, lambda run, now: clean(fmt.model_name(run.base_model), 200),
           lambda run: _folded(fmt.model_name(run.base_model) if run.base_model else None), most=30, colour="muted"),
    _text("tool", "what trained it", width=13, most=13, rank=6),
    Column("curve", "curve", "the shape of the training loss; live runs draw on", 8, 3, lambda run, now: "", _fall, most=16),
    Column("progress", "", "steps done, as a bar", 8, 9, lambda run, now: "", _share, falling=True),
    Column("step", "step", "steps done, and of how many", STEPS_WIDTH[0], 0, lambda run, now: fmt.steps(run.step, run.total_steps),
           lambda run: run.step, right=True, falling=True),
    _number("loss", "loss", "last_loss", "the last training loss", fmt.loss, rank=1),
    _number("best", "best", "best_loss", "the smallest training loss", fmt.loss, rank=8),
    _number("best_eval", "best eval", "best_eval_loss", "the smallest loss of an evaluation", fmt.loss, 10, rank=2),
    _number("eval", "eval", "last_eval_loss", "the last evaluation's loss", fmt.loss),
    Column("seconds", "time", "how long it worked", 7, 7, lambda run, now: fmt.duration(elapsed(run, now)),
           lambda run: elapsed(run, run.heard or run.started or 0.0), right=True, falling=True),
    Column("started", "date", "when it was begun, or else last changed", 7, 5, lambda run, now: fmt.clock(begun(run), now),
           begun, right=True, colour="muted", falling=True),
    _moment("ended", "when its training ended"),
    _moment("modified", "when its files last changed"),
    Column("epoch", "epochs", "epochs done, and of how many", 8, 20, lambda run, now: _epochs(run), lambda run: run.epoch, right=True,
           falling=True),
    _number("lr", "rate", "learning_rate", "the learning rate", fmt.rate),
    _number("r", "r", "lora_r", "the rank of LoRA", fmt.count, 4, falling=True),
    _number("alpha", "alpha", "lora_alpha", "alpha of LoRA", _digits(4), 6, falling=True),
    _number("batch", "batch", "batch_size", "samples at once on a GPU", fmt.count, 6, falling=True),
    _number("length", "length", "max_seq_length", "tokens of a sample at most", fmt.count, 7, falling=True),
    _text("data", "the training data", attribute="dataset", width=16, most=40, cut="start"),
    Column("tags", "tags", "your tags", 10, 20, lambda run, now: _words(", ".join(run.tags)),
           lambda run: _folded(", ".join(run.tags)), most=24),
    _number("points", "points", "points", "logged rows of training", fmt.count, 8, falling=True),
    _number("checkpoints", "saved", "checkpoints", "checkpoints that stand", fmt.count, 6, falling=True),
    _number("bytes", "size", "bytes", "how much disk it takes", fmt.size, 8, falling=True),
    _text("reason", "why it ended", "why", width=16, most=60),
    Column("problems", "problems", "what could not be read", 16, 20, lambda run, now: _words("; ".join(run.problems)),
           lambda run: _folded("; ".join(run.problems)), most=60, colour="warning"),
    _text("host", "the machine that it ran on", width=8, most=16),
    Column("root", "folder", "the folder below which it was found", 16, 20, lambda run, now: clean_path(folder(run)),
           folder, most=40, cut="start", colour="muted"),
    Column("path", "path", "its directory", 20, 20, lambda run, now: clean_path(run.path), lambda run: run.path, most=60,
           cut="start", colour="muted"),
    _text("id", "its id", width=21, most=21),
)  # fmt: skip
COLUMNS = {column.key: column for column in _ALL}
