"""The chat templates that can be named: TRL's own files, and ours for what is common and missing there."""

from __future__ import annotations

from dataclasses import dataclass

_CHATML = ("<|im_start|>", "<|im_end|>")
_LLAMA3 = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_GEMMA = ("<start_of_turn>", "<end_of_turn>")
_MISTRAL = ("[INST]", "[/INST]")


@dataclass(frozen=True, slots=True)
class Known:
    """A template that goes by a name. ``words`` say whose it is, ``tokens`` are control tokens that it writes.

    ``family`` is what :func:`engine.templates.family` calls it, ``ours`` whether its file lies here and not in TRL.
    """

    name: str
    words: str
    tokens: tuple[str, ...]
    family: str
    ours: bool = False


# In the order in which they are offered where nothing tells which one fits.
TABLE: tuple[Known, ...] = (
    Known("chatml", "ChatML: Hermes, Dolphin, Yi and many others", _CHATML, "chatml", True),
    Known("smollm2", "SmolLM2: ChatML with its own system message", _CHATML, "chatml", True),
    Known("qwen2_5", "Qwen 2 and 2.5, with tools", _CHATML, "chatml"),
    Known("qwen3", "Qwen 3 with thinking, and tools", _CHATML, "chatml"),
    Known("qwen3_instruct_2507", "Qwen 3 Instruct 2507: no thinking, with tools", _CHATML, "chatml"),
    Known("llama3", "Llama 3", _LLAMA3, "llama3"),
    Known("llama3_1", "Llama 3.1 and 3.3, with tools and a date", _LLAMA3, "llama3"),
    Known("gemma", "Gemma 1 and 2: no system message", _GEMMA, "gemma"),
    Known("gemma3", "Gemma 3: the system message opens the first question", _GEMMA, "gemma"),
    Known("gemma4_v5", "Gemma 4, with tools and thinking", ("<|turn>", "<turn|>"), "gemma4"),
    Known("mistral", "Mistral 7B 0.3, Mixtral 8x22B (tokenizer v3)", _MISTRAL, "mistral", True),
    Known("mistral_tekken", "Mistral Nemo, Ministral, Pixtral (v3 Tekken)", _MISTRAL, "mistral", True),
    Known("mistral_small", "Mistral Small 2501 and later (v7 Tekken)",
          (*_MISTRAL, "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), "mistral", True),
    Known("phi3", "Phi 3", ("<|user|>", "<|assistant|>", "<|end|>"), "phi3"),
    Known("phi4", "Phi 4", ("<|im_start|>", "<|im_sep|>", "<|im_end|>"), "phi4", True),
    Known("lfm2", "Liquid LFM2: ChatML with tools", _CHATML, "chatml"),
    Known("cohere", "Command R, Aya Expanse", ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
          "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"), "cohere"),
    Known("deepseekv3", "DeepSeek V3 and R1, with tools", ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"), "deepseek"),
    Known("deepseek_r1_distill", "DeepSeek R1 distilled into Qwen and Llama",
          ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"), "deepseek"),
    Known("zephyr", "Zephyr, TinyLlama, StableLM: plain words, each turn closed", (), "zephyr", True),
    Known("tulu", "Tulu, OLMo: plain words, only answers closed", (), "tulu", True),
    Known("vicuna", "Vicuna 1.1: USER: and ASSISTANT:", (), "vicuna", True),
    Known("alpaca", "Alpaca: ### Instruction and ### Response", (), "alpaca", True),
    Known("llama2", "Llama 2: [INST] and <<SYS>> as plain words", (), "llama2", True),
    Known("mistral_v1", "Mistral 7B 0.1 and 0.2, Mixtral 8x7B: [INST] as plain words", (), "mistral", True),
)  # fmt: skip
BY_NAME = {known.name: known for known in TABLE}
NAMES = tuple(BY_NAME)

_QWEN = ("deepseek_r1_distill", "qwen2_5", "chatml")
_QWEN3 = ("deepseek_r1_distill", "qwen3", "qwen3_instruct_2507", "chatml")
_LLAMA = ("deepseek_r1_distill", "llama3", "llama3_1", "chatml", "llama2", "zephyr", "vicuna", "alpaca")
_MISTRALS = ("mistral_small", "mistral", "mistral_tekken", "chatml", "mistral_v1", "zephyr", "alpaca")
# By ``model_type`` of config.json: whose tokens the tokenizer has comes first all the same.
OF_TYPE: dict[str, tuple[str, ...]] = {
    "qwen2": _QWEN, "qwen2_moe": _QWEN, "qwen3": _QWEN3, "qwen3_moe": _QWEN3, "qwen3_next": _QWEN3,
    "llama": _LLAMA, "mistral": _MISTRALS, "mixtral": _MISTRALS, "ministral": _MISTRALS, "mistral3": _MISTRALS,
    "gemma": ("gemma",), "gemma2": ("gemma",), "gemma3": ("gemma3", "gemma"), "gemma3_text": ("gemma3", "gemma"),
    "gemma4": ("gemma4_v5",), "gemma4_text": ("gemma4_v5",),
    "phi3": ("phi4", "phi3"), "phi": ("alpaca", "chatml"), "stablelm": ("zephyr", "chatml"), "lfm2": ("lfm2", "chatml"),
    "cohere": ("cohere",), "cohere2": ("cohere",), "deepseek_v3": ("deepseekv3",), "deepseek_v2": ("deepseekv3",),
    "olmo": ("tulu",), "olmo2": ("tulu",), "olmo3": ("tulu",), "smollm3": ("chatml", "smollm2"),
}  # fmt: skip
# What stands in a template of each family, the surest signs first; all of a line must be there.
SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("phi4", ("<|im_start|>", "<|im_sep|>")),
    ("chatml", ("<|im_start|>", "<|im_end|>")),
    ("llama3", ("<|start_header_id|>",)),
    ("llama4", ("<|header_start|>",)),
    ("gemma", ("<start_of_turn>",)),
    ("gemma4", ("<|turn>",)),
    ("gpt-oss", ("<|start|>", "<|message|>")),
    ("deepseek", ("<｜User｜>",)),
    ("cohere", ("<|START_OF_TURN_TOKEN|>",)),
    ("granite", ("<|start_of_role|>",)),
    ("glm", ("[gMASK]",)),
    ("phi3", ("<|end|>", "<|assistant|>")),
    ("llama2", ("[INST]", "<<SYS>>")),
    ("mistral", ("[INST]",)),
    ("alpaca", ("### Instruction",)),
    ("vicuna", ("USER:", "ASSISTANT:")),
)
