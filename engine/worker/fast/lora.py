"""A frozen linear layer and its LoRA adapter as one step of the backward pass.

PEFT computes an adapter's part from a copy of the input in float32, keeps that copy and the dropout's mask, and launches
three times as many kernels. Here the input is kept once, as the layer got it, and dropout is drawn inside the kernels.
The formulas are those of arXiv 2106.09685 (y = W x + s B A x) and their derivatives.
"""

from __future__ import annotations

import importlib.util
import types
from typing import Any

import torch
from torch.nn import functional


class Seeds:
    """The number on the device from which dropout is drawn; set before each pass."""

    def __init__(self, device: torch.device) -> None:
        self.tensor = torch.zeros(1, dtype=torch.int64, device=device)

    def set(self, seed: int, step: int, part: int) -> None:
        """One number for each seed, optimizer step and pass: a run that goes on draws what it would have drawn."""
        self.tensor.fill_((seed * 1_000_003 + step * 8191 + part * 131_071_001) & 0x7FFFFFFF)


class _LoraLinear(torch.autograd.Function):
    """y = x Wᵀ + bias + scale · dropout(x) Aᵀ Bᵀ, for a frozen W. ``p`` is the share that is dropped."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, a: torch.Tensor, b: torch.Tensor,
                scale: float, p: float, seed: torch.Tensor | None, salt: int) -> torch.Tensor:  # fmt: skip
        shape = x.shape
        x = x.reshape(-1, shape[-1]).to(weight.dtype).contiguous()
        a, b = a.to(x.dtype), (b * scale).to(x.dtype)
        y = functional.linear(x, weight, bias)
        if p:
            from engine.worker.fast.lora_kernels import dropped_down

            assert seed is not None
            h = dropped_down(x, a, seed, salt, p)
        else:
            h = x @ a.t()
        y.addmm_(h, b.t())
        ctx.save_for_backward(x, weight, a, b, h, seed)
        ctx.settings = scale, p, salt, shape
        return y.view(*shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        x, weight, a, b, h, seed = ctx.saved_tensors
        scale, p, salt, shape = ctx.settings
        dy = dy.reshape(-1, dy.shape[-1]).to(x.dtype)
        db = (dy.t() @ h).float() * scale
        dh = dy @ b
        dx = dy @ weight
        if p:
            from engine.worker.fast.lora_kernels import add_dropped_up, dropped_weight

            add_dropped_up(dx, dh, a, seed, salt, p)
            da = dropped_weight(x, dh, seed, salt, p)
        else:
            dx.addmm_(dh, a)
            da = (dh.t() @ x).float()
        return dx.view(shape), None, None, da, db, None, None, None, None


def fuse(model: Any, seeds: Seeds | None) -> int:
    """Let all plain LoRA layers of a PEFT model compute this way while they train; returns how many that are.

    Left alone: quantised and tied-in layers, DoRA and other variants, biases on the adapter, several adapters, and layers
    with dropout where ``seeds`` is ``None`` or their rank does not suit the kernels.
    """
    count = 0
    for module in model.modules():
        p = _suits(module)
        if p is None or (p and (seeds is None or not _drawable(module))):
            continue
        count += 1
        _replace(module, p, seeds, count)
    return count


def can_draw() -> bool:
    """Whether the kernels of the dropout can be used."""
    return torch.cuda.is_available() and importlib.util.find_spec("triton") is not None


def _replace(module: Any, p: float, seeds: Seeds | None, salt: int) -> None:
    plain = module.forward
    a, b, scale, base = module.lora_A["default"], module.lora_B["default"], module.scaling["default"], module.base_layer
    seed = seeds.tensor if seeds is not None else None

    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.training or self.disable_adapters or self.merged or args or kwargs:
            return plain(x, *args, **kwargs)
        return _LoraLinear.apply(x, base.weight, base.bias, a.weight, b.weight, scale, p, seed, salt * 7919)

    module.forward = types.MethodType(forward, module)


def _suits(module: Any) -> float | None:
    """The dropout of a layer that can be computed in one step; ``None`` where it cannot."""
    from peft.tuners.lora.layer import Linear

    if (
        type(module) is not Linear
        or type(module.base_layer) is not torch.nn.Linear
        or list(module.lora_A) != ["default"]
    ):
        return None
    if module.lora_variant or module.fan_in_fan_out or module.lora_bias.get("default") or module.merged:
        return None
    if module.base_layer.weight.requires_grad or (
        module.base_layer.bias is not None and module.base_layer.bias.requires_grad
    ):
        return None
    dropout = module.lora_dropout["default"]
    return float(dropout.p) if isinstance(dropout, torch.nn.Dropout) else 0.0


def _drawable(module: Any) -> bool:
    """The kernels multiply tiles whose sides are powers of two."""
    rank = module.lora_A["default"].weight.shape[0]
    return 16 <= rank <= 256 and rank & (rank - 1) == 0
