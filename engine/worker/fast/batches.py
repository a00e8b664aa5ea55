"""Batches without padding: the samples of an update, split into passes of so many tokens, each laid end to end in one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

_IGNORED = -100
# A pass is filled up to a whole number of these, so that few shapes come up; what fills is learned by nothing.
SMALL, LARGE, STEP_UP = 128, 256, 2048


@dataclass(slots=True)
class EndToEnd:
    """A collator: takes the samples of one update (``input_ids`` and ``labels``), gives its passes.

    ``budget``: no pass has more tokens, except one that is a single longer sample. ``rounded``: passes are filled up to round
    sizes. The result has ``labels`` (1, tokens) for whoever counts what is learned, and ``passes``: each with ``input_ids`` and
    ``position_ids`` (1, tokens), ``starts`` (int32), ``longest``, ``lengths``, ``learned`` (places whose next token is learned),
    ``targets`` (those next tokens) and ``tokens`` (without what fills).
    """

    pad_token_id: int
    budget: int
    rounded: bool = False

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The passes of an update with these samples."""
        lengths = [len(example["input_ids"]) for example in examples]
        passes = [self._laid([examples[place] for place in group]) for group in divided(lengths, self.budget)]
        # Position 0 is not counted by who counts over labels[1:].
        labels = torch.cat([torch.full((1,), _IGNORED), *(one["targets"] for one in passes)])[None]
        return {"input_ids": torch.cat([one["input_ids"] for one in passes], dim=1), "labels": labels, "passes": passes}

    def _laid(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        lengths = [len(example["input_ids"]) for example in examples]
        tokens = sum(lengths)
        size = rounded(tokens) if self.rounded else tokens
        ids = torch.full((size,), self.pad_token_id, dtype=torch.long)
        following = torch.full((size,), _IGNORED, dtype=torch.long)
        places = torch.zeros(size, dtype=torch.long)
        begin = 0
        for example, length in zip(examples, lengths, strict=True):
            ids[begin : begin + length] = torch.as_tensor(example["input_ids"], dtype=torch.long)
            labels = example.get("labels", example["input_ids"])
            following[begin : begin + length - 1] = torch.as_tensor(labels, dtype=torch.long)[1:]
            places[begin : begin + length] = torch.arange(length)
            begin += length
        if size > tokens:
            places[tokens:] = torch.arange(size - tokens)
            lengths = [*lengths, size - tokens]
        learned = (following != _IGNORED).nonzero().flatten()
        starts = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return {"input_ids": ids[None], "position_ids": places[None], "starts": starts, "longest": max(lengths), "lengths": lengths,
                "learned": learned, "targets": following[learned], "tokens": tokens}  # fmt: skip


def divided(lengths: list[int], budget: int) -> list[list[int]]:
    """Places of samples by pass: as few passes as hold them, of nearly the same size; none above ``budget`` but single samples.

    The longest sample that is left goes to the smallest pass (Graham's rule, doi 10.1137/0117039). In each pass samples keep
    their order; the update is their sum, whatever the pass.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    fewest = -(-sum(min(length, budget) for length in lengths) // budget)
    for count in range(fewest, len(lengths)):
        groups: list[list[int]] = [[] for _ in range(count)]
        sizes = [0] * count
        for place in order:
            smallest = min(range(count), key=sizes.__getitem__)
            if sizes[smallest] and sizes[smallest] + lengths[place] > budget:
                break
            groups[smallest].append(place)
            sizes[smallest] += lengths[place]
        else:
            return [sorted(group) for group in groups]
    return [[place] for place in range(len(lengths))]


def rounded(tokens: int) -> int:
    """The round size that holds so many tokens."""
    step = SMALL if tokens <= STEP_UP else LARGE
    return -(-tokens // step) * step
