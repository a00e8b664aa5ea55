"""Which kinds of models the installed transformers can build, read from its lists as text: importing it takes seconds."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.models import quantised

_MOST = 8 * 2**20
_TOKENIZERS = "TOKENIZER_MAPPING_NAMES"
# Types whose models name a tokenizer class of their own, in place of which transformers takes its general one.
_OWN_TOKENIZER = "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS"
_CAUSAL = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
_PICTURES = ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES")


@dataclass(frozen=True, slots=True)
class Known:
    """Model types that have a configuration, causal language models by type, classes with pictures, tokenizers by type."""

    types: frozenset[str]
    causal: Mapping[str, str]
    pictures: frozenset[str]
    tokenizers: Mapping[str, str]


@functools.lru_cache(maxsize=1)
def known() -> Known | None:
    """What the installed transformers knows; ``None`` if it is not installed or its lists are not where they are sought."""
    try:
        spec = importlib.util.find_spec("transformers")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "models" / "auto"
    tables: dict[str, dict[str, str]] = {}
    for name in ("auto_mappings", "configuration_auto", "modeling_auto", "tokenization_auto"):
        _read(folder / f"{name}.py", tables)
    types, causal = tables.get("CONFIG_MAPPING_NAMES"), tables.get(_CAUSAL)
    if not types or not causal:
        return None
    pictures = {one for table in _PICTURES for one in tables.get(table, {}).values()}
    return Known(frozenset(types), causal, frozenset(pictures - set(causal.values())), tables.get(_TOKENIZERS, {}))


def _read(path: Path, tables: dict[str, dict[str, str]]) -> None:
    """Add the pairs of strings of each list of names in one file."""
    try:
        text = path.read_bytes()
        tree = ast.parse(text) if len(text) <= _MOST else None
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in tree.body if tree is not None else []:
        name = _name(node)
        if name.endswith("_MAPPING_NAMES"):
            tables.setdefault(name, {}).update(_pairs(node))
        elif name == _OWN_TOKENIZER:
            words = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            tables.setdefault(_TOKENIZERS, {}).update({str(word): "TokenizersBackend" for word in words})


def _name(node: ast.stmt) -> str:
    """The list that a statement makes or adds to."""
    target: ast.expr | None = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        target = node.value.func.value if node.value.func.attr == "update" else None
    return target.id if isinstance(target, ast.Name) else ""


def _pairs(node: ast.stmt) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Dict):
            for key, value in zip(part.keys, part.values, strict=True):
                _take(found, key, value)
        elif isinstance(part, ast.Tuple) and len(part.elts) == 2:
            _take(found, part.elts[0], part.elts[1])
    return found


def _take(found: dict[str, str], key: ast.expr | None, value: ast.expr) -> None:
    """A pair; a tokenizer that needs a package is written ``"Name" if is_available() else None``."""
    if isinstance(value, ast.IfExp):
        value = value.body
    if isinstance(value, ast.Tuple):
        value = value.elts[0] if value.elts else value
    if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(value, ast.Constant):
        found[key.value] = value.value if isinstance(value.value, str) else ""


def needs_code(config: Mapping[str, Any], tokenizer: Mapping[str, Any], auto_map: Mapping[str, Any]) -> bool:
    """Whether a model that brings code cannot be built without it."""
    lists = known()
    if lists is None:
        return False
    model_type = str(config.get("model_type") or "")
    if model_type not in lists.types and "AutoConfig" in auto_map:
        return True
    if model_type not in lists.causal and "AutoModelForCausalLM" in auto_map:
        return True
    named = str(tokenizer.get("tokenizer_class") or "").removesuffix("Fast")
    classes = {value.removesuffix("Fast") for value in lists.tokenizers.values()} | {
        "PreTrainedTokenizer",
        "TokenizersBackend",
    }
    return "AutoTokenizer" in auto_map and named not in classes and not lists.tokenizers.get(model_type)


def trouble(config: Mapping[str, Any], auto_map: Mapping[str, Any], *, code: bool) -> str:
    """Why a configuration is not that of a causal language model that can be trained here; empty if it may be one."""
    given = config.get("architectures")
    architecture = str(given[0]) if isinstance(given, list) and given else ""
    model_type = str(config.get("model_type") or "")
    if why := quantised.trouble(config)[0]:
        return why
    if code and ("AutoModelForCausalLM" in auto_map or not auto_map):
        return ""
    lists = known()
    if lists is not None and model_type and model_type not in lists.types and not code:
        return f"the installed transformers does not know the model type {model_type}"
    buildable = (
        lists is None or not model_type or model_type in lists.causal or (code and model_type not in lists.types)
    )
    return _not_causal(lists, architecture, model_type, config, buildable)


def _not_causal(
    lists: Known | None, architecture: str, model_type: str, config: Mapping[str, Any], buildable: bool
) -> str:
    """``buildable``: a causal language model can be made of this model type, as far as is known."""
    causal = architecture.endswith(("ForCausalLM", "LMHeadModel")) and buildable
    if causal or (lists is not None and architecture in lists.causal.values()):
        return ""
    if lists is not None and architecture in lists.pictures and buildable:
        return ""  # its text part alone is loaded and trained
    if not architecture:
        return "" if buildable else f"no causal language model ({model_type})"
    if "Classification" in architecture or "Reward" in architecture:
        return f"a classifier or reward model ({architecture})"
    if lists is not None and architecture in lists.pictures:
        return f"a model of images and text ({architecture})"
    if config.get("is_encoder_decoder") is True or architecture.endswith("ForConditionalGeneration"):
        return f"an encoder-decoder model ({architecture})"
    return f"no causal language model ({architecture})"
