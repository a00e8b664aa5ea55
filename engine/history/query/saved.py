"""Filters that people keep under a name: one small file each, so that apps that save at once do not meet."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from engine import paths
from engine.errors import InputError, Problem
from engine.rundir import read_json, write_json

_NAME = re.compile(r"[\w.-]{1,60}")
MOST = 500


def load() -> dict[str, str]:
    """All saved filters by name, in the order of their names."""
    try:
        files = sorted(_folder().glob("*.json"))[:MOST]
    except OSError:
        return {}
    found = {}
    for file in files:
        record = read_json(file) or {}
        name, text = record.get("name"), record.get("filter")
        if isinstance(name, str) and isinstance(text, str) and _NAME.fullmatch(name):
            found[name] = text
    return dict(sorted(found.items()))


def save(name: str, text: str) -> None:
    """Keep a filter under a name, in place of what had it before.

    Raises :class:`QueryError` if it is no filter, :class:`InputError` if the name cannot be or the disk refuses.
    """
    from engine.history.query.parsing import parse

    name = name.removeprefix("@")
    if not _NAME.fullmatch(name):
        why = f"a saved filter cannot be called {name!r}"
        raise InputError(Problem("bad-filter-name", why, "Use letters, digits, - _ and ."))
    if re.search(rf"@{re.escape(name)}(?![\w.-])", text):
        raise InputError(Problem("bad-filter", f"the filter @{name} would contain itself", "Choose another name"))
    parse(text)
    file = _file(name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(file, {"name": name, "filter": text})
    except OSError as error:
        problem = Problem("not-saved", f"the filter cannot be saved: {error.strerror or error}", file=str(file))
        raise InputError(problem) from None


def remove(name: str) -> bool:
    """Forget a saved filter; whether there was one."""
    try:
        _file(name.removeprefix("@")).unlink()
    except OSError:
        return False
    return True


def _folder() -> Path:
    return paths.state_dir() / "filters"


def _file(name: str) -> Path:
    return _folder() / f"{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}.json"
