"""``python -P -m engine.worker DIR``: the training process of one run, started by its supervisor."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

from engine import status as states
from engine.rundir import RunDir, write_json
from engine.worker import ranks
from engine.worker.recorder import Recorder

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_STOPPED, EXIT_TERMINATED = 1, 2, 130, 143


class Terminated(BaseException):
    """SIGTERM before there was a step that could be finished."""


def main() -> NoReturn:
    """Train the run of a prepared directory; leaves with the exit code the supervisor judges by."""
    keep_descriptors_here()
    # At once and really by the signal, whatever code runs: the supervisor sees it and knows whether it was asked for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    run = RunDir(sys.argv[1])
    record = run.read_run()
    if record is None:
        print(f"{run.path} holds no run", file=sys.stderr)
        leave(EXIT_BAD_INPUT)
    config = record["config"]
    rank, _ = ranks.here()
    attempt = int(os.environ.get("TUNEDECK_ATTEMPT") or 1)
    recorder = Recorder(run, attempt=attempt, share=config["share"], rank=rank)
    recorder.start_beating()
    recorder.phase("loading")
    if Path(config["base_model"]).is_dir():
        # Everything is local: without this, transformers asks the hub and waits where there is no network.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    code, state, reason = _train(run, recorder, config)
    leave(code, recorder, state, reason)


def keep_descriptors_here() -> None:
    """Let no process that this one starts inherit the run's lock and the queue's slots: it might outlive the run."""
    for word in os.environ.pop("TUNEDECK_LOCK_FDS", "").split(","):
        try:
            os.set_inheritable(int(word), False)
        except (ValueError, OSError):
            pass


def _train(run: RunDir, recorder: Recorder, config: dict[str, object]) -> tuple[int, str, str]:
    """Train; returns exit code, state and reason."""
    training = None

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        if training is not None and training.begun:
            training.callback.request_stop()
        else:
            raise Terminated

    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        from engine.worker import libraries

        libraries.load()
        ranks.join()
        from engine.worker.train import Training

        training = Training(run, recorder)
        state, reason = training.run()
    except Terminated:
        return EXIT_TERMINATED, states.STOPPED, "stopped on request before the first step"
    except BaseException as error:
        _print_trace()
        from engine.worker.failure import explain

        if training is not None:
            training.callback.answer_rest("refused: training failed")
        reason = explain(error, training.callback.step if training is not None else 0, config)
        _leave_word(recorder, states.FAILED, reason, ranks.missed_another(error))
        return EXIT_FAILED, states.FAILED, reason
    return 0 if state == states.COMPLETED else EXIT_STOPPED, state, reason


def _print_trace() -> None:
    rank, count = ranks.here()
    text = traceback.format_exc()
    if count > 1:
        text = "".join(f"[rank {rank}] {line}\n" for line in text.splitlines())
    print(text, file=sys.stderr, end="", flush=True)


def _leave_word(recorder: Recorder, state: str, reason: str, missed: bool) -> None:
    """Of several processes each says why it failed, and whether it only missed another: the supervisor finds the first cause."""
    if ranks.here()[1] <= 1:
        return
    word = {"attempt": recorder.attempt, "state": state, "reason": reason, "missed_another": missed}
    with contextlib.suppress(OSError):
        share = str((recorder.run.read_run() or {}).get("config", {}).get("share"))
        write_json(recorder.run.meta / f"rank-{recorder.rank}.json", word, recorder.run.file_mode(share))


def leave(code: int, recorder: Recorder | None = None, state: str = "", reason: str = "") -> NoReturn:
    """Close everything, say the last word, and end without the interpreter's own clearing up.

    CUDA libraries are known to crash there, which would make a killed run of a completed one.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end is near, and what it is stands already
    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    if recorder is not None:
        recorder.write("state", state=state, reason=reason)
        recorder.close()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)


if __name__ == "__main__":
    main()
