"""Sessions and service managers: fake ``loginctl`` and ``busctl`` answer as the real ones do, and note how they were asked."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from engine import detach
from engine.cli import doctor
from tests.support import ended, launch_fake, wait_for

FAKE = """#!{python}
import json, os, sys, time
name = os.path.basename(sys.argv[0])
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
with open(os.path.join(folder, "calls"), "a") as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
answers = json.load(open(os.path.join(folder, "answers.json")))
key = "Linger" if name == "loginctl" else "scope" if "StartTransientUnit" in sys.argv else sys.argv[-1]
answer = answers.get(key)
if answer == "hang":
    time.sleep(60)
if answer is None:
    print("Failed to get property: no such thing", file=sys.stderr)
    sys.exit(1)
print(answer)
"""


class Machine:
    """What a machine with systemd says; ``None`` is a failure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("loginctl", "busctl"):
            (folder / name).write_text(FAKE.format(python=sys.executable))
            (folder / name).chmod(0o755)
        self.says()

    def says(self, **answers: str) -> None:
        usual = {
            "KillUserProcesses": "b true",
            "KillExcludeUsers": 'as 1 "nobody"',
            "KillOnlyUsers": "as 0",
            "Linger": "no",
        }
        (self.folder / "answers.json").write_text(json.dumps({**usual, **answers}))

    @property
    def calls(self) -> list[list[str]]:
        try:
            return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        except OSError:
            return []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("LOGNAME", "kim")
    return Machine(folder)


def test_a_logout_that_kills_is_said_with_its_remedy(machine: Machine) -> None:
    risk = detach.risk()
    assert risk is not None and risk.kind == "logout-kills" and risk.severity == "warning"
    assert "loginctl enable-linger" in str(risk)
    assert ["loginctl", "show-user", "kim", "-p", "Linger", "--value"] in machine.calls
    assert machine.calls[0] == ["busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1",
                                "org.freedesktop.login1.Manager", "KillUserProcesses"]  # fmt: skip
    found = [f for f in doctor.examine() if f.topic == "session"]
    assert [f.level for f in found] == ["warning"] and "enable-linger" in found[0].hint


@pytest.mark.parametrize("answers", [
    {"KillUserProcesses": "b false"}, {"Linger": "yes"}, {"KillExcludeUsers": 'as 2 "root" "kim"'},
    {"KillOnlyUsers": 'as 1 "lee"'}, {"KillUserProcesses": None}])  # fmt: skip
def test_no_risk_where_nothing_is_killed(machine: Machine, answers: dict[str, str]) -> None:
    machine.says(**answers)
    assert detach.risk() is None
    assert [f.level for f in doctor.examine() if f.topic == "session"] == ["ok"]


def test_a_user_who_neither_lingers_nor_is_known_is_at_risk(machine: Machine) -> None:
    machine.says(Linger=None)  # type: ignore[arg-type]
    assert detach.risk() is not None


def test_a_login_manager_that_hangs_is_not_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detach, "ASK_SECONDS", 0.3)
    machine.says(KillUserProcesses="hang")
    begun = time.monotonic()
    assert detach.risk() is None and time.monotonic() - begun < 2


def test_without_systemd_there_is_no_risk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detach.risk() is None and not detach.enter_scope("20261124-083000-abcde", os.getpid())


LIVE = "step(1, 10)\ntime.sleep(60)\n"


def test_a_lingering_users_run_has_a_scope_of_its_own(machine: Machine, tmp_path: Path) -> None:
    machine.says(Linger="yes", scope='o "/org/freedesktop/systemd1/job/4711"')
    run = launch_fake(tmp_path / "run", LIVE)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    run.request("stop-now")
    ended(run)
    calls = [call for call in machine.calls if "StartTransientUnit" in call]
    run_id = (run.read_run() or {})["id"]
    assert calls == [["busctl", "--user", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                      "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))",
                      f"tunedeck-{run_id}.scope", "fail", "3", "PIDs", "au", "1", str(status["supervisor_pid"]),
                      "CollectMode", "s", "inactive-or-failed", "Description", "s", f"tunedeck run {run_id}", "0"]]  # fmt: skip


@pytest.mark.parametrize("answers", [{"Linger": "yes"}, {"Linger": "no"}])
def test_without_a_scope_the_run_runs_all_the_same(machine: Machine, tmp_path: Path, answers: dict[str, str]) -> None:
    machine.says(**answers)  # where lingering is on, the call for a scope fails
    run = launch_fake(tmp_path / "run", 'step(1, 1)\nevents.write("state", state="completed", reason="")')
    assert ended(run)["state"] == "completed"
    assert bool([call for call in machine.calls if "StartTransientUnit" in call]) == (answers["Linger"] == "yes")


def test_a_run_has_a_session_no_input_and_a_file_for_its_output(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, LIVE)
    status = wait_for(lambda: (s := run.read_status()) and s["state"] == "running" and s)
    for pid in (status["pid"], status["supervisor_pid"]):
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in (1, 2)} == {str(run.train_log)}
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"  # no terminal
    assert os.getsid(status["pid"]) == status["pid"]
    run.request("stop-now")
    ended(run)
