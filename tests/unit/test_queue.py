"""The queue's order, its entries and its slots: real files, real locks, real processes, another user."""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import process, queue
from engine import status as states
from engine.cli import main
from engine.errors import InputError
from engine.hardware import Gpu
from engine.queue import entries, order, reviving, slots
from engine.queue.entries import Entry
from engine.rundir import RunDir, write_json
from tests.support import make_run, wait_for

GIB = 2**30


def card(index: int, used: int = 0, pids: tuple[int, ...] = ()) -> Gpu:
    return Gpu(index, f"H{index}", used * GIB, 80 * GIB, processes=len(pids), uuid=f"GPU-{index}{index}-aa", pids=pids)


def entry(name: str, position: float, kind: str = order.CPU, *wanted: str) -> Entry:
    return Entry(name, "/nowhere", position, kind=kind, slots=wanted)


def put(tmp_path: Path, name: str, position: float) -> Entry:
    run = make_run(tmp_path / name, run_id=name, state="stopped", steps=1)
    made = Entry(name, str(run.path), position, time.time())
    queue.folder().mkdir(parents=True, exist_ok=True)
    entries.write(made)
    return made


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users can reach, too."""
    folder = Path(tempfile.mkdtemp(prefix="slots-"))
    folder.chmod(0o1777)
    yield folder / "slots"
    shutil.rmtree(folder)


def as_other_user(what: Callable[[], object], uid: int = 65534) -> object:
    """Run something in a child that is another user; its answer."""

    def child(end: multiprocessing.connection.Connection) -> None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        end.send(what())

    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    worker = context.Process(target=child, args=(theirs,))
    worker.start()
    theirs.close()
    answer = mine.recv()
    worker.join(10)
    return answer


# The order


def test_first_come_first_served() -> None:
    waiting = [entry("c", 3), entry("a", 1), entry("b", 2)]
    assert order.allocate(waiting, ["cpu-1"], ["cpu-1"]) == {"a": ("cpu-1",)}
    assert order.allocate(waiting, ["cpu-2", "cpu-1"], ["cpu-1", "cpu-2"]) == {"a": ("cpu-2",), "b": ("cpu-1",)}
    assert order.turn("a", waiting, ["cpu-1", "cpu-2"], ["cpu-1", "cpu-2"]) == ("cpu-1",)
    # There is room for two, but the first has not gone yet.
    assert order.turn("b", waiting, ["cpu-1", "cpu-2"], ["cpu-1", "cpu-2"]) == ()
    assert order.turn("nobody", waiting, ["cpu-1"], ["cpu-1"]) == ()


def test_waiting_for_one_gpu_holds_up_nobody_who_wants_another() -> None:
    waiting = [entry("a", 1, order.EVERY, "g1"), entry("b", 2, order.EVERY, "g0"), entry("c", 3, order.ONE, "g0", "g1")]
    assert order.turn("b", waiting, ["g0"], []) == ("g0",)
    assert order.turn("c", waiting, ["g0"], []) == ()
    assert order.allocate(waiting, ["g1", "g0"], []) == {"a": ("g1",), "b": ("g0",)}
    assert order.turn("c", waiting[2:], ["g1", "g0"], []) == ("g1",)


def test_who_needs_several_keeps_what_is_free_already() -> None:
    waiting = [entry("both", 1, order.EVERY, "g0", "g1"), entry("small", 2, order.ONE, "g0", "g1")]
    assert order.allocate(waiting, ["g0"], []) == {}
    assert order.allocate(waiting, ["g1", "g0"], []) == {"both": ("g1", "g0")}


def test_property_nobody_is_overtaken() -> None:
    """Random queues on random machines, played to the end: what is promised holds at every start."""
    for seed in range(300):
        dice = random.Random(seed)
        gpus = [f"g{n}" for n in range(dice.randint(1, 4))]
        waiting = []
        for n in range(dice.randint(1, 12)):
            kind = dice.choice([order.ONE, order.ONE, order.EVERY])
            wanted = gpus if kind == order.ONE else dice.sample(gpus, dice.randint(1, len(gpus)))
            waiting.append(entry(f"r{n}", float(dice.randint(1, 6)), kind, *wanted))
        busy: dict[str, tuple[str, ...]] = {}
        for _ in range(200):
            free = [g for g in gpus if g not in itertools.chain(*busy.values())]
            given = order.allocate(waiting, free, [])
            taken = list(itertools.chain(*given.values()))
            assert len(taken) == len(set(taken)) and set(taken) <= set(free)
            if free == gpus and waiting:
                assert min(waiting, key=order.key).id in given  # an empty machine always serves the first
            starts = {e.id: got for e in waiting if (got := order.turn(e.id, waiting, free, []))}
            assert set(starts) <= set(given)
            for first, second in itertools.combinations(sorted(waiting, key=order.key), 2):
                if second.id in starts and set(first.slots) & set(second.slots):
                    # Not past somebody who could have started, and not with a slot that would have served him.
                    assert first.id not in given
                    assert first.kind == order.EVERY and not set(starts[second.id]) & set(first.slots)
            for run_id, got in starts.items():
                busy[run_id] = got
            waiting = [e for e in waiting if e.id not in starts]
            if busy and dice.random() < 0.6:
                busy.pop(dice.choice(list(busy)))
            if not waiting:
                break
        assert not waiting, f"starved with seed {seed}"


def test_property_moves_and_cancels_keep_a_list_like_a_list(tmp_path: Path) -> None:
    for name in "abcdefgh":
        put(tmp_path, name, entries.next_position(entries.read_all()))
    model, dice = list("abcdefgh"), random.Random(7)
    for n in range(400):
        name = dice.choice(model)
        if n in (100, 200, 300):
            entries.remove(name)
            model.remove(name)
        else:
            place = dice.randint(1, len(model) + 2)
            model.remove(name)
            model.insert(place - 1, name)
            assert [e.id for e in entries.move(name, place)] == model
        assert [e.id for e in entries.read_all()] == model
    assert all(math.isfinite(e.position) for e in entries.read_all())


def test_moving_to_one_place_again_and_again_never_runs_out_of_numbers(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, name, entries.next_position(entries.read_all()))
    for n in range(200):  # halving the same gap uses up a double's 52 bits
        assert [e.id for e in entries.move("bc"[n % 2], 2)] == ["a", "bc"[n % 2], "cb"[n % 2]]


# Entries


def test_an_entry_survives_with_odd_bytes_and_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET", "DATABASE_URL"):
        monkeypatch.setenv(name, "hidden-thing")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff\n\x1b[31m")
    made = Entry(
        "20261124-083000-k3f9a", path, 1.5, 2.0, order.ONE, ("gpu-a",), ("GPU 0",), entries.environment_to_keep()
    )
    with entries.locked():
        entries.write(made)
    assert entries.read_all() == [made] and made.environment["CUDA_VISIBLE_DEVICES"] == "3"
    file = queue.entry_path(made.id)
    assert file is not None and b"hidden-thing" not in file.read_bytes() and file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("TORCH_LOGS", "later")
    entries.restore_environment(made)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3" and "TORCH_LOGS" not in os.environ
    assert os.environ["HF_TOKEN"] == "hidden-thing"
    entries.remove(made.id)
    assert entries.read_all() == [] and not queue.entry_exists(made.id)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"position": NaN}', b'{"position": "1"}', b"\xff" * 50,
                                  b'{"id":"run","path":5,"position":1,"kind":"cpu"}', b'{"id":"run","path":"/x","position":1e999,"kind":"cpu"}',
                                  b'{"id":"other","path":"/x","position":1,"kind":"cpu"}', b"[" * 5000])  # fmt: skip
def test_a_damaged_entry_stands_at_the_end_and_holds_up_nobody(tmp_path: Path, text: bytes) -> None:
    good = put(tmp_path, "good", 5.0)
    path = queue.entry_path("run")
    assert path is not None
    path.write_bytes(text)
    found = entries.read_all()
    assert [e.id for e in found] == ["good", "run"]
    assert order.allocate(found, ["cpu-1"], ["cpu-1"]) == {"good": ("cpu-1",)}
    assert entries.next_position(found) == 6.0
    assert [e.id for e in entries.move("good", 1)] == ["good", "run"] and good.id == "good"
    with pytest.raises(InputError):
        entries.move("run", 1)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", ".hidden", "a/b", "x" * 300, "a\nb", "한글"])
def test_ids_that_are_no_file_names_have_no_place(name: str) -> None:
    assert queue.entry_path(name) is None and not queue.entry_exists(name)
    entries.remove(name)
    with pytest.raises(OSError):
        entries.write(Entry(name, "/x", 1.0))


def test_the_lock_keeps_others_out_and_gives_up() -> None:
    with entries.locked():
        begun = time.monotonic()
        with pytest.raises(entries.QueueBusyError), entries.locked(0.2):
            pass
        assert 0.2 <= time.monotonic() - begun < 2
    with entries.locked(0):
        pass


def test_many_processes_add_at_once_and_none_is_lost(tmp_path: Path) -> None:
    code = ("import sys\nfrom engine.queue import entries\nfrom engine.queue.entries import Entry\n"
            "for n in range(20):\n  with entries.locked():\n    p = entries.next_position(entries.read_all())\n"
            "    entries.write(Entry(f'{sys.argv[1]}-{n}', '/x', p))\n")  # fmt: skip
    children = [subprocess.Popen([sys.executable, "-c", code, f"p{n}"]) for n in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    assert sorted(e.position for e in entries.read_all()) == [float(n) for n in range(1, 81)]


# Slots


def test_a_slot_is_taken_once_and_named(open_place: Path) -> None:
    place, warning = slots.directory()
    assert warning == "" and place.stat().st_mode & 0o7777 == 0o1777
    assert slots.holder(place, "cpu-1") is None
    fd = slots.take(place, "cpu-1", "20261124-083000-k3f9a")
    assert fd is not None and not os.get_inheritable(fd)
    assert slots.take(place, "cpu-1", "other") is None
    holder = slots.holder(place, "cpu-1")
    me = slots.user_name(os.getuid())
    assert holder is not None and (holder.run, holder.user, holder.pid) == ("20261124-083000-k3f9a", me, os.getpid())
    assert str(holder) == f"is used by run 20261124-083000-k3f9a of {me}"
    os.close(fd)
    assert slots.holder(place, "cpu-1") is None


def test_the_slot_stays_taken_until_the_last_heir_is_gone() -> None:
    place, _ = slots.directory()
    fd = slots.take(place, "cpu-1", "run")
    assert fd is not None
    heir = subprocess.Popen(["sleep", "60"], pass_fds=(fd,))
    os.close(fd)
    assert slots.holder(place, "cpu-1") is not None and slots.take(place, "cpu-1", "b") is None
    heir.kill()
    heir.wait()
    fd = slots.take(place, "cpu-1", "b")
    assert fd is not None
    os.close(fd)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_takes_a_slot_and_is_named(open_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOT_DIR", str(open_place))
    # The other one comes first: files and directory are his.
    context = multiprocessing.get_context("fork")
    go, ready = context.Event(), context.Event()

    def other() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        place, warning = slots.directory()
        assert warning == "" and slots.take(place, "gpu-a", "20261124-000000-other") is not None
        ready.set()
        go.wait(30)

    child = context.Process(target=other)
    child.start()
    assert ready.wait(20)
    place, warning = slots.directory()
    assert warning == "" and place == open_place
    holder = slots.holder(place, "gpu-a")
    assert str(holder) == f"is used by run 20261124-000000-other of {slots.user_name(65534)}"
    assert slots.take(place, "gpu-a", "mine") is None
    go.set()
    child.join(10)
    assert child.exitcode == 0
    fd = slots.take(place, "gpu-a", "mine")  # his file serves us, too
    assert fd is not None
    name = slots.user_name(os.getuid())
    assert as_other_user(lambda: str(slots.holder(open_place, "gpu-a"))) == f"is used by run mine of {name}"
    assert as_other_user(lambda: slots.take(open_place, "gpu-a", "his")) is None
    mine = slots.take(place, "gpu-b", "mine")
    assert mine is not None
    os.close(mine)
    assert as_other_user(lambda: slots.take(open_place, "gpu-b", "his")) is not None
    os.close(fd)


def test_a_cleaner_that_removes_the_file_lets_nobody_in_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = slots.directory()
    real, removed = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and not removed:
            removed.append(os.unlink(place / "cpu-1"))  # between opening and locking
        real(fd, operation)

    monkeypatch.setattr(slots.fcntl, "flock", flock)
    first = slots.take(place, "cpu-1", "a")
    assert first is not None and removed and slots.take(place, "cpu-1", "b") is None
    os.close(first)


@pytest.mark.parametrize("trap", ["link", "dangling", "pipe", "folder", "loop"])
def test_traps_in_the_directory_neither_hang_nor_harm(tmp_path: Path, trap: str) -> None:
    place, _ = slots.directory()
    target, victim = place / "cpu-1", tmp_path / "victim"
    victim.write_text("precious")
    if trap == "pipe":
        os.mkfifo(target)
    elif trap == "folder":
        target.mkdir()
    else:
        target.symlink_to({"link": victim, "dangling": tmp_path / "none", "loop": target}[trap])
    assert slots.take(place, "cpu-1", "run") is None
    holder = slots.holder(place, "cpu-1")
    assert holder is not None and "has to be removed" in str(holder)
    assert victim.read_text() == "precious" and not (tmp_path / "none").exists()


def test_a_directory_that_is_a_trap_is_named_and_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        monkeypatch.setenv("TUNEDECK_SLOT_DIR", str(tmp_path / name))
        place, warning = slots.directory()
        assert place == queue.paths.state_dir() / "slots" and str(tmp_path / name) in warning
        fd = slots.take(place, "cpu-1", "run")
        assert fd is not None
        os.close(fd)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_directory_of_somebody_who_locks_others_out(open_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_place.mkdir(mode=0o755)
    home = open_place.parent / "home"
    home.mkdir()
    home.chmod(0o777)
    monkeypatch.setenv("TUNEDECK_SLOT_DIR", str(open_place))
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    place, warning = as_other_user(slots.directory)  # type: ignore[misc]
    assert str(place).startswith(str(home)) and "other users do not see" in warning
    (open_place / "cpu-1").touch(mode=0o600)
    refused = as_other_user(lambda: (slots.take(open_place, "cpu-1", "x"), str(slots.holder(open_place, "cpu-1"))))
    assert refused == (None, f"cannot be asked: {open_place}/cpu-1: Permission denied; it has to be removed")


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b'{"run": 7, "user": null, "pid": "x", "since": "y"}',
                                  b'{"run": "\\u001b]52;c;AAAA\\u0007x", "user": "\\u202eroot"}', b"[" * 4000])  # fmt: skip
def test_what_stands_in_a_slot_is_untrusted(text: bytes) -> None:
    place, _ = slots.directory()
    fd = slots.take(place, "cpu-1", "run")
    assert fd is not None
    os.ftruncate(fd, 0)
    os.pwrite(fd, text, 0)
    shown = str(slots.holder(place, "cpu-1"))
    assert shown.startswith("is used by") and shown.isprintable()
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}
    os.close(fd)


def test_a_full_disk_costs_only_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = slots.directory()
    monkeypatch.setattr(slots.os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    fd = slots.take(place, "cpu-1", "run")
    assert fd is not None and str(slots.holder(place, "cpu-1")) == "is used by another run"
    os.close(fd)


def test_how_many_slots_a_machine_without_a_gpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEDECK_SLOTS")
    assert slots.cpu_slots() == ["cpu-1"]
    slots.set_count(3)
    assert slots.cpu_slots() == ["cpu-1", "cpu-2", "cpu-3"] and queue.entry_names() == []
    for given, expected in (("2", 2), ("0", 3), ("-1", 3), ("x", 3), ("٣", 3), ("99999", 3), ("", 3)):
        monkeypatch.setenv("TUNEDECK_SLOTS", given)
        assert slots.count() == expected


def test_which_slots_a_run_wishes() -> None:
    cards = [card(0), card(1), card(2)]
    names = [slots.slot_name(c) for c in cards]
    assert slots.wish("auto", cards, None) == slots.Wish(order.ONE, tuple(names), ("GPU 0", "GPU 1", "GPU 2"))
    assert slots.wish("auto", cards, "2,0").slots == (names[2], names[0])
    assert slots.wish("auto", cards, "GPU-11").slots == (names[1],)
    assert slots.wish("auto", cards, "1,9,0").slots == (names[1],)  # CUDA stops at the first it does not know
    assert slots.wish("auto", cards, "").kind == slots.wish("auto", cards, "-1").kind == order.CPU
    assert slots.wish([2, 0], cards, "1") == slots.Wish(order.EVERY, (names[0], names[2]), ("GPU 0", "GPU 2"))
    assert slots.wish("auto", [], None) == slots.wish([0], [], None) == slots.Wish()
    mig = slots.wish("auto", cards, "MIG-8f/../x")
    assert mig.slots == ("gpu-MIG-8f_.._x",) and slots.device(mig.slots[0], cards, "MIG-8f/../x") == "MIG-8f/../x"
    assert slots.device(names[1], [card(5, 0), cards[1]], None) == "1"


def test_the_freest_card_first_and_who_crowds_one() -> None:
    cards = [
        card(0, used=70),
        card(1, used=1),
        card(2, used=5, pids=(os.getpid(),)),
        card(3, pids=(2**22 + 1, 2**22 + 2)),
    ]
    names = [slots.slot_name(c) for c in cards]
    assert slots.best_first(names, cards) == [names[3], names[1], names[2], names[0]]
    assert slots.crowded(cards) == {names[2]: f"is used by 1 process of {slots.user_name(os.getuid())}",
                                    names[3]: "is used by 2 processes"}  # fmt: skip


# Reviving and reading


def dead_run(tmp_path: Path, name: str = "run", **status: object) -> RunDir:
    """A queued run whose supervisor went with another boot."""
    put(tmp_path, name, 1.0)
    run = RunDir(tmp_path / name)
    record = {**(run.read_status() or {}), "state": "queued", "id": name, "started": None, "pid": None, "boot_id": "other",
              "supervisor_pid": 1, "supervisor_started": 1, "heartbeat": 1.0, **status}  # fmt: skip
    write_json(run.status_json, record)
    return run


def test_a_queued_run_without_a_supervisor_is_queued_while_it_has_a_place(tmp_path: Path) -> None:
    run = dead_run(tmp_path)
    inferred = states.infer(run.read_status(), locked=False)
    assert (inferred.state, inferred.reason) == ("queued", "waits in the queue; goes on with the next tunedeck command")
    entries.remove("run")
    assert states.infer(run.read_status(), locked=False).state == "lost"


@pytest.mark.parametrize(("status", "waits"), [
    ({}, True), ({"state": "starting"}, True), ({"state": "starting", "pid": 7, "started": 5.0}, False),
    ({"state": "running", "pid": 7, "started": 5.0}, False), ({"state": "stopped"}, False), ({"state": "completed"}, False),
])  # fmt: skip
def test_who_still_waits(tmp_path: Path, status: dict[str, object], waits: bool) -> None:
    run = dead_run(tmp_path, **status)
    assert reviving.waits(run) is waits
    write_json(run.run_json, {**(run.read_run() or {}), "attempts": [{}, {}]})
    assert reviving.waits(run)  # resumed, and killed before its new supervisor could say so


def test_what_needs_no_place_any_more_is_dropped(tmp_path: Path) -> None:
    dead_run(tmp_path, "ended", state="completed")
    dead_run(tmp_path, "deleted")
    dead_run(tmp_path, "elsewhere")
    shutil.rmtree(tmp_path / "deleted")
    made = entries.read("elsewhere")
    assert made is not None
    entries.write(Entry("elsewhere", "/not/mounted/now/run", 2.0))
    assert reviving.revive_now() == ["elsewhere"]
    assert queue.entry_names() == ["elsewhere"]  # its disk may come back
    assert not entries.read_all()[0].reachable


def test_a_run_in_living_hands_is_left_alone(tmp_path: Path) -> None:
    run = dead_run(tmp_path)
    code = "import sys,time\nfrom engine.rundir import RunDir\nfd = RunDir(sys.argv[1]).acquire_lock()\nprint('ok', flush=True)\ntime.sleep(60)"
    keeper = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE)
    assert keeper.stdout is not None and keeper.stdout.readline() == b"ok\n"
    assert reviving.dead() == [] and queue.revive() == 0
    before = run.status_json.read_bytes()
    assert reviving.revive_now() == [] and run.status_json.read_bytes() == before and queue.entry_exists("run")
    keeper.send_signal(signal.SIGKILL)
    keeper.wait()
    assert [e.id for e in reviving.dead()] == ["run"]


def test_no_queue_costs_one_listing() -> None:
    code = "import sys\nfrom engine import queue\nassert queue.revive() == 0\nprint(*(m for m in sys.modules if m.startswith('engine')))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) <= {"engine", "engine.queue", "engine.paths", "engine.process"}, answer.stdout


# The command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviving, "start_reviver", lambda: None)
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    place, _ = slots.directory()
    fd = slots.take(place, "cpu-1", "20261124-083000-k3f9a")
    assert fd is not None
    for n, name in enumerate("abc"):
        dead_run(tmp_path, name)
        entries.write(Entry(name, str(tmp_path / name), float(n)))
    assert main(["queue", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(q["position"], q["id"], q["state"]) for q in shown["waiting"]] == [
        (1, "a", "queued"),
        (2, "b", "queued"),
        (3, "c", "queued"),
    ]
    assert set(shown["waiting"][0]) == {"position", "id", "name", "state", "waits_for", "gpus", "path"}
    assert [(s["slot"], s["free"], s["run"]) for s in shown["slots"]] == [("cpu-1", False, "20261124-083000-k3f9a")]
    assert main(["queue", "move", str(tmp_path / "c"), "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": "c", "position": 1, "queue": ["c", "a", "b"]}
    assert main(["queue"]) == 0
    text = capsys.readouterr().out
    assert text.index(" c ") < text.index(" a ") < text.index(" b ") and "slot 1  is used by run 20261124" in text
    os.close(fd)
    entries.remove("a")
    assert main(["queue", "cancel", str(tmp_path / "a")]) == 2
    assert "does not wait in the queue" in capsys.readouterr().err and RunDir(tmp_path / "a").requests() == []
    assert main(["queue", "move", str(tmp_path / "a"), "1"]) == 2
    for bad in ("0", "-1", "x", "1.5", "٣"):
        with pytest.raises(SystemExit) as error:
            main(["queue", "move", str(tmp_path / "b"), bad])
        assert error.value.code == 2
    capsys.readouterr()
    monkeypatch.delenv("TUNEDECK_SLOTS")
    assert main(["queue", "slots", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["without_gpu"] == 2 and slots.count() == 2
    assert main(["queue", "slots", "1000"]) == 2


def test_a_status_that_lies_about_its_wait_is_drawn_safely(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviving, "start_reviver", lambda: None)
    dead_run(tmp_path, waits_for="\x1b]0;x\x07", **process.identity(os.getpid()), supervisor_pid=os.getpid())
    assert main(["queue"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert wait_for(lambda: queue.entry_names() == ["run"])
