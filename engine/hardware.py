"""What the machine's graphics cards do, through NVML. Every reading is honest about what it lacks."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any

# Beyond that no memory and no disk goes.
MOST_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card at one moment. Memory in bytes, utilization in percent, temperature in °C, power in watts.

    ``processes`` counts those that compute, of all users (``pids``); a desktop that only draws is none of them.
    """

    index: int
    name: str
    memory_used: int
    memory_total: int
    utilization: int | None = None
    temperature: int | None = None
    power: float | None = None
    processes: int = 0
    foreign_processes: int = 0
    capability: tuple[int, int] | None = None
    uuid: str = ""
    pids: tuple[int, ...] = ()
    limit: int | None = None

    @property
    def memory_free(self) -> int:
        """Bytes nobody uses; no more than the limit, where a run has set itself one."""
        free = self.memory_total - self.memory_used
        return free if self.limit is None else min(free, self.limit)

    @property
    def limited(self) -> bool:
        """Whether it is the limit, and not what others left, that ``memory_free`` tells."""
        return self.limit is not None and self.memory_free == self.limit


def sensible(value: Any, most: float = MOST_BYTES) -> Any:
    """The number itself if it is one that a machine can have, from 0 to ``most``; anything else is ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= most else None  # no comparison holds for NaN


def gpus() -> list[Gpu]:
    """All NVIDIA cards; empty without a driver."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def driver_version() -> str | None:
    """NVIDIA's driver version, ``None`` without one."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        return None
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def freest(cards: list[Gpu]) -> Gpu | None:
    """The card with the most free memory, the one without others' processes first."""
    return min(cards, key=lambda card: (card.foreign_processes > 0, -card.memory_free, card.index), default=None)


class CardReader:
    """Reads all cards again and again, NVML being opened only once. Not for several threads at a time."""

    # A driver that is not there is not asked for again at every reading.
    RETRY_SECONDS = 60.0

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        self._fixed: list[dict[str, Any]] = []
        self._next_try = 0.0

    def read(self) -> list[dict[str, Any]]:
        """Index, name, uuid, utilization (percent), memory (bytes), temperature (°C), power (watts) and pids of each card.

        ``memory_by_pid`` is what each computing process holds. Empty without a driver; never raises for what it says.
        """
        if self._nvml is None and not self._open():
            return []
        found = []
        for number in range(len(self._handles)):
            with contextlib.suppress(self._nvml.NVMLError):  # a card that fell off the bus hides no other
                found.append(self._card(number))
        if not found:
            self._close()
        return found

    def _open(self) -> bool:
        if time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + self.RETRY_SECONDS
        try:
            import pynvml
        except ImportError:
            return False
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return False
        self._nvml = pynvml
        try:
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            self._fixed = [self._unchanging(index, handle) for index, handle in enumerate(self._handles)]
        except pynvml.NVMLError:
            self._close()
        return self._nvml is not None

    def _close(self) -> None:
        nvml, self._nvml = self._nvml, None
        self._handles, self._fixed = [], []
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()

    def _unchanging(self, index: int, handle: Any) -> dict[str, Any]:
        nvml = self._nvml
        limit = self._ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        return {
            "index": index,
            "name": _text(nvml.nvmlDeviceGetName(handle)),
            "uuid": _text(self._ask(lambda: nvml.nvmlDeviceGetUUID(handle))),
            "power_limit": None if limit is None else round(limit / 1000),
        }

    def _card(self, number: int) -> dict[str, Any]:
        nvml, handle = self._nvml, self._handles[number]
        memory = _memory(nvml, handle)
        power = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        processes = self._ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
        return {
            **self._fixed[number],
            "utilization": sensible(self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu), 100),
            "memory_used": sensible(int(memory.used)),
            "memory_total": sensible(int(memory.total)),
            "temperature": self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "power": None if power is None else round(power / 1000, 1),
            # What is not known, some drivers tell as the largest number that there is.
            "memory_by_pid": {int(p.pid): sensible(p.usedGpuMemory) for p in processes},
        }

    def _ask(self, function: Any) -> Any:
        try:
            return function()
        except self._nvml.NVMLError:
            return None


def _read(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def ask(function: Any) -> Any:
        try:
            return function()
        except nvml.NVMLError:
            return None

    name = nvml.nvmlDeviceGetName(handle)
    memory = _memory(nvml, handle)
    use = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    power = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    processes = ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    return Gpu(
        index=index,
        name=_text(name),
        memory_used=int(memory.used),
        memory_total=int(memory.total),
        utilization=use,
        temperature=ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        power=None if power is None else power / 1000,
        processes=len(processes),
        foreign_processes=sum(1 for p in processes if not _is_mine(p.pid)),
        capability=ask(lambda: tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))),
        uuid=_text(ask(lambda: nvml.nvmlDeviceGetUUID(handle))),
        pids=tuple(p.pid for p in processes),
    )


def _memory(nvml: Any, handle: Any) -> Any:
    try:
        # Version 2 leaves out what the driver reserves for itself, as nvidia-smi does (512 MiB on an H100).
        return nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError:
        return nvml.nvmlDeviceGetMemoryInfo(handle)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _is_mine(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.getuid()
    except OSError:
        return False
