"""How the assistant's turns are told apart under one chat template: by its own marks, TRL's, or rendered beginnings."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field, replace
from typing import Any

from engine.templates import parsing
from engine.text import clean
from engine.worker import bounds, prefixes, probing
from engine.worker.refusing import reason

OWN, TRL, PREFIX, WHOLE, TEXT = "own", "trl", "prefix", "whole", "text"
WORDS = {
    OWN: "the model's chat template marks the assistant's turns",
    TRL: "TRL's training version of this chat template marks the assistant's turns",
    PREFIX: "the assistant's turns are found by rendering each chat up to them, and proven on each row",
    WHOLE: "the whole text is learned",
    TEXT: "plain text is learned as it stands",
}
# What people should know about a way, by a short stable kind.
STOP_NOT_TRAINED, LAST_TURN_ONLY, WRITTEN_DIFFERENTLY, PROMPT_DIFFERS, LEAVES_OUT, CHANGES, CLOCK = REMARKS = (
    "stop-not-trained", "last-turn-only", "written-differently", "prompt-differs", "leaves-out", "changes-words", "writes-time",
)  # fmt: skip
_REMARKS = {
    STOP_NOT_TRAINED: "The end of a turn is left out of what is learned: the model may not learn to stop",
    LAST_TURN_ONLY: "Of several turns only the last is learned: the chat template writes earlier ones differently",
    WRITTEN_DIFFERENTLY: "TRL's training version of the chat template writes some longer chats otherwise than the model's own does",
    PROMPT_DIFFERS: "The chat template asks for an answer with {unseen!r}, which rows for training do not hold: "
    "the tuned model is asked otherwise than it was trained",
    LEAVES_OUT: "The chat template leaves out {lost}: the model never sees it",
    CHANGES: "The chat template changes {changed}, repeats it or cuts it short: the model sees other text than the data hold",
    CLOCK: "The chat template writes the time of day: the same row becomes other tokens a moment later",
}
_TIME_OF_DAY = re.compile(r"strftime_now\s*\(\s*[\"'][^\"']*%-?[HIklMSfpPTXcrRsN+]")


@dataclass(frozen=True, slots=True)
class Way:
    """``name`` is one of the above, empty where nothing works (``why_not`` says it).

    ``template`` is what chats are rendered with, ``differs`` where it writes some otherwise than the model's own does.
    ``every_turn``: whether the turns before the last can be told apart too. ``unseen`` is what the model's own template adds
    to ask for an answer, where rows with an answer do not hold it. ``lost`` and ``changed`` are what of a chat it does not
    write, or not as it stands there. ``unfit``: the template cannot be used at all, whatever is learned.
    """

    name: str
    template: str
    why_not: str = ""
    habits: prefixes.Habits = field(default_factory=prefixes.Habits)
    every_turn: bool = True
    differs: bool = False
    unseen: str = ""
    lost: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unfit: bool = False

    @property
    def words(self) -> str:
        """Why this way, for people."""
        if not self.name:
            return self.why_not
        few = "; only the last turn of a chat, as the template writes earlier ones differently once others follow"
        return WORDS[self.name] + ("" if self.every_turn else few)

    def remarks(self, *, ends_turns: bool) -> list[tuple[str, str]]:
        """Kind and words of what people should know; ``ends_turns`` says whether the end of a turn is learned."""
        clock = _TIME_OF_DAY.search(self.template)
        facts = (not ends_turns, not self.every_turn, self.differs, self.unseen.strip(), self.lost, self.changed, clock)
        told = {
            "unseen": clean(self.unseen, 60).strip(),
            "lost": " and ".join(self.lost),
            "changed": " and ".join(self.changed),
        }
        return [(kind, _REMARKS[kind].format(**told)) for kind, fact in zip(REMARKS, facts, strict=True) if fact]


def choose(tokenizer: Any, template: str, tools: list[Any] | None = None) -> Way:
    """The best way for a template: its own marks, then TRL's training version, then rendering beginnings.

    ``tools`` are those of a row that is rendered with it: a template for tools may do nothing without.
    """
    from trl.chat_template_utils import has_generation_markers

    if not tokenizer.is_fast:
        return Way("", template, "this tokenizer does not tell where in the text its tokens are")
    if why := _unfit(tokenizer, template, tools):
        return Way("", template, f"this chat template cannot be used: {why}", unfit=True)
    way = Way(OWN, template) if has_generation_markers(template) and _marks(tokenizer, template, tools) else None
    way = way or _by_trl(tokenizer, template, tools) or _by_prefixes(tokenizer, template, tools)
    lost, changed = probing.losses(renderer(tokenizer, way.template, tools))
    return replace(way, unseen=_unseen(tokenizer, template, way.template, tools), lost=lost, changed=changed)


def whole(tokenizer: Any, template: str, tools: list[Any] | None = None) -> Way:
    """Everything is learned, if the template writes anything of a chat."""
    if why := _unfit(tokenizer, template, tools):
        return Way("", template, f"this chat template cannot be used: {why}", unfit=True)
    lost, changed = probing.losses(renderer(tokenizer, template, tools))
    return Way(WHOLE, template, lost=lost, changed=changed)


def never_renders(tokenizer: Any, template: str) -> str:
    """What is wrong with a model's template whatever is learned; empty if it writes what is said in a simple chat."""
    if isinstance(tokenizer.chat_template, dict):
        try:
            template = tokenizer.get_chat_template(None, None)
        except ValueError:
            names = clean(", ".join(map(str, tokenizer.chat_template)), 100)
            return f"there are several templates ({names}), and none of them is called default"
    return _unfit(tokenizer, template, None)


def _unfit(tokenizer: Any, template: str, tools: list[Any] | None) -> str:
    line, why = parsing.fault(template)
    if why:
        return why if line is None else f"{why} (line {line} of the template)"
    render = renderer(tokenizer, template, tools)
    bounds.ends(template, lambda: render([prefixes.USER, prefixes.ANSWER], False))
    return probing.unfit(render)


def _by_trl(tokenizer: Any, template: str, tools: list[Any] | None) -> Way | None:
    """TRL's training version of a template, where it knows one that marks what the assistant says."""
    from trl.chat_template_utils import get_training_chat_template

    bare = copy.copy(tokenizer)
    bare.chat_template = template
    try:
        with bounds.limited():
            patched = get_training_chat_template(bare)
    except Exception:  # it knows no training version, or tried a chat that the template refuses
        return None
    if patched is None or not _marks(tokenizer, patched, tools):
        return None
    own, theirs = (renderer(tokenizer, text, tools) for text in (template, patched))
    chats = ([prefixes.USER, prefixes.ANSWER], [prefixes.USER, prefixes.ANSWER] * 2)
    differs = any(prefixes.tried(own, chat) not in (None, prefixes.tried(theirs, chat)) for chat in chats)
    return Way(TRL, patched, differs=differs)


def _marks(tokenizer: Any, template: str, tools: list[Any] | None) -> bool:
    """Whether an answer is within the marks, and nothing that others say: they may stand around the wrong words.

    Some templates also leave out text that is no list of parts, as for pictures.
    """
    for chat in (*probing.CHATS, probing.WITH_TOOL):
        try:
            with bounds.limited():
                out = tokenizer.apply_chat_template(chat, tools=tools, chat_template=template, tokenize=True, return_dict=True,
                                                    return_assistant_tokens_mask=True)  # fmt: skip
        except Exception:  # it refuses this chat: what it does with the rows shows when they are marked
            continue
        bits = zip(out["input_ids"], out["assistant_masks"], strict=True)
        said = "".join(tokenizer.decode([token for token, bit in bits if bit]).split())
        texts = [(message["role"] == "assistant", "".join(message["content"].split())) for message in chat]
        if texts[-1][1] not in said or any(text in said for assistants, text in texts if not assistants):
            return False
    return True


def _unseen(tokenizer: Any, own: str, used: str, tools: list[Any] | None) -> str:
    """The end of what asks for an answer where rows that are rendered for training go on otherwise."""
    asked = prefixes.tried(renderer(tokenizer, own, tools), [prefixes.USER], True)
    whole = prefixes.tried(renderer(tokenizer, used, tools), [prefixes.USER, prefixes.ANSWER])
    if asked is None or whole is None or whole.startswith(asked):
        return ""
    return asked[len(prefixes.common(asked, whole)) :]


def _by_prefixes(tokenizer: Any, template: str, tools: list[Any] | None) -> Way:
    user, answer = prefixes.USER, prefixes.ANSWER
    render = renderer(tokenizer, template, tools)
    if (
        prefixes.tried(render, [user, answer]) is None
        and prefixes.tried(render, [probing.SYSTEM, user, answer]) is not None
    ):
        render = _led(render)
    try:
        habits = prefixes.habits_of(render, specials(tokenizer))
        short = prefixes.find(render, [user, answer], habits)
    except Exception as error:
        return Way("", template, f"the chat template refuses a question, or an answer to it ({reason(error)})")
    if answer["content"] not in short.text:
        return Way("", template, "this chat template writes what the assistant says otherwise than the data hold it")
    if any(user["content"] in short.text[start:end] for start, end in short.spans):
        return Way("", template, "this chat template writes what users say into the assistant's turn")
    if not _tells(short, 1):
        why = "this chat template has no marks for the assistant's turns, TRL knows no training version of it, and it writes " \
              "what came before differently once an answer follows"  # fmt: skip
        return Way("", template, why)
    try:
        every = _tells(prefixes.find(render, [user, answer, user, answer], habits), 2)
    except Exception:
        every = True  # it refuses such chats; there will be none
    return Way(PREFIX, template, habits=habits, every_turn=every)


def _led(render: prefixes.Render) -> prefixes.Render:
    """Of a template that wants a system message: with one."""
    return lambda messages, asks: render([probing.SYSTEM, *messages], asks)


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
