"""The index: rows as they were read, scans that tell what is news, and whatever may befall the file or a root."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import types
from array import array
from pathlib import Path

import pytest

import engine.history.index.reads as reads
import engine.history.index.store as store
import engine.history.index.walks as walks
from engine import registry
from engine.errors import RunNotFoundError
from engine.history import find_path, find_run, gather
from engine.history.index import Index, Scanner
from engine.history.index import rows as codec
from engine.history.index.rows import Entry
from engine.history.summary import RunSummary
from tests.support import make_run, wait_for

MANY = {"learning_rate": 1e-4, "last_loss": math.nan, "best_loss": 0.5, "last_eval_loss": -math.inf, "tags": ["a", "b"], "step": 7,
        "bytes": 1 << 40, "modified": 1.5e9, "base_model": "Qwen/é", "problems": ["one\nline"], "reason": "", "resumable": True}  # fmt: skip


def foreign(path: Path, step: int = 10, loss: float = 1.0) -> Path:
    """A run of the Trainer, all of whose numbers follow from its step; older than a scan takes for fresh."""
    path.mkdir(parents=True, exist_ok=True)
    rows = [{"step": i, "epoch": i / 10, "loss": loss + step - i, "learning_rate": 1e-4} for i in range(1, step + 1)]
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": 100, "log_history": rows}))
    old(path)
    return path


def old(path: Path) -> None:
    for file in path.iterdir():
        os.utime(
            file, ns=(time.time_ns() - 3_600_000_000_000, time.time_ns() - 3_600_000_000_000 - file.stat().st_size)
        )


def scan(scanner: Scanner, shown: dict[str, RunSummary] | None = None) -> dict[str, str]:
    """What a list shows after a scan; returns the folders that could not be reached."""
    shown, last = {} if shown is None else shown, None
    for last in scanner.scan():
        shown.update((run.path, run) for run in last.changed)
        for path in last.gone:
            shown.pop(path, None)
    assert last is not None and not last.searching and last.done == last.total
    return last.unreachable


@pytest.fixture
def index() -> Index:
    return Index()


def test_rows_come_back_as_they_were(index: Index) -> None:
    runs = [RunSummary("id", f"/x/{i}", "n\udce9" if i == 3 else "näme", "trl", "unknown", **MANY, sparkline=[1.0, math.nan, 0.25])
            for i in range(5)]  # fmt: skip
    index.put([Entry(run.path, b"1", False, codec.pack(run)) for run in runs])
    found = {run.path: run for run in Index().rows(["/x"])}
    for run in runs:
        got, want = found[run.path].as_dict(), run.as_dict()
        assert got.pop("root") == "/x" and want.pop("root") is None
        assert repr(got) == repr(want)
    assert Index().rows(["/x/3"])[0].name == "n\udce9" and Index().rows(["/y", "/x/33"]) == []
    (odd,) = codec.unpack_all([codec.pack(RunSummary("i", "/p", "n", "t", "s", step=1 << 70))])
    assert odd is not None and odd.step == pytest.approx(1 << 70)
    assert codec.unpack(b"[null,1,2]") is None and codec.unpack(b"{") is None and codec.unpack(b"[null]") is None


def test_a_scan_tells_what_is_news(tmp_path: Path, index: Index) -> None:
    root = tmp_path / "runs"
    one, two, own = foreign(root / "one"), foreign(root / "deep" / "two", 20), make_run(tmp_path / "runs" / "own").path
    scanner, shown = Scanner(index, lambda: [root]), {}
    assert scanner.rows() == [] and scan(scanner, shown) == {}
    assert sorted(shown) == sorted(map(str, (one, two, own)))
    assert shown[str(one)].step == 10 and shown[str(one)].root == str(root) and shown[str(own)].tool == "tunedeck"
    assert [list(batch.changed) for batch in scanner.scan() if batch.changed or batch.gone] == []
    foreign(one, 30)
    shutil.rmtree(two)
    three = foreign(root / "three", 40)
    news = [batch for batch in scanner.scan() if batch.changed or batch.gone]
    assert {run.path: run.step for batch in news for run in batch.changed} == {str(one): 30, str(three): 40}
    assert frozenset.union(*(batch.gone for batch in news)) == {str(two)}
    scanner.close()
    # Another process has the rows at once, and a scan has nothing to add.
    later = Scanner(Index(), lambda: [root])
    assert sorted(run.path for run in later.rows()) == sorted(map(str, (one, three, own)))
    assert [batch for batch in later.scan() if batch.changed or batch.gone] == []
    later.close()


def test_what_another_process_read_is_news_here(tmp_path: Path, index: Index) -> None:
    run = foreign(tmp_path / "run")
    mine, shown = Scanner(index, lambda: [tmp_path]), {}
    scan(mine, shown)
    foreign(run, 50)
    theirs = Scanner(Index(), lambda: [tmp_path])
    scan(theirs)
    scan(mine, shown)  # the print of the row in the index is the file's, and still this one was never shown
    assert shown[str(run)].step == 50
    mine.close(), theirs.close()


def test_rows_of_every_layout_are_what_its_reader_says(tmp_path: Path) -> None:
    from engine.history import read_summary
    from tests.corpus import build

    build(tmp_path)
    unreachable: dict[str, str] = {}
    rows = gather([tmp_path], False, unreachable)
    assert len(rows) > 60 and unreachable == {}
    for row in rows:
        read = read_summary(Path(row.path))
        assert read is not None and row.root is not None and row.root.startswith(str(tmp_path))
        read.root, losses = row.root, [array("f", [loss])[0] for loss in read.sparkline]
        read.sparkline = row.sparkline
        assert repr(row) == repr(read) and repr(row.sparkline) == repr(losses)


def test_only_what_is_asked_for_is_shown(tmp_path: Path, index: Index) -> None:
    foreign(tmp_path / "a" / "run"), foreign(tmp_path / "b" / "run")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a")
    assert len(gather([tmp_path])) == 2
    one = Scanner(index, lambda: [tmp_path / "a", link], registered=False)
    assert [run.path for run in one.rows()] == [str(tmp_path / "a" / "run")]
    shown = {run.path: run for run in one.rows()}
    scan(one, shown)
    assert [*shown] == [str(tmp_path / "a" / "run")]  # the same directory by two names is one run
    assert len(Index().rows()) == 2
    one.close()


def test_launched_runs_are_found_without_a_root(tmp_path: Path) -> None:
    run = make_run(tmp_path / "x" / "mine", run_id="20261001-000000-aaaaa")
    registry.remember_run("20261001-000000-aaaaa", run.path)
    assert [(found.path, found.root) for found in gather()] == [(str(run.path), str(tmp_path / "x"))]
    run.path.rename(tmp_path / "x" / "moved")
    assert [found.path for found in gather()] == [str(tmp_path / "x" / "moved")]
    shutil.rmtree(tmp_path / "x" / "moved")
    assert gather() == [] and gather(registered=False) == []
    registry.remember_root(tmp_path)
    foreign(tmp_path / "theirs")
    assert [found.name for found in gather()] == ["theirs"]
    assert gather(registered=False) == []


def test_live_runs_are_read_each_time(tmp_path: Path, index: Index) -> None:
    run = make_run(tmp_path / "run", state="running")
    scanner, shown = Scanner(index, lambda: [tmp_path]), {}
    scan(scanner, shown)
    assert shown[str(run.path)].state == "running" and index.known()[str(run.path)].live
    from tests import support

    run.release_lock(support._held.pop(run.path))  # nothing in the directory changes, and yet it is not alive
    status = json.loads(run.status_json.read_text())
    run.status_json.write_text(json.dumps({**status, "pid": 1 << 21, "supervisor_pid": 1 << 21, "heartbeat": 1.0}))
    scan(scanner, shown)
    assert shown[str(run.path)].state == "lost"
    scanner.close()


def test_names_and_tags_of_other_tools_runs_follow_what_people_write(tmp_path: Path) -> None:
    from engine.history import notes
    from engine.notes import Notes

    run = foreign(tmp_path / "run")
    assert gather([tmp_path])[0].tags == []
    notes.save_foreign(run, notes.foreign(run), Notes(name="the good one", tags=("keep",)))
    (found,) = gather([tmp_path])
    assert found.tags == ["keep"] and found.name == "the good one"
    notes.save_foreign(run, notes.foreign(run), Notes())
    assert gather([tmp_path])[0].tags == []


def test_sizes_follow_what_is_in_the_folders(tmp_path: Path) -> None:
    run = foreign(tmp_path / "run")
    foreign(run / "checkpoint-10")
    (run / "checkpoint-10" / "optimizer.pt").write_bytes(bytes(5000))
    (before,) = gather([tmp_path])
    (run / "checkpoint-10" / "optimizer.pt").unlink()
    (after,) = gather([tmp_path])
    assert before.bytes is not None and after.bytes == before.bytes - 5000


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b'/ro\xe9t \t\n"x'))
    run = foreign(root / "run\udce9\x1b[31m")
    for _ in range(2):
        (found,) = gather([root])
        assert found.path == str(run) and found.root == str(root) and found.step == 10
    assert find_path(found.name, [root]) == run


def test_what_changed_a_moment_ago_is_not_trusted(tmp_path: Path, index: Index) -> None:
    run = foreign(tmp_path / "run", 10)
    file = run / "trainer_state.json"
    os.utime(file, (time.time() + 30, time.time() + 30))
    info = file.stat()
    scanner, shown = Scanner(index, lambda: [tmp_path]), {}
    scan(scanner, shown)
    with file.open("r+") as stream:  # the same size, inode and time, as a coarse clock would have it
        text = stream.read().replace('"global_step": 10', '"global_step": 11')
        stream.seek(0), stream.write(text)
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    scan(scanner, shown)
    assert shown[str(run)].step == 11
    scanner.close()


DAMAGE = {
    "deleted": lambda file: file.unlink(),
    "empty": lambda file: os.truncate(file, 0),
    "half": lambda file: os.truncate(file, file.stat().st_size // 2 + 100),
    "noise": lambda file: file.write_bytes(os.urandom(20_000)),
    "overwritten": lambda file: _overwrite(file),
    "replaced": lambda file: (file.with_name("new").write_bytes(b"not a database"), file.with_name("new").rename(file)),
    "another schema": lambda file: (file.unlink(), sqlite3.connect(file).executescript("create table runs (x); pragma user_version=1")),
    "another version": lambda file: (file.unlink(), sqlite3.connect(file).executescript("create table runs (x); pragma user_version=99")),
    "other kinds of values": lambda file: _write_odd(file),
    "write-ahead log": lambda file: (file.unlink(), sqlite3.connect(file).executescript("pragma journal_mode=wal; create table x (y)")),
    "a directory": lambda file: (file.unlink(), file.mkdir()),
    "a directory that is full": lambda file: (file.unlink(), file.mkdir(), (file / "x").touch()),
    "no directory": lambda file: shutil.rmtree(file.parent),
    "journal": lambda file: file.with_name(file.name + "-journal").write_bytes(os.urandom(3000)),
    "a loop": lambda file: (file.unlink(), file.symlink_to(file.name)),
}  # fmt: skip


def _write_odd(file: Path) -> None:
    db = sqlite3.connect(file)
    for path, digest in ((None, b""), (5, "text"), ("/text", None), (b"/x", 7)):
        db.execute("insert into runs values (?, ?, ?, 'x', 'y', 'z')", (path, digest, codec.LAYOUT))
    db.commit(), db.close()


def _overwrite(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(max(0, file.stat().st_size - 4096)))


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("when", ["before", "while open"])
def test_damage_costs_a_rebuild_and_no_more(xdg: Path, how: str, when: str) -> None:
    expected = {f"/somewhere/run{i}": i + 1 for i in range(40)}
    index = Index()
    entries = [
        Entry(path, b"x", False, codec.pack(RunSummary(path, path, path, "trl", "unknown", step=step)))
        for path, step in expected.items()
    ]
    index.put(entries)
    assert len(index.rows()) == 40
    if when == "before":
        index.close()
        index = Index()
    DAMAGE[how](xdg / "cache" / "tunedeck" / "history.sqlite3")
    rows = index.rows()
    assert all(expected[run.path] == run.step for run in rows)  # old rows or none, never wrong ones
    index.known(), index.fetch([*expected]), index.drop(["/nowhere"])
    index.put(entries[:20])
    assert {run.path for run in index.rows()} >= {entry.path for entry in entries[:20]}
    index.close()
    if "director" not in how and how != "a loop":
        assert not index.in_memory and len(Index().rows()) >= 20
    assert index.rows() == [] and index.known() == {}  # closed: nothing is known, nothing raises


def test_a_scan_over_a_damaged_index_is_whole(tmp_path: Path, xdg: Path) -> None:
    paths = [str(foreign(tmp_path / f"run{i}")) for i in range(30)]
    scanner, shown = Scanner(Index(), lambda: [tmp_path]), {}
    scan(scanner, shown)
    file = xdg / "cache" / "tunedeck" / "history.sqlite3"
    scanner.index.delivered.clear()  # as after a start: rows are then fetched from the index
    batches = scanner.scan()
    next(batches)
    os.truncate(file, 0)
    found = {run.path for batch in batches for run in batch.changed} | set(scanner.index.delivered)
    assert found == set(paths)
    assert {run.path for run in Index().rows()} <= set(paths)
    scan(scanner)
    scanner.close()
    assert {run.path for run in gather([tmp_path])} == set(paths)


@pytest.mark.parametrize(
    "code", ["SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_CORRUPT", "SQLITE_BUSY"]
)
def test_a_disk_that_refuses_is_no_error(index: Index, code: str) -> None:
    entry = Entry("/a", b"x", False, codec.pack(RunSummary("a", "/a", "a", "trl", "unknown")))
    index.put([entry])
    failed = []

    def work(db: sqlite3.Connection) -> str:
        if not failed or code == "SQLITE_BUSY":
            failed.append(1)
            error = sqlite3.OperationalError(code)
            error.sqlite_errorcode = getattr(sqlite3, code)
            db.execute("BEGIN IMMEDIATE")
            raise error
        return "done"

    assert index._do(work) == (None if code == "SQLITE_BUSY" else "done")
    assert index.in_memory == (code in ("SQLITE_FULL", "SQLITE_READONLY"))
    if code in ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_BUSY"):
        assert [run.path for run in index.rows()] == ["/a"]  # what stood in the file stands still
    index.put([entry._replace(path="/b")])
    assert "/b" in [run.path for run in index.rows()]


def test_a_lock_that_is_never_given_back(xdg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WAIT", 0.1)
    entry = Entry("/a", b"x", False, codec.pack(RunSummary("a", "/a", "a", "trl", "unknown")))
    index, other = Index(), Index()
    other.put([entry])
    holder = sqlite3.connect(xdg / "cache" / "tunedeck" / "history.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    assert index.rows() == [] and index.known() == {} and index.in_memory
    index.put([entry._replace(path="/b")])
    assert [run.path for run in index.rows()] == ["/b"]
    other.put([entry._replace(path="/c")])  # one that waited once in vain goes on with the file
    holder.execute("COMMIT")
    assert [run.path for run in other.rows()] == ["/a"] and not other.in_memory
    assert time.monotonic() - began < 3
    holder.close()


def test_a_really_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True, check=False
    ).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(small))
        paths = [str(foreign(tmp_path / "runs" / f"run{i}")) for i in range(200)]
        scanner, shown = Scanner(Index(), lambda: [tmp_path / "runs"]), {}
        scan(scanner, shown)
        assert scanner.index.in_memory and sorted(shown) == sorted(paths)
        assert len(scanner.index.rows()) == 200
        scanner.close(), scanner.index.close()
        assert len(gather([tmp_path / "runs"])) == 200
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def test_a_cache_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], capture_output=True, check=False
    ).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(small))
        paths = [str(foreign(tmp_path / "runs" / f"run{i}")) for i in range(10)]
        assert len(gather([tmp_path / "runs"])) == 10
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        index = Index()
        assert sorted(run.path for run in index.rows()) == sorted(paths)  # what stands there can still be read
        foreign(Path(paths[0]), 99)
        scanner, shown = Scanner(index, lambda: [tmp_path / "runs"]), {}
        scan(scanner, shown)
        assert [run.step for run in shown.values()] == [99] and index.in_memory and len(index.rows()) == 10
        scanner.close(), index.close()
        assert len(gather([tmp_path / "runs"])) == 10
    finally:
        subprocess.run(["umount", "-l", small], check=False)


HUNG = """
import os, sys, threading
from engine import registry
from engine.history.index import helper, reading
locate, mounts = registry.locate, helper.mount_points
def hang_locating(run_id, path, siblings):
    if "hung" in str(path): threading.Event().wait()
    return locate(run_id, path, siblings)
registry.locate = hang_locating
helper.mount_points = lambda: [os.path.join(os.path.dirname(sys.argv[0]), "hung"), *mounts()]
scandir, look = os.scandir, reading.look
def hang(path="."):
    if "hung" in os.fspath(path): threading.Event().wait()
    return scandir(path)
def stuck(path, known):
    if "stuck" in str(path): threading.Event().wait()
    if "crash" in str(path): os._exit(9)
    return look(path, known)
os.scandir, reading.look = hang, stuck
helper.main(sys.argv[1])
"""


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A helper for which directories called hung never answer, and runs called stuck or crash cannot be read."""
    file = tmp_path / "helper.py"
    file.write_text(HUNG)
    monkeypatch.setattr(walks, "SILENT", 1.2)
    monkeypatch.setattr(reads, "LIMIT", 1.2)
    monkeypatch.setattr(reads, "SUSPICIOUS", 0.5)
    return [sys.executable, "-P", str(file)]


def test_a_root_that_hangs_delays_nothing_else(tmp_path: Path, index: Index, hanging: list[str]) -> None:
    hung, kept = tmp_path / "hung", foreign(tmp_path / "hung" / "run")
    good = [str(foreign(tmp_path / "good" / f"run{i}")) for i in range(60)]
    usual = Scanner(index, lambda: [hung, tmp_path / "good"])
    assert scan(usual) == {}
    usual.close()
    for path in good:
        foreign(Path(path), 77)
    scanner, began, news = Scanner(index, lambda: [hung, tmp_path / "good"], command=hanging), time.monotonic(), 0.0
    shown = {run.path: run for run in scanner.rows()}
    for batch in scanner.scan():
        shown.update((run.path, run) for run in batch.changed)
        news = time.monotonic() - began if batch.changed else news
        assert not batch.gone
    assert batch.unreachable == {str(hung): "does not answer"}
    assert all(shown[path].step == 77 for path in good) and shown[str(kept)].step == 10
    whole = time.monotonic() - began
    assert news < whole - 0.3  # all others were long there
    began = time.monotonic()
    scan(scanner)
    assert time.monotonic() - began < whole  # and the next time it is not waited for as long
    began = time.monotonic()
    scanner.close()
    assert time.monotonic() - began < 0.1
    assert {run.path for run in Index().rows()} == {*good, str(kept)}


def test_a_launched_run_on_a_mount_that_hangs_stays_as_it_was(tmp_path: Path, index: Index, hanging: list[str]) -> None:
    run = make_run(tmp_path / "hung" / "mine", run_id="20261001-000000-aaaaa")
    registry.remember_run("20261001-000000-aaaaa", run.path)
    good = make_run(tmp_path / "good", run_id="20261001-000000-bbbbb")
    registry.remember_run("20261001-000000-bbbbb", good.path)
    usual = Scanner(index)
    assert scan(usual) == {}
    usual.close()
    scanner = Scanner(index, command=hanging)
    shown = {found.path: found for found in scanner.rows()}
    assert scan(scanner, shown) == {str(tmp_path / "hung"): "does not answer"}
    assert {*shown} == {str(run.path), str(good.path)} and len(Index().rows()) == 2
    scanner.close()


def test_roots_by_their_text() -> None:
    below = store.Below(["/a", "/a/b/", "/c/d"])
    found = {
        place: below.root_of(place) for place in ("/a", "/a/x", "/a/b", "/a/b/c/d", "/ab", "/c", "/c/d/e", "/", "")
    }
    assert found == {"/a": "/a", "/a/x": "/a", "/a/b": "/a/b", "/a/b/c/d": "/a/b", "/ab": None, "/c": None, "/c/d/e": "/c/d",
                     "/": None, "": None}  # fmt: skip
    assert store.Below(["/"]).root_of("/x/y") == "/" and below.root_of("/x/y", or_parent=True) == "/x"


def test_runs_that_cannot_be_read_are_listed(tmp_path: Path, index: Index, hanging: list[str]) -> None:
    good = [str(foreign(tmp_path / "good" / f"run{i}")) for i in range(40)]
    crash, stuck = foreign(tmp_path / "good" / "crash"), foreign(tmp_path / "nfs" / "stuck")
    scanner, shown = Scanner(index, lambda: [tmp_path / "good", tmp_path / "nfs"], command=hanging), {}
    unreachable = scan(scanner, shown)
    assert set(shown) == {*good, str(crash), str(stuck)}
    assert (
        shown[str(crash)].problems == ["the process that read it ended"] and "within" in shown[str(stuck)].problems[0]
    )
    assert {str(crash), str(stuck)} <= set(unreachable)
    pids = [helper.process for helper in scanner._crew.helpers]
    scanner.close()
    wait_for(lambda: all(process.poll() is not None for process in pids))


def test_a_helper_that_is_stopped_or_killed_is_replaced(
    tmp_path: Path, index: Index, hanging: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "_ILL", 1.0)
    paths = [str(foreign(tmp_path / "good" / f"run{i}")) for i in range(10)]
    scanner = Scanner(index, lambda: [tmp_path / "good"], command=hanging)
    scan(scanner)
    for sign in (19, 9):
        for helper in scanner._crew.helpers:
            os.kill(helper.process.pid, sign)
        for path in paths:
            foreign(Path(path), sign)
        shown: dict[str, RunSummary] = {}
        assert scan(scanner, shown) == {}
        assert {run.step for run in shown.values()} == {sign} and len(shown) == 10
    scanner.close()


def test_no_processes_at_all(tmp_path: Path, index: Index) -> None:
    foreign(tmp_path / "run")
    scanner = Scanner(index, lambda: [tmp_path], command=["/nowhere/python"])
    shown: dict[str, RunSummary] = {}
    assert "no process" in scan(scanner, shown)[str(tmp_path)] and shown == {}
    scanner.close()


def test_closing_ends_the_scan_of_another_thread(tmp_path: Path, index: Index, hanging: list[str]) -> None:
    (tmp_path / "hung").mkdir()
    scanner, ended = Scanner(index, lambda: [tmp_path / "hung"], command=hanging), threading.Event()

    def work() -> None:
        for _ in scanner.scan(ended):  # an event can stop it, too
            pass
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    wait_for(lambda: scanner._crew.helpers)
    scanner.close()
    assert ended.wait(1.0) and list(scanner.scan()) == []
    wait_for(lambda: not scanner._crew.helpers)


def test_a_process_with_a_hung_root_ends_at_once(tmp_path: Path, hanging: list[str]) -> None:
    (tmp_path / "hung").mkdir()
    code = ("import sys; from pathlib import Path; from engine.history.index import Index, Scanner\n"
            f"s = Scanner(Index(), lambda: [Path({str(tmp_path / 'hung')!r})], command={hanging!r})\n"
            "next(s.scan()); import time; print([h.process.pid for h in s._crew.helpers], time.time(), flush=True)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert time.time() - float(done.stdout.split("]")[1]) < 2 and done.stderr == ""
    pids = json.loads(done.stdout.split("]")[0] + "]")
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_roots_that_are_not_there(tmp_path: Path, index: Index) -> None:
    run = foreign(tmp_path / "root" / "run")
    scanner, shown = Scanner(index, lambda: [tmp_path / "root", tmp_path / "file"]), {}
    (tmp_path / "file").touch()
    assert scan(scanner, shown) == {str(tmp_path / "file"): "Not a directory"} and list(shown) == [str(run)]
    (tmp_path / "root").rename(tmp_path / "away")
    assert scan(scanner, shown)[str(tmp_path / "root")] == "No such file or directory" and shown == {}
    scanner.close()


def test_find_path(tmp_path: Path) -> None:
    run, own = foreign(tmp_path / "runs" / "some name"), make_run(tmp_path / "runs" / "own", run_id="20261001-abc")
    assert find_path(str(run)) == run and find_path(str(own.meta)) == own.path
    assert find_path("some name", [tmp_path]) == run and find_path("20261001", [tmp_path]) == own.path
    assert find_run("20261001", [tmp_path]).path == own.path
    for text in ("", "nothing like it", str(tmp_path)):
        with pytest.raises(RunNotFoundError):
            find_path(text, [tmp_path])
    with pytest.raises(RunNotFoundError):
        find_run(str(run))
    foreign(tmp_path / "more" / "some name")
    with pytest.raises(RunNotFoundError, match="several"):
        find_path("some name", [tmp_path])


def test_importing_is_light() -> None:
    code = (
        "import sys; from engine.history.index import Index, Scanner; import engine.history.query; print(*sys.modules)"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {
        "pydantic",
        "yaml",
        "engine.config",
        "engine.snapshot",
        "engine.view",
        "engine.history.readers.foreign",
    }
    assert isinstance(sys.modules["engine.history.index"], types.ModuleType)
