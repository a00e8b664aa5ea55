"""GPU memory of a run by part, estimated from the model's sizes. Nothing here is measured, and nothing claims to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from engine import ranks
from engine.hardware import Gpu

# What CUDA, cuBLAS and the kernels take before the first tensor, as seen in nvidia-smi on cards of the last generations.
CONTEXT_BYTES = 600 * 2**20
# Share of the tensors that torch's allocator holds beyond them, because blocks do not fit exactly.
FRAGMENTATION = 0.05
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# bitsandbytes, NF4 with double quantisation: half a byte, one byte a block of 64, four bytes for 256 such blocks
# (QLoRA, arXiv 2305.14314, section 3).
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
# A byte a parameter, and what bitsandbytes 0.50 was seen to hold besides (one H200: 14.95 GiB at the peak of a 7 B-shaped run,
# 2.54 GiB after a pass of a 1.5 B-shaped model).
_INT8 = 1.86
# Per trained parameter. Adam keeps two moments in float32 (arXiv 1412.6980), Lion one (arXiv 2302.06675), the 8-bit
# ones a byte a moment and four bytes for a block of 256 (arXiv 2110.02861); Adafactor keeps rows and columns only
# (arXiv 1804.04235), SGD without momentum nothing.
_OPTIMIZER = {"adamw_8bit": 2 + 8 / 256, "paged_adamw_8bit": 2 + 8 / 256, "lion_8bit": 1 + 4 / 256,
              "paged_lion_8bit": 1 + 4 / 256, "adafactor": 0.1, "sgd": 0.0}  # fmt: skip
_ADAM = 8.0
# Layers whose offloaded activations are still on the card (TRL's ``OffloadActivations`` keeps the last five tensors of the
# forward pass, and brings back the next ones ahead of the backward pass).
_ON_THE_CARD = 6
# Of TRL's fused head: tokens and words that are scored at a time.
TILE_TOKENS, TILE_WORDS = 4096, 32_768


@dataclass(frozen=True, slots=True)
class Memory:
    """An estimate, in bytes by part; ``overhead`` is the context, fragmentation and what quantised layers unfold into."""

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """Bytes by the name of the part."""
        return {name: getattr(self, name) for name in self.__slots__}


def estimate(costs: dict[str, Any], config: dict[str, Any], tokens: int, evaluated: int = 0) -> Memory:
    """What a run holds at its peak with ``tokens`` tokens in a micro-batch; ``costs`` are the inspector's.

    ``evaluated`` are the tokens of one batch of an evaluation, which keeps no activations. Where what passes through one of its
    layers and its loss exceed what training holds, the logits are those of the evaluation.

    Adapters are float32 (PEFT's ``autocast_adapter_dtype``; TRL makes them bfloat16 over quantised weights), and autocast
    keeps a copy of them in the type that is computed in. There is one gradient for each trained parameter.
    """
    chosen, trained = costs["chosen"], costs["trainable"]
    compute = _BYTES.get(chosen["dtype"], 4)
    quantised = config["load_in_4bit"] or config["load_in_8bit"]
    adapter = 2 if quantised else 4
    cast = compute if compute < adapter else 0
    logits = _logits(costs, compute, tokens)
    adapters, gradients = trained * (adapter + cast), trained * adapter
    optimizer = int(trained * optimizer_bytes(chosen["optim"]))
    activations = _activations(costs, config, compute, tokens, 0 if _is_recorded(costs, tokens) else logits)
    activations += _recorded(costs, config, compute, tokens)
    through = evaluated * (3 * costs["layer"]["widest"] + 2 * costs["hidden"]) * compute
    logits = max(logits, _logits(costs, compute, evaluated) + through - activations)
    unfolded = costs["largest_linear"] * compute if quantised else 0
    context = CONTEXT_BYTES if costs["cuda"] else 0
    overhead = context + unfolded + int(FRAGMENTATION * (adapters + gradients + optimizer + activations + logits))
    weights = _weights(costs, config, compute)
    if quantised and chosen.get("fsdp"):  # they are whole while they are loaded, when nothing else is there yet
        whole = _weights({**costs, "chosen": {**chosen, "fsdp": False}}, config, compute)
        weights = max(weights, whole - gradients - optimizer - activations - logits)
    return Memory(weights, adapters, gradients, optimizer, activations, logits, overhead)


def optimizer_bytes(optim: str) -> float:
    """Bytes of optimizer state for one trained parameter."""
    return _OPTIMIZER.get(optim, _ADAM)


def _weights(costs: dict[str, Any], config: dict[str, Any], compute: int) -> int:
    """The base. bitsandbytes quantises linear layers but the head; the rest stays in the type that is computed in."""
    linear, rest = costs["linear"], costs["parameters"] - costs["linear"]
    each = _NF4 if config["load_in_4bit"] else _INT8 if config["load_in_8bit"] else float(compute)
    if costs["chosen"].get("fsdp"):
        # Of each layer this process's part; while one is at work it is whole, and the next is being gathered.
        shared = linear * each
        part = shared / ranks.wanted(config.get("gpus"), config.get("num_gpus"))
        return int(min(shared, part + 2 * shared / max(1, costs["layers"]))) + rest * compute
    return int(linear * each) + rest * compute


def _activations(costs: dict[str, Any], config: dict[str, Any], compute: int, tokens: int, logits: int) -> int:
    """What is kept for the backward pass.

    With checkpointing (arXiv 1604.06174): the input of each layer, and what one layer keeps while it is computed again;
    that comes after the logits are gone, so only what it exceeds ``logits`` by counts. Without: what every layer keeps.
    """
    one = tokens * _layer(costs, config, compute, tokens)
    inputs, layers = costs["layers"] * costs["hidden"] * compute * tokens, costs["layers"]
    if config.get("activation_offloading"):  # TRL's way: those of the last few layers are still there
        inputs, layers = inputs * min(1.0, _ON_THE_CARD / max(1, layers)), min(_ON_THE_CARD, layers)
    if costs["chosen"]["gradient_checkpointing"]:
        return int(inputs + max(0, one + _passing(costs, compute, tokens) - logits)) + _mask(costs, compute, tokens)
    return int(layers * one + _passing(costs, compute, tokens)) + _mask(costs, compute, tokens)


def _is_recorded(costs: dict[str, Any], tokens: int) -> bool:
    """Whether a pass of so many tokens is recorded as a CUDA graph, which takes nothing of what the logits leave."""
    return bool(costs["chosen"].get("cuda_graphs")) and tokens <= most_recorded(costs["parameters"])


def _recorded(costs: dict[str, Any], config: dict[str, Any], compute: int, tokens: int) -> int:
    """What recorded passes hold for themselves where a larger pass is launched one by one."""
    if not costs["chosen"].get("cuda_graphs") or _is_recorded(costs, tokens):
        return 0
    return _activations(costs, config, compute, most_recorded(costs["parameters"]), 0)


def most_recorded(parameters: int) -> int:
    """Tokens of the largest pass that is recorded as a CUDA graph: longer ones keep the card busy without.

    On an H200 a 7 B-shaped model gained a quarter at 1,600 tokens, 2% at 4,096 and nothing at 8,192; what counts is the work
    behind a launch, tokens times parameters.
    """
    return int(min(8192, max(1024, 2.2e13 / max(1, parameters)))) // 256 * 256


def _mask(costs: dict[str, Any], compute: int, tokens: int) -> int:
    """Samples laid end to end are kept apart by a mask of all against all: once as yes or no, once in what is computed in."""
    chosen = costs["chosen"]
    apart = (chosen["packing"] or chosen["padding_free"]) and chosen["attn_implementation"] in ("sdpa", "eager")
    apart = apart and not chosen.get("end_to_end")
    return tokens * tokens * (1 + compute) if apart else 0


def _layer(costs: dict[str, Any], config: dict[str, Any], compute: int, tokens: int) -> float:
    """Bytes that one layer keeps for a token.

    As in arXiv 2205.05198, section 4.1, for frozen weights and flash attention: a frozen linear layer keeps nothing of its
    input, and what goes back into the residual stream is only added. The other outputs are kept by what follows (attention:
    q, k, v; the gated product: both factors), and so are the output of the attention and the product's activation, which
    Liger's kernel computes again (arXiv 2410.10989, section 3.2). An adapter keeps its input in the type that is computed in,
    and the dropout's mask (one byte). A norm keeps its input in float32, or as it is with Liger. Eager attention keeps the
    scores, their softmax in float32 and its copy. A fused expert keeps four products of its width, for every expert a token
    is sent to.
    """
    layer, chosen = costs["layer"], costs["chosen"]
    back = (1 if layer["experts"] else 2) * costs["hidden"]
    kept = max(0, layer["outputs"] - back) + costs["hidden"] + 4 * layer["experts"]
    kept += 0 if chosen["use_liger_kernel"] else layer["widest"]
    inputs = layer["adapter_inputs"] * (compute + (1 if config["lora_dropout"] else 0))
    if chosen.get("fused_lora"):
        # What several layers take in is kept once, and the dropout's mask not at all: both norms' outputs and, where
        # nothing else keeps it, the gated product.
        alone = 2 * costs["hidden"] + (layer["widest"] if chosen["use_liger_kernel"] else 0)
        inputs = min(layer["adapter_inputs"], alone) * compute
    adapters = inputs + layer["adapters"] * config["lora_r"] * compute
    norms = layer["norms"] * costs["hidden"] * (compute if chosen["use_liger_kernel"] else 4)
    length = min(tokens, config["max_seq_length"])
    scores = costs["heads"] * length * (2 * compute + 4) if chosen["attn_implementation"] == "eager" else 0
    return float(kept * compute + adapters + norms + scores)


def _passing(costs: dict[str, Any], compute: int, tokens: int) -> int:
    """What comes and goes in the backward pass of the widest layer: two gradients, and the adapter's input in float32."""
    copies = 0 if costs["chosen"].get("fused_lora") else 4
    return int(tokens * costs["layer"]["widest"] * (2 * compute + copies))


def _logits(costs: dict[str, Any], compute: int, tokens: int) -> int:
    """What the loss holds: the scores of all words never stand at once.

    TRL's fused head (``ChunkedLogProbFunction`` of TRL 1.16, with Liger too) computes them tile by tile, at most so many tokens
    by so many words, and keeps the hidden states' gradient in float32 and as computed. Without Triton's kernels, on a CPU, a
    tile is also there in float32 four times.
    """
    tile = (
        min(tokens, TILE_TOKENS) * min(TILE_WORDS, costs["vocabulary"]) * (compute if costs["cuda"] else compute + 16)
    )
    return int(tile + tokens * costs["hidden"] * (compute + 4))


def limited(card: Gpu | None, most: float | None) -> Gpu | None:
    """A card of which ``most`` GiB are for this run; ``None``: all of it that is free."""
    return card if card is None or most is None else replace(card, limit=int(most * 2**30))


def fixes(
    costs: dict[str, Any], config: dict[str, Any], longest: int, room: int, *, can_quantise: bool
) -> list[dict[str, Any]]:
    """The three cheapest changes that make a run fit into ``room`` bytes: each with its settings and the total that it comes to.

    Cheap means: the model learns the same. First smaller batches of an evaluation, then smaller ones of the training at equal
    samples per update, then recomputed activations, then quantised weights, last shorter rows. Where no single change will do,
    what comes first in that order is combined.
    """
    found: list[dict[str, Any]] = []
    single = _changes(config, costs, longest, can_quantise)
    for options in single:
        best = next((option for option in options if _total(costs, config, longest, option) <= room), None)
        if best is not None:
            found.append({"settings": best, "total": _total(costs, config, longest, best)})
    together: dict[str, Any] = {}
    for options in single if not found else []:
        for option in options:
            total = _total(costs, config, longest, {**together, **option})
            if total <= room:
                return [{"settings": {**together, **option}, "total": total}]
        together |= options[-1] if options and "max_seq_length" not in options[-1] else {}
    return found[:3]


def _changes(
    config: dict[str, Any], costs: dict[str, Any], longest: int, can_quantise: bool
) -> list[list[dict[str, Any]]]:
    """The kinds of changes, cheapest first, each from the smallest change to the largest."""
    batch, passes = config["batch_size"], config["gradient_accumulation_steps"]
    batches = [{"batch_size": size, "gradient_accumulation_steps": batch * passes // size}
               for size in range(batch - 1, 0, -1) if batch * passes % size == 0]  # fmt: skip
    if costs["chosen"].get("end_to_end"):
        most = costs["chosen"]["tokens_per_pass"] or 0
        batches = [{"max_tokens_per_pass": size} for size in (16384, 12288, 8192, 6144, 4096, 3072, 2048, 1024, 512)
                   if min(longest, config["max_seq_length"]) <= size < most]  # fmt: skip
    evaluation = [] if config["eval_path"] is None and config["eval_fraction"] is None else [
        {"per_device_eval_batch_size": size} for size in range(config["per_device_eval_batch_size"] - 1, 0, -1)]  # fmt: skip
    again = [] if costs["chosen"]["gradient_checkpointing"] else [{"gradient_checkpointing": True}]
    shared = ranks.wanted(config.get("gpus"), config.get("num_gpus")) > 1 and not ranks.why_whole(config)
    apart = [{"fsdp": True}] if shared and not costs["chosen"].get("fsdp") else []
    quantised = config["load_in_4bit"] or not can_quantise
    four = (
        []
        if quantised
        else [{"load_in_4bit": True, "load_in_8bit": False}]
        if config["load_in_8bit"]
        else [{"load_in_4bit": True}]
    )
    start = min(longest, config["max_seq_length"])
    lengths = [
        {"max_seq_length": start * part // 16 // 64 * 64} for part in range(15, 0, -1) if start * part // 16 >= 64
    ]
    return [evaluation, batches, again, apart, four, lengths]


def _total(costs: dict[str, Any], config: dict[str, Any], longest: int, change: dict[str, Any]) -> int:
    changed = {**config, **change}
    chosen = {**costs["chosen"], **{name: value for name, value in change.items() if name in costs["chosen"]}}
    if "max_tokens_per_pass" in change:
        chosen["tokens_per_pass"] = change["max_tokens_per_pass"]
    return estimate(
        {**costs, "chosen": chosen}, changed, micro_batch(changed, longest, chosen), eval_batch(changed, longest)
    ).total


def micro_batch(config: dict[str, Any], longest: int, chosen: dict[str, Any] | None = None) -> int:
    """Tokens in the largest pass: all rows as long as the longest one; packed rows are as long as the limit.

    With samples end to end (``chosen``) an update's rows share passes of at most ``tokens_per_pass``.
    """
    limit = config["max_seq_length"]
    if chosen is not None and chosen.get("end_to_end") and chosen.get("tokens_per_pass"):
        one = min(limit, longest)
        # Recipe fastest takes as many samples as fill its passes.
        whole = chosen["tokens_per_pass"] if chosen.get("recipe") == "fastest" else samples_of(config) * one
        return int(max(one, min(chosen["tokens_per_pass"], whole)))
    return int(config["batch_size"] * (limit if config["packing"] is True else min(limit, longest)))


def samples_of(config: dict[str, Any]) -> int:
    """Samples of one process's update, as they are set."""
    return int(config["batch_size"] * config["gradient_accumulation_steps"])


def eval_batch(config: dict[str, Any], longest: int) -> int:
    """Tokens in the largest batch of an evaluation; none without evaluation data. Rows are taken as long as those of training."""
    if config["eval_path"] is None and config["eval_fraction"] is None:
        return 0
    return int(config["per_device_eval_batch_size"] * min(config["max_seq_length"], longest))
