"""Attention of samples that lie end to end in one row: none sees another, and no mask of all against all is made.

While :func:`apart` is in force, flash attention for rows of any length (``torch.nn.attention.varlen``) is used on a GPU
that has it, and one call for each sample elsewhere. At all other times (evaluation, generation) it is transformers' SDPA.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

NAME = "tunedeck_varlen"


@dataclass(slots=True)
class Borders:
    """Where samples begin: ``starts`` on the device (int32, one more than samples), ``longest`` at least the longest sample.

    ``lengths`` are the samples' lengths where they are known on the host; only the call for each sample needs them.
    """

    starts: torch.Tensor
    longest: int
    lengths: list[int] | None = None


class _Current:
    borders: Borders | None = None


@contextlib.contextmanager
def apart(borders: Borders) -> Iterator[None]:
    """Rows are samples end to end with these borders; holds for forward and backward (recomputed layers look here too)."""
    before, _Current.borders = _Current.borders, borders
    try:
        yield
    finally:
        _Current.borders = before


def register() -> None:
    """Make it known to transformers as ``attn_implementation`` :data:`NAME`."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def has_flash(dtype: torch.dtype) -> bool:
    """Whether this machine's GPU and this number format have flash attention for rows of any length."""
    if not torch.cuda.is_available() or dtype not in (torch.bfloat16, torch.float16):
        return False
    return torch.cuda.get_device_capability() >= (8, 0) and bool(_parameters())


def no_mask(device: Any) -> torch.Tensor:
    """Given as ``attention_mask``, transformers hands it through as it is: nothing is computed, nothing waited for."""
    return torch.ones((1, 1, 1, 1), dtype=torch.bool, device=device)


def _parameters() -> tuple[str, ...]:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return ()
    return tuple(inspect.signature(varlen_attn).parameters)


def _attention(module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any,
               dropout: float = 0.0, scaling: float | None = None, sliding_window: int | None = None,
               **kwargs: Any) -> tuple[torch.Tensor, None]:  # fmt: skip
    """As transformers calls it: (batch, heads, tokens, width) each; returns (batch, tokens, heads, width)."""
    borders = _Current.borders
    if borders is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if kwargs.get("softcap") is not None or dropout or query.shape[0] != 1:
        raise ValueError(
            "attention with a soft cap or dropout, or of several rows, cannot be computed for samples end to end"
        )
    window = sliding_window if sliding_window is not None and sliding_window < borders.longest else None
    if has_flash(query.dtype) and query.is_cuda:
        return _flash(query[0], key[0], value[0], borders, scaling, window).unsqueeze(0), None
    return _one_by_one(query, key, value, borders, scaling, window), None


def _flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scaling: float | None,
           window: int | None) -> torch.Tensor:  # fmt: skip
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    more: dict[str, Any] = {"scale": scaling, "window_size": (-1 if window is None else window - 1, 0)}
    if "enable_gqa" in _PARAMETERS:  # before it was there, fewer heads of keys were simply taken
        more["enable_gqa"] = query.shape[1] != key.shape[1]
    starts, longest = borders.starts, borders.longest
    return varlen_attn(query, key, value, starts, starts, longest, longest, **more)


def _one_by_one(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scaling: float | None,
                window: int | None) -> torch.Tensor:  # fmt: skip
    lengths = borders.lengths if borders.lengths is not None else borders.starts.diff().tolist()
    out, begin = [], 0
    for length in lengths:
        if not length:
            continue
        q, k, v = (part[:, :, begin : begin + length] for part in (query, key, value))
        mask = None
        if window is not None and window < length:
            place = torch.arange(length, device=query.device)
            back = place[:, None] - place[None, :]
            mask = (back >= 0) & (back < window)
        out.append(functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling,
                                                           enable_gqa=query.shape[1] != key.shape[1]))  # fmt: skip
        begin += length
    return torch.cat(out, dim=2).transpose(1, 2).contiguous()


_PARAMETERS = _parameters()
