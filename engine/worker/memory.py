"""Memory of this process and its GPU, cheap enough for every step."""

from __future__ import annotations

import os
import sys
from typing import Any

from engine.preflight.memory import CONTEXT_BYTES

_PAGE = os.sysconf("SC_PAGE_SIZE")
_statm: tuple[int, int] | None = None
_NO_GPU = {"gpu_memory_allocated": None, "gpu_memory_reserved": None, "gpu_memory_peak": None}
GPU_FIGURES = tuple(_NO_GPU)
# Of several processes, the largest figures that they last agreed on.
_worst: dict[str, int] = {}


def keep_within(most: float | None) -> None:
    """Have torch refuse more than ``most`` GiB of each GPU, with what CUDA itself takes counted in; ``None``: all of it."""
    torch = sys.modules.get("torch")
    if most is None or torch is None or not torch.cuda.is_available():
        return
    device = torch.cuda.current_device()
    total = torch.cuda.get_device_properties(device).total_memory
    room = max(0.0, most * 2**30 - CONTEXT_BYTES)
    torch.cuda.set_per_process_memory_fraction(min(1.0, room / total), device)


def usage() -> dict[str, Any]:
    """``gpu_memory_allocated``, ``…_reserved``, ``…_peak`` and ``host_memory`` (resident) in bytes; ``None`` without.

    Those of the GPU are the largest of all processes, where :func:`note_worst` told them.
    """
    own = _gpu()
    gpu = {name: max(value or 0, _worst[name]) if name in _worst else value for name, value in own.items()}
    return {**gpu, "host_memory": resident_bytes()}


def gpu_figures() -> list[int]:
    """This process's ``GPU_FIGURES`` in bytes, 0 where there are none."""
    return [value or 0 for value in _gpu().values()]


def note_worst(figures: list[int]) -> None:
    """Remember the largest ``GPU_FIGURES`` of all processes; zeros tell nothing."""
    _worst.clear()
    _worst.update({name: value for name, value in zip(GPU_FIGURES, figures, strict=True) if value > 0})


def resident_bytes() -> int | None:
    """Resident memory of this process in bytes (second field of ``/proc/self/statm``)."""
    global _statm
    try:
        if _statm is None:
            _statm = (os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC), os.getpid())
        if _statm[1] != os.getpid():  # after a fork the descriptor still tells of the parent
            _statm = None
            return resident_bytes()
        return int(os.pread(_statm[0], 128, 0).split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None


def _gpu() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return _NO_GPU
    stats = torch.cuda.memory_stats()
    return {
        "gpu_memory_allocated": stats.get("allocated_bytes.all.current"),
        "gpu_memory_reserved": stats.get("reserved_bytes.all.current"),
        "gpu_memory_peak": stats.get("allocated_bytes.all.peak"),
    }
