"""What the live telemetry adds to a step of recipe fastest: at every other step of one training it is there, at the others not.

All rows have the same length, so that steps differ in nothing else; each step ends with everything done that the GPU was given.
Target on a GPU: at most 0.5%.
Run: python -m tests.benchmarks.telemetry [MODEL [STEPS [TOKENS]]] (the sample's model without; TOKENS of a row)
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import hardware, paths
from engine.config import parse
from engine.launchers.local import _record
from engine.preflight import check
from engine.rundir import RunDir, write_json
from engine.worker.recorder import Recorder
from tests.support import read_events

# The first steps compile, record and fill caches.
SKIPPED = 12


def main() -> None:
    """Print the medians."""
    given = sys.argv[1:]
    model = given[0] if given else str(paths.sample_data_dir() / "tiny-qwen2")
    steps, tokens = (int(word) for word in (given[1:] + ["60", "600"][len(given[1:]) :]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CACHE_HOME"] = name
        rows = [{"messages": [{"role": "user", "content": f"Tell me of {number}."}, {"role": "assistant", "content": "so on " * 2 * tokens}]}
                for number in range(1000, 3000 if hardware.gpus() else 1160)]  # fmt: skip
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        measure(folder, model, steps, tokens)


def measure(folder: Path, model: str, steps: int, tokens: int) -> None:
    """Train ``steps`` updates over rows that are cut at ``tokens``."""
    from engine.worker import libraries

    libraries.load()
    import torch
    from transformers import TrainerCallback

    from engine.worker.train import Training

    config = parse({"base_model": model, "train_path": str(folder / "rows.jsonl"), "output_dir": str(folder / "run"), "recipe": "fastest",
                    "max_steps": str(steps), "max_seq_length": str(tokens), "save_steps": "100000", "assistant_only_loss": "false",
                    "logging_steps": "1000000"})  # fmt: skip
    run = RunDir(folder / "run")
    run.make()
    write_json(run.run_json, _record(run, config, None, check(config), None), 0o600)
    training = Training(run, Recorder(run))
    training.recorder.start_beating()
    trainer, telemetry = training.set_up(), training.callback
    begun: list[float] = []

    class EveryOther(TrainerCallback):
        """Takes the telemetry out of the trainer, or puts it back, between two steps."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            there, callbacks = state.global_step % 2 == 0, trainer.callback_handler.callbacks
            telemetry._tap.attach() if there else telemetry._tap.detach()
            if there != (telemetry in callbacks):
                callbacks.append(telemetry) if there else callbacks.remove(telemetry)
            begun.append(time.perf_counter())

    trainer.add_callback(EveryOther())
    trainer.train()
    seconds = [b - a for a, b in itertools.pairwise(begun)]
    with_it, without = seconds[SKIPPED::2], seconds[SKIPPED + 1 :: 2]
    one, two = statistics.median(with_it), statistics.median(without)
    told = sum(1 for event in read_events(run) if event["type"] == "step")
    print(f"{len(with_it)} steps with the telemetry ({told} recorded): median {1000 * one:.3f} ms; {len(without)} without: {1000 * two:.3f} ms; "
          f"{1e6 * (one - two):+.0f} µs, {one / two - 1:+.2%}")  # fmt: skip


if __name__ == "__main__":
    main()
