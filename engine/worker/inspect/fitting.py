"""Whether a model's files and a run's settings fit the model that its configuration makes; no weights are loaded."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from engine.checkpoints import safetensors_header
from engine.models.cache import model_folder
from engine.rundir import read_json
from engine.text import clean

# How transformers says that it can make no causal language model of a configuration; its words are what there is.
_NO_MODEL = ("Unrecognized configuration class", "Unrecognized model in", "does not recognize this architecture")
_KNOWN_HINT = "Give a causal language model of a type that the installed transformers knows"
_CONFIG_HINT = "Take config.json from where the model is from"
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
_LAYER = re.compile(r"(.+?)\.([0-9]+)\.(.+)")
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
            "bad-model", f"no causal language model can be built: {clean(text, 200).rstrip('. ')}", _KNOWN_HINT
        ) from error


def refuse_config(error: Exception) -> NoReturn:
    """Raise :class:`DoesNotFit` where no model could be built of a configuration: a run could not build it either."""
    # The names of classes that check each field are theirs, not a person's.
    kind = "" if "dataclass" in type(error).__name__.lower() else f"{type(error).__name__}: "
    text = clean(" ".join(str(error).split()) or "no reason is given", 240).rstrip(". ")
    raise DoesNotFit("bad-model", f"config.json makes no model: {kind}{text}", _CONFIG_HINT) from error


def load_config(model: dict[str, Any]) -> Any:
    """The configuration of a model; ``None`` where it is not on this machine or needs code that may not run.

    Raises :class:`DoesNotFit` where it makes no sense.
    """
    from transformers import AutoConfig

    check_file(model)
    try:
        config = AutoConfig.from_pretrained(model["base_model"], revision=model["revision"],
                                            trust_remote_code=model["trust_remote_code"])  # fmt: skip
    except OSError:
        return None
    except Exception as error:
        if "trust_remote_code" in str(error):
            return None
        refuse_unknown(error)
        refuse_config(error)
    check_config(config)
    return config


def check_file(model: dict[str, Any]) -> None:
    """Sizes in config.json of which even the configuration would take minutes to make; raises :class:`DoesNotFit`."""
    folder = model_folder(model["base_model"], model["revision"])
    record = read_json(folder / "config.json") if folder is not None else None
    for part in (record, (record or {}).get("text_config")):
        for name, most in _MOST.items():
            value = part.get(name) if isinstance(part, dict) else None
            if isinstance(value, int) and value > most:
                raise DoesNotFit("bad-model", f"config.json says {name} {value:,}, which no model has", _CONFIG_HINT)


def check_config(config: Any) -> None:
    """Sizes and numbers that no model has; raises :class:`DoesNotFit`."""
    text = config.get_text_config()
    if not hasattr(text, "to_dict"):
        refuse_config(TypeError("its part about text is no configuration"))

    def refuse(what: str) -> NoReturn:
        raise DoesNotFit("bad-model", f"config.json says {clean(what, 100)}, which no model has", _CONFIG_HINT)

    for name, most in _MOST.items():
        value = getattr(text, name, None)
        if isinstance(value, int) and not 0 < value <= most:
            refuse(f"{name} {value:,}")
    for name, value in vars(text).items():
        if _is_number(value) and not _possible(name, value):
            refuse(f"{name} {value}")
    rope = getattr(text, "rope_parameters", None)
    for part in [rope, *rope.values()] if isinstance(rope, dict) else []:  # those of each kind of layer lie one deeper
        theta = part.get("rope_theta") if isinstance(part, dict) else None
        if _is_number(theta) and not 0 < theta < math.inf:
            refuse(f"rope_theta {theta}")
    if getattr(config, "return_dict", None) is False:
        refuse("return_dict false")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _possible(name: str, value: float) -> bool:
    """Whether a setting of a configuration can have this value, as far as its name tells."""
    if math.isnan(value):
        return False
    if name.endswith(("_eps", "_epsilon")):
        return 0 <= value < math.inf
    return 0 <= value <= 1 if name.endswith(("dropout", "pdrop", "dropout_prob")) else True


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
            found, wanted = (" × ".join(f"{size:,}" for size in sizes[:8]) for sizes in (shape, made[name]))
            raise DoesNotFit("bad-model", f"the weights do not fit config.json: {clean(name, 100)} is {found}, where config.json "
                             f"makes {wanted}", "Take config.json and the weights of one model")  # fmt: skip
    _check_left_over(names, set(made))


def _check_left_over(names: set[str], made: set[str]) -> None:
    """Tensors that nothing would be made of: transformers drops them with a line in a log, and trains another model.

    Told only of what is sure: a bias of a layer that has none, and whole layers like those that there are. What else is left
    over belongs to parts that are not trained: buffers of old models, heads that guess several tokens, pictures.
    """
    for name in sorted(names - made):
        if name.endswith(".bias") and f"{name.removesuffix('bias')}weight" in made:
            raise DoesNotFit("bad-model", f"the weights hold {clean(name, 100)}, and config.json makes a layer without a bias",
                             "Take config.json and the weights of one model")  # fmt: skip
    layers, built = _layers(names), _layers(made)
    for stack, parts in layers.items():
        known = [held for number, held in parts.items() if number in built.get(stack, {})]
        more = [number for number, held in parts.items() if number not in built.get(stack, {}) and held in known]
        if more:
            raise DoesNotFit("bad-model", f"the weights hold {len(known) + len(more):,} layers, and config.json makes {len(known):,}",
                             "Take config.json and the weights of one model")  # fmt: skip


def _layers(names: set[str]) -> dict[str, dict[str, set[str]]]:
    """What is in each layer of each stack of layers."""
    found: dict[str, dict[str, set[str]]] = {}
    for name in names:
        if match := _LAYER.fullmatch(name):
            found.setdefault(match[1], {}).setdefault(match[2], set()).add(match[3])
    return found


def check_saved(model: Any, settings: dict[str, Any]) -> None:
    """Layers to be trained whole must be there; PEFT says nothing. Raises :class:`DoesNotFit`."""
    wanted = settings.get("modules_to_save") or []
    paths = [name for name, _ in model.named_modules() if name]
    missing = [word for word in wanted if not any(_is(path, word) for path in paths)]
    if missing:
        tops = dict.fromkeys(path.rpartition(".")[2] for path in paths if path.count(".") <= 1)
        hint = f"It has {', '.join(list(tops)[:8])}"
        raise DoesNotFit(
            "unknown-layer",
            f"the model has no layer named {clean(', '.join(missing), 100)}",
            clean(hint, _LARGEST_NAMES),
        )
    _check_start(model, settings)


def _check_start(model: Any, settings: dict[str, Any]) -> None:
    """A start from the weights' own parts has no more of them than a layer's shorter side; PEFT would take fewer, silently."""
    start, rank, targets = settings.get("init_lora_weights"), settings["lora_r"], settings["target_modules"]
    if start not in ("pissa", "olora"):
        return
    head = model.get_output_embeddings()
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        linear = hasattr(module, "in_features") or type(module).__name__ == "Conv1D"
        meant = module is not head if targets == "all-linear" else any(_is(path, word) for word in targets)
        if linear and meant and weight is not None and weight.ndim == 2 and rank > min(weight.shape):
            most = min(weight.shape)
            text = (
                f"lora_r {rank:,} is more than {clean(path, 100)} has parts to start from ({most:,}), as {start} would"
            )
            raise DoesNotFit("bad-adapter", text, f"Set lora_r to at most {most:,}, or init_lora_weights to default")


def _is(path: str, word: str) -> bool:
    """Whether PEFT takes a word of a setting for this layer."""
    return path == word or path.endswith(f".{word}")


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
