"""Named starting points for a run: YAML files with a comment in the first line that says what for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine import paths


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset file: its name and what it is for (the comment in its first line)."""

    name: str
    summary: str
    path: Path


def available() -> list[Preset]:
    """The presets that come with tunedeck, then the user's own (``XDG_CONFIG_HOME/tunedeck/presets``)."""
    folders = (Path(__file__).parent, paths.config_dir() / "presets")
    return [_describe(file) for folder in folders if folder.is_dir() for file in sorted(folder.glob("*.yaml"))]


def _describe(file: Path) -> Preset:
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            first = lines.readline(500).strip()
    except OSError as error:
        return Preset(file.stem, f"cannot be read: {error.strerror}", file)
    return Preset(file.stem, first.removeprefix("#").strip() if first.startswith("#") else "", file)
