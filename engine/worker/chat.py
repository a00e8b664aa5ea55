"""The tokenizer and its chat template, made fit for training."""

from __future__ import annotations

from typing import Any

from engine import templates
from engine.errors import InputError
from engine.worker import bounds
from engine.worker.failure import CannotTrain

_PAD_WORDS = ("<|finetune_right_pad_id|>", "<pad>", "<|pad|>", "<|padding|>", "[PAD]", "<|vision_pad|>", "<unk>",
              "<|endoftext|>", "<|end_of_text|>")  # fmt: skip


def load_tokenizer(config: dict[str, Any], *, renders: bool = True) -> Any:
    """The model's tokenizer with the chat template of the settings.

    ``template`` is the text of another template than the model's, ``chat_template_path`` a setting that names one. Raises
    :class:`CannotTrain` with words for people if it ``renders`` chats and there is no template.
    """
    from transformers import AutoTokenizer

    template = _chosen_template(config)
    tokenizer = AutoTokenizer.from_pretrained(
        config["base_model"], revision=config["revision"], trust_remote_code=config["trust_remote_code"]
    )
    # Saved with the adapter, so that it is used as it was trained.
    tokenizer.chat_template = template or _proper(tokenizer.chat_template)
    if renders and not tokenizer.chat_template:
        raise CannotTrain(
            f"{config['base_model']} has no chat template, so chats cannot be rendered; set {templates.SETTING} to one"
        )
    return tokenizer


def _proper(given: Any) -> Any:
    """The template of a tokenizer's files, or several by their names; ``None`` for what is none at all."""
    if isinstance(given, dict):
        named = {name: text for name, text in given.items() if isinstance(name, str) and _proper(text)}
        return named or None
    if not isinstance(given, str) or not given.strip():
        return None
    return given.removeprefix("\ufeff")  # an editor's mark, no text


def _chosen_template(config: dict[str, Any]) -> str:
    """The text of a template that takes the place of the model's; empty if none does."""
    value = config.get(templates.SETTING)
    if config.get("template") or not value:
        return str(config.get("template") or "")
    try:
        return templates.text(str(value))
    except InputError as error:
        raise CannotTrain(str(error.problems[0])) from None


def end_of_turn_ids(tokenizer: Any) -> set[int]:
    """Ids of the tokens that end a turn: the tokenizer's eos, and special tokens that close a rendered turn."""
    ids: set[Any] = {tokenizer.eos_token_id} - {None}
    try:
        chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        bounds.ends(str(tokenizer.chat_template), lambda: tokenizer.apply_chat_template(chat, tokenize=False))
        with bounds.limited():
            bounds.measured(str(tokenizer.apply_chat_template(chat, tokenize=False)), chat)
            rendered = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"]
    except Exception:  # a template with rules of its own; the eos token is all that is known then
        return ids
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    last = next((token for token in reversed(rendered[-3:]) if token in special), None)
    return ids if last is None else ids | {last}


def ensure_pad_token(tokenizer: Any) -> str:
    """Give the tokenizer a pad token that ends no turn; returns a notice, empty if nothing was changed.

    With the end-of-turn token as padding, collators that mask padding also mask every turn's end, and the model never
    learns to stop.
    """
    ending = end_of_turn_ids(tokenizer)
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in ending:
        return ""
    before = tokenizer.pad_token
    found = _unused_special_token(tokenizer, ending)
    if found is None:
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return (f"The pad token is the end-of-turn token {tokenizer.pad_token!r}: the vocabulary has no other unused special "
                "token. Check that the tuned model stops")  # fmt: skip
    tokenizer.pad_token = found
    if before is None:
        return f"The tokenizer has no pad token; {found!r} is used"
    return f"The pad token {before!r} also ends a turn; {found!r} pads instead, so that the end of a turn is learned"


def _unused_special_token(tokenizer: Any, ending: set[int]) -> str | None:
    used = ending | {tokenizer.bos_token_id}
    template = str(tokenizer.chat_template)
    added = [str(token) for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    names = [
        *_PAD_WORDS,
        *[t for t in added if "pad" in t.lower()],
        *[t for t in added if "reserved" in t.lower()],
        *added,
    ]
    vocabulary = tokenizer.get_vocab()
    special = set(added) | set(tokenizer.all_special_tokens)
    for name in names:
        if name in special and name not in template and vocabulary.get(name, -1) not in used | {-1}:
            return name
    return None
