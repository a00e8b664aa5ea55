"""The form, by keyboard alone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from engine import launchers
from engine.config import RunConfig, parse, settings, yaml_file
from engine.errors import InputError, Problem
from engine.preflight import Preflight
from engine.rundir import RunDir
from engine.samples import demo_values
from tests.costing import CostingInspector, install
from tests.pilot.modelfiles import model_dir
from tests.support import fake_model, make_run, until, write_rows
from tui.app import TunedeckApp
from tui.screens.launch import LaunchScreen

SIZE = (120, 40)
NAMES = {"/": "slash", " ": "space", "_": "underscore", ".": "full_stop", "-": "minus", "~": "tilde", ",": "comma"}


def launch_app(values: dict[str, Any] | None = None, title: str = "") -> TunedeckApp:
    return TunedeckApp(initial="launch", values=values, title=title, theme_name="dark")


async def form(app: TunedeckApp, pilot: Any) -> LaunchScreen:
    """The form, once it has looked at its files."""
    await until(pilot, lambda: isinstance(app.screen, LaunchScreen) and app.screen.is_mounted)
    screen = app.screen
    assert isinstance(screen, LaunchScreen)
    await until(pilot, lambda: screen.list.names and not screen._reading)
    return screen


async def write(pilot: Any, text: str) -> None:
    """Type a text."""
    await pilot.press(*(NAMES.get(character, character) for character in text))


async def go(pilot: Any, screen: LaunchScreen, name: str) -> None:
    """Find a setting by its name."""
    await pilot.press("ctrl+f")
    await until(pilot, lambda: screen.app.screen is not screen)
    await write(pilot, name)
    await pilot.press("enter")
    await until(pilot, lambda: screen.is_current and screen.list.current.name == name)


def shown(app: TunedeckApp) -> str:
    """All that stands on the screen."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def row(app: TunedeckApp, name: str) -> str:
    """The line of a setting."""
    return next(line for line in shown(app).splitlines() if line.lstrip(" ▌•✗!").startswith(name))


@pytest.fixture(autouse=True)
def inspector(monkeypatch: pytest.MonkeyPatch) -> CostingInspector:
    """No libraries are loaded for what the form says of a run's costs."""
    return install(monkeypatch)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a model and Korean data."""
    monkeypatch.chdir(tmp_path)
    fake_model(tmp_path / "model")
    write_rows(tmp_path / "한국어 대화.jsonl", 40)
    return tmp_path


class Launched:
    """Stands in for the engine's launch."""

    def __init__(self, folder: Path) -> None:
        self.configs: list[RunConfig] = []
        self.folder = folder
        self.go = threading.Event()
        self.go.set()
        self.error: InputError | None = None

    def __call__(self, config: RunConfig, **_: Any) -> RunDir:
        self.configs.append(config)
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return make_run(self.folder / "started", steps=3)


async def test_one_of_something_is_said_in_the_singular(files: Path) -> None:
    app = launch_app({"gradient_accumulation_steps": 1, "batch_size": 1, "num_train_epochs": 1})
    async with app.run_test(size=(120, 60)) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f6")
        for name, unit in (
            ("gradient_accumulation_steps", "pass"),
            ("batch_size", "sample"),
            ("num_train_epochs", "epoch"),
        ):
            await go(pilot, screen, name)
            await pilot.pause()
            assert f"1 {unit} " in row(app, name) + " "


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    stand_in = Launched(tmp_path)
    monkeypatch.setattr(launchers, "launch", stand_in)
    return stand_in


async def test_an_empty_form_is_filled_in_and_started(files: Path, launched: Launched) -> None:
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        assert screen.list.current.name == "train_path" and screen.list.entry is not None, "type at once"
        await write(pilot, "./")
        await pilot.press("한", "tab")
        assert screen.model.text("train_path") == "./한국어 대화.jsonl"
        await pilot.press("tab")
        assert screen.list.current.name == "eval_path", "a complete path moves on"
        await go(pilot, screen, "base_model")
        await write(pilot, "mod")
        await pilot.press("tab", "tab")
        assert screen.list.current.name == "train_path"
        assert "runs/" in screen.model.text("output_dir") and "-model-1" in screen.model.text("output_dir")
        await until(pilot, lambda: not screen._reading)
        assert screen.model.wrong == []
        await until(pilot, lambda: "Ready" in shown(app))
        await pilot.press("f5")
        await until(pilot, lambda: app.screen.__class__.__name__ == "WatchScreen")
        (config,) = launched.configs
        assert (config.base_model, config.train_path) == ("model/", "./한국어 대화.jsonl")
        assert len(app.screen_stack) == 2, "the form is gone"


async def test_numbers_step_on_ladders(files: Path) -> None:
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "gradient_accumulation_steps")
        await pilot.press("tab")
        assert screen.list.current.name == "learning_rate"
        seen = [screen.model.text("learning_rate")]
        for _ in range(2):
            await pilot.press("up")
            seen.append(screen.model.text("learning_rate"))
        assert seen == ["1e-4", "2e-4", "5e-4"]
        await pilot.press("down")
        assert screen.model.text("learning_rate") == "2e-4"
        await write(pilot, "3e-4")
        await pilot.press("up")
        assert screen.model.text("learning_rate") == "5e-4", "between rungs: the next one"
        await pilot.press("escape")
        assert screen.model.text("learning_rate") == "1e-4", "escape takes the edit back"
        await pilot.press("right")
        assert screen.model.text("learning_rate") == "2e-4", "arrows step without an edit"
        await pilot.press("delete")
        assert screen.model.text("learning_rate") == "1e-4"


async def test_choices_and_flags_go_round(files: Path) -> None:
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "dtype")
        seen = []
        for _ in range(4):
            await pilot.press("right")
            seen.append(screen.model.text("dtype"))
        assert seen == ["float32", "bfloat16", "float16", "auto"]
        await pilot.press("b")
        assert screen.model.text("dtype") == "bfloat16", "a letter picks"
        await pilot.press("tab", "space")
        assert screen.model.text("load_in_4bit") == "true"
        await go(pilot, screen, "packing")
        seen = []
        for _ in range(3):
            await pilot.press("space")
            seen.append(screen.model.text("packing"))
        assert seen == ["true", "false", "auto"]


async def test_candidates_are_shown_and_chosen(files: Path) -> None:
    write_rows(files / "한국어 평가.jsonl", 4)
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("한", "tab")
        assert screen.model.text("train_path") == "한국어 "
        assert "한국어 평가.jsonl" in shown(app) and "한국어 대화.jsonl" in shown(app)
        await pilot.press("down", "down", "up", "enter")
        assert screen.model.text("train_path") == "한국어 대화.jsonl"
        await until(pilot, lambda: screen.model.train is not None)
        assert screen.model.train.rows == 40


async def test_errors_stand_at_their_field_as_one_types(files: Path, launched: Launched) -> None:
    app = launch_app({"train_path": "한국어 대화.jsonl", "base_model": "model"})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "lora_r")
        await write(pilot, "x")
        assert "must be a whole number" in row(app, "lora_r")
        assert "1 wrong" in shown(app)
        await go(pilot, screen, "seed")
        await pilot.press("f5")
        await pilot.pause()
        assert screen.is_current and screen.list.current.name == "lora_r", "F5 goes to what is wrong"
        assert launched.configs == []
        await write(pilot, "8")
        assert screen.model.wrong == []


async def test_a_missing_file_is_said_at_its_field(files: Path) -> None:
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await write(pilot, "none.jsonl")
        await until(pilot, lambda: screen.model.problem("train_path") is not None)
        assert "does not exist" in row(app, "train_path")


async def test_the_consequences_follow_the_keys(files: Path) -> None:
    app = launch_app({"train_path": "한국어 대화.jsonl", "base_model": "model"})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        assert screen.model.plan.total_steps == 30
        assert any("Steps in all" in line and "30" in line for line in shown(app).splitlines())
        await go(pilot, screen, "batch_size")
        await pilot.press("right", "right")
        assert any("Samples per update" in line and "16" in line for line in shown(app).splitlines())
        assert any("Steps in all" in line and " 9" in line for line in shown(app).splitlines())


async def test_yaml_there_and_back(files: Path) -> None:
    values = {"train_path": "한국어 대화.jsonl", "base_model": "model", "learning_rate": 3e-4, "lora_r": 64}
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        config = screen.model.config
        await pilot.press("f4")
        await until(pilot, lambda: app.screen is not screen)
        await write(pilot, "my run.yaml")
        await pilot.press("enter")
        await until(pilot, lambda: screen.is_current)
        file = files / "my run.yaml"
        assert parse(yaml_file.load(file)).learning_rate == 3e-4
        before = file.read_bytes()
        # Again: it asks; "no" leaves everything as it is.
        await pilot.press("f4")
        await until(pilot, lambda: app.screen is not screen)
        await pilot.press("f6")
        await write(pilot, "my run.yaml")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.__class__.__name__ == "ConfirmScreen")
        await pilot.press("n")
        await until(pilot, lambda: app.screen.__class__.__name__ == "SaveScreen")
        assert file.read_bytes() == before
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.__class__.__name__ == "ConfirmScreen")
        await pilot.press("y")
        await until(pilot, lambda: screen.is_current)
        assert "seed" not in yaml_file.load(file), "F6 saves only what was changed"
        # Empty the form, then load.
        await pilot.press("f8")
        assert screen.model.text("lora_r") == "16"
        await pilot.press("f3")
        await until(pilot, lambda: app.screen is not screen)
        await write(pilot, "none.yaml")
        await pilot.press("enter")
        await until(pilot, lambda: "cannot be read" in shown(app))
        await pilot.press("ctrl+u")
        await write(pilot, "my")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: screen.is_current)
        loaded = screen.model.config
        assert loaded is not None and loaded.learning_rate == 3e-4 and loaded.lora_r == 64
        assert Path(loaded.train_path).resolve() == Path(config.train_path).resolve()


async def test_a_preset_and_its_undoing(files: Path) -> None:
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f2")
        await until(pilot, lambda: app.screen is not screen)
        await write(pilot, "strong")
        await pilot.press("enter")
        await until(pilot, lambda: screen.is_current)
        assert screen.model.text("lora_r") == "64" and screen.model.text("use_rslora") == "true"
        assert "use_rslora" in screen.list.names, "what changed is in sight"
        await pilot.press("f9")
        assert screen.model.text("lora_r") == "16"


def told(app: TunedeckApp) -> str:
    """All that was said in passing, the last in the last line."""
    return "\n".join(notice.message for notice in app._notifications)


async def test_f9_takes_one_change_back_after_the_other_and_names_it(files: Path) -> None:
    app = launch_app({"train_path": "한국어 대화.jsonl", "seed": 7}, "Sample run")
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f9")
        assert "Nothing was changed here" in told(app)
        await pilot.press("f2")
        await until(pilot, lambda: app.screen is not screen)
        await write(pilot, "strong")
        await pilot.press("enter")
        await until(pilot, lambda: screen.is_current)
        await go(pilot, screen, "learning_rate")
        preset = dict(screen.model.texts)
        await write(pilot, "3e-4")
        await pilot.press("enter", "down")
        await pilot.press("right")
        await pilot.press("f8")
        assert screen.model.changed == [] and "Sample run" not in shown(app)
        await pilot.press("f9")
        assert screen.model.text("learning_rate") == "3e-4" and "Sample run" in shown(app)
        assert "train_path empty is 한국어 대화.jsonl again" in told(app) and " more" in told(app)
        await pilot.press("f9", "f9")
        assert screen.model.texts == preset, "what was set after the preset is taken back first"
        assert f"Taken back: learning_rate 3e-4 is {preset['learning_rate']} again" in told(app)
        assert screen.list.current.name == "learning_rate"
        await pilot.press("f9")
        assert screen.model.text("lora_r") == "16" and "lora_r 64 is 16 again" in told(app)
        await pilot.press("f9")
        assert screen.model.changed == [] and "All brought back" in told(app), "from the first one all comes back"


async def test_what_was_typed_over_comes_back(files: Path) -> None:
    old = str(files / "한국어 대화.jsonl")
    app = launch_app({"train_path": old, "target_modules": "q_proj,v_proj", "run_name": "long words", "seed": 7})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        for name, keys in (("train_path", "j"), ("base_model", "j"), ("target_modules", "j"), ("run_name", "j"), ("num_train_epochs", "9"),
                           ("weight_decay", "1"), ("dtype", "b"), ("output_dir", "j"), ("seed", "delete"), ("train_path", "backspace")):  # fmt: skip
            await go(pilot, screen, name)
            before = dict(screen.model.texts)
            await pilot.press(keys)
            typing = screen.list.entry is not None
            await pilot.press("shift+tab", "f9")
            assert screen.model.texts == before and screen.list.current.name == name, f"{name}: F9"
            if typing:
                await pilot.press(keys, "f9")
                assert screen.model.texts == before and screen.list.entry is None, f"{name}: F9 while it is edited"
                await pilot.press(keys, keys, "escape")
                assert screen.model.texts == before and screen.is_current, f"{name}: Escape"


async def test_views(files: Path) -> None:
    app = launch_app({"warmup_ratio": 0.1})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f6")
        assert len(screen.list.names) == len(settings())
        await pilot.press("f6")
        assert set(screen.list.names) == {"train_path", "output_dir", "warmup_ratio"}


async def test_search_reaches_hidden_settings(files: Path) -> None:
    app = launch_app({"train_path": "한국어 대화.jsonl"})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("down", "down", "down", "down", "slash")
        await until(pilot, lambda: app.screen is not screen)
        await write(pilot, "noise")
        await pilot.press("enter")
        await until(pilot, lambda: screen.is_current)
        assert screen.list.current.name == "neftune_noise_alpha"


async def test_the_command_line_is_exact_and_copied_on_a_key(files: Path) -> None:
    app = launch_app({"train_path": "한국어 대화.jsonl", "base_model": "model", "lora_r": 8})
    copied: list[str] = []
    async with app.run_test(size=SIZE) as pilot:
        await form(app, pilot)
        app.copy_to_clipboard = copied.append  # type: ignore[method-assign]
        await pilot.press("f7")
        await until(pilot, lambda: "tunedeck train" in shown(app))
        assert copied == []
        await pilot.press("y")
        assert copied and "--lora_r 8" in copied[0] and "'한국어 대화.jsonl'" in copied[0]


async def test_the_sample_run_is_one_key_away(files: Path, launched: Launched) -> None:
    app = launch_app(demo_values(), "Sample run")
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        assert screen.model.wrong == [] and screen.list.entry is None
        assert "Sample run: press F5 to train it" in shown(app)
        await pilot.press("f5")
        await until(pilot, lambda: launched.configs)
        assert launched.configs[0].base_model.endswith("tiny-qwen2")


async def test_pressing_twice_launches_once(files: Path, launched: Launched) -> None:
    launched.go.clear()
    app = launch_app(demo_values(), "Sample run")
    async with app.run_test(size=SIZE) as pilot:
        await form(app, pilot)
        await pilot.press("f5", "f5", "ctrl+r", "f5")
        await until(pilot, lambda: launched.configs)
        assert "Starting the run" in shown(app)
        await pilot.press("f5", "escape", "f5")
        launched.go.set()
        await until(pilot, lambda: app.screen.__class__.__name__ == "WatchScreen")
        assert len(launched.configs) == 1


async def test_errors_of_the_check_start_nothing(files: Path, launched: Launched) -> None:
    app = launch_app({"train_path": "한국어 대화.jsonl", "base_model": "model", "worker_python": str(files / "none")})
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f5")
        await until(pilot, lambda: "Nothing was started" in shown(app))
        assert "no program that can be run" in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: screen.is_current)
        assert screen.list.current.name == "worker_python"
        assert launched.configs == []
        await pilot.press("delete")
        await pilot.press("f5")
        await until(pilot, lambda: launched.configs)


async def test_warnings_need_one_more_press(files: Path, launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    warning = Problem("w", "this will be slow", severity="warning")
    monkeypatch.setattr("engine.preflight.check", lambda config, **_: Preflight(warnings=[warning]))
    app = launch_app(demo_values(), "Sample run")
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f5")
        await until(pilot, lambda: "this will be slow" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: screen.is_current)
        assert launched.configs == []
        await pilot.press("f5")
        await until(pilot, lambda: "this will be slow" in shown(app))
        await pilot.press("f5")
        await until(pilot, lambda: launched.configs)


async def test_escape_gives_a_check_up(files: Path, launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    held, done = threading.Event(), threading.Event()

    def check(config: RunConfig, **_: Any) -> Preflight:
        assert held.wait(10)
        done.set()
        return Preflight()

    monkeypatch.setattr("engine.preflight.check", check)
    app = launch_app(demo_values(), "Sample run")
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f5")
        assert "Checking everything" in shown(app)
        await pilot.press("9")
        assert screen.list.entry is None, "nothing changes under a check"
        await pilot.press("escape")
        held.set()
        await until(pilot, done.is_set)
        await pilot.pause(0.1)
        assert screen.is_current and launched.configs == []


async def test_a_refused_launch_keeps_the_form(files: Path, launched: Launched) -> None:
    launched.error = InputError(Problem("bad-output", "is taken", setting="output_dir"))
    app = launch_app(demo_values(), "Sample run")
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f5")
        await until(pilot, lambda: "is taken" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: screen.is_current)
        assert screen.list.current.name == "output_dir" and screen.model.text("lora_alpha") == "32"


async def test_trust_needs_the_typed_word(files: Path) -> None:
    model_dir(files / "own", code=True)
    app = launch_app({**demo_values(), "base_model": str(files / "own")}, "Sample run")
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await go(pilot, screen, "trust_remote_code")
        for answer in ("enter", "yes"):
            await pilot.press("right")
            await until(pilot, lambda: "Run the model's own code?" in shown(app))
            if answer == "yes":
                await write(pilot, "yes")
            await pilot.press("enter")
            assert app.screen is not screen, "only the word counts"
            await pilot.press("escape")
            await until(pilot, lambda: screen.is_current)
            assert screen.model.text("trust_remote_code") == "false"
        await pilot.press("t")
        await until(pilot, lambda: "Run the model's own code?" in shown(app))
        await write(pilot, "trust")
        await pilot.press("enter")
        await until(pilot, lambda: screen.is_current)
        assert screen.model.config.trust_remote_code is True


async def test_loaded_trust_is_asked_again(files: Path) -> None:
    model_dir(files / "own", code=True)
    app = launch_app({**demo_values(), "base_model": str(files / "own"), "trust_remote_code": True}, "Clone of x")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Run the model's own code?" in shown(app))
        await pilot.press("escape")
        screen = await form(app, pilot)
        assert screen.model.config.trust_remote_code is False


async def test_leaving_loses_nothing(files: Path) -> None:
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await write(pilot, "half/typed")
        await pilot.press("enter", "escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        app.open_launch()
        again = await form(app, pilot)
        assert again is not screen and again.model.text("train_path") == "half/typed"
        await pilot.press("f9")
        assert again.model.text("train_path") == ""


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[/red][@click=app.quit]x\x00"


async def test_hostile_values_are_drawn_safely_and_kept_raw(files: Path) -> None:
    values = {"train_path": HOSTILE, "run_name": HOSTILE, "base_model": f"./{HOSTILE}", f"no{HOSTILE}": 1}
    for size in ((80, 24), (120, 40)):
        app = launch_app(values, HOSTILE)
        async with app.run_test(size=size) as pilot:
            screen = await form(app, pilot)
            for name in ("train_path", "run_name", "base_model"):
                await go(pilot, screen, name)
                await pilot.press("enter")
                text = shown(app)
                assert not any(c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e") for c in text), (
                    name
                )
                await pilot.press("escape")
            assert screen.model.text("run_name") == HOSTILE


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (60, 16)])
async def test_every_setting_can_be_reached_and_read(files: Path, size: tuple[int, int]) -> None:
    app = launch_app(demo_values(), "Sample run")
    async with app.run_test(size=size) as pilot:
        screen = await form(app, pilot)
        await pilot.press("f6", "home")
        seen = []
        for _ in range(len(settings())):
            info = screen.list.current
            seen.append(info.name)
            assert row(app, info.name)
            await pilot.press("down")
        assert len(set(seen)) == len(settings())
        assert "F5" in shown(app)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_what_a_run_did_not_tell_is_marked_by_sign_and_word(files: Path, size: tuple[int, int]) -> None:
    app = launch_app()
    async with app.run_test(size=size) as pilot:
        await form(app, pilot)
        remarks = ["seed: -1 \x1b[31mis wrong", "lora_r: was 9", "it trained no LoRA: none"]
        app.open_launch({"lora_r": 8}, "Clone of x", ["learning_rate", "lora_alpha", "seed"], remarks)
        await until(pilot, lambda: app.screen.model.title == "Clone of x" and app.screen.is_mounted)
        screen = await form(app, pilot)
        told = str([n.message for n in app._notifications])
        assert "3 settings are not told" in told and "it trained no LoRA: none" in told
        await pilot.press("escape")

        async def marked(name: str) -> bool:
            if screen.list.current.name != name:
                await go(pilot, screen, name)
            line = next(line for line in shown(app).splitlines() if line.lstrip(" ▌•✗!?").startswith(name))
            assert ("?" in line.partition(name)[0]) == ("not told" in line)
            return "not told" in line

        assert await marked("learning_rate") and not await marked("lora_r")
        seen = "The run that was cloned: was 9" in " ".join(shown(app).split())
        assert seen is (size[0] > 104), "the foot of a small terminal has no room for it"
        assert "3 not told ?" in shown(app)
        assert await marked("seed")
        await until(
            pilot, lambda: "Not taken over from the run that was cloned: -1 is wrong" in " ".join(shown(app).split())
        )
        await pilot.press("enter", "7", "escape")
        assert await marked("seed"), "an edit that was taken back decides nothing"
        await pilot.press("enter", "7", "enter")
        assert not await marked("seed") and "2 not told ?" in shown(app)
        assert await marked("learning_rate")
        await pilot.press("enter", "enter")
        assert not await marked("learning_rate"), "looked at and found right"
        assert await marked("lora_alpha")
        await pilot.press("right")
        assert not await marked("lora_alpha") and "not told" not in shown(app)


async def test_all_fields_by_tab(files: Path) -> None:
    app = launch_app(demo_values(), "Sample run")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await form(app, pilot)
        before = dict(screen.model.texts)
        await pilot.press("f6", "home", *["tab"] * (len(settings()) - 1))
        assert screen.list.current.name == screen.list.names[-1]
        await pilot.press("shift+tab", "escape")
        assert screen.list.current.name == screen.list.names[-2]
        assert screen.model.texts == before, "passing through changes nothing"


async def test_nothing_is_written_to_an_idle_terminal(files: Path) -> None:
    app = launch_app()
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await pilot.pause(0.3)
        painted: list[Any] = []
        display = app._display
        app._display = lambda *args: (painted.append(args), display(*args))[1]  # type: ignore[method-assign]
        await pilot.pause(1.0)
        assert painted == []
        assert screen.list.entry is not None
