"""What a run trains and holds, from the model's configuration alone: its modules are built without any weights."""

from __future__ import annotations

from typing import Any

from engine.worker.inspect import fitting
from engine.worker.recipe import Machine, resolve
from engine.worker.sizes import remember


class NoAdapter(Exception):
    """PEFT refuses these settings for this model, as it would in a run."""


def costs(settings: dict[str, Any], machine: dict[str, Any], *, chats: bool) -> dict[str, Any]:
    """Counts of parameters, sizes of the model, and what each ``auto`` would choose."""
    known = sizes(settings, cuda=bool(machine.get("cuda")))
    remember(settings, known)
    recipe = resolve(settings, Machine(**machine), marking="marked" if chats else "", sizes=known)
    return {**known, "chosen": recipe.as_chosen()}


def sizes(settings: dict[str, Any], *, cuda: bool) -> dict[str, Any]:
    """Counts of parameters and sizes of the model and its adapter.

    The model is built on torch's ``meta`` device, where a tensor has a shape and no memory, and PEFT puts the adapter into
    it as for a run. So the count is PEFT's own: also for fused experts, tied embeddings, Conv1D and ``all-linear``, which
    the files of the weights do not tell (their tensors are regrouped when they are loaded).
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from engine.worker.train import lora_config

    try:
        model_config = AutoConfig.from_pretrained(settings["base_model"], revision=settings["revision"],
                                                  trust_remote_code=settings["trust_remote_code"])  # fmt: skip
        fitting.check_config(model_config)
    except (ValueError, KeyError) as error:
        fitting.refuse_unknown(error)
        raise
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(model_config, trust_remote_code=settings["trust_remote_code"])
    except fitting.OF_CONFIG as error:
        fitting.refuse_unknown(error)
        fitting.refuse_config(error)
    fitting.check_weights(model, settings)
    fitting.check_saved(model, settings)
    found = _sizes(model, model_config)
    # How the adapter's weights begin needs the model's; how many there are does not.
    adapter = lora_config({**settings, "init_lora_weights": "default"})
    try:
        with torch.device("meta"):
            tuned = get_peft_model(model, adapter)
    except Exception as error:
        raise NoAdapter(str(error)) from error
    trainable = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    found["layer"].update(_adapted(tuned, found["layers"]))
    return {"trainable": trainable, "cuda": cuda, **found}


def _sizes(model: Any, model_config: Any) -> dict[str, Any]:
    """Parameters in all and in the linear layers that bitsandbytes would quantise, and the widths of one layer."""
    text = model_config.get_text_config()
    head = model.get_output_embeddings()
    linear = [module for _, module in _linears(model) if module is not head]
    layers = int(getattr(text, "num_hidden_layers", 0) or 0)
    stack = _stack(model, layers)
    inside = [] if stack is None else [_features(module) for _, module in _linears(stack[-1])]
    hidden = int(getattr(text, "hidden_size", 0) or 0)
    experts = int(getattr(text, "num_experts_per_tok", 0) or 0)
    middle = getattr(text, "moe_intermediate_size", None) or getattr(text, "intermediate_size", None) or 4 * hidden
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "linear": sum(module.weight.numel() for module in linear),
        "largest_linear": max((module.weight.numel() for module in linear), default=0),
        "layers": layers, "hidden": hidden, "heads": int(getattr(text, "num_attention_heads", 0) or 0),
        "vocabulary": int(getattr(text, "vocab_size", 0) or 0),
        "positions": _whole(getattr(text, "max_position_embeddings", None)),
        "layer": {
            "outputs": sum(out for _, out in inside),
            "widest": max([out for _, out in inside] + [into for into, _ in inside], default=hidden),
            "norms": 0 if stack is None else sum("norm" in type(m).__name__.lower() for m in stack[-1].modules()),
            "experts": experts * int(middle) if experts else 0,
        },
    }  # fmt: skip


def _adapted(tuned: Any, layers: int) -> dict[str, int]:
    """What the adapters of one layer take in, in features."""
    stack = _stack(tuned, layers)
    if stack is None:
        return {"adapter_inputs": 0, "adapters": 0}
    parts = [m.lora_A["default"] for m in stack[-1].modules() if "default" in getattr(m, "lora_A", {})]
    return {"adapter_inputs": sum(part.in_features for part in parts), "adapters": len(parts)}


def _stack(model: Any, layers: int) -> Any:
    """The list of the model's layers."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == layers > 0:
            return module
    return None


def _linears(model: Any) -> list[tuple[str, Any]]:
    import torch
    from transformers.pytorch_utils import Conv1D

    return [(name, m) for name, m in model.named_modules() if isinstance(m, torch.nn.Linear | Conv1D)]


def _features(module: Any) -> tuple[int, int]:
    """Width of what goes in and what comes out; a Conv1D keeps its weight the other way round."""
    first, second = module.weight.shape
    return (second, first) if hasattr(module, "in_features") else (first, second)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
