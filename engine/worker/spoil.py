"""Keeps a step that is no number from reaching the adapter."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

from engine.checkpoints import checkpoints
from engine.worker.health import values


def gradient_scaler(trainer: Any) -> Any:
    """The scaler of fp16 training, which skips steps whose gradients overflow; ``None`` without one."""
    scaler = getattr(getattr(trainer, "accelerator", None), "scaler", None)
    return scaler if scaler is not None and scaler.is_enabled() else None


def spoilt(trainer: Any, optimizer: Any) -> bool:
    """Whether the step that is about to be taken would bring what is no number into the weights.

    Looks at the loss of the step and, unless a gradient scaler does that, at the largest gradient.
    """
    loss = getattr(trainer, "_tr_loss", None)
    if loss is not None and not math.isfinite(loss.item()):
        return True
    return gradient_scaler(trainer) is None and not math.isfinite(largest_gradient(optimizer))


def largest_gradient(optimizer: Any) -> float:
    """The largest absolute value of all gradients, NaN if one is NaN, 0 if there are none."""
    import torch

    gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
    if not gradients:
        return 0.0
    # The largest, not the sum of squares, which overflows where no gradient does.
    largest = torch.nn.utils.get_total_norm(gradients, math.inf)
    return float(largest.full_tensor() if hasattr(largest, "full_tensor") else largest)


def drop_gradients(trainer: Any, optimizer: Any) -> None:
    """Take the gradients away, so that the optimizer's step changes neither weights nor its own state."""
    if gradient_scaler(trainer) is not None:
        with contextlib.suppress(RuntimeError):  # done already, in most cases
            # Without this the scaler would look for gradients at its step, and fail.
            trainer.accelerator.unscale_gradients()
    for parameter in _parameters(optimizer):
        parameter.grad = None


def last_good(output_dir: str | Path, step: int, run_id: str | None) -> str:
    """Where to go on from after a spoilt ``step``, in words."""
    good = [c for c in checkpoints(Path(output_dir))
            if c.valid and c.finite is not False and c.step < step and c.run in (None, run_id)]  # fmt: skip
    return f"the last good checkpoint is {good[-1].path.name}" if good else "there is no good checkpoint yet"


def reason(step: int, loss: float | None, grad_norm: float | None, good: str) -> str:
    """Why a run ended whose step was spoilt; ``good`` as of :func:`last_good`."""
    what = "gradient" if loss is not None and math.isfinite(loss) else "loss"
    figures = f" ({values(loss, grad_norm)})" if loss is not None else ""
    return f"the {what} is not a number at step {step}{figures}: stopped before the adapter was changed; {good}"


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
