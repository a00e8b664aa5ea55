"""Telemetry must not kill training: what goes wrong in a callback's method is said once, and training goes on."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any

from engine.worker.failure import CannotTrain
from engine.worker.tap import EvaluationCut


def never_ends_a_run(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a trainer's callback that raises only what is meant to end training, or an evaluation.

    Its object remembers in ``complained`` that something was said.
    """

    @functools.wraps(method)
    def guarded(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        try:
            method(self, args, state, control, **kwargs)
        except (CannotTrain, EvaluationCut):
            raise
        except Exception:
            if not self.complained:
                self.complained = True
                print("tunedeck: this run could not be recorded fully:", file=sys.stderr)
                traceback.print_exc()
        return control

    return guarded
