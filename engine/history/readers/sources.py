"""A directory that another tool left: which of its files are read, and which of several logs is believed."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.history.readers import adapter, args, card, jsonlines, jsontext, results, tensorboard, trainer_state
from engine.history.readers.card import Card
from engine.history.readers.log import Figures, Log, figures, row_step
from engine.history.readers.numbers import number, positive, text
from engine.history.readers.place import LAST, Place, look_whole
from engine.history.readers.settings import data_text, is_secret, sort_out
from engine.history.readers.textfiles import Found, read
from engine.history.readers.tool import Signs

# Checkpoints that are tried when the newest tells nothing.
_TRIES = 3
MAX_PROBLEMS = 20
_CONFIG_LIMIT = 4 * 1024 * 1024
_OF_ADAPTERS = frozenset({"lora_r", "lora_alpha", "lora_dropout", "target_modules", "use_dora", "use_rslora", "bias"})
# A file as small as this may be a pointer to one elsewhere.
_POINTER = 1024


@dataclass(slots=True)
class Reading:
    """All that was read of a directory, before it is put in one row or one record."""

    place: Place
    log: Log | None = None
    figures: Figures = field(default_factory=Figures)
    settings: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    data: str | None = None
    signs: Signs = field(default_factory=Signs)
    ended: bool = False
    seconds: float | None = None
    started: float | None = None
    restarted: float | None = None
    finished: float | None = None
    modified: float = 0.0
    problems: list[str] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)

    def take(self, values: dict[str, Any], other: dict[str, Any], source: str) -> None:
        """Settings of one more file; what an earlier file said stands."""
        for mine, theirs in ((self.settings, values), (self.other, other)):
            for name, value in theirs.items():
                if name not in mine and name not in self.settings:
                    mine[name] = value
                    self.sources[name] = source

    def complain(self, name: str, problem: str) -> None:
        """One line on what could not be read."""
        line = " ".join(f"{name} {problem}".split())[:500]
        if problem and line not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(line)


def reading(path: Path, *, whole: bool) -> Reading:
    """Everything the files tell. ``whole`` reads every source; else only what a row of the list needs."""
    place = look_whole(path)
    found = Reading(place)
    found.complain("", place.problem and f"the directory {place.problem}")
    signs = found.signs
    signs.files = frozenset(place.files)
    _arguments(found)
    _adapter(found)
    _logs(found, whole=whole)
    _results(found)
    _card(found)
    _events(found)
    _choose(found)
    _base_model(found)
    _printed(found)
    signs.base_model = text(found.settings.get("base_model"))
    _unread(found)
    return found


def _open(found: Reading, name: str, limit: int = _CONFIG_LIMIT) -> Found | None:
    got = read(found.place.path / name, within=found.place.path, limit=limit)
    if got is not None and got.mtime > found.modified:
        found.modified = got.mtime
    return got


def _arguments(found: Reading) -> None:
    """What the training was started with."""
    for name in (*args.LLAMA_FACTORY, *args.SWIFT, args.BOARD, "training_args.json"):
        if not found.place.has(name):
            continue
        got = _open(found, name)
        if got is None:
            continue
        values, problem = args.read(got, name)
        found.complain(name, problem)
        if args.is_trainer(values):
            found.signs.trainer = True
            found.signs.of_arguments(values)
        if (name in args.LLAMA_FACTORY and (args.is_factory(values) or not values)) or name == args.BOARD:
            found.signs.factory = True
        elif name in args.SWIFT and values:
            if not args.is_swift(values) and not found.place.has(jsonlines.SWIFT):
                continue  # somebody's arguments for something else
            found.signs.swift = True
        _settings(found, values, name)


def _settings(found: Reading, values: dict[str, Any], source: str) -> None:
    found.data = found.data or data_text(values)
    ours, other = sort_out(values)
    if args.trains_whole(values):
        ours = {name: value for name, value in ours.items() if name not in _OF_ADAPTERS}
    found.take(ours, other, source)


def _adapter(found: Reading) -> None:
    """The adapter at the root, else that of the newest checkpoint, else one that stands in a folder below."""
    place = found.place
    names = [adapter.NAME] if place.has(adapter.NAME) else []
    names += [f"{name}/{adapter.NAME}" for _, name in reversed(place.checkpoints[-_TRIES:])]
    names += [f"{LAST}/{adapter.NAME}"] if LAST in place.folders else []
    names += [
        f"{name}/{adapter.NAME}"
        for name in sorted(place.folders)[:50]
        if name.startswith(("final", "best", "adapter", "lora"))
    ]
    for name in names:
        got = _open(found, name)
        if got is None:
            continue
        values, other, problem = adapter.read(got)
        found.complain(name, problem)
        if values or other:
            found.signs.unsloth |= bool(other.pop("unsloth_fixed", False))
            found.take(values, other, name)
            return


def _logs(found: Reading, *, whole: bool) -> None:
    """The logs of the trainer and of the tool around it."""
    place = found.place
    state_name = trainer_state.NAME
    top = None
    if place.has(state_name):
        top = _state(found, state_name)
    newest = place.checkpoints[-1][0] if place.checkpoints else -1
    if top is None or top.damaged or not top.whole or (top.step is not None and newest > top.step):
        for _, name in reversed(place.checkpoints[-_TRIES:]):
            log = _state(found, f"{name}/{state_name}")
            if log is not None and not log.damaged:
                break
    if not found.logs and LAST in place.folders:
        _state(found, f"{LAST}/{state_name}")
    for name in (jsonlines.LLAMA_FACTORY, jsonlines.SWIFT):
        if not place.has(name):
            continue
        info = place.files.get(name)
        spare = not whole and name == jsonlines.LLAMA_FACTORY and _is_complete(top)
        if spare and info is not None and info.st_size > _POINTER:  # the same rows once more
            found.signs.factory = True
            continue
        got = _open(found, name, limit=64 * 1024 * 1024)
        log, problem = jsonlines.read(got, name) if got is not None else (None, "")
        found.complain(name, problem)
        if log is None and problem == "is no log of a training":
            continue
        found.signs.factory |= name == jsonlines.LLAMA_FACTORY
        found.signs.swift |= name == jsonlines.SWIFT
        if log is not None:
            found.logs.append(log)


def _is_complete(log: Log | None) -> bool:
    return (
        log is not None and log.step is not None and log.total is not None and log.step >= log.total and bool(log.rows)
    )


def _state(found: Reading, name: str) -> Log | None:
    got = _open(found, name, limit=64 * 1024 * 1024)
    if got is None:
        return None
    log, state, problem = trainer_state.read(got, name)
    found.complain(name, problem)
    found.signs.trainer |= "is no state" not in problem
    if log is None:
        return None
    found.logs.append(log)
    values = {key: state.get(key) for key in ("logging_steps", "eval_steps", "save_steps", "train_batch_size")}
    if log.epochs is not None:
        values["num_train_epochs"] = int(log.epochs) if log.epochs == math.floor(log.epochs) else log.epochs
    for key in ("logging_steps", "eval_steps", "save_steps"):
        if (positive(values[key]) or 0) < 1:  # a share of all steps, or none
            values[key] = None
    found.take(sort_out(values)[0], {}, name)
    for key in ("best_metric", "best_model_checkpoint", "best_global_step", "total_flos", "num_input_tokens_seen"):
        if isinstance(state.get(key), str | int | float) and not is_secret(key, state[key]):
            found.take({}, {key: state[key]}, name)
    return log


def _results(found: Reading) -> None:
    for name in results.NAMES:
        if not found.place.has(name):
            continue
        got = _open(found, name)
        if got is None:
            continue
        values, problem = results.read(got)
        found.complain(name, problem)
        if values:
            found.signs.trainer = True
        for key, value in values.items():
            found.results.setdefault(key, value)
        found.ended |= results.ended(values)


def _card(found: Reading) -> None:
    if not found.place.has(card.NAME):
        return
    got = _open(found, card.NAME, limit=card.LIMIT)
    if got is None:
        return
    told = card.read(got)
    if told.problem and not found.place.has(trainer_state.NAME):
        found.complain(card.NAME, told.problem)
    if not (told.training or told.axolotl or found.place.has(adapter.NAME) or found.logs):
        return
    _from_card(found, told)


def _from_card(found: Reading, told: Card) -> None:
    signs = found.signs
    signs.tags, signs.words, signs.versions = told.tags, told.signs, told.versions
    signs.axolotl |= bool(told.axolotl)
    signs.trainer |= told.training
    found.versions.update(told.versions)
    if told.axolotl:
        values = dict(told.axolotl)
        _settings(found, values, card.NAME)
    _settings(found, told.settings, card.NAME)
    if told.base_model:
        found.take({"base_model": told.base_model}, {}, card.NAME)
    found.data = found.data or (", ".join(told.datasets)[:500] or None)
    if told.log is not None and not found.logs:
        found.logs.append(told.log)
    for key, value in told.results.items():
        found.results.setdefault(key, value)


def _events(found: Reading) -> None:
    """TensorBoard's files: read where nothing else tells as much."""
    best = max((log.step or 0 for log in found.logs if log.source != card.NAME), default=None)
    complete = any(_is_complete(log) for log in found.logs)
    paths = tensorboard.files(found.place.path)
    times = [time for time in map(tensorboard.begun, paths) if time]
    found.started, found.restarted = min(times, default=None), max(times, default=None)
    if not paths:
        return
    if best is not None and (complete or found.ended or any(log.ending for log in found.logs)):
        _texts(found, tensorboard.texts(paths))
        return
    events = tensorboard.read(paths)
    if events is None:
        return
    found.complain("", events.problem)
    if events.log.rows:
        found.logs.append(events.log)
        found.started, found.finished = events.log.started or found.started, events.log.ended
        found.modified = max([found.modified, *map(_mtime, paths)])
    _texts(found, events.texts)


def _texts(found: Reading, texts: dict[str, str]) -> None:
    """Arguments and model as a trainer writes them into its event file."""
    for tag, body in texts.items():
        if tag.startswith("args"):
            found.signs.trainer = True
            values = _json_text(body)
            found.signs.of_arguments(values)
            _settings(found, values, "TensorBoard")
        elif tag.startswith("model_config"):
            name = text(_json_text(body).get("_name_or_path"))
            if name:
                found.take({"base_model": name}, {}, "TensorBoard")


def _mtime(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _json_text(body: str) -> dict[str, Any]:
    """The JSON that a trainer puts into TensorBoard as text, sometimes as a block of Markdown."""
    start, end = body.find("{"), body.rfind("}")
    try:
        values = jsontext.loads(body[start : end + 1].encode()) if start >= 0 else {}
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _choose(found: Reading) -> None:
    """The most complete log counts; what only others know of the run's length is taken over."""
    ranked = [(_rank(log), -place, log) for place, log in enumerate(found.logs)]
    if not ranked:
        return
    found.log = max(ranked, key=lambda entry: entry[:2])[2]
    found.figures = figures(found.log)
    for log in found.logs:
        found.ended |= bool(log.ending) and (log.step or 0) >= (found.log.step or 0)
        for name, value in log.ending.items():
            plain = number(value)
            if plain is not None and name not in ("step", "epoch"):
                found.results.setdefault(name, plain)
        found.log.total = found.log.total or log.total
        found.log.epochs = found.log.epochs or log.epochs
        found.seconds = found.seconds or log.seconds
    found.signs.rows = found.log.rows
    for name in ("last_model_checkpoint", "best_model_checkpoint", "best_metric"):
        value = found.log.settings.get(name)
        if isinstance(value, str | int | float):
            found.take({}, {name: value}, found.log.source)


def _rank(log: Log) -> tuple[bool, bool, bool, int, int]:
    last: dict[str, Any] = next((row for row in reversed(log.rows) if row.get("loss") is not None), {})
    return not log.sampled, not log.damaged, log.whole or not log.rows, row_step(last) or -1, len(log.rows)


def _base_model(found: Reading) -> None:
    """A model's own configuration names what it was loaded from, in older versions; Unsloth's mark stands there too."""
    place = found.place
    names = ["config.json"] if place.has("config.json") else []
    for name in names + [f"{folder}/config.json" for _, folder in reversed(place.checkpoints[-1:])]:
        got = _open(found, name)
        if got is None or not got.data or got.partial:
            continue
        config = _json_text(got.data.decode("utf-8", "replace"))
        found.signs.unsloth |= "unsloth_version" in config or bool(config.get("unsloth_fixed"))
        base = text(config.get("_name_or_path"))
        if base and "base_model" not in found.settings:
            found.take({"base_model": base}, {}, name)


def _printed(found: Reading) -> None:
    """Axolotl saves the adapter first and prints its name: of a run that has only begun this is all that tells."""
    if found.signs.axolotl or found.logs or "debug.log" not in found.place.files:
        return
    got = read(found.place.path / "debug.log", limit=_CONFIG_LIMIT)
    if got is not None and b"axolotl" in got.data[: 1 << 16]:
        found.signs.axolotl = True


def _unread(found: Reading) -> None:
    """Files that are named, never opened."""
    if "training_args.bin" in found.place.files:
        found.signs.trainer = True
    for name in (trainer_state.NAME, adapter.NAME, jsonlines.LLAMA_FACTORY, jsonlines.SWIFT):
        if name in found.place.folders:
            found.complain(name, "is no regular file")
