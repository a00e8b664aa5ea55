"""Which names in an output directory belong to a run, whatever tool trained there.

What is not named here is somebody's own file, and stays.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from engine.history.readers.place import GATHERED, LIKE_CHECKPOINT
from engine.rundir import META

CHECKPOINT = re.compile(r"checkpoint-([0-9]{1,12})")
# Where something is moved to before it is removed; only an interrupted removal leaves one.
QUARANTINE = f"{META}.removing-"

_MODEL = """
adapter_config.json adapter_model.safetensors adapter_model.bin adapter_model-*.safetensors adapter_model-*.bin
adapter_model.safetensors.index.json adapter_model.bin.index.json adapters.safetensors *_adapters.safetensors
config.json generation_config.json configuration.json
model.safetensors model-*.safetensors model.safetensors.index.json pytorch_model.bin pytorch_model-*.bin
pytorch_model.bin.index.json consolidated.*.pth params.json value_head.safetensors value_head.bin v_head.bin
modules.json config_sentence_transformers.json sentence_bert_config.json non_lora_trainables.bin
tokenizer.json tokenizer_config.json tokenizer.model tokenizer.model.v3 tekken.json special_tokens_map.json
added_tokens.json vocab.json vocab.txt merges.txt spiece.model sentencepiece.bpe.model qwen.tiktoken
chat_template.jinja chat_template.json preprocessor_config.json processor_config.json video_preprocessor_config.json
image_processor_config.json quantize_config.json quantization_config.json additional_config.json
modeling_*.py configuration_*.py tokenization_*.py processing_*.py image_processing_*.py
README.md manifest.json
"""
_TRAINER = """
trainer_state.json training_args.bin training_args.yaml training_args.json all_results.json train_results.json
eval_results.json test_results.json predict_results.json optimizer.pt optimizer.bin optimizer_*.pt scheduler.pt
scheduler.bin scaler.pt rng_state.pth rng_state_*.pth random_states_*.pkl custom_checkpoint_*.pkl latest
zero_to_fp32.py zero_pp_rank_* bf16_zero_pp_rank_* mp_rank_*_model_states.pt pytorch_model_fsdp.bin
trainer_log.jsonl llamaboard_config.yaml running_log.txt training_loss.png training_eval_loss.png
training_eval_accuracy.png training_rewards_*.png training_*_loss.png generated_predictions.jsonl
generated_predictions.txt completions.jsonl
logging.jsonl args.json sft_args.json rlhf_args.json val_dataset.jsonl debug.log axolotl_config.yaml
events.out.tfevents.* completed
"""
# Directories of a run, and what in them belongs to it.
_EVENTS = "events.out.tfevents.*"
_STATES = "*.pt *.distcp .metadata *.bin *.safetensors *.json"
_WITHIN = {
    "runs": _EVENTS,
    "logs": _EVENTS,
    "tensorboard": _EVENTS,
    "images": "*.png",
    "completions": "completions_*.parquet",
    "additional_chat_templates": "*.jinja",
    "merged": _MODEL,
    "merged_model": _MODEL,
    "final_merged_checkpoint": _MODEL,
    **dict.fromkeys(
        (
            "final",
            "final_model",
            "final_adapter",
            "final_checkpoint",
            "best",
            "best_model",
            "best_checkpoint",
            "adapter",
            "lora_adapter",
        ),
        _MODEL + _TRAINER,
    ),
    "global_step*": _STATES,
    "optimizer_[0-9]*": _STATES,
    "pytorch_model_[0-9]*": _STATES,
    "pytorch_model_fsdp_[0-9]*": _STATES,
}
# Such directories may hold more of their kind below; of all others each level must be known by name.
_NESTED = ("runs", "logs", "tensorboard")
_OPTIMIZER = "optimizer.pt optimizer.bin optimizer_*.pt *zero_pp_rank_*_optim_states.pt"
_OPTIMIZER_FOLDERS = "global_step* optimizer_[0-9]*"
# Links that some tools make to one of the checkpoints.
_NAMING = frozenset(
    {"last", "best", "latest", "last-checkpoint", "best-checkpoint", "last_checkpoint", "best_checkpoint"}
)
# One of these says that somebody trained here.
_SIGNS = ("trainer_state.json", "adapter_config.json", "training_args.bin", "trainer_log.jsonl", "training_args.yaml",
          "llamaboard_config.yaml", "all_results.json", "train_results.json", "logging.jsonl")  # fmt: skip
# These go last: while they stand, the directory is still seen as a run.
_LAST = ("training_args.bin", "trainer_log.jsonl", "logging.jsonl", "args.json", "adapter_config.json", "trainer_state.json",
         META)  # fmt: skip


def _compiled(globs: str) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs.split()))


_ROOT_FILES = _compiled(_MODEL + _TRAINER)
_FOLDERS = [(_compiled(name), _compiled(files), name in _NESTED) for name, files in _WITHIN.items()]
_OPTIMIZER_FILES, _OPTIMIZER_PLACES = _compiled(_OPTIMIZER), _compiled(_OPTIMIZER_FOLDERS)
_WEIGHTS = _compiled("model.safetensors model-*.safetensors pytorch_model.bin pytorch_model-*.bin *model*.index.json")
_MODEL_FILES, _NOTHING = _compiled(_MODEL), re.compile(r"(?!)")


class Place:
    """What belongs to the run in one directory: :meth:`file` and :meth:`folder` answer for names in it."""

    def __init__(self, files: re.Pattern[str] | None, kind: str) -> None:
        self._files, self._kind = files, kind

    def file(self, name: str) -> bool:
        """Whether a file (or link, pipe, socket, device) of this name belongs to the run."""
        return self._files is None or bool(self._files.fullmatch(name))

    def folder(self, name: str) -> Place | None:
        """What belongs to the run in a directory of this name; ``None`` if nothing does."""
        if self._kind == "all":
            return self
        if self._kind == "root" and (name == META or name.startswith(f"{META}.")):
            return ALL
        if self._kind in ("root", "checkpoint"):
            for names, files, nested in _FOLDERS:
                if names.fullmatch(name):
                    return Place(files, "nested" if nested else "plain")
        if self._kind in ("root", "gathered", "checkpoint") and LIKE_CHECKPOINT.fullmatch(name):
            return IN_CHECKPOINT
        if self._kind == "root" and name in GATHERED:
            return Place(_NOTHING, "gathered")
        return self if self._kind == "nested" else None


ALL = Place(None, "all")
# What only goes because everything was asked for: its directories are looked at one by one.
ANYTHING = Place(None, "anything")
ADAPTER = Place(_MODEL_FILES, "plain")
IN_ROOT = Place(_ROOT_FILES, "root")
IN_CHECKPOINT = Place(_ROOT_FILES, "checkpoint")


def is_checkpoint(name: str) -> bool:
    """Whether a directory of this name is a checkpoint (or a torn or merged one) of the run in whose directory it is."""
    return bool(LIKE_CHECKPOINT.fullmatch(name))


def is_link_of_run(name: str, target: str) -> bool:
    """Whether a link belongs to the run: one in place of a checkpoint, or one that names the last or the best."""
    where, _, last = target.rstrip("/").rpartition("/")
    return is_checkpoint(name) or (name in _NAMING and is_checkpoint(last) and where in ("", "."))


def is_optimizer_state(parts: tuple[str, ...]) -> bool:
    """Whether a file of a checkpoint, by its path within, holds the optimizer's state only."""
    if len(parts) > 1 and parts[0].startswith("optimizer_"):
        return bool(_OPTIMIZER_PLACES.fullmatch(parts[0]))
    return bool(_OPTIMIZER_FILES.fullmatch(parts[-1])) and (
        len(parts) == 1 or bool(_OPTIMIZER_PLACES.fullmatch(parts[0]))
    )


def shows_training(names: Iterable[str]) -> bool:
    """Whether the names in a directory say that somebody trained there."""
    found = set(names)
    return any(sign in found for sign in _SIGNS) or any(CHECKPOINT.fullmatch(name) for name in found)


def is_run_within(names: Iterable[str]) -> bool:
    """Whether a directory in a run's is a run of its own: a merged model or a copy has no log."""
    found = set(names)
    own = (META, "trainer_state.json", "trainer_log.jsonl", "train_results.json")
    return any(name in found for name in own) or any(CHECKPOINT.fullmatch(name) for name in found)


def is_model(names: Iterable[str]) -> bool:
    """Whether the names in a directory are a model's: weights or a tokenizer beside ``config.json``."""
    found = set(names)
    return "config.json" in found and len([name for name in found if _MODEL_FILES.fullmatch(name)]) > 1


def is_model_file(name: str) -> bool:
    """Whether a file is one of a whole model's: its weights, settings or tokenizer, and no adapter's."""
    return bool(_MODEL_FILES.fullmatch(name)) and not name.startswith("adapter")


def is_weights(name: str) -> bool:
    """Whether a file holds a whole model's weights, or says how they are split, or how they were made up."""
    return bool(_WEIGHTS.fullmatch(name))


def order(name: str) -> tuple[int, int, str]:
    """Sorts names of a run's directory into the order in which they go: what tells of the run last."""
    match = CHECKPOINT.fullmatch(name)
    if match:
        return -1, int(match[1]), name
    return (_LAST.index(name) + 1 if name in _LAST else 0), 0, name


def order_within(name: str) -> tuple[int, int, str]:
    """The same within a checkpoint: without its state nobody takes it for whole, by its weights it is still known as one."""
    weights = name.endswith((".safetensors", ".bin", ".pt", ".pth")) or name == "adapter_config.json"
    return (0 if name == "trainer_state.json" else 2 if weights else 1), 0, name
