"""What is known of a model, as short texts: cleaned, and a dash for what is not known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.text import clean, clean_path
from tui import format as fmt
from tui.glyphs import glyphs

if TYPE_CHECKING:
    from engine.models.catalogue import Model


def parameters(count: int | None) -> str:
    """A number of parameters in at most seven cells: ``1.54 B``, ``494 M``; a dash if unknown."""
    if count is None or count < 0:
        return glyphs().dash
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= 0.9995 * size:
            number = count / size
            return (
                f"{number:.2f} {unit}"
                if number < 9.995
                else f"{number:.1f} {unit}"
                if number < 99.95
                else f"{number:.0f} {unit}"
            )
    return str(count)


def or_dash(text: str, limit: int = 60) -> str:
    """A cleaned text, or a dash."""
    return fmt.cells(clean(text, limit)).strip() or glyphs().dash


def name(model: Model) -> str:
    """What a model is called in the list: its hub id, or its directory as short as it can be said."""
    text = short_path(model.name) if model.source != "hub cache" else clean(model.name, 400)
    return f"{text} @{clean(model.revision, 60)[:8]}" if model.revision else text


def template(family: str) -> str:
    """The family of a chat template; ``none`` is worth a word."""
    return or_dash(family) if family else "none"


def short_path(path: str | Path) -> str:
    """A cleaned path, from the present folder or the home on."""
    text = str(path)
    try:
        here, home = os.getcwd(), str(Path.home())
    except (OSError, RuntimeError):
        return fmt.cells(clean_path(text))
    for start, instead in ((here, ""), (home, "~/")):
        if start != "/" and text.startswith(f"{start}/"):
            return fmt.cells(clean_path(instead + text[len(start) + 1 :]))
    return fmt.cells(clean_path("." if text == here else "~" if text == home else text))


def revision(text: str | None) -> str:
    """A revision in few cells: of a commit the beginning."""
    text = clean(text or "", 100)
    return text[:8] if len(text) == 40 and all(letter in "0123456789abcdef" for letter in text) else text
