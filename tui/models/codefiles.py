"""The Python files that a model would run, with what tells one version of them from another; read in a thread."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.models.consent import Code

MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Brought:
    """What a model brings: ``here`` says whether its files lie on this machine, ``code`` is ``None`` where there is none.

    ``folder`` is where they lie. ``digests`` are the SHA-256 of the files of ``code``, in their order, empty where one cannot
    be read; ``agreed`` says that consent to exactly this code stands.
    """

    name: str
    revision: str | None
    here: bool
    code: Code | None = None
    digests: tuple[str, ...] = ()
    agreed: bool = False
    folder: Path | None = None


def read(name: str, revision: str | None = None) -> Brought:
    """Look at the code of a model. Never raises for what lies on the disk."""
    from engine.models import cache, consent

    folder = cache.model_folder(name, revision)
    if folder is None:
        return Brought(name, revision, here=False)
    code = consent.code_of(name, revision)
    if code is None:
        return Brought(name, revision, here=True, folder=folder)
    digests = tuple(_digest(folder, file) for file in code.files)
    return Brought(name, revision, True, code, digests, not code.missing and consent.agreed(code), folder)


def _digest(folder: Path, file: str) -> str:
    """Of a file of another repository the name says which: ``org/name@commit:file``."""
    from engine.models import cache
    from engine.models.reading import read_bytes

    other, colon, name = file.partition(":")
    if colon and "@" in other:
        found = cache.snapshot(other.partition("@")[0])
        if found is None:
            return ""
        folder, file = found, name
    data = read_bytes(folder / file, MOST_BYTES)
    return "" if data is None else hashlib.sha256(data).hexdigest()
