"""Says an exception in one line that a person can act on; the traceback goes to the log."""

from __future__ import annotations

import errno

from engine.text import clean


class CannotTrain(ValueError):
    """A run that cannot go on, said in words for people."""


def explain(error: BaseException, step: int, config: dict[str, object]) -> str:
    """The reason of a failed run. ``step`` is the last finished one."""
    if isinstance(error, CannotTrain):
        return clean(error, 400)
    name = type(error).__name__
    text = clean(str(error).strip(), 300)
    where = f" at step {step + 1}" if step else ""
    if name == "OutOfMemoryError" or "CUDA out of memory" in text:
        hint = f"lower batch_size ({config.get('batch_size')}) or max_seq_length ({config.get('max_seq_length')})"
        return f"out of GPU memory{where}; {hint}, or set load_in_4bit"
    if isinstance(error, MemoryError):
        return f"out of host memory{where}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"disk full{where}: free space on the file system of {clean(config.get('output_dir'), 200)}"
    if "No space left on device" in text or "disk quota exceeded" in text.lower():
        return f"disk full{where}: free space on the file system of {clean(config.get('output_dir'), 200)}"
    if isinstance(error, FileNotFoundError):
        return f"a file is missing: {clean(error.filename or text, 300)}"
    if isinstance(error, ImportError):
        return f"a package is missing: {text}"
    return f"{text.splitlines()[0] if text else name} ({name}{where})"
