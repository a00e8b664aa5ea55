"""The README's table of settings. ``python -m engine.config.table README.md`` rewrites it in place."""

from __future__ import annotations

import sys
from pathlib import Path

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
                default = (
                    "required" if info.required else "–" if info.default is None else f"`{format_value(info.default)}`"
                )
                values = " ".join(part for part in (info.range_text, info.unit) if part).replace("|", "\\|")
                out.append(f"| `{info.name}` | {default} | {values} | {info.help.replace('|', chr(92) + '|')} |")
    return "\n".join(out) + "\n"


def refresh(text: str) -> str:
    """The README's text with its table brought up to date."""
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(refresh(readme.read_text(encoding="utf-8")), encoding="utf-8")
