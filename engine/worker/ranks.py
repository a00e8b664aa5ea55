"""Lets all processes of a distributed training act at the same step on what one of them knows."""

from __future__ import annotations

import os
import socket
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from engine.worker import memory
from engine.worker.failure import CannotTrain

if TYPE_CHECKING:
    from engine.worker.recipe import Machine, Recipe

STOP, STOP_NOW, CHECKPOINT, EVALUATE = "stop", "stop-now", "checkpoint", "evaluate"
RECORDING, NOT_FINITE, TERMINATED = "recording", "not finite", "terminated"
# The order is the same in every process.
FLAGS = (RECORDING, STOP, STOP_NOW, CHECKPOINT, EVALUATE, NOT_FINITE, TERMINATED)
# Memory is told in these, so that 2 TiB fit into 32 bits.
_KIB = 1024
# A process that is gone is seen by the supervisor, which ends the others. Waiting is no fault: one tokenises or saves.
_PATIENCE = timedelta(hours=24)
_MISSED = ("connection closed by peer", "connection reset by peer", "gloo/transport")


def here() -> tuple[int, int]:
    """This process's rank and how many processes the run's supervisor started; (0, 1) for one that is alone."""
    try:
        count = int(os.environ.get("TUNEDECK_RANKS") or 1)
        return (int(os.environ["RANK"]), count) if count > 1 else (0, 1)
    except (KeyError, ValueError):
        return 0, 1


def join() -> None:
    """Meet the other processes of the run, before anything else asks torch for them; at once where there are none.

    Raises :class:`CannotTrain` where there are fewer GPUs than processes.
    """
    rank, count = here()
    if count <= 1:
        return
    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available()
    if cuda:
        if torch.cuda.device_count() < count:
            raise CannotTrain(f"{count} GPUs were asked for, and {torch.cuda.device_count()} can be used here")
        torch.cuda.set_device(rank)
    listening = os.environ.pop("TUNEDECK_MEETING_FD", "")
    own: dict[str, Any] = {}
    if rank == 0 and listening:
        # Torch closes it; this process's own copy must not go to the children.
        own["master_listen_fd"] = socket.socket(fileno=int(listening)).detach()
        os.set_inheritable(own["master_listen_fd"], False)
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), count, is_master=rank == 0,
                          timeout=_PATIENCE, wait_for_workers=False, **own)  # fmt: skip
    dist.init_process_group("nccl" if cuda else "gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)


def weakest(machine: Machine) -> Machine:
    """What all GPUs of the run can do, so that every process decides alike."""
    if here()[1] <= 1:
        return machine
    import torch.distributed as dist

    found: list[Any] = [None] * here()[1]
    dist.all_gather_object(found, machine)
    free = [one.memory_free for one in found if one.memory_free is not None]
    least = min(found, key=lambda one: (one.capability, one.memory_total))
    return replace(least, bf16=all(one.bf16 for one in found), varlen=all(one.varlen for one in found),
                   memory_total=min(one.memory_total for one in found), memory_free=min(free, default=None))  # fmt: skip


def settle(recipe: Recipe) -> None:
    """Leave out what was not tried with several processes, unless it was asked for."""
    if here()[1] > 1 and recipe.cuda_graphs and "cuda_graphs" in recipe.auto:
        recipe.cuda_graphs = False
        recipe.auto["cuda_graphs"] = {"value": False, "why": "several GPUs train together"}


def repeated(trainer: Any) -> list[str]:
    """What is done where not every process has a whole last batch, in words; empty if every one has."""
    count, args = here()[1], trainer.args
    if count <= 1:
        return []
    said = []
    again = -len(trainer.train_dataset) % (args.per_device_train_batch_size * count)
    if again:
        said.append(
            f"The last update of each epoch takes {_samples(again)} again, so that {count} processes have as many"
        )
    evaluation = trainer.eval_dataset
    again = -len(evaluation) % (args.per_device_eval_batch_size * count) if evaluation is not None else 0
    if again:
        said.append(
            f"The last batch of an evaluation takes {_samples(again)} again: its loss differs a little from one process's"
        )
    return said


def parts(shared: tuple[int, int] | None) -> list[str]:
    """What is said of a model that is shared out: ``shared`` are the bytes of all weights and of those that stay here."""
    if shared is None:
        return []
    whole, held = (size / 2**30 for size in shared)
    return [
        f"The model's layers are shared out among {here()[1]} processes: {held:.3g} of {whole:.3g} GiB of weights in each"
    ]


def _samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"


def missed_another(error: BaseException) -> bool:
    """Whether an error only says that another process of the run is gone."""
    import sys

    dist = sys.modules.get("torch.distributed")
    kind = getattr(dist, "DistError", None)
    if kind is not None and isinstance(error, kind):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MISSED)


class Ranks:
    """The processes of one training. Every one must call :meth:`agree` equally often."""

    def __init__(self, device: Any) -> None:
        self._device = device

    @classmethod
    def of(cls, args: Any) -> Ranks | None:
        """The other processes; ``None`` where there is only this one, so that it costs nothing."""
        if args.world_size <= 1:
            return None
        import torch.distributed as dist

        together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        return cls(args.device) if together else None

    def agree(self, here: set[str]) -> set[str]:
        """Every flag that is up in any process: one small collective, which brings the largest memory figures along."""
        import torch
        import torch.distributed as dist

        try:
            told = [int(name in here) for name in FLAGS] + [size // _KIB for size in memory.gpu_figures()]
            up = torch.tensor(told, dtype=torch.int32, device=self._device)
            dist.all_reduce(up, op=dist.ReduceOp.MAX)
            known: list[int] = up.tolist()
            memory.note_worst([size * _KIB for size in known[len(FLAGS) :]])
            return {name for name, value in zip(FLAGS, known, strict=False) if value}
        except Exception:  # another process has died: the trainer's own next collective will say so
            traceback.print_exc()
            return set(here)
