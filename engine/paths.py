"""Where tunedeck keeps its own small files (XDG base directories)."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_APP = "tunedeck"


def state_dir() -> Path:
    """Registry of launched runs and remembered roots (``XDG_STATE_HOME``)."""
    return Path(platformdirs.user_state_dir(_APP))


def cache_dir() -> Path:
    """Derived files that can be deleted at any time (``XDG_CACHE_HOME``)."""
    return Path(platformdirs.user_cache_dir(_APP))


def config_dir() -> Path:
    """The user's own presets (``XDG_CONFIG_HOME``)."""
    return Path(platformdirs.user_config_dir(_APP))


def sample_data_dir() -> Path:
    """The sample data: inside the installed wheel, or at the root of a checkout."""
    packaged = Path(__file__).parent / "_sample_data"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "sample_data"


def expand(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` as a home directory; ``~nobody`` stays as it is, where pathlib would raise an error."""
    return Path(os.path.expanduser(path))
