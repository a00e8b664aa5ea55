"""CUDA graphs of the model's layers: thousands of small launches are recorded once for each shape and then replayed as one.

With a few hundred tokens in a pass a card waits for launches most of the time. What is recorded is the forward and the
backward pass of everything below the language head; the head, the loss, clipping and the optimizer stay as they are.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from engine.worker.fast.attention import Borders, apart

# Each recorded shape holds some memory of its own; beyond so many the others are launched one by one.
MOST = 32
# Hidden states (1, tokens, width) of ids (1, tokens), positions and borders.
Layers = Callable[[torch.Tensor, torch.Tensor, Borders], torch.Tensor]


@dataclass(slots=True)
class _Recorded:
    ids: torch.Tensor
    positions: torch.Tensor
    starts: torch.Tensor
    hidden: torch.Tensor
    gradient: torch.Tensor
    forward: Any
    backward: Any


class Graphs:
    """Recorded passes by shape; ``layers`` is called with inputs that never move while it is recorded.

    ``most``: tokens of the largest pass that is recorded. ``longest``: no sample has more tokens. The first pass of all is
    launched one by one, so that libraries load what they load late; then the largest shape is recorded before any other: all
    share its memory.
    """

    def __init__(self, layers: Layers, *, most: int, longest: int, say: Callable[[str], None]) -> None:
        self._layers, self._most, self._longest, self._say = layers, most, longest, say
        self._recorded: dict[tuple[int, int, int], _Recorded] = {}
        self._pool: Any = None
        self._warm = False
        self.usable = True

    def of(self, part: dict[str, Any]) -> _Recorded | None:
        """The recorded pass of this shape, filled with these inputs; ``None`` where it must be launched one by one."""
        tokens = part["input_ids"].shape[1]
        if not self.usable or tokens > self._most:
            return None
        if not self._warm:
            self._warm = True
            return None
        longest = min(_power(max(256, part["longest"])), max(self._longest, part["longest"]))
        samples = _power(max(4, len(part["lengths"])))
        found = self._recorded.get((tokens, samples, longest)) or self._new(tokens, samples, longest, part)
        if found is None:
            return None
        found.ids.copy_(part["input_ids"], non_blocking=True)
        found.positions.copy_(part["position_ids"], non_blocking=True)
        _fill(found.starts, part["starts"], tokens)
        return found

    def _new(self, tokens: int, samples: int, longest: int, part: dict[str, Any]) -> _Recorded | None:
        if len(self._recorded) >= MOST:
            return None
        if not self._recorded and tokens < self._most and self._try((self._most, samples, longest), part) is None:
            return None
        return self._try((tokens, samples, longest), part)

    def _try(self, key: tuple[int, int, int], part: dict[str, Any]) -> _Recorded | None:
        try:
            self._recorded[key] = found = self._record(key, part)
        except (RuntimeError, torch.AcceleratorError) as error:
            self.usable = False
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._say(f"The passes cannot be recorded as CUDA graphs ({lines[0]}); they are launched one by one")
            return None
        return found

    def _record(self, key: tuple[int, int, int], part: dict[str, Any]) -> _Recorded:
        tokens, samples, longest = key
        device = part["input_ids"].device
        # Nothing runs while it is recorded: only sizes matter.
        ids, positions = (torch.zeros((1, tokens), dtype=torch.long, device=device) for _ in range(2))
        starts = torch.full((samples + 1,), tokens, dtype=torch.int32, device=device)
        starts[0] = 0
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        gc.collect()
        torch.cuda.empty_cache()  # the recorded passes have memory of their own
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        borders = Borders(starts, longest)
        with torch.cuda.graph(forward, pool=self._pool, capture_error_mode="thread_local"):
            hidden = self._layers(ids, positions, borders)
        gradient = torch.zeros_like(hidden)
        # Layers that are computed again look for the borders, too.
        with apart(borders), torch.cuda.graph(backward, pool=self._pool, capture_error_mode="thread_local"):
            hidden.backward(gradient)
        return _Recorded(ids, positions, starts, hidden.detach(), gradient, forward, backward)


def _fill(target: torch.Tensor, starts: torch.Tensor, tokens: int) -> None:
    """The borders, and empty samples at the end of the row for the rest of the places."""
    count = starts.shape[0]
    target[:count].copy_(starts, non_blocking=True)
    target[count:].fill_(tokens)


def _power(number: int) -> int:
    """The smallest power of two that is no less."""
    return 1 << max(0, number - 1).bit_length()
