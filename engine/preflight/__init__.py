"""What can be known before a GPU is touched: whether the input is sound, how many steps a run takes, and what it costs.

The checks are light and run at every launch. The cost sheet (:mod:`engine.preflight.sheet`) asks the inspector.
"""

from engine.preflight.checks import (
    Plan,
    Preflight,
    _logout_risk,
    check,
    held_out,
    is_local_model,
    plan,
    propose_output_dir,
    samples,
)

__all__ = [
    "Plan",
    "Preflight",
    "_logout_risk",
    "check",
    "held_out",
    "is_local_model",
    "plan",
    "propose_output_dir",
    "samples",
]
