"""Real detached supervisors over stand-in workers: order, slots, kills, a restart of the machine, another user."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine import process
from engine import queue as queues
from engine import status as states
from engine.queue import entries, slots
from engine.rundir import RunDir, write_json
from engine.snapshot import RunFollower
from tests.support import ended, launch_fake, read_events, wait_for

pytestmark = pytest.mark.slow

# Every worker stamps its own start and end, by the clock that all processes share.
WORKER = """
stamps = {stamps!r}
def stamp(word):
    fd = os.open(stamps, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{{time.monotonic()}} {{word}} {{run.read_run()['id']}} {{os.getpid()}}\\n".encode())
    os.close(fd)
def done():
    step(10, 10)
    events.write("state", state="completed", reason="all done")
stamp("start")
step(1)
{middle}
stamp("end")
done()
"""


def launch(output: Path, body: str, **values: Any) -> RunDir:
    """A run with a stand-in worker of its own: a script that is being written cannot be started."""
    return launch_fake(output.with_name(f"{output.name}-files"), body, output_dir=str(output), **values)


def worker(folder: Path, middle: str = "time.sleep(0.6)") -> str:
    return WORKER.format(stamps=str(folder / "stamps"), middle=middle)


def stamps(folder: Path) -> list[tuple[float, str, str]]:
    try:
        lines = (folder / "stamps").read_text().splitlines()
    except FileNotFoundError:
        return []
    return sorted((float(a), b, c) for a, b, c, _ in map(str.split, lines))


def most_at_once(folder: Path) -> int:
    now = most = 0
    for _, word, _ in stamps(folder):
        now += 1 if word == "start" else -1
        most = max(most, now)
    return most


def starts(folder: Path) -> list[str]:
    return [run for _, word, run in stamps(folder) if word == "start"]


def started_at(run: RunDir) -> float:
    """When its supervisor had the slot."""
    events = [json.loads(line) for line in run.supervisor_events.read_text().splitlines()]
    return next(event["time"] for event in events if event["type"] == "state" and event["state"] == "starting")


def tunedeck(*words: object) -> Any:
    answer = subprocess.run([sys.executable, "-m", "tui", *map(str, words), "--json"], capture_output=True, text=True, timeout=60,
                            stdin=subprocess.DEVNULL, check=False, cwd=Path(__file__).parent.parent.parent)  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def state(run: RunDir) -> str:
    return RunFollower(run.path).read_all().state.state


def run_id(run: RunDir) -> str:
    return str((run.read_run() or {})["id"])


def kill_supervisor(run: RunDir) -> None:
    status = run.read_status() or {}
    os.kill(status["supervisor_pid"], signal.SIGKILL)


def supervisor_of(run: RunDir) -> int | None:
    """The living supervisor of a run, ``None`` if there is none."""
    status = run.read_status() or {}
    return status.get("supervisor_pid") if process.is_alive(status, "supervisor_pid", "supervisor_started") else None


@pytest.fixture(autouse=True)
def no_leftovers(tmp_path: Path) -> Any:
    yield
    for path in tmp_path.glob("out*"):
        status = RunDir(path).read_status() or {}
        for key in (("supervisor_pid", "supervisor_started"), ("pid", "pid_started")):
            if process.is_alive(status, *key):
                os.kill(status[key[0]], signal.SIGKILL)


def test_twenty_runs_over_two_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "2")
    gate = tmp_path / "go"
    # One whose supervisor is to be killed while it runs takes longer.
    middle = (
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)\ntime.sleep(1 if run.path.name == 'out12' else 0.2)"
    )
    runs = [launch(tmp_path / f"out{n}", worker(tmp_path, middle)) for n in range(20)]
    ids = [run_id(run) for run in runs]
    wait_for(lambda: len(starts(tmp_path)) == 2)
    assert [state(run) for run in runs] == ["running"] * 2 + ["queued"] * 18
    assert [q["id"] for q in tunedeck("queue")["waiting"]] == ids[2:]

    tunedeck("queue", "move", ids[19], 1)
    tunedeck("queue", "move", ids[4], 10)
    tunedeck("queue", "cancel", ids[7])
    asked = [ids[19], *ids[2:4], *ids[5:7], *ids[8:13], ids[4], *ids[13:19]]
    # The ten places were counted with the cancelled run in them.
    shown = [q["id"] for q in tunedeck("queue")["waiting"]]
    assert sorted(shown) == sorted(asked) and shown[0] == ids[19] and shown[8] == ids[4]
    status = ended(runs[7], 3)
    assert (status["state"], status["reason"]) == ("stopped", "cancelled in the queue")

    for run in runs[::3]:  # of those that wait and of one that runs
        kill_supervisor(run)
    gate.touch()
    later = runs[12]
    wait_for(lambda: state(later) == "running", 60)
    kill_supervisor(later)
    for run in runs:
        wait_for(
            lambda run=run: not run.locked and state(run) not in ("queued", "starting", "running", "stopping"), 90, 0.1
        )
    states = [state(run) for run in runs]
    assert states == ["stopped" if n == 7 else "completed" for n in range(20)]
    assert most_at_once(tmp_path) == 2
    assert starts(tmp_path)[:2] == ids[:2] and len(starts(tmp_path)) == 19
    assert sorted(ids[:7] + ids[8:], key=lambda one: started_at(runs[ids.index(one)])) == [*ids[:2], *shown]
    # The stamps are later by what Python needs to start: those that start together may stamp the other way round.
    order = starts(tmp_path)[2:]
    assert all(abs(order.index(wanted) - place) <= 2 for place, wanted in enumerate(shown)), (order, shown)
    assert queues.entry_names() == []


def test_a_killed_supervisors_slot_is_free_when_its_worker_ends_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    gate = tmp_path / "go"
    body = worker(tmp_path, f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)")
    first = launch(tmp_path / "out1", body)
    wait_for(lambda: len(starts(tmp_path)) == 1)
    second = launch(tmp_path / "out2", body)
    kill_supervisor(first)
    time.sleep(2)  # in which the second one looks twice
    assert state(second) == "queued" and len(starts(tmp_path)) == 1
    waits_for = (second.read_status() or {})["waits_for"]
    assert waits_for == f"slot 1 is used by run {run_id(first)} of {slots.user_name(os.getuid())}"
    gate.touch()
    ended(second)
    assert state(first) == state(second) == "completed" and most_at_once(tmp_path) == 1


def test_a_restart_of_the_machine_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    monkeypatch.setenv("HF_HOME", "/a/home/of/its/own")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen = tmp_path / "seen"
    body = worker(tmp_path, f"open({str(seen)!r}, 'a').write(os.environ.get('HF_HOME', '-') + '\\n')\ntime.sleep(0.2)")
    hold = slots.take(slots.directory()[0], "cpu-1", "somebody")
    assert hold is not None
    runs = [launch(tmp_path / f"out{n}", body) for n in range(5)]
    attempts = [(run.read_status() or {})["attempts"] for run in runs]
    tunedeck("queue", "move", run_id(runs[4]), 1)
    assert not any(b"hf_secret" in path.read_bytes() for path in queues.folder().iterdir())
    for run in runs:
        kill_supervisor(run)
    for run in runs:
        wait_for(lambda run=run: not run.locked)
        # A restart takes longer than a heartbeat is trusted.
        long_ago = {"boot_id": "of-another-boot", "heartbeat": time.time() - 2 * states.HEARTBEAT_GRACE}
        write_json(run.status_json, {**(run.read_status() or {}), **long_ago})
    (tmp_path / "moved").mkdir()
    os.rename(runs[2].path, tmp_path / "out-moved")
    runs[2] = RunDir(tmp_path / "out-moved")
    monkeypatch.setenv("HF_HOME", "/of/the/next/shell")
    for run in runs:
        inferred = RunFollower(run.path).read_all().state
        assert (inferred.state, inferred.reason) == (
            "queued",
            "waits in the queue; goes on with the next tunedeck command",
        )
    tunedeck("runs")
    for run in runs:
        wait_for(lambda run=run: supervisor_of(run), 20)
    tunedeck("runs")
    os.close(hold)
    for run in runs:
        assert ended(run, 30)["state"] == "completed"
    ids = [run_id(run) for run in runs]
    assert starts(tmp_path) == [ids[4], *ids[:4]] and most_at_once(tmp_path) == 1
    assert [(run.read_status() or {})["attempts"] for run in runs] == attempts == [1] * 5
    assert seen.read_text().splitlines() == ["/a/home/of/its/own"] * 5
    assert queues.entry_names() == []


def test_cancelling_a_run_whose_supervisor_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    hold = slots.take(slots.directory()[0], "cpu-1", "somebody")
    assert hold is not None
    runs = [launch(tmp_path / f"out{n}", worker(tmp_path)) for n in range(2)]
    for run in runs:
        kill_supervisor(run)
        wait_for(lambda run=run: not run.locked)
    assert tunedeck("queue", "cancel", run_id(runs[0]))["reason"] == "cancelled in the queue"
    assert tunedeck("stop", runs[1].path)["reason"] == "cancelled in the queue"
    assert [state(run) for run in runs] == ["stopped"] * 2 and starts(tmp_path) == []
    os.close(hold)


def test_sigterm_to_everything_is_a_shutdown_and_no_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    hold = slots.take(slots.directory()[0], "cpu-1", "somebody")
    assert hold is not None
    run = launch(tmp_path / "out", worker(tmp_path))
    pid = supervisor_of(run)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not run.locked)
    assert state(run) == "queued" and queues.entry_exists(run_id(run))
    os.close(hold)
    tunedeck("queue")
    assert ended(run)["state"] == "completed"


def test_many_revivers_start_one_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    hold = slots.take(slots.directory()[0], "cpu-1", "somebody")
    assert hold is not None
    run = launch(tmp_path / "out", worker(tmp_path))
    kill_supervisor(run)
    wait_for(lambda: not run.locked)
    revivers = [subprocess.Popen([sys.executable, "-P", "-m", "engine.queue.reviving"]) for _ in range(6)]
    assert [reviver.wait(30) for reviver in revivers] == [0] * 6
    wait_for(lambda: supervisor_of(run))
    mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and _command(pid) == f"engine.supervisor {run.path}"]
    assert mine == [str(supervisor_of(run))]
    log = run.train_log.read_text()
    assert log == "", log
    os.close(hold)
    ended(run)


def _command(pid: str) -> str:
    try:
        return " ".join(Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[3:5])
    except OSError:
        return ""


def test_queue_false_starts_beside_others_and_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    gate = tmp_path / "go"
    body = worker(tmp_path, f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)")
    first, second = (launch(tmp_path / f"out{n}", body, queue=False) for n in range(2))
    wait_for(lambda: len(starts(tmp_path)) == 2)
    third = launch(tmp_path / "out3", body)
    assert (first.read_status() or {})["slots"] == ["cpu-1"] and (second.read_status() or {})["slots"] == []
    assert state(third) == "queued" and run_id(first) in (third.read_status() or {})["waits_for"]
    assert tunedeck("queue")["slots"][0]["run"] == run_id(first)
    gate.touch()
    assert [ended(run)["state"] for run in (first, second, third)] == ["completed"] * 3


def test_a_free_slot_means_no_delay_and_never_queued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    run = launch(tmp_path / "out", worker(tmp_path, ""))
    ended(run)
    events = [json.loads(line) for line in run.supervisor_events.read_text().splitlines()]
    seen = [event["state"] for event in events if event["type"] == "state"]
    assert seen[0] == "starting" and seen[-1] == "completed" and "queued" not in seen
    assert queues.entry_names() == [] and read_events(run)[0]["type"] == "step"


def test_a_queue_that_cannot_be_written_still_lets_runs_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    hold = slots.take(slots.directory()[0], "cpu-1", "somebody")
    assert hold is not None
    queues.folder().parent.mkdir(parents=True)
    queues.folder().write_text("no directory")  # root may write everywhere; this stops even root
    run = launch(tmp_path / "out", worker(tmp_path, ""))
    assert state(run) == "queued"
    notices = [notice.text for notice in RunFollower(run.path).read_all().notices]
    assert any("the queue cannot be written" in text for text in notices), notices
    os.close(hold)
    assert ended(run)["state"] == "completed"


def test_odd_bytes_in_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    hold = slots.take(slots.directory()[0], "cpu-1", "somebody")
    assert hold is not None
    run = launch(tmp_path / "out \n\x1b[31m한글", worker(tmp_path, ""))
    assert [entry.path for entry in entries.read_all()] == [str(run.path)]
    kill_supervisor(run)
    wait_for(lambda: not run.locked)
    os.close(hold)
    queues.revive()
    assert ended(run)["state"] == "completed"


def test_a_run_that_is_moved_or_deleted_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDECK_SLOTS", "1")
    hold = slots.take(slots.directory()[0], "cpu-1", "somebody")
    assert hold is not None
    moved, deleted, third = (launch(tmp_path / f"out{n}", worker(tmp_path, "")) for n in range(3))
    ids = [run_id(run) for run in (moved, deleted, third)]
    os.rename(moved.path, tmp_path / "out-elsewhere")
    shutil.rmtree(deleted.path)
    moved = RunDir(tmp_path / "out-elsewhere")
    expected = [(ids[0], str(moved.path)), (ids[2], str(third.path))]
    wait_for(lambda: [(e.id, e.path) for e in entries.read_all()] == expected, 20)  # the third one wakes its neighbours
    assert not deleted.path.exists()
    assert [q["path"] for q in tunedeck("queue")["waiting"]] == [str(moved.path), str(third.path)]
    os.close(hold)
    assert [ended(run)["state"] for run in (moved, third)] == ["completed"] * 2
    assert starts(tmp_path) == [ids[0], ids[2]]


FAKE_NVML = """
# Stands in for NVIDIA's library where there is no card: cards and their processes as a file says.
import json, os
class NVMLError(Exception): pass
nvmlMemory_v2, NVML_TEMPERATURE_GPU = 2, 0
class Of:
    def __init__(self, **values): self.__dict__.update(values)
def nvmlInit(): pass
def nvmlShutdown(): pass
def _cards(): return json.load(open(os.environ["FAKE_CARDS"]))
def nvmlDeviceGetCount(): return len(_cards())
def nvmlDeviceGetHandleByIndex(index): return _cards()[index]
def nvmlDeviceGetName(card): return "H100"
def nvmlDeviceGetUUID(card): return card["uuid"]
def nvmlDeviceGetMemoryInfo(card, version=None): return Of(used=card["used"] << 30, total=80 << 30)
def nvmlDeviceGetUtilizationRates(card): return Of(gpu=0)
def nvmlDeviceGetPowerUsage(card): return 100000
def nvmlDeviceGetTemperature(card, kind): return 40
def nvmlDeviceGetCudaComputeCapability(card): return (9, 0)
def nvmlDeviceGetComputeRunningProcesses(card): return [Of(pid=pid) for pid in card["pids"]]
def nvmlSystemGetDriverVersion(): return "580"
"""


def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every supervisor asks a stand-in for NVIDIA's library: two cards, of which somebody uses one."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pynvml.py").write_text(FAKE_NVML)
    cards = tmp_path / "cards.json"

    def machine(**pids: list[int]) -> None:
        found = [{"uuid": f"GPU-{n}", "used": 10 * n, "pids": pids.get(f"on{n}", [])} for n in range(2)]
        cards.with_suffix(".new").write_text(json.dumps(found))
        os.replace(cards.with_suffix(".new"), cards)

    monkeypatch.setenv("FAKE_CARDS", str(cards))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine(on1=[os.getpid()])
    user = slots.user_name(os.getuid())
    gate, seen = tmp_path / "go", tmp_path / "seen"
    middle = f"open({str(seen)!r}, 'a').write(run.path.name + os.environ['CUDA_VISIBLE_DEVICES'] + ' ')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)"
    body = worker(tmp_path, middle)
    auto = launch(tmp_path / "outa", body)
    fixed = launch(tmp_path / "outb", body, gpus=[1])
    other = launch(tmp_path / "outc", body)
    last = launch(tmp_path / "outd", body, gpus=[0])
    wait_for(lambda: len(starts(tmp_path)) == 1)
    waits = [(run.read_status() or {}).get("waits_for") for run in (auto, fixed, other, last)]
    first = f"GPU 0 is used by run {run_id(auto)} of {user}"
    crowd = f"GPU 1 is used by 1 process of {user}"
    assert waits == [None, crowd, f"1 run is before it; {first}; {crowd}", f"2 runs are before it; {first}"]
    assert [q["gpus"] for q in tunedeck("queue")["waiting"]] == [["GPU 1"], ["GPU 0", "GPU 1"], ["GPU 0"]]
    beside = launch(tmp_path / "oute", body, gpus=[1], queue=False)  # it takes the lock though somebody computes there
    wait_for(lambda: len(starts(tmp_path)) == 2)
    assert (beside.read_status() or {})["slots"] == ["gpu-GPU-1"]
    assert {s["label"]: s["run"] for s in tunedeck("queue")["slots"]} == {
        "GPU 0": run_id(auto),
        "GPU 1": run_id(beside),
    }
    machine()
    gate.touch()
    for run in (auto, fixed, other, last, beside):
        assert ended(run, 30)["state"] == "completed"
    got = {word[:-1]: word[-1] for word in seen.read_text().split()}
    assert {name: got[name] for name in ("outa", "outb", "outd", "oute")} == {
        "outa": "0",
        "outb": "1",
        "outd": "0",
        "oute": "1",
    }
    assert got["outc"] in "01" and starts(tmp_path)[:2] == [run_id(auto), run_id(beside)]
