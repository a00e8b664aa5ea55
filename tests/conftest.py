from __future__ import annotations

import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest

# Idle OpenMP threads that spin take the cores from each other, here as in runs (engine/supervisor/environment.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-snapshots", action="store_true", help="store the screens as they look now")


@pytest.fixture(autouse=True, scope="session")
def slots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is launched for several tests takes no slot of this machine either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNEDECK_SLOT_DIR", str(tmp_path_factory.mktemp("machine") / "slots"))
        patch.setenv("TUNEDECK_SLOTS", "64")
        yield


@pytest.fixture(autouse=True, scope="session")
def no_run_outlives_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test that fails half way may leave a run behind, and runs outlive everything."""
    yield
    below = os.fsencode(tmp_path_factory.getbasetemp())
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            if words[-2].startswith(below) and (b"engine.worker" in words or b"engine.supervisor" in words):
                os.kill(int(place.name), signal.SIGKILL)
        except (OSError, IndexError):
            continue


@pytest.fixture(autouse=True)
def xdg(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a user's state, cache and configuration of its own, and a machine's slots, more than it needs."""
    home = tmp_path_factory.mktemp("xdg")
    for name in ("STATE", "CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("TUNEDECK_SLOT_DIR", str(home / "slots"))
    monkeypatch.setenv("TUNEDECK_SLOTS", "64")
    # Nobody answers there: no test asks the real hub.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    # What was counted of a file's rows is shared within a process: of another test's it is not.
    counting = sys.modules.get("engine.preflight.counting")
    if counting is not None:
        monkeypatch.setattr(counting, "_counts", OrderedDict())
    return home
