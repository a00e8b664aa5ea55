"""The built wheel, installed beside nothing of the checkout, runs the sample from another directory."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.network]
ROOT = Path(__file__).parent.parent.parent


def test_the_wheel_brings_everything_it_needs(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)],
                            capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    wheel = next(tmp_path.glob("tunedeck-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "engine/_sample_data/demo.yaml" in names and "engine/_sample_data/tiny-qwen2/model.safetensors" in names
    assert (
        "tui/app.tcss" in names
        and "engine/presets/quick-test.yaml" in names
        and not [n for n in names if n.startswith("tests/")]
    )

    # An environment with the same libraries, but tunedeck from the wheel alone.
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = f"""
import sys
sys.path[:] = [{str(site)!r}] + [p for p in sys.path if p and not p.startswith({str(ROOT)!r}) or "site-packages" in p]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
import engine, tui
assert engine.__file__.startswith({str(site)!r}), engine.__file__
from engine.samples import demo_values
values = demo_values()
assert values["base_model"].startswith({str(site)!r}), values
from tui.__main__ import main
sys.exit(main(["train", *[w for n, v in {{**values, "output_dir": "out", "max_steps": 3, "eval_path": "none", "eval_steps": "none"}}.items()
                        for w in (f"--{{n}}", str(v))]]))
"""
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=300, cwd=elsewhere,
                            env={**os.environ, "PYTHONPATH": str(site)})  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert (elsewhere / "out" / "adapter_model.safetensors").is_file()
    assert sysconfig.get_path("purelib")
