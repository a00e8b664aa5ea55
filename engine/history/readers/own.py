"""Our own run directories: the row with what the list shows besides, and the record whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engine.checkpoints import checkpoints
from engine.events import decode, number
from engine.history.readers.log import SPARKS, sparks
from engine.history.readers.place import look, total_bytes
from engine.history.record import Curves, RunRecord
from engine.history.summary import RunSummary, summarise
from engine.records import is_time, sane_run, sane_status
from engine.rundir import RunDir
from engine.snapshot import RunFollower

# A short stream is read whole for its sparkline, of a long one as many samples as are drawn.
_SHORT = 128 * 1024
_SAMPLE = 2048


def summary(path: Path) -> RunSummary | None:
    """The row of a run of ours, with everything the list can show."""
    made = summarise(path)
    if made is None:
        return None
    try:
        _more(made, RunDir(path))
    except (OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        made.problems.append(f"not all of its record can be read: {type(error).__name__}")
    return made


def _more(made: RunSummary, rundir: RunDir) -> None:
    run, status = sane_run(rundir.read_run())[0], sane_status(rundir.read_status())[0]
    config = run.get("config") or {}
    made.learning_rate, made.lora_alpha = number(config.get("learning_rate")), number(config.get("lora_alpha"))
    made.num_train_epochs = number(config.get("num_train_epochs"))
    for name in ("lora_r", "batch_size", "max_seq_length"):
        value = config.get(name)
        setattr(made, name, value if type(value) is int else None)
    data = config.get("train_path")
    made.dataset = data if isinstance(data, str) and data else None
    made.epoch = number(status.get("epoch"))
    made.tags = [tag for tag in rundir.read_notes().get("tags") or [] if isinstance(tag, str)]
    place = look(rundir.path)
    made.checkpoints = len(place.checkpoints)
    times = [info.st_mtime for info in look(rundir.meta).files.values()]
    made.modified = max(times, default=None)
    if made.started is not None and (made.ended or made.modified):
        end = made.ended or made.modified
        made.seconds = max(0.0, (end or 0.0) - made.started) + made.seconds_before
    made.bytes = total_bytes(rundir.path)
    if not made.sparkline:
        made.sparkline = _sparkline(rundir.events)


def _sparkline(events: Path) -> list[float]:
    """Losses here and there in a stream of any length, the newest among them."""
    try:
        fd = os.open(events, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        size = os.fstat(fd).st_size
        if size <= _SHORT:
            losses = _losses(os.pread(fd, _SHORT, 0))
        else:
            losses = []
            for place in range(SPARKS):
                start = (size - _SAMPLE) * place // (SPARKS - 1)
                losses += _losses(os.pread(fd, _SAMPLE, start))[-1:]
    except OSError:
        return []
    finally:
        os.close(fd)
    return sparks(losses)


def _losses(data: bytes) -> list[float]:
    found = []
    for line in data.split(b"\n"):
        if line.startswith(b'{"type":"step"'):
            loss = number((decode(line) or {}).get("loss"))
            if loss is not None:
                found.append(loss)
    return found


def record(path: Path) -> RunRecord | None:
    """Everything that a run of ours tells; reads its streams to their ends."""
    made = summary(path)
    if made is None:
        return None
    view = RunFollower(path).read_all()
    run = view.run
    config = {name: value for name, value in view.config.items() if isinstance(name, str)}
    versions = run.get("versions") if isinstance(run.get("versions"), dict) else {}
    if view.damaged:
        made.problems.append("1 damaged line in its events was skipped" if view.damaged == 1
                             else f"{view.damaged} damaged lines in its events were skipped")  # fmt: skip
    log = RunDir(path).train_log
    return RunRecord(
        summary=made,
        settings=config,
        sources=dict.fromkeys(config, ".tunedeck/run.json"),
        auto=_mapping(run.get("auto")),
        data=_mapping(run.get("data")),
        versions={str(name): str(value) for name, value in _mapping(versions).items()},
        results=_results(made),
        steps=_curves(view.steps),
        evals=_curves(view.evals),
        checkpoints=checkpoints(path),
        samples=list(view.samples),
        notices=[
            {"time": n.time, "level": n.level, "text": n.text, "kind": n.kind or None, "step": n.step}
            for n in view.notices
        ],
        command=str(run.get("command") or ""),
        log=log if log.is_file() else None,
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _results(made: RunSummary) -> dict[str, float]:
    known = {"train_runtime": made.seconds if is_time(made.ended) else None}
    return {name: value for name, value in known.items() if value is not None}


def _curves(table: Any) -> Curves:
    """A table of the event stream as curves: a NaN that was logged is a value, a missing one is none."""
    steps = table.steps[:]
    columns = {name: table.column(name)[:] for name in table.names() if name != "time"}
    epochs = columns.pop("epoch", None)
    marks = {name: set(table.nonfinite[name]) for name in columns if table.marked(name)}
    tokens = columns.get("num_tokens")
    return Curves.of_columns(
        {"step": steps, "epoch": epochs, "tokens": tokens, "time": table.column("time")[:]},
        columns,
        marks,
    )
