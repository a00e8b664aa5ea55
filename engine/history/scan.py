"""Finds runs: those in the registry and those below the known roots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine import registry
from engine.errors import Problem, RunNotFoundError
from engine.history.summary import RunSummary, summarise
from engine.rundir import META, RunDir

MAX_DEPTH = 6
_SKIP = frozenset({".git", "node_modules", "__pycache__", ".venv", "venv", "site-packages"})


def scan(extra_roots: Iterable[Path] = (), *, with_size: bool = False, registered: bool = True) -> Iterator[RunSummary]:
    """Every run once, registered ones first (newest first), then those below the roots as they are found."""
    seen: set[str] = set()
    places: list[Path] = [path for _, path in registry.runs()] if registered else []
    roots = [*extra_roots, *(registry.roots() if registered else [])]
    for path in _unique([*places, *below(roots)]):
        summary = summarise(path, with_size=with_size)
        if summary is not None and summary.path not in seen:
            seen.add(summary.path)
            yield summary


def find_run(text: str, extra_roots: Iterable[Path] = ()) -> RunDir:
    """The run that a person means: a directory, a unique prefix of an id, or else a name that only one run has.

    Raises :class:`RunNotFoundError` if none or several answer.
    """
    if not text.strip():
        raise RunNotFoundError(
            Problem("no-run", "no run was named", "Give a run's directory, or the beginning of its id")
        )
    path = _expanded(text)
    if path is not None and path.is_dir():
        run = RunDir(path.parent if path.name == META else path)
        if run.meta.is_dir():
            return run
        raise RunNotFoundError(Problem("no-run", "holds no tunedeck run", "List runs with: tunedeck runs", file=text))
    known = list(scan(extra_roots))
    matches = [s for s in known if s.id.startswith(text)] or [s for s in known if s.name == text]
    if len(matches) == 1:
        return RunDir(matches[0].path)
    if not matches:
        what = f"no run has an id that begins with {text!r} or that name, and no such directory exists"
        raise RunNotFoundError(Problem("no-run", what, "List runs with: tunedeck runs"))
    ids = ", ".join(match.id for match in matches[:5])
    raise RunNotFoundError(
        Problem("ambiguous-run", f"several runs have an id or name like {text!r}: {ids}", "Give more of the id")
    )


def _expanded(text: str) -> Path | None:
    """The path that a text means; ``None`` if it cannot be one (a NUL, a home directory of nobody)."""
    try:
        path = Path(text).expanduser()
        path.is_dir()
        return path
    except (ValueError, RuntimeError, OSError):
        return None


def refuse_bad_roots(roots: Iterable[Path]) -> None:
    """Raise :class:`RunNotFoundError` for directories that cannot be searched."""
    problems = []
    for root in roots:
        try:
            with os.scandir(root.expanduser()):
                continue
        except FileNotFoundError:
            message = "there is no such directory"
        except NotADirectoryError:
            message = "is no directory"
        except (OSError, ValueError, RuntimeError) as error:
            message = f"cannot be searched: {getattr(error, 'strerror', None) or error}"
        problems.append(Problem("bad-root", message, "List all known runs with: tunedeck runs", file=str(root)))
    if problems:
        raise RunNotFoundError(problems)


def below(roots: Iterable[Path]) -> Iterator[Path]:
    """Directories of tunedeck runs below the roots, as they are found; links are not followed."""
    for root in roots:
        yield from _walk(root.expanduser().absolute(), 0)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            folders = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    if META in folders:
        yield folder
    if depth < MAX_DEPTH:
        for name in sorted(folders, reverse=True):
            if name not in _SKIP and not name.startswith((".", "checkpoint-")):
                yield from _walk(folder / name, depth + 1)


def _unique(paths: Iterable[Path]) -> Iterator[Path]:
    seen = set()
    for path in paths:
        key = os.path.realpath(path)
        if key not in seen:
            seen.add(key)
            yield path
