"""Code of a model runs only after somebody has agreed to exactly that code, by typing it.

What was agreed to is kept in ``XDG_STATE_HOME/tunedeck/consents.json``: the model's name and the SHA-256 of its code. A
changed byte, another revision or another place of the model is other code.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import paths
from engine.errors import InputError, Problem
from engine.models import cache, known
from engine.models.catalogue import tokenizer_config
from engine.models.code import Code, code_of, named_in
from engine.models.reading import read_object
from engine.rundir import write_json
from engine.text import clean

if TYPE_CHECKING:
    from engine.config import RunConfig

__all__ = ["Code", "agree", "agreed", "code_of", "pinned", "problem", "title", "trusted"]

_FORMAT, _MOST = 1, 1000
_SETTING = "trust_remote_code"
WORD = "trust"


def agreed(code: Code) -> bool:
    """Whether consent to exactly this code stands. Code of which a part is missing cannot be agreed to."""
    if code.missing:
        return False
    return any(entry.get("name") == code.name and entry.get("sha256") == code.sha256 for entry in _read())


def agree(code: Code) -> None:
    """Keep the consent to this code. Raises ``ValueError`` where a part of it is missing, ``OSError`` if it cannot be kept."""
    if code.missing:
        raise ValueError("code of which a part is missing cannot be agreed to")
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(file):
        kept = [entry for entry in _read() if (entry.get("name"), entry.get("sha256")) != (code.name, code.sha256)]
        entry = {**code.record(), "files": list(code.files), "time": round(time.time(), 3)}
        write_json(file, {"format": _FORMAT, "consents": [*kept[1 - _MOST :], entry]})


def trusted(name: str, revision: str | None, trust: object) -> bool:
    """Whether code of a model may run now: it is asked for, and there is some.

    Raises :class:`engine.errors.InputError` where consent to it does not stand: without it, the model would be another one.
    """
    code = code_of(name, revision) if trust is True else None
    if code is not None and not agreed(code):
        raise InputError(unsettled(code))
    return code is not None


def pinned(config: RunConfig) -> tuple[RunConfig, dict[str, str | None] | None]:
    """The settings with the revision fixed to the commit that was agreed to, and what ``run.json`` keeps of the code.

    Both are unchanged and ``None`` where no code may run. Raises :class:`engine.errors.InputError` where the code is not
    what was agreed to (any more).
    """
    code = code_of(config.base_model, config.revision) if config.trust_remote_code else None
    if code is None:
        return config, None
    if not agreed(code):
        raise InputError(unsettled(code))
    if code.commit is not None and code.commit != config.revision:
        config = config.model_copy(update={"revision": code.commit})
    return config, code.record()


def problem(config: RunConfig) -> Problem | None:
    """Why the model's code keeps a run from starting: it is needed and not allowed, or allowed without consent."""
    code = code_of(config.base_model, config.revision)
    if code is None:
        return None
    if config.trust_remote_code:
        return None if agreed(code) else unsettled(code)
    folder = cache.model_folder(config.base_model, config.revision)
    # What another environment's transformers knows is not known here.
    if folder is None or config.worker_python is not None or not _needed(folder):
        return None
    return Problem("needs-code", f"the model cannot be built without its own Python code ({_files(code)})",
                   f"Read it in {clean(folder, 300)}, then set {_SETTING} to true", setting=_SETTING)  # fmt: skip


def unsettled(code: Code) -> Problem:
    """That consent to this code does not stand, with how to give it."""
    if code.missing:
        shown = clean(", ".join(code.missing[:3]), 200)
        text = f"the code of {title(code)} is not all on this machine or cannot be told: {shown}"
        return Problem("needs-consent", text, "Download the model whole first, or take one that brings no such code",
                       setting=_SETTING)  # fmt: skip
    text = f"nobody has agreed yet to run the code of {title(code)} ({_files(code)})"
    hint = "Type your consent in tunedeck train at a terminal, or in the form"
    if code.commit is not None:
        hint += f"; without a terminal, add --revision {code.commit}"
    return Problem("needs-consent", text, hint, setting=_SETTING)


def not_fetched(name: str, commit: str | None) -> Problem:
    """That nobody can have agreed to code that was never on this machine."""
    hint = "tunedeck train at a terminal fetches and shows it, and asks you"
    if commit:
        hint += f"; without a terminal, add --revision {commit}"
    return Problem("needs-consent", f"the code of {name} is not on this machine yet, so nobody has agreed to run it", hint,
                   setting=_SETTING)  # fmt: skip


def needed(name: str) -> Problem:
    """That a model of the hub needs code, which is not here."""
    return Problem("needs-code", f"{name} cannot be built without its own Python code",
                   f"Read it on the hub, then set {_SETTING} to true", setting=_SETTING)  # fmt: skip


def title(code: Code) -> str:
    """A model's name with the beginning of its commit, cleaned."""
    return clean(f"{code.name} at {code.commit[:12]}" if code.commit else code.name, 300)


def _needed(folder: Path) -> bool:
    config = read_object(folder / "config.json") or {}
    return known.needs_code(config, tokenizer_config(folder), named_in(folder).auto_map)


def _files(code: Code) -> str:
    shown = clean(", ".join(code.files[:3]), 200) or "none of it is here"
    return shown + (f" and {len(code.files) - 3} more files" if len(code.files) > 3 else "")


def _file() -> Path:
    return paths.state_dir() / "consents.json"


def _read() -> list[dict[str, Any]]:
    """All consents; a file that is damaged or that others could have written holds none."""
    file = _file()
    try:
        found = os.stat(file)
    except OSError:
        return []
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        return []
    record = read_object(file) or {}
    given = record.get("consents") if record.get("format") == _FORMAT else None
    return [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Of two who agree at once, neither loses the other's."""
    with open(file.with_name(".consents.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
