"""How much may move on the screen, for people whom motion disturbs and for those who read by ear or magnifier."""

from __future__ import annotations

import os
from collections.abc import Mapping

# With reduced motion values and curves are brought up to date this seldom.
CALM_SECONDS = 5.0


def reduced(environ: Mapping[str, str] | None = None) -> bool:
    """Whether reduced motion is asked for (``TUNEDECK_REDUCED_MOTION=1``)."""
    env = os.environ if environ is None else environ
    return env.get("TUNEDECK_REDUCED_MOTION", "") not in ("", "0")


def still() -> None:
    """Switch Textual's animations off, for everyone: over a slow line they are a burden. Before Textual is loaded."""
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
