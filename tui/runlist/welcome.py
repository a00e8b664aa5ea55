"""What an empty list says."""

from __future__ import annotations

from textual.content import Content


def welcome() -> Content:
    """What an empty list says: what this is for, and the two keys to go on with."""
    return Content("\n").join([
        Content.styled("No runs yet.", "bold"),
        Content("tunedeck sets up, launches, watches and remembers LoRA fine-tuning runs of language models."),
        Content(""),
        Content.assemble(("d", "bold $accent"), "  try the sample run: a tiny model, no GPU, no network, two minutes"),
        Content.assemble(("n", "bold $accent"), "  set up a run of your own"),
        Content.assemble(("a", "bold $accent"), "  search a folder that holds runs already"),
    ])  # fmt: skip
