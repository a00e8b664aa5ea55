"""Where people's words on a run are kept: in its record if it is ours, else in our own state directory."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from engine import notes
from engine.notes import Notes
from engine.rundir import RunDir


class Keeper(Protocol):
    """Loads and saves the words on one run; ``where`` is to be said of the place, if anything is."""

    where: str

    @property
    def own_name(self) -> str:
        """The run's name in its record, untrusted; empty if it has none."""
        raise NotImplementedError

    def load(self) -> Notes:
        """The words as they are now."""
        raise NotImplementedError

    def refusal(self) -> str:
        """Why they cannot be edited; empty if they can."""
        raise NotImplementedError

    def save(self, read: Notes, wanted: Notes) -> None:
        """Write what is wanted over what was read; see :func:`engine.notes.save`."""
        raise NotImplementedError


class OwnWords:
    """``notes.json`` of a run of ours."""

    where = ""

    def __init__(self, path: Path) -> None:
        self._run = RunDir(path)

    @property
    def own_name(self) -> str:
        """The name that it was started with."""
        name = (self._run.read_run() or {}).get("name")
        return name if isinstance(name, str) else ""

    def load(self) -> Notes:
        """As they are now."""
        return notes.load(self._run)

    def refusal(self) -> str:
        """Why they cannot be edited."""
        return notes.refusal(self._run)

    def save(self, read: Notes, wanted: Notes) -> None:
        """Into the run's record."""
        notes.save(self._run, read, wanted)


class ForeignWords:
    """A record in our state directory: nothing is written into other tools' directories."""

    where = "Kept by tunedeck: nothing is written into this directory"
    own_name = ""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Notes:
        """As they are now."""
        from engine.history.notes import foreign

        return foreign(self._path)

    def refusal(self) -> str:
        """Why they cannot be kept."""
        from engine.history.notes import refusal

        return refusal(self._path)

    def save(self, read: Notes, wanted: Notes) -> None:
        """Into our own record of this directory."""
        from engine.history.notes import save_foreign

        save_foreign(self._path, read, wanted)


def keeper(path: Path) -> Keeper:
    """Who keeps the words on the run in a directory."""
    return OwnWords(path) if RunDir(path).meta.is_dir() else ForeignWords(path)
