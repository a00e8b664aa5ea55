"""The house's walls: who may import whom, what the app may load, what stands at the root, what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "numpy", "pandas", "pyarrow", "tokenizers")


def loaded_by(code: str) -> set[str]:
    answer = subprocess.run([sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True,
                            check=True, cwd=ROOT)  # fmt: skip
    return {name.split(".")[0] for name in answer.stdout.split()} | set(answer.stdout.split())


def test_import_contracts_hold() -> None:
    result = subprocess.run([str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], capture_output=True, text=True,
                            check=False, cwd=ROOT)  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("module", ["tui.app", "tui.screens.runs", "tui.screens.watch", "tui.screens.launch", "engine.cli.train",
                                    "engine.cli.listing", "engine.cli.doctor", "engine.cli.preflight", "engine.preflight.sheet", "engine.launchers", "engine.supervisor.guard"])  # fmt: skip
def test_no_heavy_library_is_loaded(module: str) -> None:
    found = loaded_by(f"import {module}")
    assert module in found
    assert not found & set(HEAVY)


def test_the_first_screen_does_without_the_schema() -> None:
    found = loaded_by("import tui.app, tui.screens.runs")
    assert "pydantic" not in found and "engine.config" not in found and "tui.screens.watch" not in found


def test_headless_commands_do_not_load_the_app() -> None:
    assert "textual" not in loaded_by("from tui.__main__ import main\nmain(['runs'])")


def test_the_engine_speaks_no_textual() -> None:
    for file in (ROOT / "engine").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (textual|tui)\b", file.read_text(encoding="utf-8"), re.M), file


def test_nothing_is_unpickled() -> None:
    for folder in ("engine", "tui"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(import|from) c?pickle\b|pickle\.loads?\(|torch\.load\(", text, re.M), file


def test_rooms_stay_small() -> None:
    sizes = {str(f.relative_to(ROOT)): len(f.read_text(encoding="utf-8").splitlines())
             for folder in ("engine", "tui") for f in (ROOT / folder).rglob("*.py")}  # fmt: skip
    assert {name: size for name, size in sizes.items() if size > 420} == {}


def test_only_the_six_entries_of_the_design_stand_at_the_root() -> None:
    listing = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT)
    if listing.returncode:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in listing.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {
        "tui",
        "engine",
        "tests",
        "sample_data",
        "pyproject.toml",
        "README.md",
    }


def test_the_readme_is_up_to_date() -> None:
    from tui.readme import refresh

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert refresh(text) == text, "run: python -m tui.readme README.md"


def test_the_readme_names_every_command() -> None:
    from engine.cli import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"tunedeck {verb}" in text for verb in (*VERBS, "demo", "watch"))


def test_the_package_tells_its_licence_and_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0" and project["scripts"] == {"tunedeck": "tui.__main__:main"}


def test_style_and_types() -> None:
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "engine", "tui", "tests"], ["mypy"]):
        tool = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
        result = subprocess.run(tool, capture_output=True, text=True, check=False, cwd=ROOT)
        assert result.returncode == 0, f"{command}: {result.stdout[-3000:]}"
