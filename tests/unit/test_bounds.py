"""A chat template may take so much time, memory and text, and no more; what renders it goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from engine.worker import bounds

CODE = """
import json, sys, threading, time
from engine.worker import bounds
bounds.SECONDS = 0.2
bounds.switch_on()
out = {}
began = time.monotonic()
try:
    with bounds.limited():
        try:
            while True:
                pass
        except Exception:
            out["swallowed"] = True
except bounds.Endless as error:
    out["words"] = str(error)
out["seconds"] = time.monotonic() - began
with bounds.limited(), bounds.limited():
    time.sleep(0.01)
time.sleep(0.4)  # the limit is off again
try:
    "x" * 10**10
    out["memory"] = False
except MemoryError:
    out["memory"] = True
def beside():
    with bounds.limited():
        time.sleep(0.4)
    out["beside"] = True
thread = threading.Thread(target=beside)
thread.start()
thread.join()
print(json.dumps(out))
"""


def test_time_and_memory() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=True)
    out = json.loads(result.stdout)
    assert out.pop("seconds") < 5
    assert out == {"words": "the chat template does not come to an end within 0.2 s", "memory": True, "beside": True}


def test_a_process_that_it_starts_may_take_all_again() -> None:
    code = """
import resource, subprocess, sys
from engine.worker import bounds
bounds.switch_on()
inner = "import resource; from engine.worker import bounds; bounds.all_memory(); print(*resource.getrlimit(resource.RLIMIT_DATA))"
print(subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True).stdout)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    soft, hard = result.stdout.split()
    assert soft == hard


def test_text_is_measured_by_what_it_was_made_of() -> None:
    small = [{"role": "user", "content": "hi"}]
    assert bounds.measured("x" * 1_000_000, small)
    with pytest.raises(bounds.TooMuch, match="2,000,000 characters for a chat of 6"):
        bounds.measured("x" * 2_000_000, small)
    assert bounds.measured("x" * 2_000_000, [{"role": "user", "content": "y" * 100_000}])


def test_without_being_switched_on_nothing_is_limited() -> None:
    with bounds.limited():
        assert not bounds.is_on()
