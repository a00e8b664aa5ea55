"""How the assistant's turns are told apart under one chat template: by its own marks, TRL's, or rendered beginnings."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from engine.text import clean
from engine.worker import bounds, prefixes

OWN, TRL, PREFIX, WHOLE, TEXT = "own", "trl", "prefix", "whole", "text"
WORDS = {
    OWN: "the model's chat template marks the assistant's turns",
    TRL: "TRL's training version of this chat template marks the assistant's turns",
    PREFIX: "the assistant's turns are found by rendering each chat up to them, and proven on each row",
    WHOLE: "the whole text is learned",
    TEXT: "plain text is learned as it stands",
}
# What people should know about a way, by a short stable kind.
STOP_NOT_TRAINED, LAST_TURN_ONLY, WRITTEN_DIFFERENTLY, PROMPT_DIFFERS = REMARKS = (
    "stop-not-trained", "last-turn-only", "written-differently", "prompt-differs",
)  # fmt: skip
_REMARKS = {
    STOP_NOT_TRAINED: "The end of a turn is left out of what is learned: the model may not learn to stop",
    LAST_TURN_ONLY: "Of several turns only the last is learned: the chat template writes earlier ones differently",
    WRITTEN_DIFFERENTLY: "TRL's training version of the chat template writes some longer chats otherwise than the model's own does",
    PROMPT_DIFFERS: "The chat template asks for an answer with {unseen!r}, which rows for training do not hold: "
    "the tuned model is asked otherwise than it was trained",
}


@dataclass(frozen=True, slots=True)
class Way:
    """``name`` is one of the above, empty where nothing works (``why_not`` says it).

    ``template`` is what chats are rendered with, ``differs`` where it writes some otherwise than the model's own does.
    ``every_turn``: whether the turns before the last can be told apart too. ``unseen`` is what the model's own template adds
    to ask for an answer, where rows with an answer do not hold it.
    """

    name: str
    template: str
    why_not: str = ""
    habits: prefixes.Habits = field(default_factory=prefixes.Habits)
    every_turn: bool = True
    differs: bool = False
    unseen: str = ""

    @property
    def words(self) -> str:
        """Why this way, for people."""
        if not self.name:
            return self.why_not
        few = "; only the last turn of a chat, as the template writes earlier ones differently once others follow"
        return WORDS[self.name] + ("" if self.every_turn else few)

    def remarks(self, *, ends_turns: bool) -> list[tuple[str, str]]:
        """Kind and words of what people should know; ``ends_turns`` says whether the end of a turn is learned."""
        facts = (not ends_turns, not self.every_turn, self.differs, bool(self.unseen.strip()))
        shown = clean(self.unseen, 60).strip()
        return [(kind, _REMARKS[kind].format(unseen=shown)) for kind, fact in zip(REMARKS, facts, strict=True) if fact]


def choose(tokenizer: Any, template: str, tools: list[Any] | None = None) -> Way:
    """The best way for a template: its own marks, then TRL's training version, then rendering beginnings.

    ``tools`` are those of a row that is rendered with it: a template for tools may do nothing without.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if not tokenizer.is_fast:
        return Way("", template, "this tokenizer does not tell where in the text its tokens are")
    try:
        renderer(tokenizer, template, tools)([prefixes.USER, prefixes.ANSWER], False)
    except (MemoryError, bounds.TooMuch) as error:
        return Way("", template, reason(error))
    except Exception:  # it refuses this chat: what it does with others shows below
        pass
    if has_generation_markers(template) and _marks(tokenizer, template, tools):
        return replace(Way(OWN, template), unseen=_unseen(tokenizer, template, template, tools))
    bare = copy.copy(tokenizer)
    bare.chat_template = template
    try:
        with bounds.limited():
            patched = get_training_chat_template(bare)
    except Exception:  # it knows no training version, or tried a chat that the template refuses
        patched = None
    if patched is None or not _marks(tokenizer, patched, tools):
        return replace(_by_prefixes(tokenizer, template, tools), unseen=_unseen(tokenizer, template, template, tools))
    own, theirs = (renderer(tokenizer, text, tools) for text in (template, patched))
    chats = ([prefixes.USER, prefixes.ANSWER], [prefixes.USER, prefixes.ANSWER] * 2)
    differs = any(_tried(own, chat) not in (None, _tried(theirs, chat)) for chat in chats)
    return Way(TRL, patched, differs=differs, unseen=_unseen(tokenizer, template, patched, tools))


def never_renders(tokenizer: Any, template: str) -> str:
    """What a template says to each of a few simple chats; empty if it renders one of them."""
    render, said = renderer(tokenizer, template, None), ""
    pair = [prefixes.USER, prefixes.ANSWER]
    for chat in (pair, [{"role": "system", "content": "Be kind"}, *pair], [prefixes.USER]):
        try:
            render(chat, False)
            return ""
        except Exception as error:
            said = said or reason(error)
            if isinstance(error, MemoryError | bounds.TooMuch):
                break  # each try takes long
    return said


def _marks(tokenizer: Any, template: str, tools: list[Any] | None) -> bool:
    """Whether an answer is within the marks: some templates leave out text that is no list of parts, as for pictures."""
    try:
        with bounds.limited():
            out = tokenizer.apply_chat_template([prefixes.USER, prefixes.ANSWER], tools=tools, chat_template=template, tokenize=True,
                                                return_dict=True, return_assistant_tokens_mask=True)  # fmt: skip
    except Exception:  # it refuses this chat: what it does with the rows shows when they are marked
        return True
    said = tokenizer.decode([token for token, bit in zip(out["input_ids"], out["assistant_masks"], strict=True) if bit])
    return "".join(prefixes.ANSWER["content"].split()) in "".join(said.split())


def _unseen(tokenizer: Any, own: str, used: str, tools: list[Any] | None) -> str:
    """The end of what asks for an answer where rows that are rendered for training go on otherwise."""
    asked = _tried(renderer(tokenizer, own, tools), [prefixes.USER], True)
    whole = _tried(renderer(tokenizer, used, tools), [prefixes.USER, prefixes.ANSWER])
    if asked is None or whole is None or whole.startswith(asked):
        return ""
    return asked[len(prefixes.common(asked, whole)) :]


def _tried(render: prefixes.Render, messages: list[dict[str, Any]], asks: bool = False) -> str | None:
    try:
        return render(messages, asks)
    except Exception:  # a template with rules of its own refuses this chat
        return None


def _by_prefixes(tokenizer: Any, template: str, tools: list[Any] | None) -> Way:
    user, answer = prefixes.USER, prefixes.ANSWER
    try:
        render = renderer(tokenizer, template, tools)
        habits = prefixes.habits_of(render, specials(tokenizer))
        short = prefixes.find(render, [user, answer], habits)
    except Exception as error:
        return Way("", template, f"the chat template cannot render a question and an answer ({reason(error)})")
    if not _tells(short, 1):
        if prefixes.ANSWER["content"] not in short.text:
            return Way("", template, "this chat template does not write what the assistant says")
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
        with bounds.limited():
            text = str(tokenizer.apply_chat_template(messages, tools=tools, chat_template=template, tokenize=False,
                                                     add_generation_prompt=asks))  # fmt: skip
        return bounds.measured(text, messages)

    return render


def specials(tokenizer: Any) -> list[str]:
    """The texts that are always one token."""
    return sorted((str(token) for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)


def reason(error: Exception) -> str:
    """What a template said when it refused a chat, in one line."""
    if isinstance(error, MemoryError):
        return "the chat template takes more memory than a chat can need"
    lines = str(error).strip().splitlines()
    return clean(lines[0], 200) if lines else type(error).__name__
