"""What the model says: greedy answers to ``sample_prompts`` in the middle of a training, which notices nothing of it.

Loads torch only when it answers. Everything that could change the training is put back: modes, random numbers, and
what the model's own settings are.
"""

from __future__ import annotations

import contextlib
import random
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from engine.errors import TunedeckError
from engine.prompts import MAX_CHARACTERS, Prompt, load
from engine.text import clean
from engine.worker.chat import end_of_turn_ids
from engine.worker.recorder import Recorder

# All answers of one evaluation together; what is not answered by then is left out.
MAX_SECONDS = 120.0
LOOK_SECONDS = 0.2
# After so many failures in a row it is not tried again.
PATIENCE = 3


class _CannotRead(Exception):
    """A prompt that the model has no embedding for; what it would do with it depends on the device, CUDA would end all."""


class Sampler:
    """Answers the prompts of one run and records each as a ``sample`` event; never raises."""

    def __init__(self, prompts: list[Prompt], max_new_tokens: int, recorder: Recorder) -> None:
        self._prompts = prompts
        self._max_new_tokens = max_new_tokens
        self._recorder = recorder
        self._failures = 0
        self._told: set[str] = set()
        self.last_step = -1

    @classmethod
    def of(cls, config: dict[str, Any], recorder: Recorder) -> Sampler | None:
        """The sampler of a run's settings; ``None`` if there is nothing to ask, or its file is gone, which is said."""
        try:
            prompts = load(config.get("sample_prompts"))
        except TunedeckError as error:
            recorder.notice(f"The model is not asked anything: {error}", "warning")
            return None
        return cls(prompts, int(config.get("sample_max_new_tokens") or 128), recorder) if prompts else None

    def answer(self, trainer: Any, step: int, stopped: Callable[[], bool]) -> None:
        """Answer every prompt as the model stands after ``step``; ``stopped`` is asked often and ends it soon."""
        if step == self.last_step or self._failures >= PATIENCE:
            return
        self.last_step = step
        try:
            self._answer_all(trainer, step, stopped)
            self._failures = 0
        except Exception as error:
            traceback.print_exc()
            self._failures += 1
            self._tell("failed", f"The model could not be asked after step {step}: {_reason(error)}; training goes on")
        if self._failures:
            self._give_memory_back()  # outside of the handler, whose traceback holds the tensors

    def _answer_all(self, trainer: Any, step: int, stopped: Callable[[], bool]) -> None:
        if any(getattr(trainer, name, False) for name in ("shares_model", "is_fsdp_enabled", "is_deepspeed_enabled")):
            raise RuntimeError("its weights are spread over several processes")
        model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
        until = time.monotonic() + MAX_SECONDS
        with _undisturbed(model), trainer.accelerator.autocast():
            for number, prompt in enumerate(self._prompts):
                self._recorder.phase("evaluating", number, len(self._prompts))
                watch = _Watch(until, stopped)
                begun = time.monotonic()
                try:
                    text, count, ended = _complete(model, trainer.processing_class, prompt, self._max_new_tokens, watch)
                except _CannotRead as error:
                    self._tell(f"prompt {number}", f"Prompt {number + 1} is not asked: {error}")
                    continue
                if watch.stopped:
                    return
                self._recorder.write("sample", step=step, prompt=prompt.text, completion=text[:MAX_CHARACTERS],
                                     seconds=round(time.monotonic() - begun, 3), tokens=count,
                                     ended="time" if watch.late else ended)  # fmt: skip
                if watch.late:
                    done = f"{number + 1} of {len(self._prompts)} prompts are answered"
                    self._tell("slow", f"Answers at step {step} took longer than {MAX_SECONDS:.0f} s: {done}")
                    return

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._recorder.notice(text, "warning")

    def _give_memory_back(self) -> None:
        with contextlib.suppress(Exception):
            import torch

            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()


class _Watch:
    """Ends an answer when its time is up or the run is asked to stop. A stopping criterion of transformers."""

    def __init__(self, until: float, stopped: Callable[[], bool]) -> None:
        self._until, self._ask = until, stopped
        self._next = 0.0
        self.stopped = self.late = False

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        now = time.monotonic()
        self.late = self.late or now > self._until
        if now >= self._next and not self.stopped:
            self._next = now + LOOK_SECONDS
            self.stopped = self._ask()
        return torch.full((input_ids.shape[0],), self.late or self.stopped, dtype=torch.bool, device=input_ids.device)


def _complete(model: Any, tokenizer: Any, prompt: Prompt, limit: int, watch: _Watch) -> tuple[str, int, str]:
    """Text, number of tokens, and how it ended: ``end`` (of the turn) or ``length``."""
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    ids = _prompt_ids(tokenizer, prompt)
    _check_ids(ids, model.get_input_embeddings().weight.shape[0], tokenizer)
    places = getattr(model.config, "max_position_embeddings", None)
    room = min(limit, places - len(ids)) if isinstance(places, int) else limit
    if room < 1:
        return "", 0, "no room"
    ends = sorted(_end_ids(model, tokenizer))
    # Every one is named: what is not, transformers would take from the model's own settings.
    settings = GenerationConfig(
        do_sample=False, num_beams=1, max_new_tokens=room, use_cache=True, repetition_penalty=1.0, no_repeat_ngram_size=0,
        temperature=1.0, top_p=1.0, top_k=50, eos_token_id=ends or None, bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(ends), 0),
    )  # fmt: skip
    device = model.get_input_embeddings().weight.device
    given = torch.tensor([ids], device=device)
    out = model.generate(input_ids=given, attention_mask=torch.ones_like(given), generation_config=settings,
                         stopping_criteria=StoppingCriteriaList([watch]))  # fmt: skip
    new = out[0, len(ids) :].tolist()
    ended = bool(new) and new[-1] in ends
    text = tokenizer.decode(new[:-1] if ended else new, skip_special_tokens=False)
    # Cut off in the middle of a character, its first bytes are none.
    return text if ended else text.rstrip("\ufffd"), len(new), "end" if ended else "length"


def _prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    if getattr(tokenizer, "chat_template", None):
        rendered = tokenizer.apply_chat_template(
            prompt.messages, tokenize=True, add_generation_prompt=True, return_dict=True
        )
        return list(rendered["input_ids"])
    return list(tokenizer("\n\n".join(message["content"] for message in prompt.messages))["input_ids"])


def _check_ids(ids: list[int], rows: int, tokenizer: Any) -> None:
    """Raise :class:`_CannotRead` for a token beyond the model's embedding."""
    odd = next((token for token in ids if not 0 <= token < rows), None)
    if odd is not None:
        word = clean(tokenizer.convert_ids_to_tokens(odd), 40)
        raise _CannotRead(f"its token {word} ({odd}) is not among the {rows} that the model knows")


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = own if isinstance(own, list) else [own]
    return {int(i) for i in (*end_of_turn_ids(tokenizer), *listed) if isinstance(i, int)}


@contextlib.contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; modes and random numbers are afterwards as they were."""
    import numpy
    import torch

    modes = [(module, module.training) for module in model.modules()]
    python, own = random.getstate(), numpy.random.get_state()
    cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    model.eval()
    try:
        # Not inference mode: what a layer keeps from it (tables of a rotary embedding) could not be trained through.
        with torch.random.fork_rng(devices=list(cards)), torch.no_grad():
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(own)
        for module, training in modes:
            module.training = training


def _reason(error: Exception) -> str:
    if type(error).__name__ == "OutOfMemoryError":
        return "out of GPU memory"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
