"""Which figures a run logs beyond those of the four charts, in the order of interest."""

from __future__ import annotations

from engine.tables import MetricTable
from engine.text import clean
from tui.watch.query import Metric

# What the four charts show, and what is no figure of its own.
SHOWN = frozenset({"loss", "learning_rate", "samples_per_second", "time", "epoch", "num_tokens"})
MEMORY = frozenset({"gpu_memory_allocated", "gpu_memory_reserved", "host_memory"})
TITLES = {
    "grad_norm": "gradient norm", "tokens_per_second": "tokens/s", "mean_token_accuracy": "token accuracy",
    "entropy": "entropy", "step_seconds": "step time", "gpu_memory_peak": "peak GPU memory", "host_memory": "host memory",
}  # fmt: skip
LAST = ("runtime", "samples_per_second", "steps_per_second", "host_memory", "gpu_memory_peak")
# A record of a shape nobody foresaw may name thousands.
LIMIT = 64


def eval_key(name: str) -> str:
    """The curve of a column of the evaluations."""
    return name if name.startswith("eval_") else f"eval {name}"


def smooth_key(name: str) -> str:
    """The smoothed curve of a column of the steps."""
    return {"loss": "loss_smooth", "samples_per_second": "rate_smooth"}.get(name, f"smooth {name}")


def further(steps: MetricTable, evals: MetricTable) -> tuple[Metric, ...]:
    """The figures, those people ask for first; a figure and its evaluation go together."""
    gpu = steps.has("gpu_memory_allocated") or steps.has("gpu_memory_reserved")
    train = [n for n in steps.names() if n not in SHOWN and n not in (MEMORY - {"host_memory"} if gpu else MEMORY)]
    evaluated = {
        n.removeprefix("eval_"): n for n in evals.names() if n not in ("time", "epoch", "num_tokens", "eval_loss")
    }
    bases = list(dict.fromkeys([*train, *evaluated]))
    found = []
    for base in sorted(bases, key=_order)[:LIMIT]:
        evaluation = eval_key(evaluated[base]) if base in evaluated else ""
        found.append(Metric(title(base, alone=base not in train), base if base in train else "", evaluation))
    return tuple(found)


def title(name: str, *, alone: bool = False) -> str:
    """A figure's name for people; ``alone`` if only evaluations have it."""
    text = TITLES.get(name) or clean(name, 60).replace("_", " ").strip() or "unnamed"
    return f"eval {text}" if alone else text


def _order(name: str) -> tuple[int, str]:
    known = list(TITLES)
    if name in LAST:
        return 1000 + LAST.index(name), name
    return known.index(name) if name in known else 100, name
