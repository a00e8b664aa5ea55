"""The settings as Markdown tables, for the README (``python -m tui.readme README.md``)."""

from __future__ import annotations

from engine.config.fields import GROUPS
from engine.config.flags import format_value
from engine.config.schema import settings

BEGIN, END = "<!-- settings: generated -->", "<!-- settings: end -->"


def markdown() -> str:
    """All settings as Markdown tables, one a group."""
    out = []
    for group in GROUPS:
        out.append(f"\n**{group}**\n\n| setting | default | values | what it does |\n|---|---|---|---|")
        for info in settings().values():
            if info.group == group:
                default = "–" if info.default is None else f"`{format_value(info.default)}`"
                values = " ".join(part for part in (info.range_text, info.unit) if part)
                row = (f"`{info.name}`", "required" if info.required else default, values, info.help)
                out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(out) + "\n"


def refresh(text: str) -> str:
    """The README's text with its table brought up to date."""
    return replace_between(text, BEGIN, END, markdown())


def replace_between(text: str, begin: str, end: str, content: str) -> str:
    """The text with what stands between two marks replaced."""
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    return f"{before}{begin}\n{content}\n{end}{after}"
