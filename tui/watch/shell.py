"""A shell in a run's directory, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.app import App


def open_shell(app: App[Any], path: Path) -> str:
    """Run ``$SHELL`` in ``path`` until it ends; returns words for the message line."""
    return "no shell yet"
