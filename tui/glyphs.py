"""Every special character of the app, in Unicode or plain ASCII; each is a single cell wide."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

_STATES = ("queued", "starting", "running", "stopping", "completed", "stopped", "failed", "killed", "lost", "unknown")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of characters."""

    states: dict[str, str]
    full: str
    half: str
    track: str
    rule: str
    bar: str
    dot: str
    ellipsis: str
    down: str
    up: str
    left: str
    right: str
    enter: str
    cursor: str
    changed: str
    group: str
    check: str
    cross: str
    warning: str
    times: str
    dash: str
    mark: str
    opened: str
    closed: str
    spark: str
    ascii: bool

    def state(self, state: str) -> str:
        """The sign of a run's state; an unknown word gets the sign of ``unknown``."""
        return self.states.get(state, self.states["unknown"])


UNICODE = Glyphs(
    dict(zip(_STATES, "◦◌●◍✓■✗✕?·", strict=True)),
    full="━", half="╸", track="─", rule="─", bar="│", dot="·", ellipsis="…", down="↓", up="↑", left="←", right="→",
    enter="⏎", cursor="▌", changed="•", group="▪", check="✓", cross="✗", warning="!", times="×", dash="–",
    mark="◆", opened="▾", closed="▸", spark="▁▂▃▄▅▆▇█", ascii=False,
)  # fmt: skip
ASCII = Glyphs(
    dict(zip(_STATES, ".o*~+#xX?-", strict=True)),
    full="=", half="", track="-", rule="-", bar="|", dot="-", ellipsis="~", down="v", up="^", left="<", right=">",
    enter="Enter", cursor=">", changed="*", group="#", check="+", cross="x", warning="!", times="x", dash="-",
    mark="*", opened="v", closed=">", spark="_.-'\"", ascii=True,
)  # fmt: skip


def wants_ascii(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal is asked for, or declared to know, nothing but ASCII.

    An unset or ``C`` locale says nothing about the terminal (bare containers are like that), so it counts as UTF-8.
    """
    env = os.environ if environ is None else environ
    if env.get("TUNEDECK_ASCII", "") not in ("", "0"):
        return True
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    charset = locale.partition("@")[0].partition(".")[2].lower().replace("-", "")
    return charset not in ("", "utf8")


def _plain_table() -> dict[int, str]:
    """Every line, block and sign that widgets draw by themselves, as ASCII of one cell."""
    table = dict.fromkeys(range(0x2500, 0x2580), "+")
    table |= dict.fromkeys(range(0x2580, 0x25A0), "#") | dict.fromkeys(range(0x25A0, 0x2600), "*")
    table |= dict.fromkeys(map(ord, "─━┄┅┈┉╌╍═╴╶╸╺▔"), "-") | dict.fromkeys(map(ord, "▁▂"), "_")
    table |= dict.fromkeys(map(ord, "│┃┆┇┊┋╎╏║╵╷╹╻▏▎▍▌▐▕"), "|") | dict.fromkeys(map(ord, "░▒"), ":")
    signs = zip("…↑↓←→⏎·•–—“”‘’×✓✗✕▲▼▶◀▾▸⭘␣\u00a0", "~^v<><--" + "--" + "\"\"''x+xx^v><v>o_ ", strict=True)
    return table | {ord(sign): plain for sign, plain in signs}


# For drivers: what is left after :func:`glyphs` where only ASCII may be sent; people's own text is left alone.
PLAIN_TABLE = _plain_table()


@cache
def glyphs() -> Glyphs:
    """The set for this terminal."""
    return ASCII if wants_ascii() else UNICODE


def state_text(state: str, *, stalled: bool = False) -> str:
    """A state as glyph and word, e.g. ``● running``, ``● running (stalled)``."""
    return f"{glyphs().state(state)} {state}{' (stalled)' if stalled else ''}"
