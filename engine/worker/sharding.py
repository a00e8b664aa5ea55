"""A base model's layers shared out among the processes of a run (FSDP2); what is trained stays whole in each of them.

Frozen weights have no gradient to meet over: each process keeps its part of every layer and gathers the rest while the layer
is at work. Adapters, their gradients and the optimizer are as without it, and so are checkpoints. What lies outside the layers
(embeddings, head) stays whole, too: heads that fuse the loss read their weights outside of the model's own passes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from engine.worker.failure import CannotTrain


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a transformers model, by the names that it lists as not to be split."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    found = [(name, module) for name, module in model.named_modules() if type(module).__name__ in names]
    inside = {name for name, _ in found}
    return [module for name, module in found if not any(name.startswith(f"{other}.") for other in inside)]


def share(tuned: Any, device: torch.device, *, filled: bool) -> tuple[int, int]:
    """Put a model with its adapter onto ``device``, of each layer only this process's part; every process calls it.

    ``filled``: each process has all weights itself, as quantised ones. Otherwise only the first one has read them, and the
    others get them layer by layer. Returns the bytes of all weights, and of those that stay in this process. Raises
    :class:`CannotTrain` where the model names no layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    base = tuned.get_base_model()
    layers, body = layers_of(base), base.base_model
    if not layers:
        raise CannotTrain(
            f"{type(base).__name__} does not tell its layers, so it cannot be shared out; set fsdp to false"
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for layer in layers:
        if not filled:
            _place(layer, device)
            _hand_out(_tensors(layer))
        fully_shard(layer, mesh=mesh, ignored_params={p for p in layer.parameters() if p.requires_grad})
    if not filled:
        _place(tuned, device)
    shared = {id(tensor) for layer in layers for tensor in _tensors(layer)}
    if not filled:
        _hand_out([tensor for tensor in _tensors(tuned) if id(tensor) not in shared])
    whole = {parameter for parameter in body.parameters() if id(parameter) not in shared or parameter.requires_grad}
    fully_shard(body, mesh=mesh, ignored_params=whole)
    # The wrapper that averages gradients would make all weights equal first, and knows no parts.
    names = [name for name, parameter in tuned.named_parameters() if not parameter.requires_grad]
    names += [name for name, _ in tuned.named_buffers()]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(tuned, names)
    weights = list(tuned.parameters())
    return _bytes(weights), _bytes([getattr(each, "_local_tensor", each) for each in weights])


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _place(module: nn.Module, device: torch.device) -> None:
    """Onto the device; what has a shape only gets memory, to be filled. Weights that are one stay one."""
    homes: dict[int, list[tuple[nn.Module, str]]] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                homes.setdefault(id(parameter), []).append((part, name))

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(tensor, device=device) if tensor.is_meta else tensor.to(device)

    module._apply(placed)
    for (first, own), *others in homes.values():
        for part, name in others:
            part._parameters[name] = first._parameters[own]


def _hand_out(tensors: list[torch.Tensor]) -> None:
    for tensor in tensors:
        dist.broadcast(tensor.detach(), 0)
