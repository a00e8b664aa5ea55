"""Says an exception in one line that a person can act on; the traceback goes to the log."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from engine.text import clean
from engine.worker import disk
from engine.worker.bounds import Endless

_GPU_MEMORY = re.compile(r"CUDA out of memory|CUDA error: out of memory|ALLOC_FAILED|CUDA_ERROR_OUT_OF_MEMORY")
_HOST_MEMORY = re.compile(r"DefaultCPUAllocator|Cannot allocate memory|can't allocate memory", re.IGNORECASE)


class CannotTrain(ValueError):
    """A run that cannot go on, said in words for people."""


def explain(error: BaseException, step: int, config: dict[str, object]) -> str:
    """The reason of a failed run. ``step`` is the last finished one."""
    if isinstance(error, CannotTrain):
        return clean(error, 400)
    if isinstance(error, Endless):
        return f"{clean(error, 300)}, on a row of the data; mend the template, or choose another (chat_template_path)"
    name = type(error).__name__
    text = clean(str(error).strip(), 300)
    where = f" at step {step + 1}" if step else ""
    if name == "OutOfMemoryError" or _GPU_MEMORY.search(text):
        hint = f"lower batch_size ({config.get('batch_size')}) or max_seq_length ({config.get('max_seq_length')})"
        return f"out of GPU memory{where}; {hint}, or set load_in_4bit"
    if isinstance(error, MemoryError) or _HOST_MEMORY.search(text):
        return f"out of host memory{where}"
    # What is written is what the last finished step came to.
    trouble = _disk_trouble(error, where, f" after step {step}" if step else "", config)
    if trouble:
        return trouble
    if isinstance(error, FileNotFoundError):
        return f"a file is missing: {clean(error.filename or text, 300)}"
    if isinstance(error, ImportError):
        return f"a package is missing: {text}"
    return f"{text.splitlines()[0] if text else name} ({name}{where})"


def _disk_trouble(error: BaseException, where: str, after: str, config: dict[str, object]) -> str:
    """What the disk, or the limits on files, did to the run; empty if it was something else."""
    place = Path(str(config.get("output_dir") or "."))
    named = error.filename if isinstance(error, OSError) and isinstance(error.filename, str) else ""
    if isinstance(error, PermissionError) and error.errno == errno.EACCES and named:
        return f"no permission{where}: {clean(named, 300)}"
    if named and os.path.isdir(os.path.dirname(named)):
        place = Path(os.path.dirname(named))  # a cache of data or models may stand on another disk
    number = disk.trouble(error, place)
    if number is None or number == errno.EACCES:
        return ""
    return disk.explain(number, f"the run's files{after}", place)
