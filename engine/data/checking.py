"""Every row of a file looked at once, as it streams by: errors and warnings by kind, counts, the hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.data import files, records, remarks, sources
from engine.data.duplicates import Duplicates
from engine.data.faults import Bad, Cancelled, Note
from engine.data.options import AS_FOUND, AUTO, Reading
from engine.data.report import FIRST_LINES, DataReport, merged
from engine.data.shapes import UNKNOWN, Shape, chosen, detect, renamed
from engine.data.shared import say_repeats
from engine.data.single import Rows
from engine.errors import InputError, Problem

Progress = Callable[[int, int], None]
Stop = Callable[[], bool]
# How far to look for rows from which the shape can be told.
_PEEK_ROWS, _PEEK_BYTES = 1000, 8 << 20
_GOOD_ROWS = 20
_CELLS_HINT = "The first line names the columns, such as query and response; each line below is a row"


def check_file(
    path: Path,
    *,
    max_errors: int = 10,
    setting: str = "train_path",
    reading: Reading = AS_FOUND,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> DataReport:
    """Read a whole file and check every row; a few seconds for 100 MB. Never raises for bad input.

    ``progress`` is called with bytes done and in all; when ``stop`` says so, :class:`Cancelled` is raised. Both are
    called from the thread that checks.
    """
    return _Check(sources.Source(path), max_errors, setting, reading, progress, stop).run()


def check_sources(
    text: str,
    *,
    max_errors: int = 10,
    setting: str = "train_path",
    reading: Reading = AS_FOUND,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> DataReport:
    """Like :func:`check_file` for all files that a setting names, as one report."""
    try:
        named = sources.parse(text, setting)
    except InputError as error:
        return DataReport(Path(text), errors=error.problems, error_count=len(error.problems))
    if len(named) == 1:
        return _Check(named[0], max_errors, setting, reading, progress, stop).run()
    sizes = [_size(source.path) for source in named]
    reports = []
    for number, source in enumerate(named):
        before, total = sum(sizes[:number]), sum(sizes)
        tell = (lambda done, _, b=before, t=total: progress(b + done, t)) if progress else None
        reports.append(_Check(source, max_errors, setting, reading, tell, stop).run())
    whole = merged(Path(text), reports, max_errors)
    say_repeats(whole, stop)
    if len({report.plain_text for report in reports if report.shape}) > 1:
        why = "mixes plain text with chats, which cannot be trained on together"
        whole.errors.append(Problem("mixed-shapes", why, "Train on one of them", setting=setting))
        whole.error_count += 1
    return whole


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except ValueError:  # a name that no file can have
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


class _Check:
    """One file."""

    def __init__(self, source: sources.Source, max_errors: int, setting: str, reading: Reading, progress: Progress | None,
                 stop: Stop | None) -> None:  # fmt: skip
        self.path, self.max_errors, self.setting, self.reading = source.path, max_errors, setting, reading
        self.progress, self.stop = progress, stop
        self.report = DataReport(source.path, source=source)
        self.total = 0
        self.line: int | None = None  # the last that was read

    def run(self) -> DataReport:
        """Check it all."""
        hint = f"{self.setting} must name a JSONL, JSON, CSV, TSV or Parquet file"
        try:
            if not _exists(self.path):
                what = "fits no file" if sources.is_pattern(self.path) else "does not exist"
                return self.refuse(Bad("missing-file", what, f"Check {self.setting}"))
            if self.path.is_dir():
                return self.refuse(
                    Bad("not-a-file", "is a directory", f"{hint}; a pattern such as FOLDER/*.jsonl names several")
                )
            if not self.path.is_file():
                return self.refuse(Bad("not-a-file", "is no regular file", hint))
            self.read()
        except Bad as bad:
            return self.refuse(bad, self.line)
        except OSError as error:
            return self.refuse(
                Bad("unreadable-file", f"cannot be read: {error.strerror or error}", "Check its permissions")
            )
        if self.report.rows == 0 and not self.report.errors:
            table = self.report.format.startswith((files.CSV, files.TSV))
            return self.refuse(Bad("empty-file", "holds no rows", _CELLS_HINT if table else records.ROW_HINT))
        self.sum_up()
        return self.report

    def refuse(self, bad: Bad, line: int | None = None) -> DataReport:
        """The whole file cannot be used, or not from a line on."""
        message = f"{bad.message}; nothing after this line could be read" if line is not None else bad.message
        self.report.errors.append(Problem(bad.kind, message, bad.hint, self.setting, str(self.path), line))
        self.report.error_count += 1
        self.report.tally(bad.kind, "error", line, message, bad.hint)
        return self.report

    def tick(self, done: int) -> None:
        """So many bytes are read."""
        if self.stop is not None and self.stop():
            raise Cancelled
        if self.progress is not None:
            self.progress(min(done, self.total), self.total)

    def read(self) -> None:
        """All rows."""
        self.total = self.path.stat().st_size
        opened = files.Opened(self.path, self.tick)
        report, stream = self.report, None
        report.format = opened.title
        try:
            stream = records.records(opened)
            shape, items = recognise(stream, self.reading)
            report.shape, report.mapping = shape.name, shape.words
            self.look(items, shape, numbered=opened.format == files.JSON)
        finally:
            if stream is not None:
                stream.close()  # type: ignore[attr-defined]
            try:
                opened.drain()
                report.bytes, report.sha256 = opened.raw.count, opened.raw.digest.hexdigest()
            finally:
                opened.close()

    def look(self, items: Iterator[tuple[int, records.Item]], shape: Shape, *, numbered: bool) -> None:
        """Each row by itself."""
        report, read, duplicates = self.report, Rows(shape, self.reading.fields), Duplicates()
        rows = unanswered = messages = with_tools = 0
        line: int | None = None
        try:
            for line, item in items:
                rows += 1
                try:
                    chat = read.chat(item)
                except Note as note:
                    rows -= 1
                    report.tally(note.kind, "warning", line, note.message, note.hint)
                    continue
                except Bad as bad:
                    self.bad_row(bad, line, f"row {rows}: " if numbered else "")
                    continue
                messages += len(chat.messages)
                with_tools += chat.tools is not None
                found, digest = remarks.remarks(chat, item if type(item) is bytes else None)
                duplicates.add(digest, rows << 32 | line)
                for kind in found:
                    unanswered += kind in (remarks.NO_ANSWER, remarks.EMPTY_TEXT)
                    report.tally(kind, "warning", line, "")
        except Bad:
            self.line = line
            raise
        finally:
            report.rows, report.unanswered, report.messages, report.with_tools = rows, unanswered, messages, with_tools
            bad_rows = sum(tally.count for tally in report.tallies.values() if tally.severity == "error")
            report.usable = rows - bad_rows - unanswered
        self.say_duplicates(duplicates)
        duplicates.settle()
        report.seen = duplicates

    def bad_row(self, bad: Bad, line: int, number: str) -> None:
        """One row cannot be used."""
        report = self.report
        report.tally(bad.kind, "error", line, number + bad.message, bad.hint)
        if self.reading.skip:
            report.skipped[bad.kind] = report.skipped.get(bad.kind, 0) + 1
            return
        report.error_count += 1
        if len(report.errors) < self.max_errors or report.tallies[bad.kind].count == 1:
            report.errors.append(Problem(bad.kind, number + bad.message, bad.hint, file=str(self.path), line=line))

    def say_duplicates(self, duplicates: Duplicates) -> None:
        """How many rows stand there twice, and the first of them."""
        count, first = duplicates.found(FIRST_LINES)
        for place, _ in first:
            self.report.tally(remarks.DUPLICATE, "warning", place & 0xFFFFFFFF, "")
        if count:
            self.report.tallies[remarks.DUPLICATE].count = count

    def sum_up(self) -> None:
        """Where all rows would be left out, nothing is left to train on; where some are bad, they could be left out."""
        report = self.report
        if report.errors and report.usable and not self.reading.skip:
            first = report.errors[0]
            more = "on_bad_rows: skip leaves such rows out"
            hint = f"{first.hint}{'' if first.hint[-1:] in '.?' else '.'} {more}".strip(" .")
            report.errors[0] = replace(first, hint=hint)
        blank = report.tallies.get(remarks.EMPTY_TEXT)
        if blank is not None and not report.usable and not report.errors:
            report.errors.append(replace(blank.problem(self.setting, report.rows), severity="error"))
            report.error_count += 1
        if not report.skipped or report.usable or report.unanswered:
            return
        kind = max(report.skipped, key=lambda name: report.skipped[name])
        file, line, message = report.tallies[kind].places[0]
        hint = report.tallies[kind].hint
        report.errors.append(Problem(kind, f"{message}; no row of the file can be used", hint, file=file, line=line))
        report.error_count += 1


def recognise(stream: Iterator[tuple[int, Any]], reading: Reading) -> tuple[Shape, Iterator[tuple[int, Any]]]:
    """The shape of a file's rows, and all items of the stream, those that were taken from it to tell it included."""
    peeked: list[tuple[int, Any]] = []
    rows: list[dict[str, Any]] = []
    size, torn = 0, None
    while len(peeked) < _PEEK_ROWS and size < _PEEK_BYTES:
        try:
            item = next(stream, None)
        except Bad as bad:
            if not peeked:
                raise
            torn = bad
            break
        if item is None:
            break
        peeked.append(item)
        size += len(item[1]) if isinstance(item[1], bytes) else 1024
        try:
            row = records.parsed(item[1])
        except Bad:
            continue
        if isinstance(row, dict):
            rows.append(renamed(row, dict(reading.fields)) if reading.fields else row)
            if len(rows) >= _GOOD_ROWS and (reading.format != AUTO or detect(rows).name != UNKNOWN):
                break
    listed = [_with_lists(row) for row in rows]
    shape = detect(listed) if reading.format == AUTO else chosen(reading.format, listed)
    return shape, _from_the_start(peeked, torn, stream)


def _from_the_start(
    peeked: list[tuple[int, Any]], torn: Bad | None, stream: Iterator[tuple[int, Any]]
) -> Iterator[tuple[int, Any]]:
    """Where the file broke while its shape was told, it breaks again there: no row is skipped with the rest of the file."""
    yield from peeked
    if torn is not None:
        raise torn
    yield from stream


def _with_lists(row: dict[str, Any]) -> dict[str, Any]:
    """Lists that a table keeps as text, as lists."""
    from engine.data.mapping import listed, unzipped

    return {
        key: listed(value)
        if type(value) is str and value[:1] == "["
        else unzipped(value)
        if type(value) is dict
        else value
        for key, value in row.items()
    }
