"""Triton kernels of an adapter's dropout: drawn where it is used, from a seed on the device, and never stored.

The three kernels draw the same mask for the same seed, salt and place, so the backward pass needs no copy of it; a CUDA
graph that is replayed draws a new one each time, since the seed is read from memory.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

_ROWS, _COLUMNS = 64, 128
# Programs that keep a large card busy: two for each of 132 multiprocessors.
_PROGRAMS = 264
SMALLEST_RANK = 16


@triton.jit
def _kept(seed, first_row, first_column, columns_in_all, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Which elements of a tile are kept. One Philox call (ten rounds) decides on eight, 16 bits each."""
    rows = first_row + tl.arange(0, ROWS)
    eighths = first_column // 8 + tl.arange(0, COLUMNS // 8)
    place = rows[:, None] * ((columns_in_all + 7) // 8) + eighths[None, :]
    a, b, c, d = tl.randint4x(seed, place)
    low = tl.join(tl.join(a & 0xFFFF, b & 0xFFFF), tl.join(c & 0xFFFF, d & 0xFFFF))
    high = tl.join(tl.join((a >> 16) & 0xFFFF, (b >> 16) & 0xFFFF), tl.join((c >> 16) & 0xFFFF, (d >> 16) & 0xFFFF))
    drawn = tl.reshape(tl.join(low, high), (ROWS, COLUMNS))
    return drawn >= threshold


@triton.jit(do_not_specialize=["T", "salt"])
def _down_kernel(x_ptr, a_ptr, out_ptr, seed_ptr, salt, T, K, threshold, inverse,
                 R: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEPS: tl.constexpr):  # fmt: skip
    row, part = tl.program_id(0) * ROWS, tl.program_id(1)
    rows, rank = row + tl.arange(0, ROWS), tl.arange(0, R)
    seed = tl.load(seed_ptr) + salt
    total = tl.zeros((ROWS, R), dtype=tl.float32)
    for step in range(STEPS):
        column = (part * STEPS + step) * COLUMNS
        columns = column + tl.arange(0, COLUMNS)
        inside = (rows[:, None] < T) & (columns[None, :] < K)
        x = tl.load(x_ptr + rows[:, None].to(tl.int64) * K + columns[None, :], mask=inside, other=0.0)
        x = tl.where(_kept(seed, row, column, K, threshold, ROWS, COLUMNS), x * inverse, 0.0).to(x_ptr.dtype.element_ty)
        a = tl.load(a_ptr + rank[None, :] * K + columns[:, None], mask=columns[:, None] < K, other=0.0)
        total += tl.dot(x, a)
    tl.store(out_ptr + part.to(tl.int64) * T * R + rows[:, None] * R + rank[None, :], total, mask=rows[:, None] < T)


@triton.jit(do_not_specialize=["T", "salt"])
def _up_kernel(dx_ptr, dh_ptr, a_ptr, seed_ptr, salt, T, K, threshold, inverse,
               R: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    row, column = tl.program_id(0) * ROWS, tl.program_id(1) * COLUMNS
    rows, columns, rank = row + tl.arange(0, ROWS), column + tl.arange(0, COLUMNS), tl.arange(0, R)
    seed = tl.load(seed_ptr) + salt
    dh = tl.load(dh_ptr + rows[:, None] * R + rank[None, :], mask=rows[:, None] < T, other=0.0)
    a = tl.load(a_ptr + rank[:, None] * K + columns[None, :], mask=columns[None, :] < K, other=0.0)
    more = tl.where(_kept(seed, row, column, K, threshold, ROWS, COLUMNS), tl.dot(dh, a) * inverse, 0.0)
    inside = (rows[:, None] < T) & (columns[None, :] < K)
    place = dx_ptr + rows[:, None].to(tl.int64) * K + columns[None, :]
    dx = tl.load(place, mask=inside, other=0.0).to(tl.float32) + more
    tl.store(place, dx.to(dx_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["T", "salt", "STEPS"])
def _weight_kernel(x_ptr, dh_ptr, out_ptr, seed_ptr, salt, T, K, threshold, inverse, STEPS,
                   R: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    column, part = tl.program_id(0) * COLUMNS, tl.program_id(1)
    columns, rank = column + tl.arange(0, COLUMNS), tl.arange(0, R)
    seed = tl.load(seed_ptr) + salt
    total = tl.zeros((R, COLUMNS), dtype=tl.float32)
    for step in range(STEPS):
        row = (part * STEPS + step) * ROWS
        rows = row + tl.arange(0, ROWS)
        inside = (rows[:, None] < T) & (columns[None, :] < K)
        x = tl.load(x_ptr + rows[:, None].to(tl.int64) * K + columns[None, :], mask=inside, other=0.0)
        x = tl.where(_kept(seed, row, column, K, threshold, ROWS, COLUMNS), x * inverse, 0.0).to(x_ptr.dtype.element_ty)
        dh = tl.load(dh_ptr + rows[None, :] * R + rank[:, None], mask=rows[None, :] < T, other=0.0)
        total += tl.dot(dh, x)
    tl.store(
        out_ptr + part.to(tl.int64) * R * K + rank[:, None] * K + columns[None, :], total, mask=columns[None, :] < K
    )


def dropped_down(x: torch.Tensor, a: torch.Tensor, seed: torch.Tensor, salt: int, p: float) -> torch.Tensor:
    """``dropout(x) @ a.T``: x is (tokens, in), a is (rank, in), the result (tokens, rank) in the type of x."""
    (tokens, inner), rank = x.shape, a.shape[0]
    parts, steps = _split(_blocks(inner, _COLUMNS), _blocks(tokens, _ROWS))
    out = torch.empty((parts, tokens, rank), dtype=torch.float32, device=x.device)
    grid = (_blocks(tokens, _ROWS), parts)
    _down_kernel[grid](
        x, a, out, seed, salt, tokens, inner, *_odds(p), R=rank, ROWS=_ROWS, COLUMNS=_COLUMNS, STEPS=steps
    )
    return _sum(out).to(x.dtype)


def add_dropped_up(
    dx: torch.Tensor, dh: torch.Tensor, a: torch.Tensor, seed: torch.Tensor, salt: int, p: float
) -> None:
    """Add the gradient that flows back through the dropout, ``mask * (dh @ a) / (1 - p)``, to dx in place."""
    (tokens, inner), rank = dx.shape, a.shape[0]
    grid = (_blocks(tokens, _ROWS), _blocks(inner, _COLUMNS))
    _up_kernel[grid](dx, dh, a, seed, salt, tokens, inner, *_odds(p), R=rank, ROWS=_ROWS, COLUMNS=_COLUMNS)


def dropped_weight(x: torch.Tensor, dh: torch.Tensor, seed: torch.Tensor, salt: int, p: float) -> torch.Tensor:
    """``dh.T @ dropout(x)`` in float32: the gradient of a, (rank, in)."""
    (tokens, inner), rank = x.shape, dh.shape[1]
    parts, steps = _split(_blocks(tokens, _ROWS), _blocks(inner, _COLUMNS))
    out = torch.empty((parts, rank, inner), dtype=torch.float32, device=x.device)
    grid = (_blocks(inner, _COLUMNS), parts)
    _weight_kernel[grid](x, dh, out, seed, salt, tokens, inner, *_odds(p), steps, R=rank, ROWS=_ROWS, COLUMNS=_COLUMNS)
    return _sum(out)


def _odds(p: float) -> tuple[int, float]:
    """The 16-bit number below which an element is dropped, and what the others are multiplied with."""
    threshold = round(p * 65536)
    return threshold, 1.0 / (1.0 - threshold / 65536)


def _split(blocks: int, others: int) -> tuple[int, int]:
    """Into how many parts a sum is split so that the card is busy, and the blocks of one part."""
    parts = max(1, min(blocks, _PROGRAMS // max(1, others)))
    steps = -(-blocks // parts)
    return -(-blocks // steps), steps


def _blocks(length: int, size: int) -> int:
    return -(-length // size)


def _sum(parts: torch.Tensor) -> Any:
    return parts.sum(0) if parts.shape[0] > 1 else parts[0]
