"""How the samples of an update are laid out in passes, and whether activations are kept: from the model's sizes and free memory."""

from __future__ import annotations

from typing import Any

from engine.preflight import memory, updates

# Sizes of a pass that are tried, in tokens. Beyond the last one a card gets no faster.
_SIZES = tuple(size for power in range(8, 15) for size in (2**power, 3 * 2 ** (power - 1)))
# The estimate may be too low by so much (tests/benchmarks/memory_estimate), and other work on the card may grow.
_MARGIN = 1.12
# Passes of fewer tokens leave a card half idle: then activations are computed again instead.
_FEWEST = 2048


def tokens_per_pass(costs: dict[str, Any], config: dict[str, Any], room: int | None, *, keeps: bool) -> int:
    """The largest pass of a run that fits into ``room`` bytes (``None``: not known), at least the longest possible row.

    ``keeps``: activations are kept for the backward pass, not computed again. ``costs`` are those of
    :func:`engine.worker.inspect.costs.costs` with ``chosen`` as far as it is decided.
    """
    limit = int(config["max_seq_length"])
    most = _most(costs, config)
    chosen = {**costs["chosen"], "gradient_checkpointing": not keeps}
    best = limit
    for size in _SIZES:
        if size <= best or room is None or size > 2 * most:
            continue
        if _total({**costs, "chosen": chosen}, config, size) > room:
            break
        best = size
    return min(best, max(limit, most))


def can_keep(costs: dict[str, Any], config: dict[str, Any], room: int | None) -> bool:
    """Whether activations can be kept with passes that make good use of the card."""
    if room is None:
        return False
    chosen = {**costs["chosen"], "gradient_checkpointing": False}
    limit = int(config["max_seq_length"])
    return _total({**costs, "chosen": chosen}, config, max(limit, min(_most(costs, config), _FEWEST))) <= room


def fits_whole(costs: dict[str, Any], config: dict[str, Any], room: int) -> bool:
    """Whether a whole model and its smallest pass fit into ``room`` bytes, with activations computed again where that is open."""
    again = config["gradient_checkpointing"] in ("auto", True)
    chosen = {**costs["chosen"], "gradient_checkpointing": again, "fsdp": False}
    limit = int(config["max_seq_length"])
    tokens = limit if chosen["end_to_end"] else memory.micro_batch(config, limit)
    return _total({**costs, "chosen": chosen}, config, tokens) <= room


def _most(costs: dict[str, Any], config: dict[str, Any]) -> int:
    """Tokens that an update can have; where it takes as many samples as are worth it, what they are meant to come to."""
    whole = memory.samples_of(config) * int(config["max_seq_length"])
    return max(whole, updates.GOAL) if costs["chosen"].get("recipe") == "fastest" else whole


def _total(costs: dict[str, Any], config: dict[str, Any], tokens: int) -> int:
    evaluated = memory.eval_batch(config, int(config["max_seq_length"]))
    return int(memory.estimate(costs, config, tokens, evaluated).total * _MARGIN)
