"""Screens as pictures that can be compared and read: the text with its colours (``cat`` shows a stored one)."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console

FOLDER = Path(__file__).parent / "snapshots"


def picture(app: Any) -> str:
    """The whole screen, dialogs included, as text with 24-bit colour codes, one line a row."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor", record=True,
                      legacy_windows=False, safe_box=False)  # fmt: skip
    console.print(app.screen._compositor.render_update(full=True))
    return "\n".join(line.rstrip() for line in console.export_text(styles=True).splitlines()).rstrip() + "\n"


def plain(text: str) -> str:
    """A picture without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def compare(app: Any, name: str, *, update: bool) -> None:
    """Fail if the screen is not the stored picture; the message shows both without colours."""
    now = picture(app)
    path = FOLDER / f"{name}.ansi"
    if update:
        path.write_text(now, encoding="utf-8")
        return
    assert path.is_file(), f"there is no picture {path.name}: run pytest with --update-snapshots and look at it"
    before = path.read_text(encoding="utf-8")
    if now != before:
        colours_only = plain(now) == plain(before)
        what = "only colours differ" if colours_only else f"was:\n{plain(before)}\nis:\n{plain(now)}"
        raise AssertionError(f"{name} looks different (pytest --update-snapshots stores it anew): {what}")
