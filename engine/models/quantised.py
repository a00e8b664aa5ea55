"""Models whose weights were quantised before: by which method, and whether that can be loaded and trained here."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.text import clean

# Modules that transformers needs to load weights of a method, and what is given to pip for them.
_NEEDS: dict[str, tuple[tuple[str, ...], str]] = {
    "bitsandbytes": (("bitsandbytes",), "'tunedeck[quant]'"),
    "awq": (("gptqmodel",), "gptqmodel"),
    "gptq": (("optimum", "gptqmodel"), "optimum gptqmodel"),
    "aqlm": (("aqlm",), "'aqlm[gpu,cpu]'"),
    "quanto": (("optimum.quanto",), "optimum-quanto"),
    "hqq": (("hqq",), "hqq"),
    "compressed-tensors": (("compressed_tensors",), "compressed-tensors"),
    "torchao": (("torchao",), "torchao"),
    "eetq": (("kernels",), "kernels"),
    "fouroversix": (("fouroversix",), "fouroversix"),
    "fp_quant": (("fp_quant",), "fp_quant"),
    "sinq": (("sinq",), "sinq"),
    "bitnet": ((), ""),
    "fp8": ((), ""),
    "mxfp8": ((), ""),
}
# Methods on whose weights transformers refuses to train, and those on which it does only with these words.
_NOT_TRAINED = {
    "mxfp4",
    "nvfp4",
    "fbgemm_fp8",
    "higgs",
    "auto-round",
    "quark",
    "spqr",
    "vptq",
    "gguf",
    "metal",
    "gemma",
}
_ONLY_WITH: dict[str, dict[str, object]] = {"bitnet": {"linear_class": "autobitlinear", "quantization_mode": "online"},
              "fouroversix": {"keep_master_weights": True}, "fp_quant": {"store_master_weights": True}}  # fmt: skip
_MOST = 2**20


def method(config: Mapping[str, Any]) -> str:
    """The method that a configuration names; empty where its weights are not quantised, or it names none."""
    given = config.get("quantization_config")
    if not isinstance(given, dict):
        return ""
    if given.get("load_in_4bit") is True or given.get("load_in_8bit") is True:
        return "bitsandbytes"
    return str(given.get("quant_method") or "").strip().lower()


def trouble(config: Mapping[str, Any]) -> tuple[str, str]:
    """Why quantised weights cannot be trained on here, and what to do; empty where they can, or are not quantised."""
    given, name = config.get("quantization_config"), method(config)
    if given is None:
        return "", ""
    plain = "Take the model that is not quantised; load_in_4bit quantises it here"
    if not isinstance(given, dict) or not name:
        return "quantization_config does not say by which method (quant_method)", plain
    shown = clean(name, 40)
    wanted = _ONLY_WITH.get(name, {})
    if name in _NOT_TRAINED or any(given.get(key) != value for key, value in wanted.items()):
        return f"quantised with {shown}, which cannot be trained", plain
    if name not in _NEEDS:
        known = _known()
        unknown = known is not None and name not in known
        return (
            (f"quantised with {shown}, which the installed transformers does not know", plain) if unknown else ("", "")
        )
    modules, package = _NEEDS[name]
    missing = [module for module in modules if not there(module)]
    if not missing:
        return "", ""
    words = f"{'package' if len(missing) == 1 else 'packages'} {' and '.join(missing)}"
    return f"quantised with {shown}, which needs the {words}, not installed here", f"pip install {package}"


def there(module: str) -> bool:
    """Whether a module can be imported, told without importing it or what it belongs to."""
    top, *rest = module.split(".")
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if found is None or not rest:
        return found is not None
    places = [Path(place, *rest) for place in found.submodule_search_locations or ()]
    return any(place.is_dir() or place.with_suffix(".py").is_file() for place in places)


@functools.lru_cache(maxsize=1)
def _known() -> frozenset[str] | None:
    """The methods of the installed transformers, read as text; ``None`` where they are not where they are sought."""
    try:
        spec = importlib.util.find_spec("transformers")
        folder = next(iter(spec.submodule_search_locations or ())) if spec is not None else ""
        text = (Path(folder) / "quantizers" / "auto.py").read_bytes()
        tree = ast.parse(text) if len(text) < _MOST else ast.Module([], [])
    except (ImportError, OSError, SyntaxError, ValueError, StopIteration, RecursionError):
        return None
    for node in tree.body:
        named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id
        if (
            named == "AUTO_QUANTIZATION_CONFIG_MAPPING"
            and isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Dict)
        ):
            return frozenset(str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))
    return None
