"""One or two lines on the form's model, beside the setting or below the form."""

from __future__ import annotations

import textwrap

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.launch.model import FormModel
from tui.models import values


def words(form: FormModel) -> tuple[str, str]:
    """What is known of the model in a sentence or less, and its colour; empty where nothing is."""
    dot, model, answer = f" {glyphs().dot} ", form.base, form.hub
    if model is not None and model.name != form.text("base_model").strip():
        return "", "muted"  # of the one before
    if model is not None and not (model.trouble and answer is not None and answer.kind == "ok"):
        if model.trouble:
            return clean(model.trouble, 200), "warning"
        count = (
            f"{values.parameters(model.parameters)} parameters"
            if model.parameters is not None
            else f"{fmt.size(model.bytes)} on disk"
        )
        template = f"template {values.template(model.template)}" if model.template else "no chat template"
        parts = [count, model.dtype, template, model.licence, "needs its own code" if model.needs_code else ""]
        return dot.join(clean(part, 60) for part in parts if part), "text"
    if answer is not None and answer.kind == "ok":
        count = f"{values.parameters(answer.parameters)} parameters" if answer.parameters is not None else ""
        size = f"{fmt.size(answer.bytes)} to download" if answer.bytes is not None else ""
        parts = ["on the hub", count, size, answer.licence, "needs its own code" if answer.needs_code else ""]
        return dot.join(clean(part, 60) for part in parts if part), "text"
    if form.asks_hub:
        return "Not on this machine: asking the hub", "muted"
    if answer is not None:
        return f"Not on this machine; {clean(answer.message, 200)}", "warning"
    return "", "muted"


def lines(form: FormModel, width: int) -> list[tuple[str, str]]:
    """At most two lines of so many cells, with their colour."""
    text, colour = words(form)
    parts = textwrap.wrap(text, max(10, width))
    if len(parts) > 2:
        parts = [parts[0], fmt.shorten(" ".join(parts[1:]), width)]
    return [(part, colour) for part in parts]
