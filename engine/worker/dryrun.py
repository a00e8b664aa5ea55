"""``python -P -m engine.worker.dryrun``: the first steps of a run that is not started, for :mod:`engine.rehearsal`.

One JSON object on standard input: ``settings`` (a run's, with absolute paths), ``folder`` (an empty one that is removed) and
``code`` (what ``run.json`` would keep of the model's own code). One object a line on standard output: ``{"phase", "done",
"total"}`` as it goes, then once ``{"result"}`` or ``{"error": {"kind", "message", "hint", "needed"}}``. When standard input
ends, whoever asked has gone: everything is removed and the process ends at once.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

from engine.events import finite
from engine.rundir import RunDir, write_json
from engine.text import clean
from engine.worker.recorder import Recorder

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_ASKED = re.compile(r"Tried to allocate ([\d.]+) ([KMGT]iB)")
_FREE = re.compile(r"of which ([\d.]+) ([KMGT]iB) is free")
_NEVER = 1_000_000_000
# What would write somewhere, report to somebody, or end or lengthen the few steps.
_WITHOUT = {"num_train_epochs": 1, "save_steps": _NEVER, "eval_steps": _NEVER, "logging_steps": 1, "report_to": None,
            "notify": None, "on_end": None, "sample_prompts": None, "load_best_model_at_end": False,
            "early_stopping_patience": None, "save_total_limit": None, "share": "private", "run_name": None,
            "on_nonfinite": "continue"}  # fmt: skip


class Answer:
    """The pipe to whoever asked, and what is being done now."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self.phase = ""

    def tell(self, phase: str, done: float | None = None, total: float | None = None) -> None:
        """What is being done, and how far it is."""
        self.phase = phase
        self.give(phase=phase, done=int(done or 0), total=int(total or 0))

    def give(self, **body: Any) -> None:
        """One line."""
        data = json.dumps(finite(body), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            with self._lock:
                self._pipe.write(data)
                self._pipe.flush()
        except OSError:
            pass  # the end of standard input says the same, and clears up


class Quiet(Recorder):
    """Takes what a run would record: phases are told, the rest goes to the log at most."""

    def __init__(self, run: RunDir, answer: Answer) -> None:
        self.run, self.attempt, self.rank, self._answer = run, 1, 0, answer

    def write(self, type: str, **fields: Any) -> bool:
        """Nothing is recorded."""
        return True

    def notice(self, text: str, level: str = "info", **more: Any) -> None:
        """To the log."""
        print(text, flush=True)

    def phase(self, name: str, done: float | None = None, total: float | None = None) -> None:
        """Pass it on."""
        self._answer.tell(name, done, total)

    def start_beating(self) -> None:
        """Nobody takes this for a run that hangs."""

    def close(self) -> None:
        """Nothing is open."""


def main() -> NoReturn:
    """Answer one question, then end."""
    begun = time.monotonic()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pipe = os.fdopen(0, "rb", closefd=False)
    request = json.loads(pipe.readline())
    folder = Path(request["folder"])
    threading.Thread(target=_end_with, args=(pipe, folder), name="tunedeck-asker", daemon=True).start()
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched for a dry run
    answer = Answer(out)
    settings = {**request["settings"], **_WITHOUT, "output_dir": str(folder / "out")}
    try:
        answer.give(result=_rehearse(settings, request.get("code"), answer, begun))
    except BaseException as error:
        traceback.print_exc()
        answer.give(error=explained(error, settings, answer.phase))
    shutil.rmtree(folder, ignore_errors=True)
    sys.stderr.flush()
    os._exit(0)  # CUDA libraries are known to crash in the interpreter's own clearing up


def _end_with(pipe: IO[bytes], folder: Path) -> None:
    """Wait until whoever asked has gone, then leave nothing: no process, no file, no memory of the GPU."""
    while pipe.read(1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # processes that load data, too
    os._exit(0)


def _rehearse(settings: dict[str, Any], code: Any, answer: Answer, begun: float) -> dict[str, Any]:
    answer.tell("loading")
    from engine.worker import libraries

    libraries.load()
    from engine.worker.rehearsing import Rehearsing

    run = RunDir(settings["output_dir"])
    run.make()
    write_json(run.run_json, {"id": "dry-run", "config": settings, **({"code": code} if code else {})}, durable=False)
    found = Rehearsing(run, Quiet(run, answer)).rehearse(begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "host_peak": peak * 1024 or None}


def explained(error: BaseException, settings: dict[str, Any], phase: str) -> dict[str, Any]:
    """What a dry run ended with, in words; ``needed`` are the bytes of GPU memory that it wanted at least, if it was that."""
    from engine.worker.failure import CannotTrain, explain

    text = explain(error, 0, settings)
    if text.startswith("out of GPU memory"):
        return _out_of_memory(str(error), phase)
    if text.startswith("out of host memory"):
        message = f"runs out of this machine's own memory {_WHEN.get(phase, 'while ' + phase)}"
        return {
            "kind": "out-of-memory",
            "message": message,
            "hint": "Free memory, or take a smaller model",
            "needed": None,
        }
    kind = "cannot-train" if isinstance(error, CannotTrain) else "failed"
    return {"kind": kind, "message": clean(text, 500), "hint": "", "needed": None}


_WHEN = {"loading": "while the model is loaded", "training": "in a step over the longest rows",
         "compiling": "in a step over the longest rows",
         "evaluating": "in a batch of the evaluation"}  # fmt: skip


def _out_of_memory(text: str, phase: str) -> dict[str, Any]:
    import torch

    asked, free = _bytes(_ASKED, text), _bytes(_FREE, text)
    try:
        held = int(torch.cuda.max_memory_allocated())
    except Exception:  # CUDA did not even start
        held = 0
    told = [f"it held {_size(held)}"] if held else []
    told += [f"asked for {_size(asked)} more"] if asked else []
    told += [f"{_size(free)} were free"] if free is not None else []
    message = f"runs out of GPU memory {_WHEN.get(phase, 'while ' + phase)}"
    return {"kind": "out-of-memory", "message": message + (f": {', '.join(told)}" if told else ""),
            "hint": "Lower batch_size or max_seq_length, or set load_in_4bit", "needed": held + (asked or 0) or None}  # fmt: skip


def _bytes(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return None if match is None else int(float(match.group(1)) * _UNITS[match.group(2)])


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
