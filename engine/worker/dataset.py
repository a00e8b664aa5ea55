"""From data files to the tokens and labels that the trainer takes as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data import Chat, Reading, numbered_chats
from engine.data.sources import parse
from engine.preflight import held_out
from engine.text import clean_path
from engine.worker.failure import CannotTrain
from engine.worker.many import marked
from engine.worker.marking import CannotRender, Marked, Marker
from engine.worker.tokencache import Writer

COLUMNS = ["input_ids", "labels"]
"""What the trainer takes."""
KEPT, CUT, EMPTY, UNPROVEN, UNPLACED, UNWRITTEN, REFUSED = 1, 2, 4, 8, 16, 32, 64
_FLAGS = {
    "cut": CUT,
    "empty": EMPTY,
    "unproven": UNPROVEN,
    "unplaced": UNPLACED,
    "unwritten": UNWRITTEN,
    "refused": REFUSED,
}
TELL_SECONDS = 0.8
# (rows done): told about once a second, and at the end.
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One chat and where it stands: file and line (of a Parquet file: the number of its row)."""

    path: Path
    line: int
    chat: Chat

    @property
    def where(self) -> str:
        """For people."""
        return f"{clean_path(self.path, 300)}:{self.line}"


@dataclass(slots=True)
class Tokenised:
    """A data set as the trainer takes it, and what became of the ``given`` rows.

    ``empty`` rows are cut off before anything that is learned, ``unproven`` ones hold turns of the assistant that are not
    learned, ``unplaced`` ones hold nothing that is and are left out, ``refused`` are those that the template cannot render,
    the ``first`` of them in words. ``unwritten`` ones hold tools that it leaves out.
    """

    dataset: Any = None
    given: int = 0
    cut: int = 0
    empty: int = 0
    unproven: int = 0
    unplaced: int = 0
    unwritten: int = 0
    refused: int = 0
    first: str = ""

    @classmethod
    def of(cls, dataset: Any, flags: Any, first: str = "") -> Tokenised:
        """``flags`` are those of all rows that were given (:func:`judged`), as an array."""
        counted = {name: int((flags & bit > 0).sum()) for name, bit in _FLAGS.items()}
        return cls(dataset, len(flags), first=first, **counted)

    def __len__(self) -> int:
        return 0 if self.dataset is None else len(self.dataset)

    def lengths(self) -> Any:
        """Tokens of each row of the data set, as an array; no row is read for it."""
        return lengths_of(self.dataset)


def lengths_of(data: Any) -> Any:
    """Tokens of each row of a ``datasets.Dataset`` with ``input_ids``, as an array."""
    import pyarrow.compute as pc

    found = pc.list_value_length(data.data.column("input_ids")).to_numpy()
    return found if data._indices is None else found[data._indices.column(0).to_numpy()]


def load(config: dict[str, Any]) -> tuple[list[Row], list[Row], str]:
    """Rows to train on and to evaluate with (none without), and a notice on rows left out."""
    train, unanswered = _rows(config, "train_path")
    evaluation = _rows(config, "eval_path")[0] if config["eval_path"] else []
    if config["eval_path"] and not evaluation:
        raise CannotTrain(nothing_to_measure(config))
    if config["eval_fraction"]:
        trained, measured = held_out_places(len(train), config)
        train, evaluation = [train[place] for place in trained], [train[place] for place in measured]
    return train, evaluation, left_out(unanswered)


def nothing_to_measure(config: dict[str, Any]) -> str:
    """That the evaluation data hold no answer, in words."""
    return f"no row of {config['eval_path']} has an assistant's answer to measure"


def left_out(unanswered: int) -> str:
    """A notice on rows without an answer; empty where there are none."""
    return f"{unanswered} rows without an assistant's answer were left out" if unanswered else ""


def _rows(config: dict[str, Any], setting: str) -> tuple[list[Row], int]:
    """The samples of a setting's files, and how many rows have no answer to learn."""
    reading, unanswered = Reading.of(config), 0
    rows: list[Row] = []
    for source in parse(config[setting], setting):
        found = [Row(source.path, line, chat) for line, chat in numbered_chats(source.path, reading)]
        if config["assistant_only_loss"] is not False:
            kept = [row for row in found if row.chat.answered]
            unanswered += len(found) - len(kept)
            found = kept
        rows += source.pick(found, drawing_seed(config))
    return rows, unanswered


def drawing_seed(config: dict[str, Any]) -> int:
    """What draws rows and holds them out."""
    return int(config["seed"] if config["data_seed"] is None else config["data_seed"])


def held_out_places(rows: int, config: dict[str, Any]) -> tuple[Any, Any]:
    """The places of so many rows that are trained on and those that are held out, each as an array in its order."""
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    places = Dataset(pa.table({"row": np.arange(rows)}))
    parts = places.train_test_split(test_size=held_out(rows, config["eval_fraction"]), seed=drawing_seed(config))
    return tuple(np.asarray(parts[name].with_format("numpy")["row"][:]) for name in ("train", "test"))  # type: ignore[return-value]


def tokenised(rows: Iterable[Row], marker: Marker, tell: Tell | None = None) -> Tokenised:
    """Token ids and labels of some rows, cut where the marker says and held in memory; rows without anything to learn are left out.

    ``tell`` hears how many rows are done: about every second, and at the end. :mod:`engine.worker.tokenising` is for files.
    """
    import numpy as np
    from datasets import Dataset

    rows = rows if isinstance(rows, list) else list(rows)
    writer, flags, first, told = Writer(), bytearray(), "", time.monotonic()
    for row, one in zip(rows, marked(marker, (row.chat for row in rows)), strict=True):
        flags.append(judged(one))
        if not isinstance(one, CannotRender):
            if flags[-1] & KEPT:
                writer.add(one, KEPT)
        elif not first:
            first = f"{row.where}: {one}"
        if tell is not None and time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            tell(len(flags))
    if tell is not None:
        tell(len(flags))
    return Tokenised.of(Dataset(writer.finish().select(COLUMNS)), np.frombuffer(flags, np.uint8), first)


def judged(one: Marked | CannotRender) -> int:
    """What becomes of a row, as bits: ``KEPT`` if it stays."""
    if isinstance(one, CannotRender):
        return REFUSED
    if not any(one.trained):
        return UNPLACED
    found = UNPROVEN if one.unproven else 0
    if not one.learned:
        return found | EMPTY
    return found | KEPT | (CUT if one.is_cut else 0) | (UNWRITTEN if one.unwritten else 0)


def what_was_lost(found: Tokenised, limit: int, *, what: str = "rows", skip: bool = False) -> list[str]:
    """What people are told of rows that are cut or left out. Raises :class:`CannotTrain` where nothing stays."""
    if found.refused and not skip:
        more = f"; {found.refused} rows in all" if found.refused > 1 else ""
        raise CannotTrain(f"{found.first}{more}")
    if not len(found):
        if found.empty:
            raise CannotTrain(f"all {what} are cut off before the text that is learned: raise max_seq_length ({limit})")
        if found.refused:
            raise CannotTrain(f"none of the {what} can be used: {found.first}")
        why = f"in none of the {what} can the assistant's turns be told apart"
        raise CannotTrain(f"{why}; set assistant_only_loss to false to learn from the whole text")
    of = f"of {found.given} {what}"
    said = []
    if found.refused:
        said.append(f"{found.refused} {of} were left out, the first is {found.first}")
    if found.unplaced:
        said.append(f"{found.unplaced} {of} were left out: where in them the assistant speaks could not be proven")
    if found.unproven:
        why = "the chat template writes them differently once others follow"
        said.append(f"{found.unproven} {of} hold turns of the assistant that are not learned: {why}")
    if found.unwritten:
        said.append(
            f"{found.unwritten} {of} hold tools or calls of tools that the chat template does not write: they are not learned"
        )
    if found.empty:
        text = "are cut off before the text that is learned and were left out"
        said.append(f"{found.empty} {of} {text}: raise max_seq_length ({limit}) to keep them")
    if found.cut:
        said.append(f"{found.cut} {of} are longer than max_seq_length ({limit}) and are cut there")
    return said
