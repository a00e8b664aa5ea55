"""The training libraries, loaded in one go."""

from __future__ import annotations

import gc
from importlib import import_module

# Modules, and what transformers and TRL load only when it is asked for.
MODULES = ("engine.worker.train", "engine.worker.trainer")
LAZY = {"transformers": ("AutoModelForCausalLM", "AutoTokenizer"), "trl": ("SFTConfig",)}


def load() -> None:
    """Import what every run needs, with Python's collector of cycles at rest.

    Thousands of modules make hundreds of thousands of objects that stay for good: looking through them again and again
    took a third of the time, and each later collection (one is asked for before every training) most of a second more.
    """
    gc.disable()
    try:
        for name in MODULES:
            import_module(name)
        for name, parts in LAZY.items():
            for part in parts:
                getattr(import_module(name), part)
    finally:
        gc.freeze()
        gc.enable()
