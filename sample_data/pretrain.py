"""Makes tiny-qwen2/: a byte-level BPE tokenizer and a small Qwen2 base model, pretrained on the corpus of corpus.py.

    nice python sample_data/pretrain.py            # the whole of it
    nice python sample_data/pretrain.py --steps 50 --out /tmp/tiny    # a quick try

Needs torch, transformers, tokenizers and trl (which brings the Qwen2.5 chat template). Seeds are fixed; the last
digits still depend on the machine and the versions.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from corpus import Corpus, Document

HERE = Path(__file__).resolve().parent
SEED = 7
VOCABULARY = 2560
DOCUMENTS, HELD_OUT = 36_000, 200
BLOCK, BATCH, STEPS = 320, 8, 1500
LEARNING_RATE, WARMUP = 3e-3, 80
THREADS = 2
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
MODEL = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 2}
SPLIT = (  # the pre-tokenizer pattern of Qwen2
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def plain(document: Document) -> str:
    """A document without marks, for the tokenizer's training."""
    return document if isinstance(document, str) else "\n".join(message["content"] for message in document)


def train_tokenizer(documents: list[Document], template: str) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD, START, END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((plain(document) for document in documents), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, additional_special_tokens=[START], chat_template=template,
        model_max_length=1024, clean_up_tokenization_spaces=False,
    )


def token_stream(tokenizer: Any, documents: list[Document]) -> list[int]:
    """All documents end to end, each closed by the padding token, chats rendered by the chat template."""
    texts = [d if isinstance(d, str) else tokenizer.apply_chat_template(d, tokenize=False) for d in documents]
    stream: list[int] = []
    for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
        stream += [*ids, tokenizer.pad_token_id]
    return stream


def new_model(tokenizer: Any) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=VOCABULARY, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, initializer_range=0.03, **MODEL,
    )
    return Qwen2ForCausalLM(config)


def rate(step: int, steps: int) -> float:
    """Linear warmup, then a cosine down to a twentieth."""
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / WARMUP
    return LEARNING_RATE * (0.05 + 0.95 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP))) / 2)


def mean_loss(model: Any, blocks: Any) -> float:
    import torch

    with torch.no_grad():
        return sum(model(input_ids=b, labels=b).loss.item() for b in blocks.split(BATCH)) / len(blocks.split(BATCH))


def pretrain(model: Any, blocks: Any, held_out: Any, steps: int) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    order = torch.cat([torch.randperm(len(blocks)) for _ in range(1 + steps * BATCH // len(blocks))])
    began, seen = time.monotonic(), 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        batch = blocks[order[step * BATCH : (step + 1) * BATCH]]
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seen += loss.item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}/{steps}  loss {seen / 50:.3f}  {time.monotonic() - began:.0f} s", flush=True)
            seen = 0.0
    print(f"held-out loss {mean_loss(model, held_out):.3f} (uniform {math.log(VOCABULARY):.2f})")


def save(model: Any, tokenizer: Any, out: Path) -> None:
    import torch
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False, max_new_tokens=128
    )
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    path = out / "tokenizer.json"  # the same content in fewer bytes
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    print(f"{out.name}: {sum(f.stat().st_size for f in out.iterdir()):,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Pretrain the sample model.")
    parser.add_argument("--out", type=Path, default=HERE / "tiny-qwen2")
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()

    import torch
    from trl.chat_template_utils import qwen2_5_chat_template

    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    documents = Corpus(SEED).documents(DOCUMENTS + HELD_OUT)
    tokenizer = train_tokenizer(documents[HELD_OUT:], qwen2_5_chat_template)
    stream = token_stream(tokenizer, documents[HELD_OUT:])
    apart = token_stream(tokenizer, documents[:HELD_OUT])
    blocks, held_out = (torch.tensor(s[: len(s) // BLOCK * BLOCK]).view(-1, BLOCK) for s in (stream, apart))
    model = new_model(tokenizer)
    print(f"{len(stream):,} tokens, {model.num_parameters():,} parameters", flush=True)
    pretrain(model, blocks, held_out, arguments.steps)
    save(model, tokenizer, arguments.out)


if __name__ == "__main__":
    main()
