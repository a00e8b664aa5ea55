"""Lets all processes of a distributed training act at the same step on what one of them knows."""

from __future__ import annotations

import traceback
from typing import Any

from engine.worker import memory

STOP, STOP_NOW, CHECKPOINT, EVALUATE = "stop", "stop-now", "checkpoint", "evaluate"
RECORDING, NOT_FINITE, TERMINATED = "recording", "not finite", "terminated"
# The order is the same in every process.
FLAGS = (RECORDING, STOP, STOP_NOW, CHECKPOINT, EVALUATE, NOT_FINITE, TERMINATED)
# Memory is told in these, so that 2 TiB fit into 32 bits.
_KIB = 1024


class Ranks:
    """The processes of one training. Every one must call :meth:`agree` equally often."""

    def __init__(self, device: Any) -> None:
        self._device = device

    @classmethod
    def of(cls, args: Any) -> Ranks | None:
        """The other processes; ``None`` where there is only this one, so that it costs nothing."""
        if args.world_size <= 1:
            return None
        import torch.distributed as dist

        together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        return cls(args.device) if together else None

    def agree(self, here: set[str]) -> set[str]:
        """Every flag that is up in any process: one small collective, which brings the largest memory figures along."""
        import torch
        import torch.distributed as dist

        try:
            told = [int(name in here) for name in FLAGS] + [size // _KIB for size in memory.gpu_figures()]
            up = torch.tensor(told, dtype=torch.int32, device=self._device)
            dist.all_reduce(up, op=dist.ReduceOp.MAX)
            known: list[int] = up.tolist()
            memory.note_worst([size * _KIB for size in known[len(FLAGS) :]])
            return {name for name, value in zip(FLAGS, known, strict=False) if value}
        except Exception:  # another process has died: the trainer's own next collective will say so
            traceback.print_exc()
            return set(here)
