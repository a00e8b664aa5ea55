"""Whether the hub is asked for the model of a run: not if it is here whole, and not for a minute if it does not answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.models import cache, hub, weights
from engine.worker.failure import CannotTrain

SECONDS = 15.0


def settle_hub(config: Mapping[str, Any]) -> None:
    """Stay in the local cache for a model that lies in it whole: that is the one that was looked at before the run.

    For any other, the hub is asked once, in at most 15 seconds: the libraries would try again and again for about a
    minute. Raises :class:`CannotTrain` with what the hub says, or that it says nothing.
    """
    name = str(config["base_model"])
    if Path(name).is_dir():
        return
    folder = cache.snapshot(name, config.get("revision"))
    if folder is not None and weights.whole(folder):
        stay_offline()
    elif not cache.offline():
        answer = hub.ask(name, config.get("revision"), timeout=SECONDS)
        if not answer.ok:
            state = "not in the local hub cache" if folder is None else "not whole in the local hub cache"
            said = f"{name} is {state}, and {answer.message}" if answer.kind in hub.SILENT else answer.message
            raise CannotTrain(f"{said}. {answer.hint}" if answer.hint else said)


def stay_offline() -> None:
    """Let nothing in this process or those that it starts ask the hub."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
