"""How many samples an update takes where a run may choose that itself: recipe fastest. Light: numbers only."""

from __future__ import annotations

from engine import ranks
from engine.config import RunConfig

# Tokens of an update from which a card is busy: on an H200 a 7 B-shaped model does 80% of its best at 2,400 tokens an update,
# 95% at 9,600 and all of it at 24,000 (tests/benchmarks/throughput).
GOAL = 16_384
# An epoch keeps at least so many updates: what is learned is counted in updates, too.
_FEWEST = 20


def chosen(config: RunConfig) -> bool:
    """Whether the samples of an update follow from the lengths of the rows."""
    return config.recipe == "fastest"


def accumulation(config: RunConfig, rows: int, tokens: float) -> int:
    """``gradient_accumulation_steps`` that make an update of about :data:`GOAL` tokens; at least those that are set.

    ``rows`` are trained in an epoch and have ``tokens`` in all, as they are trained. The result is a power of two or half as
    much again, times what is needed for ``keep_samples_per_update`` to divide it: the same for nearly the same rows.
    """
    processes = ranks.count(config)
    each = config.batch_size * processes
    asked = ranks.passes(config.gradient_accumulation_steps, processes, config.keep_samples_per_update)
    if rows < 1 or tokens <= 0:
        return config.gradient_accumulation_steps
    passes = max(asked, _round(min(GOAL / (each * tokens / rows), rows / (_FEWEST * each))))
    if passes == asked:
        return config.gradient_accumulation_steps
    return passes * processes if config.keep_samples_per_update else passes


def samples(config: RunConfig, accumulation: int) -> int:
    """Samples of an update of all processes with these ``gradient_accumulation_steps``."""
    processes = ranks.count(config)
    return config.batch_size * ranks.passes(accumulation, processes, config.keep_samples_per_update) * processes


def reason(config: RunConfig, accumulation: int, rows: int, tokens: float) -> str:
    """Why an update has so many samples, in words."""
    number, mean = samples(config, accumulation), tokens / max(1, rows)
    if accumulation == config.gradient_accumulation_steps:
        return f"{number:,} samples an update, as they are set: more would not be faster, or leave too few updates"
    if 2 * number * mean < GOAL:
        return f"{number:,} samples an update: with more an epoch would have less than {_FEWEST} updates"
    return f"{number:,} samples an update: rows have {mean:,.0f} tokens, and about {GOAL:,} keep a card busy"


def _round(passes: float) -> int:
    """The largest of 1, 2, 3, 4, 6, 8, 12, … that is not above."""
    power = 1
    while 2 * power <= passes:
        power *= 2
    return power + power // 2 if power + power // 2 <= passes and power > 1 else power
