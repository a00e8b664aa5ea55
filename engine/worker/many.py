"""Marks many rows as :class:`Marker` marks each, with the encoding in batches beside the rendering of the next ones."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from engine.data import Chat
from engine.worker import bounds, prefixes, ways
from engine.worker.marking import CannotRender, Marked, Marker, names_of_tools
from engine.worker.rendering import Rendering, Span, can_render

# One batch ends at whichever comes first: enough for all cores, few enough that progress can be told every second.
ROWS, LETTERS = 256, 1_000_000
Outcome = Marked | CannotRender


class Offsets(Sequence[tuple[int, int]]):
    """Where in the text each token is, looked up one by one: few are needed, and a list of all takes longer than encoding."""

    __slots__ = ("_length", "_of")

    def __init__(self, encoding: Any) -> None:
        self._of, self._length = encoding.token_to_chars, len(encoding)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: Any) -> Any:
        return self._of(place)


@dataclass(slots=True)
class _Text:
    """A rendered row that waits for its tokens; ``spans`` are the template's own marks, ``found`` proven turns."""

    chat: Chat
    way: ways.Way
    text: str
    spans: list[Span] | None = None
    found: prefixes.Found | None = None
    unwritten: tuple[str, ...] = ()


@dataclass(slots=True)
class _Batch:
    """Rows in their order: those that are decided, and places in ``texts`` of those that wait."""

    rows: list[Outcome | int] = field(default_factory=list)
    texts: list[_Text] = field(default_factory=list)
    letters: int = 0
    encoded: Future[Any] | None = None

    @property
    def full(self) -> bool:
        return len(self.rows) >= ROWS or self.letters >= LETTERS


def marked(marker: Marker, chats: Iterable[Chat]) -> Iterator[Outcome]:
    """What :meth:`Marker.mark` returns or raises for each chat, in their order."""
    if not can_render(marker.tokenizer):
        for chat in chats:
            yield _one(marker, chat)
        return
    rendering, waiting, batch = Rendering(marker.tokenizer), None, _Batch()
    with ThreadPoolExecutor(1, thread_name_prefix="tunedeck-encode") as pool:
        for chat in chats:
            _add(marker, rendering, batch, chat)
            if batch.full:
                batch.encoded = pool.submit(_encoded, marker, [text.text for text in batch.texts])
                if waiting is not None:
                    yield from _outcomes(marker, waiting)
                waiting, batch = batch, _Batch()
        batch.encoded = pool.submit(_encoded, marker, [text.text for text in batch.texts])
        if waiting is not None:
            yield from _outcomes(marker, waiting)
        yield from _outcomes(marker, batch)


def _one(marker: Marker, chat: Chat) -> Outcome:
    try:
        return marker.mark(chat)
    except CannotRender as refusal:
        return refusal


def _add(marker: Marker, rendering: Rendering, batch: _Batch, chat: Chat) -> None:
    """Render a row; plain text, which is encoded with other options, is marked at once."""
    way = marker.way(chat.tools) if chat.text is None else None
    if way is None or not way.name:
        batch.rows.append(_one(marker, chat))
        batch.letters += len(chat.text or "")
        return
    try:
        with bounds.limited():
            row = _rendered(rendering, way, chat)
        bounds.measured(row.text, chat.messages)
    except Exception:  # it is refused: once more, for the same words as ever
        batch.rows.append(_one(marker, chat))
        return
    batch.rows.append(len(batch.texts))
    batch.texts.append(row)
    batch.letters += len(row.text)


def _rendered(rendering: Rendering, way: ways.Way, chat: Chat) -> _Text:
    if way.name == ways.PREFIX:
        found = rendering.found(way, chat.messages, chat.tools)
        row = _Text(chat, way, found.text, found=found)
    elif way.name in (ways.OWN, ways.TRL):
        text, spans = rendering.marked(way.template, chat.messages, chat.tools)
        row = _Text(chat, way, text, spans=spans)
    else:
        row = _Text(chat, way, rendering.whole(way.template, chat.messages, chat.tools))
    row.unwritten = tuple(name for name in names_of_tools(chat) if name not in row.text)
    return row


def _encoded(marker: Marker, texts: list[str]) -> list[tuple[list[int], Offsets]]:
    """Tokens of rendered texts; the library encodes on all cores and lets other threads go on meanwhile."""
    if not texts:
        return []
    out = marker.tokenizer(texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False)
    return [(ids, Offsets(encoding)) for ids, encoding in zip(out["input_ids"], out.encodings, strict=True)]


def _outcomes(marker: Marker, batch: _Batch) -> Iterator[Outcome]:
    assert batch.encoded is not None
    encoded = batch.encoded.result()
    for row in batch.rows:
        yield row if not isinstance(row, int) else _placed(marker, batch.texts[row], *encoded[row])


def _placed(marker: Marker, row: _Text, ids: list[int], offsets: Offsets) -> Marked:
    if row.found is not None:
        out = marker.placed(row.way, row.found, ids, offsets)
    else:
        trained = [1] * len(ids) if row.spans is None else _under(row.spans, offsets)
        out = Marked(ids, trained, row.way.name, marker.limit)
    out.unwritten = row.unwritten
    return out


def _under(spans: list[Span], offsets: Offsets) -> list[int]:
    """1 for each token that a span touches, as transformers has it; spans and tokens are in the text's order."""
    trained = [0] * len(offsets)
    for start, end in spans:
        first = bisect_right(offsets, start, key=itemgetter(1))
        last = bisect_left(offsets, end, lo=first, key=itemgetter(0))
        if first < last:
            trained[first:last] = [1] * (last - first)
    return trained
