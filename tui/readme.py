"""The README's tables of keys and settings. ``python -m tui.readme README.md`` brings both up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.config import table
from tui.keys import TABLES, TITLES, display

BEGIN, END = "<!-- keys: generated -->", "<!-- keys: end -->"
SCREENS = ("runs", "launch", "preview", "watch", "detail", "compare", "app")


def markdown() -> str:
    """The keys of each screen as Markdown tables."""
    out = []
    for name in SCREENS:
        out.append(f"\n**{TITLES[name]}**\n\n| key | what it does |\n|---|---|")
        out += [f"| `{display(row).replace('|', chr(92) + '|')}` | {row.help} |" for row in TABLES[name]]
    return "\n".join(out) + "\n"


def refresh(text: str) -> str:
    """The README's text with both tables as they are now."""
    return table.replace_between(table.refresh(text), BEGIN, END, markdown())


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(refresh(readme.read_text(encoding="utf-8")), encoding="utf-8")
