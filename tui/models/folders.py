"""What lies in folders of models: what one lacks to be trained, and the models below a folder that is none itself. In threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.paths import expand

if TYPE_CHECKING:
    from engine.models.catalogue import Model

# People keep models in folders of makers; what a whole disk holds is not looked for.
_DEPTH, _MOST_FOLDERS, _MOST_SECONDS = 2, 1000, 3.0
# What is wrong with a model of the hub's cache of which not all was downloaded: in the catalogue's words, and in ours.
_LATER = {"no weights": "its weights are not downloaded yet", "no tokenizer": "its tokenizer is not downloaded yet"}


def look(name: str, revision: str | None = None) -> Model | None:
    """One model by its hub id or path, judged; ``None`` if there is none."""
    from engine.models import catalogue

    model = catalogue.look(name, revision)
    return None if model is None else judged(model)


def judged(model: Model) -> Model:
    """The same; one without a tokenizer cannot be trained either."""
    from engine.templates.reading import has_tokenizer

    trouble = model.trouble or ("" if has_tokenizer(model.path) else "no tokenizer")
    if model.source == "hub cache":
        trouble = _LATER.get(trouble, trouble)
    return model if trouble == model.trouble else replace(model, trouble=trouble)


def incomplete(model: Model) -> bool:
    """Whether a model of the hub lies here in part only, so that the rest can still be downloaded."""
    return model.source == "hub cache" and ("incomplete" in model.trouble or model.trouble in _LATER.values())


def counted(models: list[Model]) -> str:
    """How many there are, and how many of them are no good as they are."""
    part = sum(incomplete(model) for model in models)
    bad = sum(bool(model.trouble) for model in models) - part
    said = [f"{len(models):,} model{'' if len(models) == 1 else 's'}"]
    return ", ".join([*said, *([f"{part} partial"] if part else []), *([f"{bad} cannot be trained"] if bad else [])])


def absolute(name: str) -> str:
    """A path from the root; empty for a text that can be none."""
    try:
        return os.path.abspath(expand(name))
    except (OSError, ValueError, RuntimeError):
        return ""


def beside(name: str) -> list[Path]:
    """Where the form's model lies, if it is a path: others may lie there."""
    try:
        path = expand(name).absolute()
        return [path.parent] if name and path.is_dir() else []
    except (OSError, ValueError, RuntimeError):
        return []


def below(text: str, stop: Callable[[], bool]) -> list[Model]:
    """The models in a folder and in the folders in it; as many as are found at once."""
    until = time.monotonic() + _MOST_SECONDS
    root = expand(text).absolute()
    found, waiting = [], [(root, 0)] if os.path.realpath(root) != "/" else []
    for number, (folder, depth) in enumerate(waiting):  # grows while it is gone through
        if number > _MOST_FOLDERS or time.monotonic() > until or stop():
            break
        model = look(str(folder)) if depth else None
        if model is not None:
            found.append(model)
        elif depth < _DEPTH:
            waiting += [(path, depth + 1) for path in _folders(folder)]
    return found


def _folders(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not entry.name.startswith(".") and entry.is_dir():
                    yield Path(entry.path)
    except OSError:
        return
