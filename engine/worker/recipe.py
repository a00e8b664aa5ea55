"""The one place where every ``auto`` is decided, each with its reason, before the model is loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, replace
from typing import Any

from engine import ranks


@dataclass(frozen=True, slots=True)
class Machine:
    """What the decisions depend on. ``capability`` is CUDA's (major, minor); memory in bytes."""

    cuda: bool
    gpu_name: str = ""
    capability: tuple[int, int] = (0, 0)
    bf16: bool = False
    memory_total: int = 0
    liger: bool = False
    bitsandbytes: bool = False
    memory_free: int | None = None
    triton: bool = False
    varlen: bool = False

    @classmethod
    def here(cls) -> Machine:
        """This machine, asked through torch."""
        import torch

        liger = importlib.util.find_spec("liger_kernel") is not None
        bitsandbytes = importlib.util.find_spec("bitsandbytes") is not None
        if not torch.cuda.is_available():
            return cls(cuda=False, liger=liger, bitsandbytes=bitsandbytes)
        triton = importlib.util.find_spec("triton") is not None
        properties = torch.cuda.get_device_properties(0)
        capability = (properties.major, properties.minor)
        # Cards before Ampere only emulate bfloat16, slowly.
        return cls(
            True, properties.name, capability, capability >= (8, 0), properties.total_memory, liger, bitsandbytes,
            torch.cuda.mem_get_info()[0], triton, importlib.util.find_spec("torch.nn.attention.varlen") is not None,
        )  # fmt: skip

    def limited(self, most: float | None) -> Machine:
        """As much of this machine as a run may use: ``most`` GiB of GPU memory."""
        if not self.cuda or most is None:
            return self
        room = int(most * 2**30)
        return replace(self, memory_total=min(self.memory_total, room), memory_free=min(self.memory_free or room, room))


@dataclass(slots=True)
class Recipe:
    """Settings with every ``auto`` resolved; ``auto`` maps a setting to what was chosen and why."""

    dtype: str
    attn_implementation: str
    optim: str
    gradient_checkpointing: bool
    use_liger_kernel: bool
    packing: bool
    padding_free: bool
    assistant_only_loss: bool
    cuda: bool
    recipe: str = "plain"
    fused_lora: bool = False
    cuda_graphs: bool = False
    tokens_per_pass: int | None = None
    fsdp: bool = False
    auto: dict[str, dict[str, Any]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def as_chosen(self, end_to_end: bool | None = None) -> dict[str, Any]:
        """The decisions that memory depends on, as :mod:`engine.preflight.memory` takes them."""
        laid = self.end_to_end if end_to_end is None else end_to_end
        return {
            "dtype": self.dtype, "attn_implementation": self.attn_implementation, "optim": self.optim,
            "gradient_checkpointing": self.gradient_checkpointing, "use_liger_kernel": self.use_liger_kernel,
            "packing": self.packing, "padding_free": self.padding_free, "recipe": self.recipe, "end_to_end": laid,
            "fused_lora": self.fused_lora, "cuda_graphs": self.cuda_graphs, "tokens_per_pass": self.tokens_per_pass,
            "fsdp": self.fsdp,
        }  # fmt: skip

    @property
    def end_to_end(self) -> bool:
        """Whether this project lays samples end to end itself, not TRL."""
        return self.tokens_per_pass is not None

    @property
    def mixed_precision(self) -> dict[str, bool]:
        """``bf16``/``fp16`` of the trainer: computation in the base's dtype, adapters in float32."""
        return {"bf16": self.dtype == "bfloat16", "fp16": self.dtype == "float16"}


def resolve(config: dict[str, Any], machine: Machine, *, marking: str, sizes: dict[str, Any] | None = None) -> Recipe:
    """Decide every ``auto`` of a run's settings for a machine and a model.

    ``sizes`` are the model's (:func:`engine.worker.inspect.costs.sizes`); without them as little memory as possible is used.

    ``marking`` says how the assistant's turns are told apart; empty, the data are plain text without turns. Chats whose turns
    nothing tells apart are refused before, unless the run is set to learn from everything: ``auto`` is true for all chats.
    """
    auto: dict[str, dict[str, Any]] = {}

    def choose(name: str, value: Any, reason: str) -> Any:
        if config[name] != "auto":
            return config[name]
        auto[name] = {"value": value, "why": reason}
        return value

    dtype = choose("dtype", *_dtype(machine))
    quantised = config["load_in_4bit"] or config["load_in_8bit"]
    packing = choose("packing", False, "packing changes what an update sees; switch it on to go faster")
    layout = choose("recipe", *_layout(config, machine, packing))
    exact = layout in ("exact", "fastest") and not packing and config["padding_free"] is not False
    padding_free = choose("padding_free", *_padding_free(config, machine, packing, exact))
    attention = choose("attn_implementation", *_attention(machine, dtype, exact))
    # Whoever asks for another kind of attention gets TRL's batches, which every kind can mask.
    exact = exact and attention == "varlen"
    recipe = Recipe(
        dtype=dtype,
        attn_implementation=attention,
        optim=choose("optim", *_optim(machine, quantised)),
        gradient_checkpointing=False,
        use_liger_kernel=choose("use_liger_kernel", *_liger(machine)),
        packing=packing,
        padding_free=padding_free,
        assistant_only_loss=choose("assistant_only_loss", *_assistant_only(marking)),
        cuda=machine.cuda,
        auto=auto,
        recipe=layout,
        fused_lora=choose("fused_lora", *_fused(config, machine, quantised)) if exact else False,
        cuda_graphs=choose("cuda_graphs", *_recorded(config, machine)) if exact else False,
    )
    recipe.fsdp = choose("fsdp", *_shared(config, machine, sizes, recipe.as_chosen(exact)))
    known = None if sizes is None else {**sizes, "chosen": recipe.as_chosen(exact)}
    recipe.gradient_checkpointing = choose(
        "gradient_checkpointing", *_checkpointing(config, machine, known if exact else None)
    )
    if exact:
        recipe.tokens_per_pass = _tokens(config, machine, known, recipe, auto)
    if config["dataloader_num_workers"] == 0:
        why = (
            "rows are tokenised beforehand: a batch is laid out while the card is at work"
            if machine.cuda
            else "the cores train"
        )
        auto["dataloader_num_workers"] = {"value": 0, "why": why}
    if not machine.cuda:
        recipe.notices.append("No GPU was found: training on the CPU in float32, which is slow")
    if marking and config["assistant_only_loss"] is False:
        recipe.notices.append("The loss covers the whole text, the user's turns too: assistant_only_loss is false")
    return recipe


def _dtype(machine: Machine) -> tuple[str, str]:
    if not machine.cuda:
        return "float32", "there is no GPU"
    if machine.bf16:
        return "bfloat16", f"{machine.gpu_name} computes in bfloat16"
    return "float16", f"{machine.gpu_name} has no bfloat16; the adapter itself stays in float32"


def _layout(config: dict[str, Any], machine: Machine, packing: bool) -> tuple[str, str]:
    if not machine.cuda:
        return "plain", "on a CPU it costs little, and batches stay as they always were"
    if packing or config["padding_free"] is False or config["attn_implementation"] not in ("auto", "varlen"):
        return "plain", "packing, padding or another kind of attention was asked for"
    if not machine.varlen or not machine.bf16:
        return "plain", f"{machine.gpu_name} has no flash attention for samples end to end"
    return "exact", "the same updates as always, without padding and with few launches"


def _attention(machine: Machine, dtype: str, exact: bool) -> tuple[str, str]:
    if exact:
        return "varlen", "samples end to end see only themselves, without a mask"
    return "sdpa", "works everywhere and masks chats from each other"


def _fused(config: dict[str, Any], machine: Machine, quantised: bool) -> tuple[bool, str]:
    if quantised:
        return False, "the base weights are quantised"
    if config["lora_dropout"] and not (machine.cuda and machine.triton):
        return False, "the dropout's kernels need a GPU and Triton"
    return True, "a layer and its adapter are one step: fewer kernels, and the input is kept once"


def _recorded(config: dict[str, Any], machine: Machine) -> tuple[bool, str]:
    if not machine.cuda:
        return False, "there is no GPU"
    if config["activation_offloading"]:
        return False, "activations go to the host and back, which cannot be recorded"
    return True, "small passes wait for launches otherwise"


def _shared(
    config: dict[str, Any], machine: Machine, sizes: dict[str, Any] | None, chosen: dict[str, Any]
) -> tuple[bool, str]:
    if ranks.wanted(config.get("gpus"), config.get("num_gpus")) <= 1:
        return False, "one process trains"
    if not machine.cuda or sizes is None or machine.memory_free is None:
        return False, "the model and its training are taken to fit on each GPU" if machine.cuda else "there is no GPU"
    reason = ranks.why_whole(config)
    if reason:
        return False, f"the model cannot be shared out: {reason}"
    from engine.worker import layout

    if layout.fits_whole({**sizes, "chosen": chosen}, config, machine.memory_free):
        return False, "the model and its training fit on each GPU"
    return True, "the model and its training do not fit on one GPU"


def _tokens(config: dict[str, Any], machine: Machine, costs: dict[str, Any] | None, recipe: Recipe,
            auto: dict[str, dict[str, Any]]) -> int:  # fmt: skip
    from engine.worker import layout

    if config["max_tokens_per_pass"] is not None:
        return int(config["max_tokens_per_pass"])
    room = machine.memory_free if machine.cuda else None
    if costs is None:
        costs, room = {"chosen": recipe.as_chosen(True)}, None
    tokens = layout.tokens_per_pass(costs, config, room, keeps=not recipe.gradient_checkpointing)
    why = "as many as fit into the free memory" if room is not None else "as long as the longest row"
    auto["max_tokens_per_pass"] = {"value": tokens, "why": why}
    return tokens


def _padding_free(config: dict[str, Any], machine: Machine, packing: bool, exact: bool) -> tuple[bool, str]:
    if packing:
        return True, "packed rows are laid end to end"
    if exact:
        return True, "an update's samples are laid end to end"
    if not machine.cuda:
        return False, "on a CPU padding costs little, and batches stay as they always were"
    if config["batch_size"] == 1:
        return False, "a batch of one has no padding"
    return False, "padded batches give the updates that people know"


def _optim(machine: Machine, quantised: bool) -> tuple[str, str]:
    if not machine.cuda:
        return "adamw_torch", "there is no GPU"
    if machine.bitsandbytes and (quantised or machine.memory_total < 30 * 2**30):
        return "paged_adamw_32bit", "memory is short, and bitsandbytes can page the optimizer out"
    return "adamw_torch_fused", "one kernel for all adapter weights"


def _checkpointing(config: dict[str, Any], machine: Machine, costs: dict[str, Any] | None) -> tuple[bool, str]:
    if machine.cuda and config["activation_offloading"]:
        return True, "only the layers' inputs travel to the host and back, not all that a layer keeps"
    if machine.cuda and costs is not None:
        from engine.worker import layout

        if layout.can_keep(costs, config, machine.memory_free):
            return False, "memory is plenty, and steps are faster without"
    if machine.cuda:
        return True, "saves GPU memory; switch it off if memory is plenty, steps are then faster"
    return False, "there is no GPU memory to save"


def _liger(machine: Machine) -> tuple[bool, str]:
    if machine.cuda and machine.liger:
        return True, "liger-kernel is installed"
    return False, "there is no GPU" if not machine.cuda else "liger-kernel is not installed"


def _assistant_only(marking: str) -> tuple[bool, str]:
    return (True, marking) if marking else (False, "plain text is learned as it stands")
