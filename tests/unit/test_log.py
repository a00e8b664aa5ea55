"""The log's reader: any part of a log equals the file's lines, bars collapse, searches find all, nothing hangs."""

from __future__ import annotations

import errno
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tui.watch import logfile, logrows, logsearch
from tui.watch.logfile import KEEP_LINES, LogAsk, LogFile, LogView
from tui.watch.logrows import ERROR, PLAIN, WARNING, Row, read_block


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks of 64 bytes, so that short logs have many borders."""
    for module in (logrows, logfile, logsearch):
        monkeypatch.setattr(module, "BLOCK", 64)
    return 64


class Reader:
    """A log and the time its reader believes in."""

    def __init__(self, path: Path) -> None:
        self.log, self.now = LogFile(path), 1.0
        self.view = LogView()
        self.number = 0

    def poll(self) -> LogView:
        self.now += 1
        self.view = self.log.poll(self.now) or self.view
        return self.view

    def ask(self, want: str = "", at: int = 0, **more: object) -> LogView:
        self.number += 1
        self.log.ask(LogAsk(self.number, self.view.generation, want, at, **more))  # type: ignore[arg-type]
        self.poll()
        while self.log.busy:
            self.poll()
        return self.view


def all_rows(path: Path) -> list[Row]:
    size = path.stat().st_size
    fd = os.open(path, os.O_RDONLY)
    try:
        return [row for number in range(size // logrows.BLOCK + 1) for row in read_block(fd, number, size).rows]
    finally:
        os.close(fd)


def texts(path: Path) -> list[str]:
    return [row.text for row in all_rows(path)]


@pytest.mark.parametrize("seed", range(30))
def test_blocks_together_are_the_lines_of_the_file(tmp_path: Path, small: int, seed: int) -> None:
    rng = random.Random(seed)
    words = ("x" * rng.randrange(1, 60), "가나다라", "loss 0.5", "\t", "")
    lines = ["".join(rng.choices(words, k=rng.randrange(3))) for _ in range(200)]
    path = tmp_path / "log"
    path.write_text("\n".join(lines) + rng.choice(("", "\n")))
    short = [line for line in lines if len(line.encode()) < small]
    expected = [line.replace("\t", "    ").rstrip() for line in lines]
    if not expected[-1]:
        expected.pop()
    got = texts(path)
    if len(short) == len(lines):
        assert got == expected + [""] * (len(got) - len(expected))
    assert "".join(got).replace(" ", "") == "".join(expected).replace(" ", "")  # longer ones are cut, none is lost
    assert [row.at for row in all_rows(path)] == sorted({row.at for row in all_rows(path)})


@pytest.mark.parametrize("seed", range(10))
def test_scrolling_back_equals_the_whole(tmp_path: Path, small: int, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "log"
    path.write_text("".join(f"line {i}:{'y' * rng.randrange(50)}\n" for i in range(300)))
    reader = Reader(path)
    view = reader.poll()
    rows, low = list(view.rows), view.low
    while low > 0:
        part = reader.ask("before", low, rows=rng.randrange(1, 30)).part
        assert part is not None and part.high == low and part.low < low
        rows[:0], low = part.rows, part.low
    assert [row.text for row in rows] == path.read_text().splitlines()
    forth: list[Row] = []
    high = 0
    while high < view.high:
        part = reader.ask("after", high, rows=7).part
        assert part is not None and part.high > high
        forth += part.rows
        high = part.high
    assert forth == rows
    middle = rows[150]
    part = reader.ask("around", middle.at, rows=40).part
    assert part is not None and middle in part.rows
    assert list(part.rows) == [row for row in rows if part.low <= row.at < part.high]


@pytest.mark.parametrize("seed", range(10))
def test_a_log_in_pieces_equals_the_whole(tmp_path: Path, small: int, seed: int) -> None:
    rng = random.Random(seed)
    data = b"".join(
        rng.choice((b"x" * rng.randrange(80), b"\n", b"\r", b"\r\n", "가나다".encode())) for _ in range(300)
    )
    whole, path = tmp_path / "whole", tmp_path / "pieces"
    whole.write_bytes(data)
    once, pieces = Reader(whole), Reader(path)
    position = 0
    with path.open("ab", buffering=0) as file:
        while position < len(data):
            size = rng.randrange(1, 60)
            file.write(data[position : position + size])
            pieces.poll()
            position += size
    assert pieces.view.rows == once.poll().rows


def test_a_progress_bar_is_its_last_version(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"start\n" + b"".join(b"\r%d%%|##" % i for i in range(50)))
    reader = Reader(path)
    assert reader.poll().texts == ("start", "49%|##")
    with path.open("ab") as file:
        file.write(b"\r100%|##\r\nnext\r\n\xed\x95")
    assert reader.poll().texts[:3] == ("start", "100%|##", "next")
    with path.open("ab") as file:
        file.write("한".encode()[2:] + b"\n")
    assert reader.poll().texts[-1] == "한"


def test_a_bar_of_megabytes_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    bar = b"".join(b"\r%6d/100000 |%s| 5.0it/s" % (i, b"#" * (i % 60)) for i in range(40_000))
    path.write_bytes(b"start\n" + bar + b"\nend\n")
    assert [text[:13] for text in texts(path)] == ["start", " 39999/100000", "end"]


def test_bars_that_move_the_cursor_up_collapse(tmp_path: Path) -> None:
    path = tmp_path / "log"
    step = b"\router %d\n\rinner %d\x1b[A"
    path.write_bytes(b"start\n" + b"".join(step % (i, i * 2) for i in range(1000)) + b"\n\nend\n")
    assert texts(path) == ["start", "outer 999", "inner 1998", "end"]


@pytest.mark.parametrize("before", range(65_000, 65_600, 40))  # the border between blocks falls into each line
def test_the_lines_of_a_traceback_belong_to_its_error(tmp_path: Path, before: int) -> None:
    path = tmp_path / "log"
    trace = [
        "[rank0]: Traceback (most recent call last):", '[rank0]:   File "a.py", line 1, in <module>', "[rank0]:     f()",
        "[rank0]: KeyError: 3", "", "[rank0]: During handling of the above exception, another exception occurred:", "",
        "[rank0]: Traceback (most recent call last):", "[rank0]:     g()", "[rank0]: RuntimeError: CUDA out of memory",
    ]  # fmt: skip
    lines = ["fine", "x.py:3: UserWarning: odd", *trace, "step 1", "num_errors 0", "ERROR it broke"]
    path.write_text(f"{'x' * 99}\n" * (before // 100) + "-" * (before % 100) + "\n".join(["", *lines]) + "\n")
    levels = {row.text: row.level for row in all_rows(path)}
    assert all(levels[line] == ERROR for line in trace)
    assert [levels[line] for line in ("fine", lines[1], "step 1", "num_errors 0", "ERROR it broke")] == [
        PLAIN, WARNING, PLAIN, PLAIN, ERROR,
    ]  # fmt: skip
    reader = Reader(path)
    reader.poll()
    part = reader.ask("around", before, warnings=True, rows=1000).part
    assert part is not None and [row.text for row in part.rows] == [lines[1], *trace, lines[-1]]


@pytest.mark.parametrize(
    ("text", "count"), [("needle", 100), ("Needle", 50), ("바늘", 50), ("e 바", 50), ("nowhere", 0)]
)
def test_a_search_finds_all_also_across_borders(tmp_path: Path, small: int, text: str, count: int) -> None:
    rng = random.Random(count)
    path = tmp_path / "log"
    lines = []
    for i in range(50):
        lines += [f"{'z' * rng.randrange(30)} nee\x1b[31mdle {i}", f"{'-' * rng.randrange(50)}Needle 바늘", "hay"]
    path.write_text("\n".join(lines) + "\n")
    reader = Reader(path)
    reader.poll()
    found = reader.ask(search=text).found
    assert found is not None and found.done and len(found.ats) == count
    by_at = {row.at: row.text for row in all_rows(path)}
    assert list(found.ats) == sorted(found.ats)
    assert all((text if text != "needle" else "needle") in by_at[at].lower() or text in by_at[at] for at in found.ats)
    with path.open("a") as file:
        file.write(f"one more {text}\nhay\n")
    reader.poll()
    assert reader.view.found is not None and len(reader.view.found.ats) == count + 1
    assert reader.ask(search="").found is None


def test_a_search_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logsearch, "MOST_MATCHES", 100)
    path = tmp_path / "log"
    path.write_text("match\n" * 50_000)
    reader = Reader(path)
    reader.poll()
    found = reader.ask(search="match").found
    assert found is not None and found.capped and len(found.ats) == 100 and found.ats[-1] == 6 * 49_999


def test_what_the_end_view_leaves_out_is_counted_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {i}\n" for i in range(100)))
    reader = Reader(path)
    high = reader.poll().high
    with path.open("a") as file:
        file.writelines(f"line {i}\n" for i in range(100, 60_000))
    view = reader.poll()
    first = int(view.rows[0].text.split()[1])
    assert view.skipped == f"{first - 100:,} lines" and len(view.rows) <= KEEP_LINES
    seen = []
    while high < view.low:
        part = reader.ask("after", high).part
        assert part is not None
        seen += [row.text for row in part.rows]
        high = part.high
    assert seen[: first - 100] == [f"line {i}" for i in range(100, first)]
    assert reader.poll().skipped == ""


def test_lines_come_at_most_twice_a_second(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    log = LogFile(path)
    assert log.poll(10.0) is not None
    path.write_text("one\ntwo\n")
    assert log.poll(10.2) is None
    view = log.poll(10.5)
    assert view is not None and view.texts == ("one", "two")


def test_a_log_that_was_replaced_cut_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\n")
    reader = Reader(path)
    reader.poll()
    path.write_text("new\n")
    assert reader.poll().texts == ("new",) and reader.view.generation == 1
    path.write_text("emptied, then longer than before\n")  # the same file, grown beyond its old end
    assert reader.poll().texts == ("emptied, then longer than before",) and reader.view.generation == 2
    (tmp_path / "other").write_text("a\nb\nc\n")
    (tmp_path / "other").rename(path)
    assert reader.poll().texts == ("a", "b", "c")
    path.unlink()
    assert "is gone" in reader.poll().trouble and reader.view.texts == ("a", "b", "c")
    path.write_text("back\n")
    assert reader.poll().texts == ("back",) and not reader.view.trouble


@pytest.mark.parametrize("kind", ["directory", "pipe", "missing"])
def test_what_is_no_file_does_not_hang(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    reader = Reader(path)
    began = time.perf_counter()
    view = reader.poll()
    assert time.perf_counter() - began < 0.5
    assert view.rows == () and (f"is a {kind}" in view.trouble if kind != "missing" else not view.trouble)


@pytest.mark.parametrize("kind", ["denied", "directory", "pipe", "missing", "failing"])
def test_a_log_that_cannot_be_read_is_not_tried_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\n")
    tries = 0
    if kind in ("denied", "failing"):  # root may read everything
        name = "open" if kind == "denied" else "pread"
        real = getattr(os, name)

        def refuse(*arguments: Any, **more: Any) -> Any:
            nonlocal tries
            if name == "open" and arguments[0] != path:
                return real(*arguments, **more)
            tries += 1
            raise OSError(errno.EACCES if name == "open" else errno.EIO, "no way")

        monkeypatch.setattr(os, name, refuse)
    else:
        path.unlink()
        if kind == "directory":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
    log = LogFile(path)
    log.ask(LogAsk(1, 0, "around", 3, search="two"))
    first = log.poll(10.0)
    assert not log.busy and (kind == "missing" or (first is not None and first.trouble))
    before = tries
    assert all(log.poll(10.0 + wait / 100) is None for wait in range(40)) and tries == before
    assert log.poll(10.5) is None, "the same trouble is no news"
    if kind in ("denied", "failing"):
        assert tries > before
        monkeypatch.undo()
    elif kind != "missing":
        path.rmdir() if kind == "directory" else path.unlink()
    path.write_text("one\ntwo\n")
    view = log.poll(11.0)
    assert view is not None and view.texts == ("one", "two") and not view.trouble
    assert view.part is not None and view.found is not None and len(view.found.ats) == 1


def test_a_huge_log_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.truncate(3 << 30)  # three gigabytes of one line, as far as a reader can tell
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    reader = Reader(path)
    began = time.perf_counter()
    assert reader.poll().texts[-1] == "last"
    part = reader.ask("around", 0, rows=2).part
    assert part is not None and part.rows[0].text == "first"
    assert time.perf_counter() - began < 1.0


def test_escapes_do_not_come_through(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\x1b]52;c;AAAA\x07copied \x1b[2J\x9b31m\xe2\x80\xaehidden\n")
    assert texts(path) == ["copied \N{REPLACEMENT CHARACTER}31m\N{REPLACEMENT CHARACTER}hidden"]
