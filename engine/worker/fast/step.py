"""One update's forward and backward passes over samples laid end to end; the same sums as the plain way."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from engine.worker.fast import attention
from engine.worker.fast.attention import Borders
from engine.worker.fast.graphs import Graphs
from engine.worker.fast.lora import Seeds

# Names under which a model scales or bends its scores: TRL's own head knows them, this one does not.
_BENT = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
_PASSES_OF_A_RANK = 4093
_RECORDABLE_ROPE = ("default", "linear", "llama3", "yarn")


class Later(float):
    """A number that is still on the device: read when somebody adds it up, not before."""

    tensor: torch.Tensor

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Later:
        """Of a tensor with one element."""
        out = cls(float("nan"))
        out.tensor = tensor
        return out

    def __float__(self) -> float:
        return float(self.tensor.item())

    def __add__(self, other: float) -> float:
        return float(self) + float(other)

    __radd__ = __add__


def why_not(model: Any) -> str:
    """What keeps a model from being trained this way; empty if nothing does."""
    text = model.config.get_text_config()
    bent = [name for name in _BENT if getattr(text, name, None) not in (None, 1.0, 1)]
    if bent:
        return f"the model bends its scores ({bent[0]})"
    if getattr(text, "attn_logit_softcapping", None) is not None:
        return "the model's attention has a soft cap"
    kinds = set(getattr(text, "layer_types", None) or ())
    if kinds - {"full_attention", "sliding_attention"}:
        return f"the model has layers other than attention ({', '.join(sorted(kinds - {'full_attention', 'sliding_attention'}))})"
    if not getattr(model, "_supports_sdpa", False):
        return "the model's attention cannot be exchanged"
    if type(model.get_output_embeddings()) is not torch.nn.Linear:
        return "the model has no plain language head"
    return ""


def why_not_recorded(model: Any) -> str:
    """What keeps the passes of a model from being recorded as CUDA graphs; empty if nothing is known to."""
    text = model.config.get_text_config()
    if any(getattr(text, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return "its experts are chosen anew for each token"
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = {part.get("rope_type", "default") for part in (rope, *rope.values()) if isinstance(part, dict)}
    if kinds - set(_RECORDABLE_ROPE):
        return "its positions depend on the longest row"
    return ""


class EndToEndStep:
    """Does one update of a trainer: :meth:`run` adds its gradients and returns its loss, still on the device."""

    def __init__(self, trainer: Any, seeds: Seeds | None, *, recorded: int, longest: int, say: Any) -> None:
        """``recorded``: tokens of the largest pass that is recorded as a CUDA graph, 0 for none; ``longest``: of any sample."""
        self._trainer, self._seeds = trainer, seeds
        self._ranks, self._rank = trainer.args.world_size, trainer.args.process_index
        self._model = trainer.model.get_base_model()
        self._layers = self._model.base_model
        self._graphs = Graphs(self._hidden, most=recorded, longest=longest, say=say) if recorded else None
        self._kept: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        if recorded:
            self._keep_gradients()

    def run(self, inputs: dict[str, Any], learned: torch.Tensor | int) -> torch.Tensor:
        """``learned``: how many tokens the update learns from, in all its passes (and ranks)."""
        total: torch.Tensor | None = None
        correct = entropy = 0
        passes = inputs["passes"]
        for number in range(self._passes_of_all(len(passes))):
            if number >= len(passes):  # others need this process's part of the layers
                self._empty_pass(passes[-1])
                continue
            part = passes[number]
            if self._seeds is not None:
                # Each process draws its own dropout.
                salted = number + _PASSES_OF_A_RANK * self._rank
                self._seeds.set(self._trainer.args.seed, self._trainer.state.global_step, salted)
            loss, right, spread = self._pass(part, learned)
            total = loss if total is None else total + loss
            correct, entropy = correct + right, entropy + spread
        count = sum(part["targets"].shape[0] for part in inputs["passes"])
        tokens = sum(part["tokens"] for part in inputs["passes"])
        if self._ranks > 1:
            assert total is not None
            self._add_up_gradients()
            # As in the trainer's own way: what is logged is the mean of all processes, and each has only its part of the sum.
            total = total * self._ranks
            correct, entropy, count, tokens = self._add_up(correct, entropy, count, tokens)
        count = max(1, count)
        metrics = self._trainer._metrics["train"]
        metrics["entropy"].append(Later.of(entropy / count))
        metrics["mean_token_accuracy"].append(Later.of(correct / count))
        self._trainer._total_train_tokens += tokens
        metrics["num_tokens"] = [self._trainer._total_train_tokens]
        assert total is not None
        return total

    def _passes_of_all(self, here: int) -> int:
        """How many passes this process takes part in: where the layers are shared out, as many as any of them has."""
        if not self._trainer.shares_model:
            return here
        most = torch.tensor(here, device=self._trainer.args.device)
        torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX)
        return int(most)

    def _add_up_gradients(self) -> None:
        """Each process has the gradient of its part of the loss's sum: together they are the update's.

        The passes go around the wrapper that would average gradients, so this is the only place where they meet: one flat
        sum for each number format, written back to where the gradients lie (recorded passes know them there).
        """
        kinds: dict[torch.dtype, list[torch.nn.Parameter]] = {}
        for parameter in self._trainer.model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:  # nothing to learn here, perhaps elsewhere
                    parameter.grad = torch.zeros_like(parameter)
                kinds.setdefault(parameter.grad.dtype, []).append(parameter)
        for parameters in kinds.values():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            torch.distributed.all_reduce(flat)
            parts = flat.split([gradient.numel() for gradient in gradients])
            torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])

    def _add_up(self, correct: Any, entropy: Any, count: int, tokens: int) -> tuple[Any, Any, int, int]:
        device = self._trainer.args.device
        figures = torch.stack(
            [torch.as_tensor(one, dtype=torch.float64, device=device) for one in (correct, entropy, count, tokens)]
        )
        torch.distributed.all_reduce(figures)
        _, _, all_counted, all_tokens = figures.tolist()
        return figures[0], figures[1], int(all_counted), int(all_tokens)

    def _empty_pass(self, part: dict[str, Any]) -> None:
        """Through all layers with a few tokens from which nothing is learned, and nothing is drawn."""
        ids, positions = (part[name][:, :8] for name in ("input_ids", "position_ids"))
        size = ids.shape[1]
        borders = Borders(part["starts"].new_tensor([0, size]), size, [size])
        self._model.eval()
        with attention.apart(borders):
            self._trainer.accelerator.backward(self._hidden(ids, positions, borders).sum() * 0)
        self._model.train()

    def _pass(
        self, part: dict[str, Any], learned: torch.Tensor | int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        recorded = self._graphs.of(part) if self._graphs is not None else None
        if recorded is None:
            borders = Borders(part["starts"], part["longest"], part["lengths"])
            with attention.apart(borders):
                hidden = self._hidden(part["input_ids"], part["position_ids"], borders)
                loss, right, spread = self._loss(hidden[0][part["learned"]], part["targets"], learned)
                self._trainer.accelerator.backward(loss)
            return loss.detach(), right, spread
        recorded.forward.replay()
        rows = recorded.hidden[0][part["learned"]].requires_grad_()
        loss, right, spread = self._loss(rows, part["targets"], learned)
        self._trainer.accelerator.backward(loss)
        recorded.gradient.zero_()
        if rows.grad is not None:
            recorded.gradient[0].index_copy_(0, part["learned"], rows.grad)
        recorded.backward.replay()
        return loss.detach(), right, spread

    def _hidden(self, ids: torch.Tensor, positions: torch.Tensor, borders: Borders) -> torch.Tensor:
        mask = attention.no_mask(ids.device)
        with attention.apart(borders), self._precision():
            out = self._layers(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False)
        return out.last_hidden_state

    def _loss(self, rows: torch.Tensor, targets: torch.Tensor,
              learned: torch.Tensor | int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        """TRL's own head (``trl.kernels``), over the places that are learned: the sum over ``learned``, hits and entropy."""
        from trl.kernels import ChunkedLogProbFunction
        from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE

        head = self._model.get_output_embeddings()
        with self._precision():
            log_probs, entropy, _, _, right = ChunkedLogProbFunction.apply(
                rows,
                head.weight,
                head.bias,
                targets,
                1.0,
                _CHUNKED_LOGPROB_CHUNK_SIZE,
                None,
                1.0,
                ("entropy", "is_top1"),
            )
        return -log_probs.sum() / torch.as_tensor(learned).clamp(min=1), right.sum(), entropy.detach().sum()

    def _precision(self) -> Any:
        args = self._trainer.args
        if not (args.bf16 or args.fp16):
            return contextlib.nullcontext()
        kind = torch.bfloat16 if args.bf16 else torch.float16
        # Weights that were cast once are kept only within a pass: a recorded pass must cast them itself each time.
        return torch.autocast(args.device.type, dtype=kind, cache_enabled=self._graphs is None)

    def _keep_gradients(self) -> None:
        """A recorded pass adds to gradients where they lay when it was recorded: they are emptied, never given back."""
        for parameter in self._trainer.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
                self._kept.append((parameter, parameter.grad))
        model = self._trainer.model

        def zero_grad(set_to_none: bool = True) -> None:
            torch._foreach_zero_([gradient for _, gradient in self._kept])
            for parameter, gradient in self._kept:
                parameter.grad = gradient

        model.zero_grad = zero_grad
