"""The last door before a model's own code: in the worker, just before anything of the model is loaded."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.models import weights
from engine.models.cache import model_folder
from engine.models.consent import agreed, code_of, title, trusted
from engine.worker.failure import CannotTrain
from engine.worker.reaching import stay_offline

_PREFIX = "tunedeck-code-"
_made: list[str] = []
_HINT = "agree to it again in tunedeck train or in the form"


def verify_code(record: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The settings to load the model with: its code is trusted only if it is what was agreed to.

    A model that brought no code when the run was launched gets none now. Raises :class:`CannotTrain` where the code
    differs from what ``run.json`` keeps, or consent to it does not stand.
    """
    if config.get("trust_remote_code") is not True:
        return config
    wanted = record.get("code")
    found = code_of(str(config["base_model"]), config.get("revision"))
    if not isinstance(wanted, dict):
        if found is None:
            return {**config, "trust_remote_code": False}
        if not agreed(found):
            raise CannotTrain(f"nobody has agreed to run the code of {title(found)}; {_HINT}")
    elif found is None:
        raise CannotTrain(f"the code that was agreed to is no longer with the model; {_HINT}")
    elif found.missing or (found.name, found.sha256) != (wanted.get("name"), wanted.get("sha256")):
        raise CannotTrain(
            f"the code of {title(found)} is not the code that was agreed to: it was changed since; {_HINT}"
        )
    run_nothing_older()
    if any(":" in file for file in found.files):
        _ask_nobody(config)
    return config


def may_run(name: str, revision: str | None, trust: object) -> bool:
    """Whether code of a model may run in this process, as :func:`engine.models.consent.trusted` says; makes ready for it."""
    if not trusted(name, revision, trust):
        return False
    run_nothing_older()
    return True


def run_nothing_older() -> None:
    """Let transformers copy the code afresh: it would run an older or edited copy that it made of this commit before."""
    from transformers import dynamic_module_utils

    if dynamic_module_utils.HF_MODULES_CACHE in _made:
        return
    _sweep()
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _made.append(folder)
    dynamic_module_utils.HF_MODULES_CACHE = folder


def _sweep() -> None:
    """Remove what processes left behind that were killed."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        number = place.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            mine = place.lstat().st_uid == os.geteuid()
        except OSError:
            continue
        if mine and number.isdigit() and not os.path.lexists(f"/proc/{number}"):
            shutil.rmtree(place, ignore_errors=True)


def _ask_nobody(config: Mapping[str, Any]) -> None:
    """Code of another repository is taken from its main branch, which may have moved on the hub since: stay in the cache."""
    folder = model_folder(str(config["base_model"]), config.get("revision"))
    if folder is None or not weights.whole(folder):
        raise CannotTrain(
            "the model's code lies in another repository, so the model must be downloaded whole before the run"
        )
    stay_offline()
