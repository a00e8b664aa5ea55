"""One training run, top to bottom: set up, train, save."""

from __future__ import annotations

import os
import time
from typing import Any

from engine import ranks as several
from engine.config import RunConfig
from engine.preflight import updates
from engine.rundir import RunDir, write_json
from engine.worker import chat, dataset, memory, ranks, resuming
from engine.worker.ahead import Ahead
from engine.worker.callback import RunCallback
from engine.worker.checkpointing import Keeper
from engine.worker.failure import CannotTrain
from engine.worker.marking import Marker
from engine.worker.owncode import verify_code
from engine.worker.ownscript import versions
from engine.worker.reaching import settle_hub
from engine.worker.recipe import Machine, Recipe, resolve
from engine.worker.recorder import Recorder
from engine.worker.sampling import Sampler
from engine.worker.sizes import recall
from engine.worker.tokenising import Data

# What a run that was recorded before these settings were there did.
BEFORE = {"recipe": "plain", "max_tokens_per_pass": None, "fused_lora": False, "cuda_graphs": False, "max_gpu_memory": None,
          "activation_offloading": False, "fsdp": False}  # fmt: skip


class Training:
    """The parts of a run as they come to be; :meth:`run` does it all and returns (state, reason)."""

    def __init__(self, run: RunDir, recorder: Recorder) -> None:
        self.run_dir = run
        self.recorder = recorder
        self.record = run.read_run() or {}
        self.config: dict[str, Any] = {**BEFORE, **self.record["config"]}
        self.callback = RunCallback(recorder=recorder, stop_on_nonfinite=self.config.get("on_nonfinite") == "stop",
                                    sampler=Sampler.of(self.config, recorder))  # fmt: skip
        self._told: set[str] = set()
        # From here on a SIGTERM finishes the step and saves; before, there is nothing to save.
        self.begun = False

    def run(self) -> tuple[str, str]:
        """Train; returns ``completed`` or ``stopped`` with the reason."""
        checkpoint = resuming.starting_point(self.record, self.recorder.attempt)
        trainer = self.set_up()
        if checkpoint is not None:
            self.recorder.notice(f"Going on from {checkpoint.name}")
        self.begun = True
        resuming.train(trainer, checkpoint, self.recorder.notice)
        state = trainer.state
        if not self.callback.stop_reason and state.global_step < 1:
            raise CannotTrain("no step was trained: every row was left out or fully masked")
        self.save(trainer)
        if self.callback.stop_reason:
            return (
                "stopped",
                f"{self.callback.stop_reason}, at step {state.global_step} of {state.max_steps}; adapter saved",
            )
        if state.global_step < state.max_steps:
            return "completed", f"stopped early at step {state.global_step}: the eval loss no longer improved"
        return "completed", "all steps done, adapter saved"

    def set_up(self) -> Any:
        """Load everything and build the trainer."""
        self.recorder.phase("loading")
        from transformers import set_seed

        set_seed(self.config["seed"])
        self.config = verify_code(self.record, self.config)
        settle_hub(self.config)
        data = Data(self.config, self.record.get("data"))
        chats = data.chats()
        tokenizer = chat.load_tokenizer(self.config, renders=chats)
        pad_notice = chat.ensure_pad_token(tokenizer)
        marker = Marker(tokenizer, assistant_only=self.config["assistant_only_loss"] is not False,
                        limit=self.config["max_seq_length"])  # fmt: skip
        marking = self.how_it_is_marked(marker) if chats else ""
        machine = ranks.weakest(Machine.here()).limited(self.config["max_gpu_memory"])
        memory.keep_within(self.config["max_gpu_memory"])
        recipe = resolve(self.config, machine, marking=marking, sizes=_sizes(self.config, machine))
        ranks.settle(recipe)
        if recipe.fsdp and ranks.here()[1] <= 1:
            raise CannotTrain("a model that is shared out among several GPUs (fsdp) cannot be tried in one process")
        self.write_record(recipe)
        for text in [pad_notice, *recipe.notices]:
            if text:
                self.recorder.notice(text)
        # The weights are read meanwhile where the rows are those that were checked; what is wrong with others is said before.
        ahead = data.as_checked()
        weights = Ahead(lambda: load_model(self.config, recipe), "tunedeck-weights") if ahead else None
        train, evaluation = self.prepare_rows(data, marker, weights)
        self.settle_updates(recipe, train)
        self.recorder.phase("loading")
        model = load_model(self.config, recipe) if weights is None else weights.result()
        return self.build_trainer(recipe, model, tokenizer, train, evaluation)

    def how_it_is_marked(self, marker: Marker) -> str:
        """How the assistant's turns are told apart, in words; refuses where nothing does and nobody chose to do without."""
        way = marker.way()
        if way.unfit:
            raise CannotTrain(f"{way.why_not}; mend it, or choose another (chat_template_path)")
        if not way.name:
            setting = self.config["assistant_only_loss"]
            why = f"assistant_only_loss is {str(setting).lower()}, but {way.why_not}"
            raise CannotTrain(f"{why}; set assistant_only_loss to false to learn from the whole text")
        for _, text in marker.remarks():
            self.recorder.notice(text, "warning")
        return way.words

    def prepare_rows(self, data: Data, marker: Marker, weights: Ahead[Any] | None = None) -> tuple[Any, Any]:
        """Rows to train on and to evaluate with as the trainer takes them; what is cut or left out is said."""

        def tell(done: int, total: int | None) -> None:
            self.recorder.phase("tokenising", done, total)
            if weights is not None:
                weights.check()

        self.recorder.phase("tokenising")
        found = data.tokenise(marker, tell)
        if found.unanswered:
            self.recorder.notice(dataset.left_out(found.unanswered), "warning")
        skip, limit = self.config.get("on_bad_rows") == "skip", self.config["max_seq_length"]
        for part, what in ((found.train, "rows"), (found.evaluation, "evaluation rows")):
            if part is not None:
                for text in dataset.what_was_lost(part, limit, what=what, skip=skip):
                    self.recorder.notice(text, "warning")
        return found.train.dataset, None if found.evaluation is None else found.evaluation.dataset

    def settle_updates(self, recipe: Recipe, train: Any) -> None:
        """How many samples an update takes, where recipe fastest chooses; a run that goes on keeps to what it chose first."""
        settings = RunConfig.model_construct(**self.config)
        if not updates.chosen(settings):
            return
        number = resuming.chosen_before(self.record, self.recorder.attempt)
        lengths = dataset.lengths_of(train)
        if number is None:
            number = updates.accumulation(settings, len(lengths), int(lengths.sum()))
        self.config["gradient_accumulation_steps"] = number
        why = updates.reason(settings, number, len(lengths), int(lengths.sum()))
        recipe.auto["gradient_accumulation_steps"] = {"value": number, "why": why}
        self.write_record(recipe)

    def build_trainer(self, recipe: Recipe, model: Any, tokenizer: Any, train: Any, evaluation: Any) -> Any:
        """TRL's trainer over the prepared parts."""
        from trl import SFTConfig

        from engine.worker.fast import laying
        from engine.worker.trainer import RunTrainer

        config = self.config
        unfit = laying.why_not(model) if recipe.end_to_end else ""
        if unfit:
            self.recorder.notice(f"Batches are padded: {unfit}")
            recipe.tokens_per_pass, recipe.padding_free = None, False
            model.set_attn_implementation("eager" if "soft cap" in unfit else "sdpa")
        arguments = sft_arguments(config, recipe, evaluates=evaluation is not None)
        callbacks: list[Any] = [self.callback] if self.recorder.rank else [self.callback, _log_lines()]
        if config["early_stopping_patience"] is not None:
            from transformers import EarlyStoppingCallback

            callbacks.append(
                EarlyStoppingCallback(config["early_stopping_patience"], config["early_stopping_threshold"])
            )
        trainer = RunTrainer(
            keeper=self.keeper(),
            model=model,
            args=SFTConfig(**arguments),
            train_dataset=train,
            eval_dataset=evaluation,
            processing_class=tokenizer,
            peft_config=lora_config(config),
            callbacks=callbacks,
            shares_model=recipe.fsdp,
        )
        from transformers import PrinterCallback

        trainer.remove_callback(PrinterCallback)  # our log lines take its place
        for text in [*ranks.repeated(trainer), *ranks.parts(trainer.shared)]:
            self.recorder.notice(text)
        kernels = recipe.fused_lora or recipe.cuda_graphs or recipe.use_liger_kernel
        self.callback.compiles = bool(config["torch_compile"] or (recipe.cuda and kernels))
        if recipe.end_to_end:
            laying.set_up(trainer, recipe, config["max_seq_length"], self.recorder.notice)
        return trainer

    def keeper(self) -> Keeper:
        """Who puts this run's checkpoints on the disk."""
        return Keeper(
            self.run_dir,
            run_id=str(self.record.get("id") or ""),
            attempt=self.recorder.attempt,
            limit=self.config["save_total_limit"],
            say=lambda text: self.recorder.notice(text, "warning"),
        )

    def save(self, trainer: Any) -> None:
        """Adapter, tokenizer with chat template, and the trainer's state at the root of the output directory."""
        self.recorder.phase("saving")
        begun = time.monotonic()
        trainer.save_final()
        if not self.recorder.rank:
            print(f"Saved the adapter to {self.run_dir.path} in {time.monotonic() - begun:.1f} s", flush=True)

    def write_record(self, recipe: Recipe) -> None:
        """Complete ``run.json`` with what each auto chose and the versions in use."""
        if self.recorder.rank:
            return
        self.record["auto"] = recipe.auto
        self.record["versions"] = {**self.record.get("versions", {}), **versions()}
        write_json(self.run_dir.run_json, self.record, self.run_dir.file_mode(self.config["share"]))
        for name, choice in recipe.auto.items():
            if name not in self._told:
                print(f"{name}: {choice['value']} ({choice['why']})", flush=True)
        self._told |= recipe.auto.keys()


def _sizes(config: dict[str, Any], machine: Machine) -> dict[str, Any] | None:
    """The model's sizes, where a choice depends on them; ``None`` where they cannot be told."""
    several_gpus = several.wanted(config.get("gpus"), config.get("num_gpus")) > 1
    if not machine.cuda or (config["recipe"] == "plain" and not several_gpus):
        return None
    from engine.worker.inspect.costs import sizes

    try:
        return recall(config, cuda=machine.cuda) or sizes(config, cuda=machine.cuda)
    except Exception as error:  # what is wrong with the model is said when it is loaded
        print(f"The model's sizes are not known: {error}", flush=True)
        return None


def load_model(config: dict[str, Any], recipe: Recipe) -> Any:
    """The base model, quantised if asked; weights are read from safetensors only, never from pickle."""
    import torch
    from transformers import AutoModelForCausalLM

    from engine.worker.fast.laying import prepare

    options: dict[str, Any] = {}
    if config["load_in_4bit"] or config["load_in_8bit"]:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=config["load_in_4bit"],
            load_in_8bit=config["load_in_8bit"],
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, recipe.dtype),
            # Parts of layers must be of a type that could have a gradient; the bytes are the same.
            bnb_4bit_quant_storage=getattr(torch, recipe.dtype) if recipe.fsdp else torch.uint8,
        )
    rank = ranks.here()[0]
    if recipe.fsdp and "quantization_config" not in options:
        # Read once, into the host's memory: the others have shapes until they get their parts.
        options["device_map"] = {"": "meta" if rank else "cpu"}
    elif recipe.cuda:
        options["device_map"] = {"": rank}  # read onto the card, not through the host's memory
    if config["load_in_8bit"]:
        # Weights become 8 bits on the CPU, one by one: read ahead, all of them would wait on the GPU as they were.
        os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    model = AutoModelForCausalLM.from_pretrained(
        config["base_model"],
        revision=config["revision"],
        trust_remote_code=config["trust_remote_code"],
        dtype=getattr(torch, recipe.dtype),
        attn_implementation=prepare(recipe.attn_implementation),
        use_safetensors=True,
        **options,
    )
    model.config.use_cache = False
    return model


def lora_config(config: dict[str, Any]) -> Any:
    """PEFT's configuration of the adapter."""
    from peft import LoraConfig

    init = config["init_lora_weights"]
    return LoraConfig(
        r=config["lora_r"],
        lora_alpha=config["lora_alpha"],
        lora_dropout=config["lora_dropout"],
        target_modules=config["target_modules"],
        modules_to_save=config["modules_to_save"],
        bias=config["bias"],
        task_type=config["task_type"],
        use_dora=config["use_dora"],
        use_rslora=config["use_rslora"],
        init_lora_weights=True if init == "default" else init,
    )


def sft_arguments(config: dict[str, Any], recipe: Recipe, *, evaluates: bool) -> dict[str, Any]:
    """Settings under the names of TRL's ``SFTConfig``."""
    evaluation: dict[str, Any] = {"eval_strategy": "no"}
    if evaluates:
        evaluation = {
            "eval_strategy": "steps",
            "eval_steps": config["eval_steps"] or config["save_steps"],
            "per_device_eval_batch_size": config["per_device_eval_batch_size"],
            "eval_packing": False,
        }
        if config["load_best_model_at_end"] or config["early_stopping_patience"] is not None:
            evaluation.update(metric_for_best_model="eval_loss", greater_is_better=False)
            evaluation["load_best_model_at_end"] = config["load_best_model_at_end"]
    # An update's samples come in one batch, which is split by tokens, not by rows.
    processes = several.wanted(config.get("gpus"), config.get("num_gpus"))
    keeps = bool(config.get("keep_samples_per_update"))
    passes = several.passes(config["gradient_accumulation_steps"], processes, keeps)
    rows = config["batch_size"]
    if recipe.end_to_end:
        rows, passes = rows * passes, 1
    return {
        "output_dir": config["output_dir"],
        "run_name": config["run_name"],
        "num_train_epochs": config["num_train_epochs"],
        "max_steps": config["max_steps"] or -1,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": passes,
        "learning_rate": config["learning_rate"],
        "lr_scheduler_type": config["lr_scheduler_type"],
        # Since transformers 5 a float below 1 is the ratio of all steps.
        "warmup_steps": config["warmup_ratio"] if config["warmup_ratio"] < 1 else 0.999999,
        "weight_decay": config["weight_decay"],
        "max_grad_norm": config["max_grad_norm"],
        "optim": recipe.optim,
        "adam_beta1": config["adam_beta1"],
        "adam_beta2": config["adam_beta2"],
        "adam_epsilon": config["adam_epsilon"],
        "neftune_noise_alpha": config["neftune_noise_alpha"],
        "seed": config["seed"],
        "data_seed": config["data_seed"],
        "save_strategy": "steps",
        "save_steps": config["save_steps"],
        # The trainer's own rotation deletes by name and age, whoever wrote it; the keeper rotates instead.
        "save_total_limit": None,
        "logging_steps": config["logging_steps"],
        "logging_nan_inf_filter": False,
        "report_to": config["report_to"] or "none",
        # Rows are cut already, and TRL wants none for padding-free batches; packing fills rows up to it.
        "max_length": config["max_seq_length"] if recipe.packing else None,
        "packing": recipe.packing,
        "padding_free": recipe.padding_free and not recipe.end_to_end,
        "assistant_only_loss": False,  # the labels say it already
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if recipe.gradient_checkpointing else None,
        "use_liger_kernel": recipe.use_liger_kernel,
        "activation_offloading": config["activation_offloading"] and recipe.cuda,
        "torch_compile": config["torch_compile"],
        "dataloader_num_workers": config["dataloader_num_workers"],
        "dataloader_pin_memory": recipe.cuda,
        "use_cpu": not recipe.cuda,
        "disable_tqdm": True,
        **recipe.mixed_precision,
        **evaluation,
    }


def _log_lines() -> Any:
    from transformers import TrainerCallback

    class LogLines(TrainerCallback):
        """One readable line in train.log at the trainer's own rhythm."""

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            if args.world_size > 1 and "loss" in (logs or {}) and state.global_step % max(1, int(args.logging_steps)):
                return  # logged for the run's events only
            shown = {
                k: v for k, v in (logs or {}).items() if isinstance(v, int | float) and k not in ("epoch", "total_flos")
            }
            words = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
            print(f"step {state.global_step}/{state.max_steps}  {words}", flush=True)

    return LogLines()
