"""What the live telemetry adds to a step of recipe fastest: one trainer, with and without its callback in turn, same rows in the same order.

Steps of rounds with it are compared with the same steps of rounds without, pair by pair. Target on a GPU: at most 0.5%.
Run: python -m tests.benchmarks.telemetry [MODEL [DATA [STEPS [ROUNDS]]]] (the sample's without; the folder of
``tests.benchmarks.throughput`` holds a 7 B-shaped model and rows)
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import paths
from engine.config import parse
from engine.launchers.local import _record
from engine.preflight import check
from engine.rundir import RunDir, write_json
from engine.worker.recorder import Recorder

# The first steps of a round compile, record and fill caches.
SKIPPED = 8


def main() -> None:
    """Print the medians."""
    given = sys.argv[1:]
    sample = paths.sample_data_dir()
    model, data = (given + [str(sample / "tiny-qwen2"), str(sample / "train.jsonl")][len(given[:2]) :])[:2]
    steps, rounds = (int(word) for word in (given[2:] + ["30", "4"][len(given[2:]) :]))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CACHE_HOME"] = folder
        measure(Path(folder) / "run", model, data, steps, rounds)


def measure(folder: Path, model: str, data: str, steps: int, rounds: int) -> None:
    """Train the same steps in every round; the first round is thrown away."""
    from engine.worker import libraries

    libraries.load()
    import torch
    from transformers import TrainerCallback

    from engine.worker.train import Training

    config = parse({"base_model": model, "train_path": data, "output_dir": str(folder), "recipe": "fastest", "max_steps": str(steps),
                    "save_steps": "100000", "assistant_only_loss": "false", "lora_alpha": "32"})  # fmt: skip
    run = RunDir(folder)
    run.make()
    write_json(run.run_json, _record(run, config, None, check(config), None), 0o600)
    training = Training(run, Recorder(run))
    training.recorder.start_beating()
    trainer = training.set_up()
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter())

    trainer.add_callback(Clock())
    telemetry = training.callback
    others = [callback for callback in trainer.callback_handler.callbacks if callback is not telemetry]
    times: dict[bool, list[list[float]]] = {True: [], False: []}
    for number in range(rounds + 1):
        with_it = number % 2 == 1
        trainer.callback_handler.callbacks = [telemetry, *others] if with_it else list(others)
        seconds.clear()
        trainer.train()
        each = [b - a for a, b in itertools.pairwise(seconds)][SKIPPED:]
        if number:
            times[with_it].append(each)
    pairs = [(statistics.fmean(one), statistics.fmean(two)) for one, two in zip(zip(*times[True], strict=True), zip(*times[False], strict=True), strict=True)]  # fmt: skip
    added = [one - two for one, two in pairs]
    without = statistics.median(two for _, two in pairs)
    print(f"{len(pairs)} steps of {rounds} rounds: median {1000 * without:.2f} ms without, {1000 * statistics.median(one for one, _ in pairs):.2f} "
          f"with; the same step takes {1e6 * statistics.median(added):+.0f} µs more, {statistics.median(added) / without:+.2%}")  # fmt: skip


if __name__ == "__main__":
    main()
