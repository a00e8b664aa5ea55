"""Which tokens a row becomes and which of them are learned: the one place that training and the preview both ask."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from engine.data import Chat
from engine.worker import bounds, prefixes, ways
from engine.worker.refusing import reason
from engine.worker.ways import Way

IGNORED = -100
"""The label of a token that is not learned."""
_PROBES = (
    [prefixes.USER, prefixes.ANSWER, prefixes.USER],
    [prefixes.USER, prefixes.ANSWER, prefixes.USER, prefixes.ANSWER],
    [prefixes.USER, prefixes.ANSWER],
)


class CannotRender(ValueError):
    """A row that the chat template refuses, or under which nothing is marked; the message says why, for people."""


@dataclass(slots=True)
class Marked:
    """One row as tokens. ``trained`` is 1 where a token is learned; ``limit`` is where ``max_seq_length`` cuts.

    ``unproven`` are the numbers of the assistant's messages that are not learned, as their place could not be proven;
    ``unwritten`` are the names of tools, offered or called, that the chat template leaves out.
    """

    ids: list[int]
    trained: list[int]
    way: str
    limit: int | None = None
    unproven: tuple[int, ...] = ()
    unwritten: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """How many tokens stay."""
        return len(self.ids) if self.limit is None else min(len(self.ids), self.limit)

    @property
    def is_cut(self) -> bool:
        """Whether ``max_seq_length`` cuts something off."""
        return self.kept < len(self.ids)

    @property
    def learned(self) -> int:
        """How many of the tokens that stay are learned."""
        return sum(self.trained[: self.kept])

    @property
    def input_ids(self) -> list[int]:
        """What the trainer gets."""
        return self.ids[: self.kept]

    @property
    def labels(self) -> list[int]:
        """The ids again, -100 where nothing is learned."""
        kept = self.kept
        return [token if bit else IGNORED for token, bit in zip(self.ids[:kept], self.trained[:kept], strict=True)]


@dataclass(frozen=True, slots=True)
class Piece:
    """One token as it is shown: its id, its part of the text, and whether it is an added (special) token."""

    id: int
    text: str
    special: bool
    trained: bool


class Marker:
    """Marks rows for one tokenizer. Rows with tools may have a template of their own, and so a way of their own."""

    def __init__(self, tokenizer: Any, *, assistant_only: bool = True, limit: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.assistant_only = assistant_only
        self.limit = limit
        self._added = set(tokenizer.added_tokens_decoder)
        self._ways: dict[str, Way] = {}

    def way(self, tools: list[Any] | None = None) -> Way:
        """How rows with these tools are marked."""
        try:
            template = self.tokenizer.get_chat_template(None, tools)
        except ValueError as error:  # none, or several and none of them the default
            return Way("", "", f"it cannot be told which chat template is meant ({reason(error)})")
        if template not in self._ways:
            choose = ways.choose if self.assistant_only else ways.whole
            self._ways[template] = choose(self.tokenizer, template, tools)
        return self._ways[template]

    def mark(self, chat: Chat) -> Marked:
        """The tokens of one row; plain text is learned as it stands, without a template.

        Raises :class:`CannotRender` where the template refuses the row, or nothing tells its turns apart.
        """
        if chat.text is not None:
            ids = list(self.tokenizer(text=self._closed(chat.text))["input_ids"])
            return Marked(ids, [1] * len(ids), ways.TEXT, self.limit)
        way = self.way(chat.tools)
        if not way.name:
            raise CannotRender(way.why_not)
        try:
            marked = self._by_prefixes(way, chat) if way.name == ways.PREFIX else self._by_template(way, chat)
            if names := names_of_tools(chat):
                text = ways.renderer(self.tokenizer, way.template, chat.tools)(chat.messages, False)
                marked.unwritten = tuple(name for name in names if name not in text)
            return marked
        except Exception as error:
            raise CannotRender(f"the chat template cannot render it: {reason(error)}") from error

    def pieces(self, marked: Marked, chat: Chat) -> list[Piece]:
        """The tokens of a marked row with their texts, which make up the whole rendering when laid end to end."""
        if chat.text is None:
            whole = ways.renderer(self.tokenizer, self.way(chat.tools).template, chat.tools)(chat.messages, False)
            given = self._encoded(whole) if self.tokenizer.is_fast else None
        else:
            whole = self._closed(chat.text)
            given = self.tokenizer(text=whole, return_offsets_mapping=True) if self.tokenizer.is_fast else None
        if given is None or list(given["input_ids"]) != marked.ids:
            texts = [str(self.tokenizer.decode([token])) for token in marked.ids]
        else:
            texts = _cut_up(whole, given["offset_mapping"])
        return [Piece(token, piece, token in self._added, bool(bit))
                for token, piece, bit in zip(marked.ids, texts, marked.trained, strict=True)]  # fmt: skip

    def ends_turns(self) -> bool:
        """Whether the token that ends an assistant's turn is learned; without it a model never learns to stop."""
        for chat in _PROBES:
            try:
                marked = self.mark(Chat(chat))
            except CannotRender:
                continue
            learned = [token for token, bit in zip(marked.ids, marked.trained, strict=True) if bit]
            if not learned:
                continue
            last = next((token for token in reversed(learned) if self.tokenizer.decode([token]).strip()), None)
            return last in self._added
        return True  # it renders none of these chats: nothing is known

    def remarks(self) -> list[tuple[str, str]]:
        """What people should know about the way rows without tools are marked: a short stable kind, and words."""
        return self.way().remarks(ends_turns=not self.assistant_only or self.ends_turns())

    def _closed(self, text: str) -> str:
        eos = self.tokenizer.eos_token
        return text if not eos or text.endswith(eos) else text + str(eos)

    def _by_template(self, way: Way, chat: Chat) -> Marked:
        marks = way.name in (ways.OWN, ways.TRL)
        if bounds.is_on():  # text beyond all measure is seen before it is cut into tokens
            ways.renderer(self.tokenizer, way.template, chat.tools)(chat.messages, False)
        with bounds.limited():
            out = self.tokenizer.apply_chat_template(chat.messages, tools=chat.tools, chat_template=way.template, tokenize=True,
                                                     return_dict=True, return_assistant_tokens_mask=marks)  # fmt: skip
        ids = list(out["input_ids"])
        trained = list(out["assistant_masks"]) if marks else [1] * len(ids)
        return Marked(ids, trained, way.name, self.limit)

    def _by_prefixes(self, way: Way, chat: Chat) -> Marked:
        found = prefixes.find(ways.renderer(self.tokenizer, way.template, chat.tools), chat.messages, way.habits)
        encoded = self._encoded(found.text)
        return self.placed(way, found, list(encoded["input_ids"]), encoded["offset_mapping"])

    def placed(self, way: Way, found: prefixes.Found, ids: list[int], offsets: Sequence[tuple[int, int]]) -> Marked:
        """The tokens of a rendered chat, those within its proven turns trained; only a few of the offsets are looked at."""
        trained = [0] * len(ids)
        for start, end in found.spans:
            first, last = (bisect_left(offsets, place, key=itemgetter(0)) for place in (start, end))
            # A token that begins in the header is the answer's where only space of the header is in it.
            if first and offsets[first - 1][1] > start and not found.text[offsets[first - 1][0] : start].strip():
                first -= 1
            # One that ends in the next turn is nobody's where only space of this one is in it.
            if last > first and offsets[last - 1][1] > end and not found.text[offsets[last - 1][0] : end].strip():
                last -= 1
            last = self._without_space_after_the_end(ids, offsets, found.text[:end], first, last)
            trained[first:last] = [1] * (last - first)
        return Marked(ids, trained, way.name, self.limit, tuple(found.unproven))

    def _without_space_after_the_end(
        self, ids: list[int], offsets: Sequence[tuple[int, int]], text: str, first: int, last: int
    ) -> int:
        """Where a turn's last special token ends it, what is only space behind it is nobody's to learn."""
        place = last
        while place > first and ids[place - 1] not in self._added and not text[slice(*offsets[place - 1])].strip():
            place -= 1
        return place if place > first and ids[place - 1] in self._added else last

    def _encoded(self, text: str) -> Any:
        return self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)


def _cut_up(text: str, offsets: list[tuple[int, int]]) -> list[str]:
    """The text in as many pieces as there are tokens; a character of several tokens is with the first of them."""
    pieces, done = [], 0
    for _, end in offsets:
        end = max(end, done)
        pieces.append(text[done:end])
        done = end
    if pieces:
        pieces[-1] += text[done:]
    return pieces


def names_of_tools(chat: Chat) -> list[str]:
    """The names of the tools that a row offers and calls."""
    called = [call for message in chat.messages for call in message.get("tool_calls") or ()]
    functions = [item.get("function") for item in [*(chat.tools or ()), *called] if isinstance(item, dict)]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))
