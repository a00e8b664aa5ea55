"""Removing runs, or what can be spared of them: first a plan that touches nothing, then exactly what the plan says.

``plan(path)`` looks and says what would go, what stays and why, and what speaks against it; ``carry_out(plan)`` removes
the planned objects and no other, whatever is swapped, linked, moved or mounted meanwhile.
"""

from engine.history.removal.carrying import carry_out
from engine.history.removal.planning import BEST, LAST, plan
from engine.history.removal.records import CHECKPOINTS, RUN, STATES, Entry, Group, Kept, Outcome, Plan

__all__ = [
    "BEST",
    "CHECKPOINTS",
    "LAST",
    "RUN",
    "STATES",
    "Entry",
    "Group",
    "Kept",
    "Outcome",
    "Plan",
    "carry_out",
    "plan",
]
