"""Whether a model's files and a run's settings fit the model that its configuration makes; no weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from engine.checkpoints import safetensors_header
from engine.models.cache import model_folder
from engine.rundir import read_json
from engine.text import clean

# How transformers says that it can make no causal language model of a configuration; its words are what there is.
_NO_MODEL = ("Unrecognized configuration class", "Unrecognized model in", "does not recognize this architecture")
_KNOWN_HINT = "Give a causal language model of a type that the installed transformers knows"
_LARGEST_NAMES = 200
# What building a model raises where its configuration makes no sense.
OF_CONFIG = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Far beyond any model; what is larger is not built, since that alone would take minutes.
_MOST = {"num_hidden_layers": 2000, "hidden_size": 1_000_000, "num_attention_heads": 10_000, "vocab_size": 10_000_000}


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


def refuse_config(error: Exception) -> NoReturn:
    """Raise :class:`DoesNotFit` where no model could be built of a configuration: a run could not build it either."""
    text = clean((str(error).strip().splitlines() or [type(error).__name__])[0], 200)
    raise DoesNotFit("bad-model", f"config.json makes no model: {type(error).__name__}: {text}",
                     "Take config.json from where the model is from") from error  # fmt: skip


def check_config(config: Any) -> None:
    """Sizes that no model has; raises :class:`DoesNotFit`."""
    text = config.get_text_config()
    for name, most in _MOST.items():
        value = getattr(text, name, None)
        if isinstance(value, int) and not 0 < value <= most:
            raise DoesNotFit("bad-model", f"config.json says {name} {value:,}, which no model has",
                             "Take config.json from where the model is from")  # fmt: skip


def check_weights(model: Any, settings: dict[str, Any]) -> None:
    """Compare the weights on the disk with those of the model; raises :class:`DoesNotFit`.

    Only tensors of the same name are compared, by their sizes in any order: some are regrouped or turned when they are loaded,
    and quantised ones are packed. What is missing is told only where every name on the disk is one of the model's.
    """
    folder = model_folder(settings["base_model"], settings["revision"])
    if folder is None or getattr(model.config, "quantization_config", None) is not None:
        return
    made = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    there = _shapes(folder)
    if there is None:
        return
    names = {name for name, _ in there}
    ends = {_alike(name) for name in made}
    if not any(_alike(name) in ends for name in names):
        raise DoesNotFit("bad-model", "none of the weights belongs to the model that config.json makes",
                         "Take config.json and the weights of one model")  # fmt: skip
    missing = [name for name, _ in model.named_parameters() if name not in names] if names <= set(made) else []
    if missing:
        raise DoesNotFit("bad-model", f"the weights lack {len(missing):,} of the tensors that config.json makes, as "
                         f"{clean(missing[0], 100)}", "Take config.json and the weights of one model, complete")  # fmt: skip
    for name, shape in there:
        if sorted(made.get(name, shape)) != sorted(shape):
            found, wanted = (" × ".join(f"{size:,}" for size in sizes) for sizes in (shape, made[name]))
            raise DoesNotFit("bad-model", f"the weights do not fit config.json: {clean(name, 100)} is {found}, where config.json "
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


def _alike(name: str) -> str:
    """The end of a tensor's name, which is the same whatever the model is wrapped in, with or without a layer's number."""
    return ".".join([part for part in name.split(".") if not part.isdigit()][-2:])


def _shapes(folder: Path) -> list[tuple[str, list[int]]] | None:
    """Name and shape of each tensor; ``None`` where a file is not there (yet) or its header cannot be read."""
    index = read_json(folder / "model.safetensors.index.json") or {}
    weight_map = index.get("weight_map")
    files = (
        sorted({str(name) for name in weight_map.values()}) if isinstance(weight_map, dict) else ["model.safetensors"]
    )
    out = []
    for file in files:
        header = safetensors_header(folder / file)
        if header is None:
            return None
        for name, entry in header.items():
            shape = entry.get("shape") if isinstance(entry, dict) else None
            if isinstance(shape, list):
                out.append((name, shape))
    return out
