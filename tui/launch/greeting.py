"""What is said when a form opens: that it is as it was left, and what the run it was cloned from does not tell."""

from __future__ import annotations

from typing import Literal

from engine.config import settings
from engine.text import clean
from tui.launch.model import FormModel
from tui.launch.rows import UNTOLD

Said = tuple[str, Literal["information", "warning"]]


def words(model: FormModel, *, resumed: bool) -> list[Said]:
    """Sentences for a form that was just filled in, or taken up again (``resumed``)."""
    out: list[Said] = []
    if resumed:
        out.append(("The form is as you left it. F9 takes your changes back, F8 sets all to defaults", "information"))
    elif model.untold:
        count = len(model.untold)
        what = "1 setting is" if count == 1 else f"{count} settings are"
        text = f"{what} not told by that run: the default stands there, with the sign {UNTOLD}"
        out.append((text, "warning"))
    general = [f"{name}: {text}" for name, text in model.remarks.items() if name not in settings()]
    if not resumed and general:
        out.append((clean("; ".join(general), 400), "warning"))
    if model.unknown:
        names = ", ".join(clean(name, 40) for name in model.unknown)
        out.append((f"No such settings here, left out: {names}", "warning"))
    return out
