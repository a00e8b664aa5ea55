"""From data files to the tokens and labels that the trainer takes as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from engine.data import Chat, Reading, numbered_chats
from engine.data.sources import parse
from engine.preflight import held_out
from engine.text import clean_path
from engine.worker.failure import CannotTrain
from engine.worker.many import marked
from engine.worker.marking import IGNORED, CannotRender, Marked, Marker

_BLOCK = 1000
_TELL_SECONDS = 0.8
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
    """A data set as the trainer takes it, and what became of the rows.

    ``empty`` rows are cut off before anything that is learned, ``unproven`` ones hold turns of the assistant that are not
    learned, ``unplaced`` ones hold nothing that is and are left out, ``refused`` are those that the template cannot render.
    ``unwritten`` ones hold tools that it leaves out.
    """

    dataset: Any = None
    given: int = 0
    cut: int = 0
    empty: int = 0
    unproven: int = 0
    unplaced: int = 0
    unwritten: int = 0
    refused: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return 0 if self.dataset is None else len(self.dataset)


def load(config: dict[str, Any]) -> tuple[list[Row], list[Row], str]:
    """Rows to train on and to evaluate with (none without), and a notice on rows left out."""
    train, unanswered = _rows(config, "train_path")
    evaluation = _rows(config, "eval_path")[0] if config["eval_path"] else []
    if config["eval_path"] and not evaluation:
        raise CannotTrain(f"no row of {config['eval_path']} has an assistant's answer to measure")
    if config["eval_fraction"]:
        train, evaluation = _held_out(train, config)
    notice = f"{unanswered} rows without an assistant's answer were left out" if unanswered else ""
    return train, evaluation, notice


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
        rows += source.pick(found, _seed(config))
    return rows, unanswered


def _seed(config: dict[str, Any]) -> int:
    """What draws rows and holds them out."""
    return int(config["seed"] if config["data_seed"] is None else config["data_seed"])


def _held_out(rows: list[Row], config: dict[str, Any]) -> tuple[list[Row], list[Row]]:
    from datasets import Dataset

    places = Dataset.from_dict({"row": list(range(len(rows)))})
    parts = places.train_test_split(test_size=held_out(len(rows), config["eval_fraction"]), seed=_seed(config))
    return [rows[place] for place in parts["train"]["row"]], [rows[place] for place in parts["test"]["row"]]


def tokenised(rows: Iterable[Row], marker: Marker, tell: Tell | None = None) -> Tokenised:
    """Token ids and labels of the rows, cut where the marker says; rows without anything to learn are left out.

    ``tell`` hears how many rows are done: about every second, and at the end.
    """
    import pyarrow as pa
    from datasets import Dataset

    rows = rows if isinstance(rows, list) else list(rows)
    out, blocks, told = Tokenised(), _Blocks(), time.monotonic()
    for row, one in zip(rows, marked(marker, (row.chat for row in rows)), strict=True):
        out.given += 1
        if _stays(one, row, out):
            blocks.add(one)
        if tell is not None and time.monotonic() - told > _TELL_SECONDS:
            told = time.monotonic()
            tell(out.given)
    out.dataset = Dataset(pa.concat_tables(blocks.tables()))
    if tell is not None:
        tell(out.given)
    return out


class _Blocks:
    """Rows as Arrow tables of some thousand rows each: a few bytes a token."""

    def __init__(self) -> None:
        self._rows: list[Marked] = []
        self._tables: list[Any] = []

    def add(self, row: Marked) -> None:
        """One more row."""
        self._rows.append(row)
        if len(self._rows) >= _BLOCK:
            self._close()

    def tables(self) -> list[Any]:
        """All of them; one without rows if there are none."""
        if self._rows or not self._tables:
            self._close()
        return self._tables

    def _close(self) -> None:
        import numpy as np
        import pyarrow as pa

        ends = np.cumsum([0, *(row.kept for row in self._rows)], dtype=np.int32)
        ids, trained = np.empty(ends[-1], np.int32), np.empty(ends[-1], bool)
        for row, begin, end in zip(self._rows, ends, ends[1:], strict=False):
            ids[begin:end] = row.ids[: row.kept]
            trained[begin:end] = np.frombuffer(bytes(row.trained[: row.kept]), bool)
        columns = {"input_ids": ids, "labels": np.where(trained, ids, np.int32(IGNORED))}
        self._tables.append(
            pa.table({name: pa.ListArray.from_arrays(ends, values) for name, values in columns.items()})
        )
        self._rows.clear()


def _stays(one: Marked | CannotRender, row: Row, out: Tokenised) -> TypeGuard[Marked]:
    """Whether a row stays; what becomes of it is counted."""
    if isinstance(one, CannotRender):
        out.refused.append(f"{row.where}: {one}")
        return False
    if not any(one.trained):
        out.unplaced += 1
        return False
    out.unproven += bool(one.unproven)
    if not one.learned:
        out.empty += 1
        return False
    out.cut += one.is_cut
    out.unwritten += bool(one.unwritten)
    return True


def what_was_lost(found: Tokenised, limit: int, *, what: str = "rows", skip: bool = False) -> list[str]:
    """What people are told of rows that are cut or left out. Raises :class:`CannotTrain` where nothing stays."""
    if found.refused and not skip:
        more = f"; {len(found.refused)} rows in all" if len(found.refused) > 1 else ""
        raise CannotTrain(f"{found.refused[0]}{more}")
    if not len(found):
        if found.empty:
            raise CannotTrain(f"all {what} are cut off before the text that is learned: raise max_seq_length ({limit})")
        if found.refused:
            raise CannotTrain(f"none of the {what} can be used: {found.refused[0]}")
        why = f"in none of the {what} can the assistant's turns be told apart"
        raise CannotTrain(f"{why}; set assistant_only_loss to false to learn from the whole text")
    of = f"of {found.given} {what}"
    said = []
    if found.refused:
        said.append(f"{len(found.refused)} {of} were left out, the first is {found.refused[0]}")
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
