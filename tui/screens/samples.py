"""What the model says: its answers to ``sample_prompts``, by step."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from tui.keys import bindings
from tui.widgets.chrome import KeyBar, TopBar


class SamplesScreen(Screen[None]):
    """The answers of the run at ``path``; ``name`` is what the title calls it."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("samples")]
    KEYS = "samples"

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.run_name = name

    def compose(self) -> ComposeResult:
        """Title and keys."""
        yield TopBar("Answers")
        yield KeyBar()

    def action_back(self) -> None:
        """Back to the run."""
        self.dismiss(None)
