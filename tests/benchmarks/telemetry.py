"""What the live telemetry adds to a step of recipe fastest: in one training it is there for a few steps, then not, in turn.

All rows have the same length, so that steps differ in nothing else. Only between two such rounds is everything waited for that
the GPU was given: within them the host may run ahead of it as it always does, and what the telemetry waits for counts. Each pair
of rounds (which one comes first alternates) gives one ratio; told are their mean and how sure it is. Target on a GPU: at most 0.5%.
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
from engine.preflight import check, updates
from engine.rundir import RunDir, write_json
from engine.worker.recorder import Recorder
from tests.support import read_events

# Steps of a round; those of the first rounds compile, record and fill caches.
ROUND, SKIPPED = 5, 4
# Tokens of an update, which rows are made for: none is shown twice.
UPDATE = updates.GOAL


def main() -> None:
    """Print the medians."""
    given = sys.argv[1:]
    model = given[0] if given else str(paths.sample_data_dir() / "tiny-qwen2")
    steps, tokens = (int(word) for word in (given[1:] + ["60", "600"][len(given[1:]) :]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CACHE_HOME"] = name
        rows = [{"messages": [{"role": "user", "content": f"Tell me of {number}."}, {"role": "assistant", "content": "so on " * 2 * tokens}]}
                for number in range(1000, 1160 + steps * (UPDATE // tokens + 1 if hardware.gpus() else 4))]  # fmt: skip
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
    ends: list[float] = []

    class InTurn(TrainerCallback):
        """Takes the telemetry out of the trainer, or puts it back, between two rounds."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step % ROUND:
                return
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            ends.append(time.perf_counter())
            there, callbacks = has_it(state.global_step // ROUND), trainer.callback_handler.callbacks
            telemetry._tap.attach() if there else telemetry._tap.detach()
            if there != (telemetry in callbacks):
                callbacks.append(telemetry) if there else callbacks.remove(telemetry)

    trainer.add_callback(InTurn())
    trainer.train()
    tell(
        [(b - a) / ROUND for a, b in itertools.pairwise(ends)],
        sum(event["type"] == "step" for event in read_events(run)),
    )


def has_it(number: int) -> bool:
    """Whether a round has the telemetry: yes, no, no, yes."""
    return number % 4 in (0, 3)


def tell(seconds: list[float], told: int) -> None:
    """``seconds``: a step's, of each round; the first ones are left out."""
    kept = {number: seconds[number] for number in range(SKIPPED, len(seconds))}
    one = statistics.median(value for number, value in kept.items() if has_it(number))
    two = statistics.median(value for number, value in kept.items() if not has_it(number))
    pairs = [
        (number, number + 1) if has_it(number) else (number + 1, number)
        for number in range(SKIPPED, len(seconds) - 1, 2)
    ]
    ratios = [kept[a] / kept[b] - 1 for a, b in pairs]
    sure = 1.96 * statistics.stdev(ratios) / len(ratios) ** 0.5
    print(f"with the telemetry a step takes {1000 * one:.3f} ms ({told} recorded), without {1000 * two:.3f} ms: {one / two - 1:+.2%}; "
          f"{len(ratios)} pairs of rounds of {ROUND} steps: {statistics.fmean(ratios):+.2%} ± {sure:.2%}, "
          f"median {statistics.median(ratios):+.2%}")  # fmt: skip


if __name__ == "__main__":
    main()
