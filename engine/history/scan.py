"""Finds runs: those in the registry and those below the known roots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine import registry
from engine.errors import Problem, RunNotFoundError
from engine.history.summary import RunSummary, summarise
from engine.paths import expand
from engine.rundir import META, RunDir

MAX_DEPTH = 6
_SKIP = frozenset({".git", "node_modules", "__pycache__", ".venv", "venv", "site-packages"})


def scan(extra_roots: Iterable[Path] = (), *, with_size: bool = False, registered: bool = True) -> Iterator[RunSummary]:
    """Every run of any tool once, read in this process: registered ones first (newest first), then as they are found.

    Lists of many runs come from :func:`gather`, which reads only what has changed.
    """
    from engine.history import readers, walk

    seen: set[str] = set()
    places: list[Path] = [path for _, path in registry.runs()] if registered else []
    roots = [*extra_roots, *(registry.roots() if registered else [])]
    for path in _unique([*places, *walk.find(roots)]):
        summary = readers.read_summary(path)
        if summary is not None and summary.path not in seen:
            seen.add(summary.path)
            yield summary


def gather(
    roots: Iterable[Path] = (), registered: bool = True, unreachable: dict[str, str] | None = None
) -> list[RunSummary]:
    """All runs as they are now, the newest first; what the index knows is read again only where it has changed.

    Folders that do not answer are left out after a few seconds; their runs are then as they were last seen, and
    ``unreachable`` gets them with the reason.
    """
    from engine.history.fields import FIELDS
    from engine.history.index import Index, Scanner

    places = list(roots)
    index = Index()
    scanner = Scanner(index, lambda: places, registered)
    try:
        rows = {run.path: run for run in scanner.rows()}
        for batch in scanner.scan():
            rows.update((run.path, run) for run in batch.changed)
            for path in batch.gone:
                rows.pop(path, None)
            if unreachable is not None:
                unreachable.clear()
                unreachable.update(batch.unreachable)
    finally:
        scanner.close()
        index.close()
    date = FIELDS["date"].get
    return sorted(rows.values(), key=lambda run: (-(date(run) or 0.0), run.id))


def find_path(text: str, extra_roots: Iterable[Path] = ()) -> Path:
    """The run of any tool that a person means: a directory, a unique prefix of an id, or a name that only one run has.

    Raises :class:`RunNotFoundError` if none or several answer.
    """
    from engine.history import walk

    path = _named(text)
    if path is not None:
        if (path / META).is_dir() or walk.is_run(path):
            return path
        raise RunNotFoundError(
            Problem("no-run", "holds no run of any known tool", "List runs with: tunedeck runs", file=text)
        )
    return Path(_only(text, gather(extra_roots)).path)


def find_run(text: str, extra_roots: Iterable[Path] = ()) -> RunDir:
    """The run of tunedeck that a person means: a directory, a unique prefix of an id, or else a name that only one run has.

    Raises :class:`RunNotFoundError` if none or several answer.
    """
    path = _named(text)
    if path is not None:
        run = RunDir(path)
        if run.meta.is_dir():
            return run
        raise RunNotFoundError(Problem("no-run", "holds no tunedeck run", "List runs with: tunedeck runs", file=text))
    return RunDir(_only(text, _own(extra_roots)).path)


def _named(text: str) -> Path | None:
    """The directory that a text names, if there is one. Raises :class:`RunNotFoundError` for no text at all."""
    if not text.strip():
        raise RunNotFoundError(
            Problem("no-run", "no run was named", "Give a run's directory, or the beginning of its id")
        )
    path = _expanded(text)
    if path is None or not path.is_dir():
        return None
    path = path.absolute()
    return path.parent if path.name == META else path


def _own(extra_roots: Iterable[Path]) -> list[RunSummary]:
    """Runs of tunedeck: they alone can be asked for something, and are found without a look into what others left."""
    places = [path for _, path in registry.runs()]
    found = map(summarise, _unique([*places, *below([*extra_roots, *registry.roots()])]))
    return [run for run in found if run is not None]


def _only(text: str, known: list[RunSummary]) -> RunSummary:
    """The one run whose id begins so, or that has this name."""
    matches = [run for run in known if run.id.startswith(text)] or [run for run in known if run.name == text]
    if len(matches) == 1:
        return matches[0]
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
        path = expand(text)
        path.is_dir()
        return path
    except (ValueError, RuntimeError, OSError):
        return None


def refuse_bad_roots(roots: Iterable[Path]) -> None:
    """Raise :class:`RunNotFoundError` for directories that cannot be searched."""
    problems = []
    for root in roots:
        try:
            with os.scandir(expand(root)):
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
        yield from _walk(expand(root).absolute(), 0)


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
