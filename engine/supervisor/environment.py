"""The environment in which a worker runs: its GPUs, allocator, and how it finds the engine."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import engine
from engine import paths


def worker_environment(python: str, devices: str | None) -> dict[str, str]:
    """Environment variables of the worker; ``devices`` are the GPUs that its turn brought, ``None`` for no choice."""
    env = dict(os.environ)
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Read when CUDA starts; both names, since torch 2.9 renamed it. Less fragmentation, so larger batches fit.
    env.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    env.setdefault("PYTORCH_CUDA_ALLOC_CONF", env["PYTORCH_ALLOC_CONF"])
    env.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    # Idle OpenMP threads that spin make two runs on the same cores crawl: 14 s a step instead of 0.4 s (measured with
    # the sample model on two cores). Sleeping ones cost nothing measurable when a run is alone.
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = devices
    if Path(python).resolve() != Path(sys.executable).resolve() or python != sys.executable:
        env["PYTHONPATH"] = str(_engine_only_path())
    return env


def _engine_only_path() -> Path:
    """A folder that holds nothing but a link to the engine, for an interpreter of another environment.

    Putting our own site-packages on its path would shadow its torch with ours.
    """
    package = Path(engine.__file__).parent.resolve()
    folder = paths.cache_dir() / "engine-path" / hashlib.sha256(os.fsencode(package)).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "engine"
    try:
        link.symlink_to(package, target_is_directory=True)
    except FileExistsError:
        pass
    return folder
