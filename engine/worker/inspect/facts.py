"""What a tokenizer and its chat template mean for training, checked against the model's vocabulary."""

from __future__ import annotations

from typing import Any

from engine import templates
from engine.models.cache import model_folder
from engine.text import clean
from engine.worker import ways
from engine.worker.chat import end_of_turn_ids
from engine.worker.inspect.fitting import load_config
from engine.worker.marking import Marker

_SHOWN = 10


def vocabulary_size(model: dict[str, Any]) -> int | None:
    """How many tokens the model's embedding has, from its configuration; ``None`` if that cannot be told."""
    try:
        size = load_config(model).get_text_config().vocab_size
    except Exception:  # damaged, of a type that is not known, or code of its own that may not run
        return None
    return size if isinstance(size, int) and size > 0 else None


def stopping_ids(model: dict[str, Any]) -> set[int] | None:
    """The tokens at which the model's own settings end an answer; ``None`` if they do not say.

    Raises what loading the model would raise as well; where the file cannot be read, transformers goes on without it.
    """
    from transformers import GenerationConfig

    try:
        given = GenerationConfig.from_pretrained(model["base_model"], revision=model["revision"]).eos_token_id
    except OSError:
        return None
    listed = given if isinstance(given, list) else [given]
    return {number for number in listed if isinstance(number, int)} or None


def facts(marker: Marker, model: dict[str, Any], pad_notice: str) -> dict[str, Any]:
    """Facts for the form, and ``problems`` with a kind, a message, a hint and a severity."""
    tokenizer, size = marker.tokenizer, vocabulary_size(model)
    out: dict[str, Any] = {
        "template": bool(tokenizer.chat_template), "way": "", "words": "", "every_turn": True, "stop_token_trained": None,
        "pad": _token(tokenizer, tokenizer.pad_token_id), "eos": _token(tokenizer, tokenizer.eos_token_id),
        "bos": _token(tokenizer, tokenizer.bos_token_id), "pad_notice": pad_notice, "ends": [],
        "vocabulary": size, "tokens": len(tokenizer), "added": len(tokenizer.added_tokens_decoder), "outside": [],
    }  # fmt: skip
    problems: list[dict[str, str]] = []

    def say(kind: str, message: str, hint: str = "", severity: str = "error") -> None:
        problems.append({"kind": kind, "message": message, "hint": hint, "severity": severity})

    if tokenizer.chat_template:
        _template(marker, out, say)
    else:
        say(
            "no-template",
            "the model has no chat template, so chats cannot be rendered",
            templates.advice(model_folder(model["base_model"], model["revision"])),
        )
    if tokenizer.eos_token_id is None:
        say("no-eos", "the tokenizer has no token that ends a text", "The tuned model may not stop", "warning")
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id in end_of_turn_ids(tokenizer):
        say(
            "pad-ends-turn",
            "the pad token also ends a turn, and no other token can pad",
            "Check that the tuned model stops",
            "warning",
        )
    stops = {tokenizer.eos_token_id}
    try:
        stops |= stopping_ids(model) or set()
    except Exception as error:
        text = clean(" ".join(str(error).split()) or type(error).__name__, 160)
        say(
            "bad-model",
            f"generation_config.json cannot be used: {text}",
            "Take it from where the model is from, or remove it",
        )
    late = (
        [_token(tokenizer, number) for number in sorted(end_of_turn_ids(tokenizer) - stops)]
        if tokenizer.chat_template
        else []
    )
    if late:
        names = ", ".join(clean(token["token"], 40) for token in late if token)
        say("end-not-known", f"a turn ends with {names}, at which neither the model's settings nor the tokenizer stop an answer",
            "Name it as eos_token_id where the tuned model is used", "warning")  # fmt: skip
    if size is not None:
        used = {**tokenizer.added_tokens_decoder, **dict.fromkeys(tokenizer.all_special_ids)}
        out["outside"] = [_token(tokenizer, number) for number in sorted(used) if number >= size][:_SHOWN]
        ordinary = sum(number >= size and number not in used for number in tokenizer.get_vocab().values())
        lying = [f"{clean(t['token'], 40)} ({t['id']})" for t in out["outside"]]
        if ordinary:
            lying.append(f"{ordinary:,} of the vocabulary")
        if lying:
            # What ends a text and what fills a batch up is looked up in the embedding, whatever the rows hold.
            needed = any((number or 0) >= size for number in (tokenizer.eos_token_id, tokenizer.pad_token_id))
            say("token-outside", f"the model's embedding has {size} rows; these tokens lie outside: {', '.join(lying)}",
                "Rows that hold them cannot be trained on; take the tokenizer that belongs to the model",
                "error" if ordinary or needed else "warning")  # fmt: skip
    out["problems"] = problems
    return out


def _template(marker: Marker, out: dict[str, Any], say: Any) -> None:
    way = marker.way()
    out.update(way=way.name, words=way.words, every_turn=way.every_turn)
    tokenizer = marker.tokenizer
    out["ends"] = [_token(tokenizer, number) for number in sorted(end_of_turn_ids(tokenizer))]
    trouble = "" if way.name else ways.never_renders(tokenizer, str(tokenizer.chat_template))
    if trouble:
        say("bad-template", f"cannot render a chat: {trouble}", "Mend it, or choose another template here")
        return
    if not way.name:
        say("cannot-mark", way.why_not, "Set assistant_only_loss to false to learn from the whole text")
        return
    remarks = marker.remarks()
    out["stop_token_trained"] = marker.assistant_only and ways.STOP_NOT_TRAINED not in dict(remarks)
    for kind, message in remarks:
        say(kind, message, severity="warning")


def _token(tokenizer: Any, number: int | None) -> dict[str, Any] | None:
    return None if number is None else {"token": str(tokenizer.convert_ids_to_tokens(number)), "id": number}
