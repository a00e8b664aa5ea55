"""Ends that need a real kernel at its worst: no memory, no disk, no descriptors, another namespace, forged records."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pexpect
import pytest

from engine import process, registry
from engine import status as states
from engine.cli import control
from engine.history import scan, summarise
from engine.rundir import RunDir, write_json
from engine.snapshot import RunFollower
from tests.support import ended, launch_fake, make_run, wait_for

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
LIVE = "step(1, 10)\ntime.sleep(60)\n"
FORGED = 10_000 if os.environ.get("TUNEDECK_FULL") else 2_500
DONE = 'step(1, 1)\nevents.write("state", state="completed", reason="all done")'
MEMORY = Path("/sys/fs/cgroup/memory")


@contextlib.contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """What is launched here, for several tests, has a user's state of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STATE", "CACHE", "CONFIG"):
            patch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
        yield


def running(run: RunDir) -> dict[str, Any]:
    return wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)


# -- the memory killer -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_group(name: str) -> Iterator[Path]:
    """A control group with 64 MiB (version 1, as only that can be written here without systemd's consent)."""
    folder = MEMORY / f"tunedeck-test-{os.getpid()}-{name}"
    try:
        folder.mkdir()
        for limit in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            if (folder / limit).exists():
                (folder / limit).write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    for pid in (folder / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: not (folder / "cgroup.procs").read_text().split())
    folder.rmdir()


@pytest.fixture
def group() -> Iterator[Path]:
    with small_group("one") as folder:
        yield folder


def test_the_memory_killer_is_named(tmp_path: Path, group: Path) -> None:
    body = f"""
step(1)
open({str(group / "cgroup.procs")!r}, "w").write(str(os.getpid()))
time.sleep(1)
hoard = []
while True:
    hoard.append(bytearray(os.urandom(1 << 20)))
"""
    run = launch_fake(tmp_path, body)
    status = ended(run, 20)
    assert (status["state"], status["signal"]) == ("killed", "SIGKILL"), status
    assert status["reason"].startswith("killed by the kernel's memory killer")


@pytest.fixture(scope="module")
def long_ago(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RunDir]]:
    """A run whose child was killed for memory; gives it once it was killed itself, seven seconds later."""
    eat = "import os\nopen({0!r}, 'w').write(str(os.getpid()))\nx = []\nwhile True: x.append(bytearray(os.urandom(1 << 20)))"
    folder = tmp_path_factory.mktemp("long-ago")
    with small_group("long-ago") as group, ThreadPoolExecutor(1) as pool:
        body = f"""
import subprocess
step(1)
open({str(group / "cgroup.procs")!r}, "w").write(str(os.getpid()))
time.sleep(1)
child = subprocess.run([sys.executable, "-c", {eat.format(str(group / "cgroup.procs"))!r}])
events.write("notice", level="info", text=f"the child ended with {{child.returncode}}")
time.sleep(60)
"""
        with elsewhere(folder):
            run = launch_fake(folder / "run", body)

        def kill() -> RunDir:
            follower = RunFollower(run.path)
            wait_for(lambda: (follower.poll(), [n for n in follower.view.notices if "ended with -9" in n.text])[1], 20)
            time.sleep(7)
            os.kill(follower.view.status["pid"], signal.SIGKILL)
            return run

        yield pool.submit(kill).result


# -- disks -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of two megabytes and 200 inodes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=200,mode=700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small") as folder:
        yield folder


def launch_on(folder: Path, body: str, beside: Path) -> RunDir:
    """A run whose directory is on ``folder``, everything else elsewhere."""
    return launch_fake(beside, body, output_dir=str(folder / "out"))


FILL = """
step(1)
time.sleep(1.5)
try:
    with open(run.path / "filler", "wb", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass
except OSError:
    pass
"""
INODES = """
step(1)
time.sleep(1.5)
try:
    for n in range(1000):
        open(run.path / f"filler-{n}", "x").close()
except OSError:
    pass
"""


ENDS = {"failed": "sys.exit(1)", "killed": "os.kill(os.getpid(), 9)"}
FILLS = {"bytes": FILL, "inodes": INODES}


@pytest.fixture(scope="module")
def full_disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Callable[[], Any]]]:
    """Runs on disks that they fill themselves, side by side; gives for each when its end was seen, and with what status."""
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("full")
        pool = stack.enter_context(ThreadPoolExecutor(len(ENDS) * len(FILLS)))
        found = {}
        for fill, state in itertools.product(FILLS, ENDS):
            (folder / f"{fill}-{state}").mkdir()
            disk = stack.enter_context(small_disk(folder / f"{fill}-{state}" / "disk"))
            with elsewhere(folder):
                run = launch_on(disk, f"{FILLS[fill]}\ntime.sleep(2.5)\n{ENDS[state]}", disk.parent)
            reserve = running(run) and (run.meta / "reserve").stat().st_blocks * 512
            assert reserve == 256 * 1024
            begun = time.monotonic()
            seen = pool.submit(lambda run=run, begun=begun: (run, ended(run, 12), time.monotonic() - begun))
            found[fill, state] = seen.result
        yield found


def test_an_end_that_cannot_be_written_is_remembered_elsewhere(tmp_path: Path, small: Path) -> None:
    run = launch_on(small, LIVE, tmp_path)
    status = running(run)
    # The log is held open for writing, so the file system is hidden as a read-only one is: by a mount over it.
    subprocess.run(["mount", "--bind", str(small), str(small)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(small)], check=True)
    try:
        os.kill(status["pid"], signal.SIGKILL)
        row = wait_for(lambda: (r := summarise(run.path)) and not r.live and r.state == "killed" and r, 8)
        assert row.reason == "killed by SIGKILL" and row.ended is not None
        assert (run.read_status() or {})["state"] == "running"
        follower = RunFollower(run.path)
        follower.poll()
        assert (follower.view.state.state, follower.view.status["signal"]) == ("killed", "SIGKILL")
        assert "remembered in the state directory" in run.train_log.read_text()
        assert registry.recall_end((run.read_run() or {})["id"]) is not None
        wait_for(lambda: process.started(status["supervisor_pid"]) is None)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_disk_that_cannot_flush_does_not_silence_the_supervisor(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, LIVE)
    status = running(run)
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"]
    tracer = subprocess.Popen([*inject, "-p", str(status["supervisor_pid"])])
    record = Path(f"/proc/{status['supervisor_pid']}/status")
    wait_for(lambda: "TracerPid:\t0\n" not in record.read_text())
    os.kill(status["pid"], signal.SIGSEGV)
    assert ended(run)["reason"] == "killed by SIGSEGV"
    wait_for(lambda: "could not be flushed" in run.train_log.read_text())
    tracer.wait(10)


def test_the_supervisor_survives_a_shortage_of_descriptors(tmp_path: Path) -> None:
    import resource

    go = tmp_path / "go"
    run = launch_fake(tmp_path, f"step(1, 10)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\nsys.exit(3)")
    status = running(run)
    used = len(os.listdir(f"/proc/{status['supervisor_pid']}/fd"))
    resource.prlimit(status["supervisor_pid"], resource.RLIMIT_NOFILE, (used, used))
    time.sleep(1.5)  # in which it looks, and writes the status, several times
    go.touch()
    status = ended(run)
    assert (status["state"], status["exit_code"]) == ("failed", 3)
    wait_for(lambda: process.started(status["supervisor_pid"]) is None)


# -- other places ------------------------------------------------------------------------------------------------------


def test_a_run_is_not_judged_from_another_pid_namespace(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, LIVE)
    running(run)
    code = "import sys; from engine.history import summarise; from pathlib import Path; s = summarise(Path(sys.argv[1])); " \
           "print(s.state, s.here, s.host)"  # fmt: skip
    look = [sys.executable, "-c", code, str(run.path)]
    answer = subprocess.run(["unshare", "-p", "-f", "--mount-proc", *look], capture_output=True, text=True, cwd=ROOT)
    if answer.returncode and "unshare" in answer.stderr:
        pytest.skip(answer.stderr)
    assert answer.stdout.split() == ["running", "False", process.host()]
    inside = "import sys; from engine.cli.control import run; sys.exit(run('stop', [sys.argv[1], '--now', '--timeout', '0']))"
    subprocess.run(["unshare", "-p", "-f", "--mount-proc", sys.executable, "-c", inside, str(run.path)], cwd=ROOT)
    assert ended(run)["state"] == "stopped"


def test_another_host_is_never_called_lost_and_a_restart_is_named(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, LIVE)
    status = running(run)
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    os.kill(status["pid"], signal.SIGKILL)
    wait_for(lambda: not run.locked)
    day_ago = {**status, "heartbeat": time.time() - 86400}
    write_json(run.status_json, {**day_ago, "machine_id": "other", "host": "gpu7"})
    row = summarise(run.path)
    assert row is not None and (row.state, row.here, row.host) == ("running", False, "gpu7")
    write_json(run.status_json, {**day_ago, "boot_id": "an earlier one"})
    row = summarise(run.path)
    assert row is not None and (row.state, row.reason) == ("lost", "the machine was restarted while it ran")
    assert not row.resumable
    from tests.unit.test_rundir import _checkpoint

    _checkpoint(run.path, 1)
    row = summarise(run.path)
    assert row is not None and row.resumable == bool(RunFollower(run.path).read_all().state.resumable)
    assert row.resumable


def test_a_script_of_ones_own_is_asked_but_not_signalled(tmp_path: Path) -> None:
    run = make_run(tmp_path / "own", state="running")  # names this very process, which holds the lock
    write_json(run.status_json, {**(run.read_status() or {}), "supervisor_pid": None})
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        assert control.run("stop", [str(run.path), "--now", "--timeout", "0.5"]) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert not received and run.requests() == ["stop-now"]


# -- notices at the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "state"), [(DONE, "completed"), ("step(1)\nsys.exit(1)", "failed"),
                                             ("step(1)\nos.kill(os.getpid(), 9)", "killed")])  # fmt: skip
def test_on_end_gets_the_run(tmp_path: Path, body: str, state: str) -> None:
    out = tmp_path / "seen"
    run = launch_fake(
        tmp_path, body, on_end=f'cat > {out}; echo "$TUNEDECK_STATE $TUNEDECK_RUN"; ps -o pgid= $$; exit 7'
    )
    status = ended(run)
    assert status["state"] == state
    notice = wait_for(lambda: [n.text for n in RunFollower(run.path).read_all().notices if "on_end" in n.text])
    assert notice == ["the command on_end failed with exit code 7"]
    document = json.loads(out.read_text())
    assert (document["state"], document["path"], document["step"]) == (state, str(run.path), 1)
    assert f"{state} {run.path}" in run.train_log.read_text()


def test_on_end_may_ignore_its_input_and_is_ended_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = launch_fake(tmp_path, DONE, on_end="exec 0<&-; sleep 0.1")
    status = ended(run)
    wait_for(lambda: process.started(status["supervisor_pid"]) is None)
    assert not [n for n in RunFollower(run.path).read_all().notices if "on_end" in n.text]
    from engine.supervisor import farewell

    class Stand:
        record = run.read_run() or {}
        config: dict[str, Any] = {}

        def __init__(self) -> None:
            self.run = run
            self.status = run.read_status() or {}

        def working_directory(self) -> str:
            return "/"

    monkeypatch.setattr(farewell, "COMMAND_SECONDS", 0.5)
    mark = tmp_path / "pid"
    text = farewell.run_command(f"sleep 300 & echo $! > {mark}; wait", Stand())  # type: ignore[arg-type]
    assert "took longer" in text
    wait_for(lambda: process.started(int(mark.read_text())) is None, 2)


@pytest.mark.parametrize("notify", ["bell", None])
def test_the_follower_rings_where_it_is_watched(tmp_path: Path, notify: str | None) -> None:
    go = tmp_path / "go"
    body = f"step(1, 1)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\nsys.exit(1)"
    run = launch_fake(tmp_path, body, **({"notify": notify} if notify else {}))
    code = "import sys; from engine.cli.train import follow; from engine.snapshot import RunFollower; follow(RunFollower(sys.argv[1]))"
    child = pexpect.spawn(sys.executable, ["-c", code, str(run.path)], cwd=str(ROOT), encoding="utf-8", timeout=15)
    child.expect("1/1")
    go.touch()
    child.expect(pexpect.EOF)
    assert ("\a" in child.before) == (notify == "bell") and "failed" in child.before
    ended(run)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_every_tmux_client_sees_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = str(tmp_path / "tmux")
    tmux = ["tmux", "-S", socket, "-f", "/dev/null"]
    subprocess.run([*tmux, "new-session", "-d", "-x", "150", "-y", "20", "sleep 300"], check=True)
    try:
        clients = [pexpect.spawn(tmux[0], [*tmux[1:], "attach"], dimensions=(20, 150), env={**os.environ, "TERM": "xterm"},
                                 encoding="utf-8", codec_errors="replace") for _ in range(2)]  # fmt: skip
        wait_for(lambda: len(subprocess.run([*tmux, "list-clients"], capture_output=True).stdout.splitlines()) == 2)
        server = subprocess.run(
            [*tmux, "display-message", "-p", "#{pid}"], capture_output=True, text=True
        ).stdout.strip()
        monkeypatch.setenv("TMUX", f"{socket},{server},0")
        run = launch_fake(tmp_path, "step(1, 1)\nsys.exit(1)", notify="tmux", run_name="100% of #{host} #(id) %H")
        ended(run)
        for client in clients:
            client.expect_exact("tunedeck: 100% of #{host} #(id) %H failed at step 1", timeout=8)
            client.close(force=True)
        assert not [n for n in RunFollower(run.path).read_all().notices if "tmux" in n.text]
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    lonely = launch_fake(tmp_path / "later", DONE, notify="tmux")
    ended(lonely)
    wait_for(lambda: [n for n in RunFollower(lonely.path).read_all().notices if "no message in tmux" in n.text])


# -- forged records ----------------------------------------------------------------------------------------------------


def test_forged_records_signal_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records with the true identity of real foreign processes, in directories with every kind of lock.

    ``python -m tests.faults --fault forged`` has more of them.
    """
    rng = random.Random(3)
    shared = tmp_path / "opened by a victim"
    shared.write_text("x")
    with shared.open("r+b") as file:
        victims = [subprocess.Popen(["sleep", "600"], pass_fds=(file.fileno(),)) for _ in range(5)]
    identities = [process.identity(victim.pid) for victim in victims]
    run = make_run(tmp_path / "forged", steps=1)
    record = run.read_status() or {}
    for n in range(FORGED):
        forged = {
            **record,
            **rng.choice(identities),
            "state": rng.choice(sorted(states.LIVE)),
            "heartbeat": time.time(),
        }
        other = rng.choice(identities)
        forged.update(supervisor_pid=rng.choice([None, 1, rng.randrange(2, 99999), other["pid"]]))
        forged["supervisor_started"] = rng.choice([None, 1, other["pid_started"]])
        for key in rng.sample(
            ["pid", "pid_started", "boot_id", "pid_namespace", "machine_id", "host"], rng.randrange(0, 3)
        ):
            forged[key] = rng.choice([None, "x", -1, 0, 1, 2**40, rng.randrange(1, 10**6), [], {}, 1.5, True])
        if n % 50 == 0:
            _change_lock(run, shared, n // 50 % 5)
        write_json(run.status_json, forged, durable=False)
        follower = RunFollower(run.path)
        follower.poll()
        orphan = control.Orphan(follower)
        orphan.attend()
        assert not orphan.sent
        for pid_key, started_key in (("pid", "pid_started"), ("supervisor_pid", "supervisor_started")):
            assert not process.signal_exactly(forged, signal.SIGKILL, run.lock, pid_key, started_key)
        if n % 500 == 0:  # the whole command, to its end
            control_exit = (
                control.run("stop", [str(run.path), "--now", "--timeout", "0.2"]) if follower.view.state.live else 1
            )
            assert control_exit in (0, 1, 2)
        assert all(victim.poll() is None for victim in victims)
    for victim in victims:
        victim.kill()
        victim.wait()


_ours: list[int] = []


def _change_lock(run: RunDir, shared: Path, way: int) -> None:
    """Another lie about the lock: truly held by this process, free, or something that the victims have open."""
    if way == 0:
        run.lock.unlink(missing_ok=True)
        run.lock.touch()
    elif way == 1:
        run.lock.unlink(missing_ok=True)
        run.lock.symlink_to(shared)
    elif way == 2:
        run.lock.unlink(missing_ok=True)
        run.lock.symlink_to("/dev/null")
    elif way == 3:
        run.lock.unlink(missing_ok=True)
        run.lock.hardlink_to(shared)
    else:
        run.lock.unlink(missing_ok=True)
        _ours.append(run.acquire_lock())


def test_a_forged_record_signals_nobody_when_its_run_is_guarded_again(tmp_path: Path) -> None:
    """A supervisor and the queue signal their own children only, whatever stands in the record that they find."""
    from engine.launchers.local import start_supervisor

    victim = subprocess.Popen(["sleep", "600"])
    run = launch_fake(tmp_path, DONE)
    status = ended(run)
    wait_for(lambda: process.started(status["supervisor_pid"]) is None)
    forged = {**status, **process.identity(victim.pid), "state": "stopping", "ranks": [{"rank": 0, "pid": victim.pid}],
              "supervisor_pid": victim.pid, "supervisor_started": process.started(victim.pid)}  # fmt: skip
    write_json(run.status_json, forged)
    run.request("stop-now")
    lock = run.acquire_lock()
    start_supervisor(run, lock)
    wait_for(lambda: (run.read_status() or {}).get("state") in states.ENDED)
    assert victim.poll() is None and next(iter(scan([tmp_path]))).state in states.ENDED
    victim.kill()
    victim.wait()


# -- what takes its time, and was begun before all other tests here -----------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def begun(request: pytest.FixtureRequest) -> None:
    """Start it; where this machine cannot have it, the tests say so."""
    for name in ("long_ago", "full_disks"):
        with contextlib.suppress(pytest.skip.Exception):
            request.getfixturevalue(name)


def test_a_memory_kill_of_long_ago_is_no_evidence(long_ago: Callable[[], RunDir]) -> None:
    status = ended(long_ago())
    assert (status["state"], status["reason"]) == ("killed", "killed by SIGKILL")


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("state", ENDS)
def test_the_end_is_written_on_a_full_disk(
    full_disks: dict[tuple[str, str], Callable[[], Any]], fill: str, state: str
) -> None:
    run, status, seconds = full_disks[fill, state]()
    assert status["state"] == state and seconds < 8
    assert not (run.meta / "reserve").exists() and not run.locked
    assert summarise(run.path).state == state  # type: ignore[union-attr]
    wait_for(lambda: process.started(status["supervisor_pid"]) is None)
