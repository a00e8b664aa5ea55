"""The sample run: a tiny model and chats that come with tunedeck, so that everything can be tried at once."""

from __future__ import annotations

from typing import Any

from engine import paths


def demo_values() -> dict[str, Any]:
    """Raw settings of the sample run, all but ``output_dir``; paths are absolute."""
    from engine.config import yaml_file

    return yaml_file.load(paths.sample_data_dir() / "demo.yaml")
