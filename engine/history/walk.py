"""Finds run directories of any tool, and tells a run from its checkpoints, from a base model and from a folder of runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.history.readers.place import CHECKPOINT, GATHERED, LAST, LIKE_CHECKPOINT, MAX_NAMES, PRODUCTS
from engine.paths import expand
from engine.rundir import META

MAX_DEPTH = 12
# Folders of one walk that are entered at most: a root may be a whole disk.
MAX_FOLDERS = 2_000_000
# What the kernel shows as files.
_SYSTEM = frozenset({"/proc", "/sys", "/dev"})
_SKIP = frozenset(
    {"node_modules", "__pycache__", "site-packages", "dist-packages", "venv", "wandb", "mlruns", "lost+found"}
)
# What only a training leaves, by name alone.
_LOGS = frozenset({"trainer_state.json", "trainer_log.jsonl"})
_SIGNS = _LOGS | {"training_args.bin", "llamaboard_config.yaml", "adapter_model.safetensors", "adapter_model.bin"}
# What may be something else: its beginning is read.
_RESULTS = ("all_results.json", "train_results.json", "eval_results.json")
_NAMED = ("adapter_config.json", "logging.jsonl", "training_args.yaml", *_RESULTS)
_ASK = (*_NAMED, "args.json", "sft_args.json", "training_args.json", "README.md")
_EVENTS = ".tfevents."
_CODE = (".py", ".ipynb", ".toml", ".cfg")


@dataclass(slots=True)
class Folder:
    """What a look into one folder told."""

    names: frozenset[str]
    folders: list[str]

    @property
    def checkpoints(self) -> list[str]:
        """Its checkpoints, by name."""
        return [name for name in self.folders if CHECKPOINT.fullmatch(name) or name == LAST]


def find(roots: Iterable[Path], stop: Callable[[], bool] | None = None) -> Iterator[Path]:
    """Run directories below the roots, as they are found; a root may be one itself. Links to folders are not followed.

    Never raises for what stands on the disk. ``stop`` is asked now and then; true ends the walk.
    """
    seen: set[tuple[int, int]] = set()
    left = [MAX_FOLDERS]
    for root in roots:
        try:
            start = expand(root).absolute()
        except (RuntimeError, ValueError):
            continue
        if start.name == META:
            start = start.parent
        yield from _walk(start, 0, seen, left, stop, inside=False, given=True)


def is_run(path: Path) -> bool:
    """Whether a directory is a run: it holds what a training leaves, or is a checkpoint that was given by itself."""
    folder = _look(Path(path))
    return folder is not None and (_is_run(Path(path), folder) or _is_lone_checkpoint(Path(path), folder))


def _walk(
    path: Path,
    depth: int,
    seen: set[tuple[int, int]],
    left: list[int],
    stop: Callable[[], bool] | None,
    *,
    inside: bool,
    given: bool = False,
) -> Iterator[Path]:
    """``inside``: a run was found further up; only what has a history of its own is another one there."""
    if (stop is not None and stop()) or left[0] <= 0:
        return
    left[0] -= 1
    if str(path) in _SYSTEM and not given:
        return
    try:
        info = os.stat(path) if given else os.lstat(path)
    except (OSError, ValueError):
        return
    if not stat.S_ISDIR(info.st_mode) or (info.st_dev, info.st_ino) in seen:
        return
    seen.add((info.st_dev, info.st_ino))
    folder = _look(path)
    if folder is None:
        return
    run = _is_run(path, folder) or (given and _is_lone_checkpoint(path, folder))
    if run and inside:
        run = path.name not in GATHERED and _has_history(path, folder)
    if run:
        yield path
    if depth >= MAX_DEPTH:
        return
    for name in sorted(folder.folders, reverse=True):
        if _is_entered(name, run=run or inside):
            yield from _walk(path / name, depth + 1, seen, left, stop, inside=inside or run)


def _is_entered(name: str, *, run: bool) -> bool:
    if name.startswith(".") and not name.startswith(".."):
        return False
    if name in _SKIP or name == LAST or CHECKPOINT.fullmatch(name) or name.startswith("tmp-checkpoint-"):
        return False
    return not (run and (name == "merged" or LIKE_CHECKPOINT.fullmatch(name)))


def _look(path: Path) -> Folder | None:
    names: set[str] = set()
    folders: list[str] = []
    try:
        with os.scandir(path) as entries:
            for seen, entry in enumerate(entries):
                if seen >= MAX_NAMES:
                    break
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif not entry.is_dir():  # a link to a directory is neither
                        names.add(entry.name)
                except OSError:
                    names.add(entry.name)
    except (OSError, ValueError):
        return None
    return Folder(frozenset(names), folders)


def _is_run(path: Path, folder: Folder) -> bool:
    if META in folder.folders:
        return True
    if folder.names & _SIGNS:
        return True
    if any(_is_checkpoint(path / name) for name in folder.checkpoints[:20]):
        return True
    if any(_EVENTS in name for name in folder.names):
        return True
    if any(name in folder.names and _says_so(path, name) for name in _ASK):
        return True
    return "runs" in folder.folders and _holds_events_alone(path, folder)


def _is_lone_checkpoint(path: Path, folder: Folder) -> bool:
    return bool(LIKE_CHECKPOINT.fullmatch(path.name)) and _is_checkpoint(path, folder)


def _is_checkpoint(path: Path, folder: Folder | None = None) -> bool:
    """Whether a folder of that name holds anything that a trainer saves."""
    found = folder or _look(path)
    return found is not None and any(
        name in _SIGNS or name == "adapter_config.json" or name.endswith((".safetensors", ".bin", ".pt", ".pth"))
        for name in found.names
    )


def _says_so(path: Path, name: str) -> bool:
    """Whether a file that may be anything is one of a training."""
    from engine.history.readers import adapter, args, card, jsonlines, results, textfiles

    log = name == "logging.jsonl"  # the only one that grows
    found = textfiles.read(path / name, within=path, limit=1 << 20, tail=0 if log else textfiles.TAIL)
    if found is None or not found.data:
        # What it holds is elsewhere, or not ours to see: its name must do.
        return found is not None and bool(found.problem) and name in _NAMED
    if name == "README.md":
        return card.is_training(found.data)
    if log:
        return jsonlines.is_log(found)
    if name == "adapter_config.json":
        return adapter.is_adapter(found)
    if name in _RESULTS:
        return results.is_training(results.read(found)[0])
    values, _ = args.read(found, name)
    return args.is_swift(values) if name in args.SWIFT else args.is_factory(values) or args.is_trainer(values)


def _holds_events_alone(path: Path, folder: Folder) -> bool:
    """Whether a folder is an output directory of which nothing but TensorBoard's ``runs/`` is left."""
    if any(name.endswith(_CODE) for name in folder.names) or ".git" in folder.folders:
        return False
    if any(name != "runs" and not name.startswith(".") for name in folder.folders):
        return False
    runs = _look(path / "runs")
    if runs is None:
        return False
    inner = [runs, *filter(None, (_look(path / "runs" / name) for name in runs.folders[:20]))]
    if any(found.names & _SIGNS or found.checkpoints or META in found.folders for found in inner):
        return False  # a folder of runs
    return any(_EVENTS in name for found in inner for name in found.names)


def _has_history(path: Path, folder: Folder) -> bool:
    """Whether a folder within a run is a run of its own, and no product of the one around it."""
    if META in folder.folders or folder.checkpoints:
        return META in folder.folders or any(_is_checkpoint(path / name) for name in folder.checkpoints[:20])
    if path.name in PRODUCTS or LIKE_CHECKPOINT.fullmatch(path.name):
        return False
    return bool(folder.names & (_LOGS | {"train_results.json"})) or (
        "logging.jsonl" in folder.names and _says_so(path, "logging.jsonl")
    )
