"""``python -P -m engine.worker DIR``: the training process of one run, started by its supervisor."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from engine import status as states
from engine.rundir import RunDir
from engine.worker.recorder import Recorder

EXIT_FAILED, EXIT_STOPPED, EXIT_TERMINATED = 1, 130, 143


class Terminated(BaseException):
    """SIGTERM before there was a step that could be finished."""


def main() -> int:
    """Train the run of a prepared directory; returns the exit code the supervisor judges by."""
    run = RunDir(sys.argv[1])
    record = run.read_run()
    if record is None:
        print(f"{run.path} holds no run", file=sys.stderr)
        return 2
    config = record["config"]
    attempt = int(os.environ.get("TUNEDECK_ATTEMPT", "1"))
    recorder = Recorder(run, attempt=attempt, share=config["share"])
    recorder.start_beating()
    recorder.phase("loading")
    if Path(config["base_model"]).is_dir():
        # Everything is local: without this, transformers asks the hub and waits where there is no network.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    code = _train(run, recorder, config)
    recorder.close()
    return code


def _train(run: RunDir, recorder: Recorder, config: dict[str, object]) -> int:
    training = None

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        if training is not None and training.begun:
            training.callback.request_stop("stopped by SIGTERM")
        else:
            raise Terminated

    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        from engine.worker.train import Training

        training = Training(run, recorder)
        state, reason = training.run()
    except Terminated:
        recorder.write("state", state=states.STOPPED, reason="stopped on request before the first step")
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        recorder.write("state", state=states.STOPPED, reason="stopped at once on request")
        return EXIT_STOPPED
    except BaseException as error:
        traceback.print_exc()
        from engine.worker.failure import explain

        step = training.callback.step if training is not None else 0
        recorder.write("state", state=states.FAILED, reason=explain(error, step, config))
        return EXIT_FAILED
    recorder.write("state", state=state, reason=reason)
    return 0 if state == states.COMPLETED else EXIT_STOPPED


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
