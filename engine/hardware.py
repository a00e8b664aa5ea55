"""What the machine's processors and memory do, through NVML and psutil. Every reading is honest about what it lacks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


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

    @property
    def memory_free(self) -> int:
        """Bytes nobody uses."""
        return self.memory_total - self.memory_used


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


def host() -> dict[str, Any]:
    """CPU use in percent since the last call, and memory in bytes."""
    import psutil

    memory = psutil.virtual_memory()
    return {"cpu": psutil.cpu_percent(), "memory_used": memory.total - memory.available, "memory_total": memory.total}


def sample() -> dict[str, Any]:
    """The fields of a ``hardware`` event."""
    cards = [{"index": g.index, "name": g.name, "utilization": g.utilization, "memory_used": g.memory_used,
              "memory_total": g.memory_total, "temperature": g.temperature, "power": g.power} for g in gpus()]  # fmt: skip
    return {"gpus": cards, "host": host()}


def _read(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def ask(function: Any) -> Any:
        try:
            return function()
        except nvml.NVMLError:
            return None

    name = nvml.nvmlDeviceGetName(handle)
    # Version 2 leaves out what the driver reserves for itself, as nvidia-smi does (512 MiB on an H100).
    memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2))
    memory = memory or nvml.nvmlDeviceGetMemoryInfo(handle)
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


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _is_mine(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.getuid()
    except OSError:
        return False
