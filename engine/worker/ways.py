"""How the assistant's turns are told apart under one chat template: by its own marks, TRL's, or rendered beginnings."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from engine.text import clean
from engine.worker import prefixes

OWN, TRL, PREFIX, WHOLE, TEXT = "own", "trl", "prefix", "whole", "text"
WORDS = {
    OWN: "the model's chat template marks the assistant's turns",
    TRL: "TRL's training version of this chat template marks the assistant's turns",
    PREFIX: "the assistant's turns are found by rendering each chat up to them, and proven on each row",
    WHOLE: "the whole text is learned",
    TEXT: "plain text is learned as it stands",
}


@dataclass(frozen=True, slots=True)
class Way:
    """``name`` is one of the above, empty where nothing works (``why_not`` says it).

    ``template`` is what chats are rendered with. ``every_turn``: whether the turns before the last can be told apart too.
    """

    name: str
    template: str
    why_not: str = ""
    habits: prefixes.Habits = field(default_factory=prefixes.Habits)
    every_turn: bool = True

    @property
    def words(self) -> str:
        """Why this way, for people."""
        if not self.name:
            return self.why_not
        few = "; only the last turn of a chat, as the template writes earlier ones differently once others follow"
        return WORDS[self.name] + ("" if self.every_turn else few)


def choose(tokenizer: Any, template: str, tools: list[Any] | None = None) -> Way:
    """The best way for a template: its own marks, then TRL's training version, then rendering beginnings.

    ``tools`` are those of a row that is rendered with it: a template for tools may do nothing without.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if not tokenizer.is_fast:
        return Way("", template, "this tokenizer does not tell where in the text its tokens are")
    if has_generation_markers(template):
        return Way(OWN, template)
    bare = copy.copy(tokenizer)
    bare.chat_template = template
    try:
        patched = get_training_chat_template(bare)
    except Exception:  # it knows no training version, or tried a chat that the template refuses
        patched = None
    if patched is not None:
        return Way(TRL, patched)
    return _by_prefixes(tokenizer, template, tools)


def _by_prefixes(tokenizer: Any, template: str, tools: list[Any] | None) -> Way:
    user, answer = prefixes.USER, prefixes.ANSWER
    try:
        render = renderer(tokenizer, template, tools)
        habits = prefixes.habits_of(render, specials(tokenizer))
        short = prefixes.find(render, [user, answer], habits)
    except Exception as error:
        return Way("", template, f"the chat template cannot render a question and an answer ({reason(error)})")
    if not _tells(short, 1):
        why = "this chat template has no marks for the assistant's turns, TRL knows no training version of it, and it writes " \
              "what came before differently once an answer follows"  # fmt: skip
        return Way("", template, why)
    try:
        every = _tells(prefixes.find(render, [user, answer, user, answer], habits), 2)
    except Exception:
        every = True  # it refuses such chats; there will be none
    return Way(PREFIX, template, habits=habits, every_turn=every)


def _tells(found: prefixes.Found, turns: int) -> bool:
    said = prefixes.ANSWER["content"]
    return len(found.spans) == turns and all(said in found.text[start:end] for start, end in found.spans)


def renderer(tokenizer: Any, template: str, tools: list[Any] | None) -> prefixes.Render:
    """Renders messages to text with one template and one row's tools."""

    def render(messages: list[dict[str, Any]], asks: bool) -> str:
        return str(tokenizer.apply_chat_template(messages, tools=tools, chat_template=template, tokenize=False,
                                                 add_generation_prompt=asks))  # fmt: skip

    return render


def specials(tokenizer: Any) -> list[str]:
    """The texts that are always one token."""
    return sorted((str(token) for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)


def reason(error: Exception) -> str:
    """What a template said when it refused a chat, in one line."""
    lines = str(error).strip().splitlines()
    return clean(lines[0], 200) if lines else type(error).__name__
