"""What may be believed of ``run.json`` and ``status.json``: values of the wrong kind are left out, and named.

The files are written by others (another version, another host, a disk that failed): behind this door every value has
the type that readers expect, so that one damaged record costs one line and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeGuard

# Seconds since 1970 up to the year 5138: what a calendar can show.
MAX_TIME = 1e11
MAX_COUNT = 1 << 53


def is_time(value: Any) -> TypeGuard[float]:
    """Whether a value is a moment in Unix seconds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MAX_TIME


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number from zero on that fits everywhere."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_COUNT


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) < MAX_COUNT
    return isinstance(value, float) or (isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"))


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and not isinstance(value, str) and math.isfinite(value) and 0 <= value < MAX_TIME


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


_STATUS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("state", "reason", "host", "boot_id", "machine_id", "pid_namespace", "waits_for"), _is(str)),
    **dict.fromkeys(("resumable", "stalled"), _is(bool)),
    **dict.fromkeys(("created", "started", "ended", "heartbeat"), is_time),
    **dict.fromkeys(("step", "total_steps", "points", "attempts", "queue_position"), is_count),
    **dict.fromkeys(("pid", "pid_started", "supervisor_pid", "supervisor_started"), is_count),
    **dict.fromkeys(("exit_code",), _is_whole),
    **dict.fromkeys(("last_loss", "best_loss", "last_eval_loss", "best_eval_loss", "epoch"), _is_number),
    **dict.fromkeys(("ranks", "slots"), _is(list)),
    "seconds_before": _is_seconds,
}
_RUN: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("id", "name", "command", "host", "working_directory"), _is(str)),
    **dict.fromkeys(("config", "auto", "data", "versions"), _is(dict)),
    "created": is_time,
    "attempts": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
}


def sane_status(record: dict[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """``status.json`` without values of a wrong kind, and the names of those."""
    return _sane(record, _STATUS)


def sane_run(record: dict[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """``run.json`` without values of a wrong kind, and the names of those."""
    return _sane(record, _RUN)


def _sane(record: dict[str, Any] | None, kinds: dict[str, Callable[[Any], bool]]) -> tuple[dict[str, Any], list[str]]:
    record = record or {}
    odd = [name for name, fits in kinds.items() if record.get(name) is not None and not fits(record[name])]
    return {name: value for name, value in record.items() if name not in odd}, odd
