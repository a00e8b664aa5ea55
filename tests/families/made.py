"""The tokenizers: trained on a few lines, with each family's way of cutting text and its special tokens."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from tests.families import templates as t

LINES = [
    "The capital of France is Paris. 서울은 대한민국의 수도입니다. 안녕하세요, 무엇을 도와드릴까요?",
    "def f(x):\n    return x + 1\n\nprint(f(41))  # 42",
    "You are a helpful assistant. Hello there! Good day. What does it mean? I don't know; nobody does.",
    "<think>\nLet me think about it.\n</think>\n\nThe answer is 42. assistant user system tool model",
    '{"name": "get_weather", "arguments": {"city": "Seoul"}} 😀 🎉 🇰🇷 👩‍👩‍👧',
]
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Family:
    """``template`` is text, or the name of one of TRL's; ``plain`` are added tokens that are not special."""

    template: str
    special: tuple[str, ...]
    eos: str
    bos: str | None = None
    pad: str | None = None
    pieces: bool = False  # SentencePiece's way, with bytes for what is unknown
    plain: tuple[str, ...] = ()
    trim: bool = False

    @property
    def text(self) -> str:
        return self.template if "{" in self.template else t.of_trl(self.template)


_QWEN = {"special": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "eos": "<|im_end|>", "pad": "<|endoftext|>",
         "plain": ("<tool_call>", "</tool_call>", "<think>", "</think>")}  # fmt: skip
_LLAMA3 = {"special": ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
                       "<|python_tag|>", "<|finetune_right_pad_id|>"),
           "eos": "<|eot_id|>", "bos": "<|begin_of_text|>", "pad": "<|finetune_right_pad_id|>"}  # fmt: skip
_GEMMA = {"special": ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"), "eos": "<eos>", "bos": "<bos>",
          "pad": "<pad>", "pieces": True}  # fmt: skip
_SMOL = {"special": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "eos": "<|im_end|>", "bos": "<|im_start|>",
         "pad": "<|endoftext|>", "trim": True}  # fmt: skip
_OLD = {"special": ("<unk>", "<s>", "</s>"), "eos": "</s>", "bos": "<s>", "pad": "<unk>", "pieces": True}
_PHI3 = {"special": ("<unk>", "<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|end|>", "<|system|>", "<|user|>"),
         "eos": "<|endoftext|>", "bos": "<s>", "pad": "<unk>", "pieces": True}  # fmt: skip
_R1 = {"special": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"), "eos": "<｜end▁of▁sentence｜>",
       "bos": "<｜begin▁of▁sentence｜>", "pad": "<｜end▁of▁sentence｜>", "plain": ("<think>", "</think>")}  # fmt: skip

FAMILIES: dict[str, Family] = {
    "qwen2.5": Family("qwen2_5", **_QWEN),
    "qwen3": Family("qwen3", **_QWEN),
    # The same template with a line's end that an editor added: TRL compares them letter by letter.
    "qwen3-edited": Family("{# edited #}", **_QWEN),
    "llama3": Family("llama3", **_LLAMA3),
    "llama3.1": Family("llama3_1", **_LLAMA3),
    "gemma": Family("gemma", **_GEMMA),
    "gemma3": Family("gemma3", **_GEMMA),
    "gemma-edited": Family("{# edited #}", **_GEMMA),
    "smollm2": Family(t.SMOLLM, **_SMOL),
    "chatml": Family(t.CHATML, **_SMOL),
    "chatml-no-prompt": Family(t.CHATML_WITHOUT_PROMPT, **_SMOL),
    "chatml-marked": Family(t.CHATML_MARKED, **_SMOL),
    "mistral-1": Family(t.MISTRAL_1, **_OLD),
    "mistral-2": Family(t.MISTRAL_2, **_OLD),
    "mistral-3": Family(t.MISTRAL_3, **{**_OLD, "special": ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")}),
    "llama2": Family(t.LLAMA_2, **_OLD),
    "zephyr": Family(t.ZEPHYR, **_OLD),
    "phi3": Family("phi3", **_PHI3),
    "phi3-edited": Family("{# edited #}", **_PHI3),
    "phi4": Family(t.PHI_4, special=("<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>", "<|dummy_85|>"), eos="<|im_end|>",
                   bos="<|endoftext|>", pad="<|dummy_85|>"),
    "alpaca": Family(t.ALPACA, **_OLD),
    "deepseek-r1": Family("deepseek_r1_distill", **_R1),
    "deepseek-r1-edited": Family("{# edited #}", **_R1),
}  # fmt: skip
_EDITED = {
    "qwen3-edited": "qwen3",
    "phi3-edited": "phi3",
    "gemma-edited": "gemma",
    "deepseek-r1-edited": "deepseek_r1_distill",
}


@functools.cache
def tokenizer(name: str, template: str | None = None) -> Any:
    """A family's tokenizer; with another template if one is given."""
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[name]
    text = template
    if text is None:
        text = "{# edited #}" + t.of_trl(_EDITED[name]) if name in _EDITED else family.text
    made = PreTrainedTokenizerFast(
        tokenizer_object=_pieces(family) if family.pieces else _bytes(family), eos_token=family.eos, bos_token=family.bos,
        pad_token=family.pad, unk_token="<unk>" if family.pieces else None, chat_template=text,
        model_max_length=100_000, clean_up_tokenization_spaces=False,
        additional_special_tokens=[s for s in family.special if s not in (family.eos, family.bos, family.pad, "<unk>")],
    )  # fmt: skip
    if family.plain:
        from tokenizers import AddedToken

        made.add_tokens([AddedToken(word, special=False, normalized=False) for word in family.plain])
    return made


def _bytes(family: Family) -> Any:
    """Byte-level BPE as GPT-2, Llama 3 and Qwen have it."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    if family.plain:
        made.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=family.trim)
    made.train_from_iterator(LINES, trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(family.special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))  # fmt: skip
    return made


def _pieces(family: Family) -> Any:
    """BPE over text whose spaces are marked, as SentencePiece makes it, with bytes for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    letters = sorted({letter for line in LINES for letter in line.replace(" ", "▁") if letter < "가"})
    made.train_from_iterator([word for line in LINES for word in line.replace(" ", " ▁").split(" ")], trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*family.special, *(f"<0x{byte:02X}>" for byte in range(256))], initial_alphabet=letters,
        limit_alphabet=len(letters), show_progress=False))  # fmt: skip
    return made
