"""Every setting of a run, once. Form, flags, YAML keys, ``run.json`` and the README table all come from here.

Names that TRL (``SFTConfig``) or PEFT (``LoraConfig``) have are theirs; ``batch_size``, ``train_path`` and the like are
those of the scripts that people use today.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from engine.config.coerce import auto_or_flag, auto_or_int_list, empty_is_none, files, text_list, word_or_list
from engine.config.fields import SettingInfo, describe, setting
from engine.templates.table import NAMES as TEMPLATES

Auto = Literal["auto"]
AutoFlag = Annotated[Auto | bool, BeforeValidator(auto_or_flag)]
Flag = Annotated[bool, BeforeValidator(auto_or_flag)]
OptionalText = Annotated[str | None, BeforeValidator(empty_is_none)]
OptionalInt = Annotated[int | None, BeforeValidator(empty_is_none)]
OptionalFloat = Annotated[float | None, BeforeValidator(empty_is_none)]
OptionalWords = Annotated[list[str] | None, BeforeValidator(word_or_list)]

SEVEN_PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
DATA_FORMATS = ("auto", "messages", "sharegpt", "alpaca", "prompt_completion", "query_response", "text")
ATTENTION = ("auto", "varlen", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")
SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup", "inverse_sqrt",
              "polynomial")  # fmt: skip
OPTIMIZERS = ("auto", "adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit",
              "adafactor", "lion_8bit", "paged_lion_8bit", "sgd")  # fmt: skip


class RunConfig(BaseModel):
    """The settings of one run, validated. Build it with :func:`engine.config.parse`, which explains errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    base_model: str = setting("Qwen/Qwen2.5-7B-Instruct", "Model", "Model to fine-tune: a local directory or a hub id.",
        kind="directory", basic=True)  # fmt: skip
    revision: OptionalText = setting(None, "Model", "Branch, tag or commit of the model on the hub; empty: the newest.",
        optional=True)  # fmt: skip
    trust_remote_code: Flag = setting(False, "Model", "Run Python code that comes with the model. Only for authors you trust.",
        kind="flag")  # fmt: skip
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting("auto", "Model",
        "Number format of the base weights: bfloat16 on cards that have it, else float16; float32 on a CPU.",
        kind="choice", choices=("auto", "float32", "bfloat16", "float16"))  # fmt: skip
    load_in_4bit: Flag = setting(False, "Model", "Quantise the base weights to 4 bits (QLoRA); needs CUDA and bitsandbytes.",
        kind="flag")  # fmt: skip
    load_in_8bit: Flag = setting(False, "Model", "Quantise the base weights to 8 bits; needs CUDA and bitsandbytes.",
        kind="flag")  # fmt: skip
    attn_implementation: Literal[ATTENTION] = setting(  # type: ignore[valid-type]
        "auto", "Model", "How attention is computed; varlen: PyTorch's flash attention over samples laid end to end.",
        kind="choice", choices=ATTENTION)  # fmt: skip
    chat_template_path: OptionalText = setting(None, "Model",
        "Chat template to render with: a known name (chatml, llama3 …), a .jinja file, or a directory with a tokenizer; empty: the model's own.",
        kind="path", suggestions=TEMPLATES, optional=True)  # fmt: skip

    train_path: Annotated[str, BeforeValidator(files)] = setting(..., "Data",
        "Data to learn from: JSONL, JSON, CSV, TSV or Parquet. Several files with commas; FILE:1000, FILE:25% and FILE:x2 take so much of one.",
        kind="path", basic=True)  # fmt: skip
    eval_path: Annotated[str | None, BeforeValidator(files)] = setting(None, "Data",
        "Data to measure on, never trained on; files as for train_path.", kind="path", optional=True, basic=True)  # fmt: skip
    eval_fraction: OptionalFloat = setting(None, "Data", "Share of the training file held out for evaluation, if there is no eval file.",
        kind="number", gt=0, le=0.5, ladder=(0.01, 0.02, 0.05, 0.1, 0.2), optional=True)  # fmt: skip
    data_format: Literal[DATA_FORMATS] = setting("auto", "Data",  # type: ignore[valid-type]
        "Shape of the rows. auto: told from their fields, and shown.", kind="choice", choices=DATA_FORMATS)  # fmt: skip
    data_fields: OptionalWords = setting(None, "Data",
        "Fields that go by another name in the files, e.g. query=question,response=reply; empty: the usual names.",
        kind="list", suggestions=("query=question,response=reply", "messages=chat,role=speaker,content=says"), optional=True)  # fmt: skip
    on_bad_rows: Literal["refuse", "skip"] = setting("refuse", "Data",
        "What to do about rows that cannot be used: refuse the run, or skip them (recorded).", kind="choice",
        choices=("refuse", "skip"))  # fmt: skip
    max_seq_length: int = setting(2048, "Data", "Longer chats are cut off after this many tokens.", kind="integer",
        unit="tokens", ge=8, le=4_194_304, ladder=(256, 512, 1024, 2048, 4096, 8192, 16384, 32768), basic=True)  # fmt: skip
    assistant_only_loss: AutoFlag = setting("auto", "Data",
        "Learn from the assistant's turns only. auto: yes for chats, refused where nothing can tell the turns apart; false learns the whole text.",
        kind="flag", allows_auto=True)  # fmt: skip
    packing: AutoFlag = setting("auto", "Data", "Put several chats into one row up to the length limit. Faster, but changes what an update sees.",
        kind="flag", allows_auto=True)  # fmt: skip
    padding_free: AutoFlag = setting("auto", "Data", "Lay the chats of a batch end to end instead of padding them.",
        kind="flag", allows_auto=True)  # fmt: skip

    lora_r: int = setting(16, "LoRA", "Rank of the adapter: more learns more, and costs memory.", kind="integer",
        ge=1, le=8192, ladder=(4, 8, 16, 32, 64, 128, 256), basic=True)  # fmt: skip
    lora_alpha: float = setting(16, "LoRA", "Scale of the adapter; its weight is alpha ÷ r.", kind="number", gt=0, le=65536,
        ladder=(8, 16, 32, 64, 128, 256), basic=True)  # fmt: skip
    lora_dropout: float = setting(0.05, "LoRA", "Share of adapter inputs dropped while training.", kind="number", ge=0,
        le=0.9, ladder=(0, 0.05, 0.1, 0.2), basic=True)  # fmt: skip
    target_modules: Annotated[list[str] | Literal["all-linear"], BeforeValidator(word_or_list)] = setting(
        SEVEN_PROJECTIONS, "LoRA", "Layers that get an adapter: names with commas, or all-linear.", kind="list",
        suggestions=("all-linear", "q_proj,v_proj", ",".join(SEVEN_PROJECTIONS)))  # fmt: skip
    modules_to_save: OptionalWords = setting(None, "LoRA", "Layers trained and saved whole, e.g. embed_tokens,lm_head.",
        kind="list", optional=True)  # fmt: skip
    bias: Literal["none", "all", "lora_only"] = setting("none", "LoRA", "Which bias terms are trained.", kind="choice",
        choices=("none", "all", "lora_only"))  # fmt: skip
    task_type: Literal["CAUSAL_LM"] = setting("CAUSAL_LM", "LoRA", "Kind of model; only causal language models are trained.",
        kind="choice", choices=("CAUSAL_LM",))  # fmt: skip
    use_dora: Flag = setting(False, "LoRA", "Weight-decomposed adapter (DoRA): a little better, clearly slower.",
        kind="flag")  # fmt: skip
    use_rslora: Flag = setting(False, "LoRA", "Scale by alpha ÷ √r instead of alpha ÷ r; steadier at high ranks.",
        kind="flag")  # fmt: skip
    init_lora_weights: Literal["default", "gaussian", "pissa", "olora", "orthogonal"] = setting("default", "LoRA",
        "How the adapter starts; default begins as the unchanged model.", kind="choice",
        choices=("default", "gaussian", "pissa", "olora", "orthogonal"))  # fmt: skip

    num_train_epochs: float = setting(3, "Training", "How often the whole data is seen.", kind="number", unit="epochs",
        gt=0, le=100_000, ladder=(1, 2, 3, 5, 10), basic=True)  # fmt: skip
    max_steps: OptionalInt = setting(None, "Training", "Stop after this many updates, whatever the epochs say.", kind="integer",
        unit="steps", ge=1, ladder=(10, 50, 100, 500, 1000), optional=True)  # fmt: skip
    batch_size: int = setting(1, "Training", "Chats per GPU in one pass.", kind="integer", unit="samples", ge=1, le=65536,
        ladder=(1, 2, 4, 8, 16, 32, 64), basic=True)  # fmt: skip
    gradient_accumulation_steps: int = setting(4, "Training", "Passes that are added up to one update.", kind="integer",
        unit="passes", ge=1, le=65536, ladder=(1, 2, 4, 8, 16, 32), basic=True)  # fmt: skip
    learning_rate: float = setting(1e-4, "Training", "Peak step size. LoRA often likes 1e-4 to 5e-4.", kind="number",
        gt=0, le=10, ladder=(1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3), basic=True)  # fmt: skip
    lr_scheduler_type: Literal[SCHEDULERS] = setting("cosine", "Training", "How the learning rate goes down.", kind="choice",  # type: ignore[valid-type]
        choices=SCHEDULERS)  # fmt: skip
    warmup_ratio: float = setting(0.03, "Training", "Share of all steps in which the learning rate rises.", kind="number",
        ge=0, le=1, ladder=(0, 0.01, 0.03, 0.05, 0.1))  # fmt: skip
    weight_decay: float = setting(0.0, "Training", "Pull of the adapter weights towards zero.", kind="number", ge=0, le=10,
        ladder=(0, 0.001, 0.01, 0.1))  # fmt: skip
    max_grad_norm: float = setting(1.0, "Training", "Longer gradients are shortened to this; 0 switches clipping off.",
        kind="number", ge=0, le=1e6, ladder=(0, 0.3, 0.5, 1, 2))  # fmt: skip
    on_nonfinite: Literal["continue", "stop"] = setting("continue", "Training",
        "What to do when loss or gradient are no longer numbers; stop ends the run before the adapter is spoilt.",
        kind="choice", choices=("continue", "stop"))  # fmt: skip
    optim: Literal[OPTIMIZERS] = setting(  # type: ignore[valid-type]
        "auto",
        "Training",
        "What turns gradients into updates. auto: AdamW, paged where memory is short.",
        kind="choice",
        choices=OPTIMIZERS,
    )
    adam_beta1: float = setting(0.9, "Training", "Adam's memory of the gradient.", kind="number", ge=0, le=0.9999,
        ladder=(0.8, 0.9, 0.95))  # fmt: skip
    adam_beta2: float = setting(0.999, "Training", "Adam's memory of the squared gradient.", kind="number", ge=0, le=0.99999,
        ladder=(0.95, 0.98, 0.99, 0.999))  # fmt: skip
    adam_epsilon: float = setting(1e-8, "Training", "Smallest divisor in Adam.", kind="number", gt=0, le=1,
        ladder=(1e-10, 1e-8, 1e-6))  # fmt: skip
    neftune_noise_alpha: OptionalFloat = setting(None, "Training", "Strength of the noise on embeddings (NEFTune); empty: none.",
        kind="number", gt=0, le=1000, ladder=(5, 10, 15), optional=True)  # fmt: skip
    seed: int = setting(42, "Training", "Seed of the weights' start, the shuffling and dropout.", kind="integer", ge=0,
        le=2**32 - 1, ladder=(0, 1, 42, 1234), basic=True)  # fmt: skip
    data_seed: OptionalInt = setting(None, "Training", "Seed of the shuffling alone; empty: the same as seed.", kind="integer",
        ge=0, le=2**32 - 1, ladder=(0, 1, 42, 1234), optional=True)  # fmt: skip

    eval_steps: OptionalInt = setting(None, "Evaluation", "Evaluate every so many updates; empty: at every save and at the end.",
        kind="integer", unit="steps", ge=1, ladder=(10, 25, 50, 100, 200, 500), optional=True)  # fmt: skip
    per_device_eval_batch_size: int = setting(8, "Evaluation", "Chats per GPU in one evaluation pass.", kind="integer",
        unit="samples", ge=1, le=65536, ladder=(1, 2, 4, 8, 16, 32))  # fmt: skip
    load_best_model_at_end: Flag = setting(False, "Evaluation", "Save the adapter with the lowest eval loss, not the last one.",
        kind="flag")  # fmt: skip
    early_stopping_patience: OptionalInt = setting(None, "Evaluation", "Stop after this many evaluations without a better eval loss.",
        kind="integer", unit="evaluations", ge=1, ladder=(1, 2, 3, 5, 10), optional=True)  # fmt: skip
    early_stopping_threshold: float = setting(0.0, "Evaluation", "An eval loss counts as better only if it is this much lower.",
        kind="number", ge=0, le=100, ladder=(0, 0.001, 0.01))  # fmt: skip

    sample_prompts: Annotated[list[str] | None, BeforeValidator(text_list)] = setting(None, "Evaluation",
        "Prompts that the model answers at every evaluation (without one: at every save): texts with | between, or a .txt or .jsonl file; empty: none.",
        kind="texts", optional=True)  # fmt: skip
    sample_max_new_tokens: int = setting(128, "Evaluation", "Longest answer to a prompt of sample_prompts.", kind="integer",
        unit="tokens", ge=1, le=4096, ladder=(32, 64, 128, 256, 512, 1024))  # fmt: skip

    output_dir: str = setting(..., "Output", "New directory for the adapter, checkpoints and the run's record.",
        kind="directory", basic=True)  # fmt: skip
    run_name: OptionalText = setting(None, "Output", "Name in lists; empty: the output directory's.", optional=True)  # fmt: skip
    save_steps: int = setting(100, "Output", "Save a checkpoint every so many updates.", kind="integer", unit="steps", ge=1,
        ladder=(10, 25, 50, 100, 200, 500, 1000), basic=True)  # fmt: skip
    save_total_limit: OptionalInt = setting(None, "Output", "Keep only so many newest checkpoints; empty: all.", kind="integer",
        unit="checkpoints", ge=1, ladder=(1, 2, 3, 5, 10), optional=True)  # fmt: skip
    logging_steps: int = setting(10, "Output", "Rhythm of the trainer's own log. The charts have every step anyway.",
        kind="integer", unit="steps", ge=1, ladder=(1, 5, 10, 25, 50, 100), basic=True)  # fmt: skip
    report_to: OptionalWords = setting(None, "Output", "Other places to report to: tensorboard, wandb, mlflow …, with commas.",
        kind="list", suggestions=("tensorboard", "wandb", "mlflow", "trackio"), optional=True)  # fmt: skip
    notify: Annotated[list[Literal["bell", "tmux"]] | None, BeforeValidator(word_or_list)] = setting(None, "Output",
        "How you are told that the run has ended: bell (where it is watched), tmux (a message to its clients).",
        kind="list", choices=("bell", "tmux"), suggestions=("bell", "tmux", "bell,tmux"), optional=True)  # fmt: skip
    on_end: OptionalText = setting(None, "Output", "Shell command that is run at the end, with the run as JSON on its standard input.",
        optional=True)  # fmt: skip
    share: Literal["private", "group"] = setting("private", "Output", "Who may read the run's record: you alone, or your group too.",
        kind="choice", choices=("private", "group"))  # fmt: skip

    recipe: Literal["auto", "exact", "fastest", "plain"] = setting("auto", "Speed and memory",
        "How the work is laid out. exact: an update's samples end to end, the same updates, much faster on a GPU; fastest: so too, "
        "with as many samples an update as keep the card busy; plain: as TRL does it.",
        kind="choice", choices=("auto", "exact", "fastest", "plain"))  # fmt: skip
    max_tokens_per_pass: OptionalInt = setting(None, "Speed and memory",
        "Most tokens in one pass of recipes exact and fastest; empty: as many as fit into the free memory.", kind="integer", unit="tokens",
        ge=8, le=4_194_304, ladder=(1024, 2048, 4096, 8192, 16384), optional=True)  # fmt: skip
    max_gpu_memory: OptionalFloat = setting(None, "Speed and memory",
        "GPU memory that the run may take at most; the choices of auto keep within it. empty: what is free.", kind="number", unit="GiB",
        gt=0, le=4096, ladder=(8, 12, 16, 24, 40, 80), optional=True)  # fmt: skip
    fused_lora: AutoFlag = setting("auto", "Speed and memory", "Compute a layer and its adapter in one step: fewer kernels, less memory.",
        kind="flag", allows_auto=True)  # fmt: skip
    cuda_graphs: AutoFlag = setting("auto", "Speed and memory", "Record the launches of a pass once and replay them: much faster for small updates.",
        kind="flag", allows_auto=True)  # fmt: skip
    gradient_checkpointing: AutoFlag = setting("auto", "Speed and memory", "Recompute activations instead of keeping them: less memory, slower.",
        kind="flag", allows_auto=True)  # fmt: skip
    activation_offloading: Flag = setting(False, "Speed and memory",
        "Keep activations in the host's memory until they are needed: less GPU memory, slower.", kind="flag")  # fmt: skip
    use_liger_kernel: AutoFlag = setting("auto", "Speed and memory", "Liger's fused kernels: faster and leaner on NVIDIA cards.",
        kind="flag", allows_auto=True)  # fmt: skip
    torch_compile: Flag = setting(False, "Speed and memory", "Compile the model: slow start, faster steps.", kind="flag")  # fmt: skip
    dataloader_num_workers: int = setting(0, "Speed and memory", "Processes that prepare batches; 0: the trainer itself.",
        kind="integer", unit="processes", ge=0, le=256, ladder=(0, 1, 2, 4, 8))  # fmt: skip

    gpus: Annotated[Auto | list[int], BeforeValidator(auto_or_int_list)] = setting("auto", "Machine",
        "GPUs to train on: auto (the freest), or indices with commas.", kind="list", allows_auto=True)  # fmt: skip
    num_gpus: OptionalInt = setting(None, "Machine",
        "How many GPUs train the run together, each on samples of its own; empty: as many as gpus names, else one.",
        kind="integer", unit="GPUs", ge=1, le=64, ladder=(1, 2, 4, 8), optional=True)  # fmt: skip
    keep_samples_per_update: Flag = setting(False, "Machine",
        "On several GPUs divide gradient_accumulation_steps by their number, so that an update keeps its samples.",
        kind="flag")  # fmt: skip
    fsdp: AutoFlag = setting("auto", "Machine",
        "Share the model's layers out among several GPUs, for one that does not fit on each: slower.",
        kind="flag", allows_auto=True)  # fmt: skip
    queue: Flag = setting(True, "Machine", "Wait in the queue until a GPU is free; false: start beside whatever runs there.",
        kind="flag")  # fmt: skip
    worker_python: OptionalText = setting(None, "Machine", "Python of another environment that trains; empty: tunedeck's own.",
        kind="path", optional=True)  # fmt: skip


@cache
def settings() -> dict[str, SettingInfo]:
    """All settings by name, in the order of the form."""
    return {name: describe(name, info) for name, info in RunConfig.model_fields.items()}
