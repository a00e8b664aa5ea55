"""The app's own themes, and which one a terminal gets."""

from __future__ import annotations

import os
from collections.abc import Mapping

from textual.theme import Theme

DARK, LIGHT, ANSI = "tunedeck-dark", "tunedeck-light", "tunedeck-ansi"
CHOICES = ("auto", "dark", "light", "ansi")

# Colours that styles may name beyond Textual's own, with values for themes that do not define them.
OWN_VARIABLES = {"faint": "#808080 40%", "row-cursor": "#808080 30%", "row-cursor-blurred": "#808080 15%"}

THEMES = (
    Theme(
        DARK, primary="#6fb1d6", secondary="#a3be9b", accent="#5fd0c5", success="#8ccf7e", warning="#e5b567",
        error="#f07f7f", foreground="#d9dce3", background="#15171c", surface="#15171c", panel="#20232b", dark=True,
        variables={
            "text-muted": "#98a0b0", "faint": "#3b404c", "row-cursor": "#2b3036", "row-cursor-blurred": "#212429",
            "border": "#5fd0c5", "border-blurred": "#3b404c", "scrollbar": "#3b404c", "scrollbar-hover": "#5b6272",
            "scrollbar-active": "#5fd0c5", "scrollbar-background": "#15171c", "scrollbar-background-hover": "#15171c",
            "scrollbar-background-active": "#15171c", "scrollbar-corner-color": "#15171c",
            "block-cursor-background": "#5fd0c5", "block-cursor-foreground": "#15171c",
        },
    ),
    Theme(
        LIGHT, primary="#1f5f8b", secondary="#4d6b45", accent="#006c74", success="#2a7030", warning="#875400",
        error="#b3261e", foreground="#22262c", background="#fafaf8", surface="#fafaf8", panel="#ecedee", dark=False,
        variables={
            "text-muted": "#5f6773", "faint": "#c6cad1", "row-cursor": "#e0e5e8", "row-cursor-blurred": "#ebedee",
            "border": "#006c74", "border-blurred": "#c6cad1", "scrollbar": "#c6cad1", "scrollbar-hover": "#9aa1ac",
            "scrollbar-active": "#006c74", "scrollbar-background": "#fafaf8", "scrollbar-background-hover": "#fafaf8",
            "scrollbar-background-active": "#fafaf8", "scrollbar-corner-color": "#fafaf8",
            "block-cursor-background": "#006c74", "block-cursor-foreground": "#fafaf8",
        },
    ),
    Theme(
        ANSI, ansi=True, primary="ansi_cyan", secondary="ansi_blue", accent="ansi_cyan", success="ansi_green",
        warning="ansi_yellow", error="ansi_red", foreground="ansi_default", background="ansi_default",
        surface="ansi_default", panel="ansi_default", boost="ansi_default", dark=True,
        variables={
            "text-muted": "ansi_default 60%", "faint": "ansi_bright_black", "row-cursor": "ansi_blue",
            "row-cursor-blurred": "ansi_bright_black", "border": "ansi_cyan", "border-blurred": "ansi_bright_black",
            "scrollbar": "ansi_bright_black", "scrollbar-hover": "ansi_cyan", "scrollbar-active": "ansi_cyan",
            "scrollbar-background": "ansi_default", "scrollbar-background-hover": "ansi_default",
            "scrollbar-background-active": "ansi_default", "block-cursor-background": "ansi_cyan",
            "block-cursor-foreground": "ansi_black", "ansi-background": "ansi_black",
            "ansi-foreground": "ansi_white",
        },
    ),
)  # fmt: skip


def choose(wish: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """The theme's name for a wish (``auto``, ``dark``, ``light``, ``ansi``; default: ``TUNEDECK_THEME``, else auto).

    Auto: a terminal of few colours gets ``ansi``; else COLORFGBG's background decides, and dark if that is not set.
    """
    env = os.environ if environ is None else environ
    wish = wish or env.get("TUNEDECK_THEME", "").lower()
    named = {"dark": DARK, "light": LIGHT, "ansi": ANSI}.get(wish)
    if named is not None:
        return named
    if colours(env) < 256:
        return ANSI
    background = env.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT if background in ("7", "15") else DARK


def colours(environ: Mapping[str, str]) -> int:
    """How many colours the terminal says that it has."""
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return 1 << 24
    term = environ.get("TERM", "")
    if any(word in term for word in ("256", "direct", "kitty", "ghostty", "alacritty")):
        return 256
    if term in ("linux", "xterm", "vt100", "vt220", "ansi", "screen", "tmux", ""):
        return 8
    try:
        import curses

        curses.setupterm(term)  # only a process's first call counts
        return curses.tigetnum("colors")
    except Exception:  # no terminfo, or no entry for this terminal: only the plainest are poor
        return 256
