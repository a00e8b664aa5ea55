"""What ``RunCallback`` adds to a training step of 20 ms: the same trainer with and without it, in turn, in one run.

    python -m tests.benchmarks.callback_cost

The model computes a little and then waits until 20 ms are over, so that the figures do not depend on the machine's
arithmetic. Medians over all steps of several rounds; the target is at most 1%.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("XDG_STATE_HOME", tempfile.mkdtemp())
STEP_SECONDS, STEPS, ROUNDS = 0.020, 120, 5


def build(folder: Path, with_callback: bool) -> tuple[Any, list[float]]:
    """A trainer of a small model, and the list that its step times go to."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from engine.worker.callback import RunCallback

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ends.append(time.perf_counter())

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(64, 64)

        def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
            until = time.perf_counter() + STEP_SECONDS
            loss = (self.layer(x) - 1).square().mean()
            while time.perf_counter() < until:
                pass
            return {"loss": loss}

    arguments = TrainingArguments(str(folder), max_steps=STEPS, logging_steps=10, per_device_train_batch_size=4,
                                  save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False)  # fmt: skip
    rows = [{"x": torch.randn(64), "labels": torch.tensor(0)} for _ in range(64)]
    callbacks: list[Any] = [Clock(), *([RunCallback()] if with_callback else [])]
    from transformers import PrinterCallback

    trainer = Trainer(model=Model(), args=arguments, train_dataset=rows, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    return trainer, ends


def main() -> None:
    """Print the table."""
    times: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            for with_callback in (False, True) if number % 2 else (True, False):
                trainer, ends = build(Path(folder) / f"{number}-{with_callback}", with_callback)
                trainer.train()
                times[with_callback] += [b - a for a, b in itertools.pairwise(ends[5:])]
    without, with_it = statistics.median(times[False]), statistics.median(times[True])
    print(f"{'':<18}{'median step':>14}{'steps':>8}")
    print(f"{'without':<18}{without * 1000:>11.3f} ms{len(times[False]):>8}")
    print(f"{'with RunCallback':<18}{with_it * 1000:>11.3f} ms{len(times[True]):>8}")
    print(f"cost {1e6 * (with_it - without):.0f} µs a step: {100 * (with_it / without - 1):.2f}% (target: at most 1%)")


if __name__ == "__main__":
    main()
