"""What may stand in ``chat_template_path`` for one model: the known templates, the best first, each with its words."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from engine import templates
from engine.models.cache import model_folder

_FILES = ("tokenizer.json", "tokenizer_config.json", "config.json", "chat_template.jinja", "chat_template.json")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a value means for the model; ``warns`` where it is not what the model can take as it is."""

    words: str
    warns: bool = False


def choices(base_model: str, revision: str | None) -> dict[str, Choice]:
    """By value, in the order in which they are offered; the empty one is the model's own template."""
    folder = model_folder(base_model, revision)
    if folder is None:
        return {"": Choice("the model's own"), **{one.name: Choice(one.words) for one in templates.known()}}
    prints = []
    for name in _FILES:
        try:
            info = (folder / name).stat()
            prints.append((info.st_mtime_ns, info.st_size))
        except OSError:
            prints.append((0, 0))
    return dict(_of_folder(folder, tuple(prints)))


@functools.lru_cache(maxsize=8)
def _of_folder(folder: Path, prints: tuple[tuple[int, int], ...]) -> dict[str, Choice]:
    """Read once for each state of the files: the form asks at every key."""
    own = templates.own(folder)
    family = templates.family(own) if own is not None else ""
    first = Choice("the model's own" + (f" ({family})" if family not in ("", "own") else ""))
    found = {"": first if own is not None else Choice("the model has none of its own", True)}
    there = templates.control_tokens(folder)
    for one in templates.fitting(folder):
        split = there is not None and not set(one.tokens) <= there
        words = f"not this model's: its tokenizer splits the control tokens. {one.words}" if split else one.words
        other = own is not None and not templates.same(own, templates.text(one.name))
        found[one.name] = Choice(f"{words}. It takes the place of the model's own" if other else words, split or other)
    return found
