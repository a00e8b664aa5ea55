"""Whether a model's files and a run's settings fit the model that its configuration makes; no weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.checkpoints import safetensors_header
from engine.models.cache import model_folder
from engine.rundir import read_json
from engine.text import clean

# How transformers says that it can make no causal language model of a configuration; its words are what there is.
_NO_MODEL = ("Unrecognized configuration class", "Unrecognized model in", "does not recognize this architecture")
_KNOWN_HINT = "Give a causal language model of a type that the installed transformers knows"
_LARGEST_NAMES = 200


class DoesNotFit(Exception):
    """A run with these settings would fail: a short stable kind, a message and a hint for people."""

    def __init__(self, kind: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


def refuse_unknown(error: Exception) -> None:
    """Raise :class:`DoesNotFit` where an error says that a configuration is of no model that can be trained here."""
    text = " ".join(str(error).split())
    if any(sign in text for sign in _NO_MODEL):
        raise DoesNotFit(
            "bad-model", f"no causal language model can be built: {clean(text, 200)}", _KNOWN_HINT
        ) from error


def check_weights(model: Any, settings: dict[str, Any]) -> None:
    """Compare the shapes of the weights on the disk with those of the model; raises :class:`DoesNotFit`.

    Only tensors of the same name are compared, by their sizes in any order: some are regrouped or turned when they are loaded,
    and quantised ones are packed.
    """
    folder = model_folder(settings["base_model"], settings["revision"])
    if folder is None or getattr(model.config, "quantization_config", None) is not None:
        return
    made = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in _shapes(folder):
        if sorted(made.get(name, shape)) != sorted(shape):
            there, wanted = (" × ".join(f"{size:,}" for size in sizes) for sizes in (shape, made[name]))
            raise DoesNotFit("bad-model", f"the weights do not fit config.json: {clean(name, 100)} is {there}, where config.json "
                             f"makes {wanted}", "Take config.json and the weights of one model")  # fmt: skip


def check_saved(model: Any, settings: dict[str, Any]) -> None:
    """Layers to be trained whole must be there; PEFT says nothing. Raises :class:`DoesNotFit`."""
    wanted = settings.get("modules_to_save") or []
    paths = [name for name, _ in model.named_modules() if name]
    missing = [word for word in wanted if not any(path == word or path.endswith(f".{word}") for path in paths)]
    if missing:
        tops = dict.fromkeys(path.rpartition(".")[2] for path in paths if path.count(".") <= 1)
        hint = f"It has {', '.join(list(tops)[:8])}"
        raise DoesNotFit(
            "unknown-layer",
            f"the model has no layer named {clean(', '.join(missing), 100)}",
            clean(hint, _LARGEST_NAMES),
        )


def _shapes(folder: Path) -> list[tuple[str, list[int]]]:
    """Name and shape of each tensor that is on the disk; none where the headers cannot be read."""
    index = read_json(folder / "model.safetensors.index.json") or {}
    weight_map = index.get("weight_map")
    files = (
        sorted({str(name) for name in weight_map.values()}) if isinstance(weight_map, dict) else ["model.safetensors"]
    )
    out = []
    for file in files:
        for name, entry in (safetensors_header(folder / file) or {}).items():
            shape = entry.get("shape") if isinstance(entry, dict) else None
            if isinstance(shape, list):
                out.append((name, shape))
    return out
