"""What an empty list says."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from engine.text import clean_path


def welcome(missing: Sequence[str] = ()) -> Content:
    """What an empty list says: what this is for, and the keys to go on with; folders to be searched that are not there."""
    return Content("\n").join([
        Content.styled("No runs yet.", "bold"),
        Content("tunedeck sets up, launches, watches and remembers LoRA fine-tuning runs of language models."),
        Content(""),
        Content.assemble(("d", "bold $accent"), "  try the sample run: a tiny model, no GPU, no network, two minutes"),
        Content.assemble(("n", "bold $accent"), "  set up a run of your own"),
        Content.assemble(("a", "bold $accent"), "  search a folder that holds runs already"),
        *([Content("")] if missing else []),
        *(Content.styled(f"{clean_path(path)} is not there now", "$text-warning") for path in missing[:3]),
    ])  # fmt: skip
