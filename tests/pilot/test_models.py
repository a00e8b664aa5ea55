"""The model picker, by keyboard alone, on real directories, a real hub cache and a hub on loopback."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.models import catalogue, consent
from engine.models import hub as asking
from tests.costing import install
from tests.hub import Hub, Repository, serving
from tests.pilot.modelfiles import CODE, hub_model, model_dir
from tests.pilot.test_launch import SIZE, form, go, launch_app, row, shown, write
from tests.support import until, write_rows
from tui.app import TunedeckApp
from tui.keys import TABLES
from tui.launch import probe
from tui.models.consenting import ConsentScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.launch import LaunchScreen
from tui.screens.models import ModelsScreen

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e[/red][@click=app.quit]"
DAY = 86_400.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with training data and an empty hub cache."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    install(monkeypatch)
    write_rows(work / "rows.jsonl", 8)
    return work


@pytest.fixture
def cache(tmp_path: Path, place: Path) -> Path:
    """The hub cache, with some models."""
    cache = tmp_path / "hf" / "hub"
    hub_model(cache, "Qwen/Qwen2.5-0.5B-Instruct", licence="apache-2.0", age=3600)
    hub_model(
        cache, "HuggingFaceTB/SmolLM2-135M", parameters=134_515_008, licence="apache-2.0", age=5 * DAY, template=""
    )
    hub_model(cache, "BAAI/bge-small-en", architecture="BertModel", model_type="bert", age=60)
    return cache


@pytest.fixture
def hub(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        config = json.dumps({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}).encode()
        files = {"config.json": config, "model.safetensors": b"x" * 5000, "tokenizer.json": b"{}",
                 "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}'}  # fmt: skip
        hub.repositories["org/open"] = Repository(
            dict(files), card={"license": "mit"}, parameters={"BF16": 1_500_000_000}
        )
        hub.repositories["org/gated"] = Repository(dict(files), gated="manual")
        own = {"architectures": ["OwnForCausalLM"], "model_type": "own-kind",
               "auto_map": {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "configuration_own.Own"}}  # fmt: skip
        hub.repositories["org/own"] = Repository(
            {**files, "config.json": json.dumps(own).encode(), "configuration_own.py": CODE.encode()}
        )
        asking.forget()
        yield hub


def filled(place: Path, **more: Any) -> dict[str, Any]:
    model = place / "start"
    if not model.exists():
        model_dir(model, age=9 * DAY)
    return {"base_model": str(model), "train_path": str(place / "rows.jsonl"), "output_dir": str(place / "out"), **more}


async def picker(app: TunedeckApp, pilot: Any, keys: str = "f12") -> ModelsScreen:
    """The picker, opened from the form, once it has looked everywhere."""
    await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
    await pilot.press(keys)
    await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and app.screen.is_mounted)
    screen = app.screen
    assert isinstance(screen, ModelsScreen)
    await until(pilot, lambda: not screen._searching)
    await pilot.pause()
    return screen


def names(screen: ModelsScreen) -> list[str]:
    """The first word of each row."""
    return [line.split()[0] for line in screen.table.text.splitlines()]


async def asked(app: TunedeckApp, pilot: Any) -> None:
    """Until consent is asked for, and stands on the screen."""
    await until(pilot, lambda: isinstance(app.screen, ConsentScreen) and "SHA-256 of all of it" in shown(app), 30)


def told(app: TunedeckApp) -> str:
    return "\n".join(notice.message for notice in app._notifications)


async def test_a_model_of_the_cache_is_taken_into_the_form_and_undone(place: Path, cache: Path) -> None:
    app = launch_app(filled(place, revision="old"))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        assert names(screen)[-1] == "BAAI/bge-small-en", "what cannot be trained stands last, however new it is"
        assert "no causal language model" in shown(app) and "4 models, 1 cannot be trained" in shown(app)
        await write(pilot, "apache instruct")
        assert names(screen) == ["Qwen/Qwen2.5-0.5B-Instruct"]
        text = shown(app)
        for fact in ("494 M", "942 MiB", "bfloat16", "Qwen2ForCausalLM", "chatml", "apache-2.0", "no GPU seen here"):
            assert fact in text, fact
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        assert launch.model.text("base_model") == "Qwen/Qwen2.5-0.5B-Instruct" and launch.model.text("revision") == ""
        assert launch.list.current.name == "base_model" and "base_model is now Qwen/Qwen2.5-0.5B-Instruct" in told(app)
        await until(pilot, lambda: "494 M parameters" in shown(app) and "template chatml" in shown(app))
        await pilot.press("f9")
        assert launch.model.text("base_model") == str(place / "start") and launch.model.text("revision") == "old"


async def test_orders(place: Path, cache: Path) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        screen = await picker(app, pilot)
        seen = {}
        for _ in range(4):
            seen[screen.ledger.order] = names(screen)
            await pilot.press("f6")
        assert seen["parameters"][-2].startswith("HuggingFaceTB") and seen["size"][-2].startswith("HuggingFaceTB")
        assert seen["name"][:3] == ["Qwen/Qwen2.5-0.5B-Instruct", "HuggingFaceTB/SmolLM2-135M", "start"]
        assert screen.ledger.order == "used"
        await pilot.press("ctrl+t", "ctrl+o")
        assert names(screen)[:3] == seen["name"][:3][::-1], "turned round; what cannot be trained stays last"
        assert names(screen)[-1] == "BAAI/bge-small-en"


async def test_a_pinned_snapshot_sets_the_revision(place: Path, cache: Path) -> None:
    commit = "b" * 40
    hub_model(cache, "Qwen/Qwen2.5-0.5B-Instruct", commit=commit, main=False)
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        await write(pilot, "bbbbbbbb")
        assert len(screen.table.rows) == 1 and "@bbbbbbbb" in screen.table.text
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        assert (launch.model.text("base_model"), launch.model.text("revision")) == (
            "Qwen/Qwen2.5-0.5B-Instruct",
            commit,
        )


async def test_while_a_value_is_edited(place: Path, cache: Path) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        await go(pilot, launch, "learning_rate")
        await write(pilot, "3e-4")
        screen = await picker(app, pilot, "ctrl+n")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is launch)
        assert launch.model.text("learning_rate") == "3e-4" and launch.model.text("base_model") == str(place / "start")
        assert screen._feed._stopped.is_set(), "nothing goes on behind the form"


async def test_what_cannot_be_trained_is_not_taken(place: Path, cache: Path) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        screen = await picker(app, pilot)
        await write(pilot, "bge")
        await pilot.press("enter")
        await until(pilot, lambda: "It cannot be fine-tuned here: no causal language model (BertModel)" in told(app))
        assert app.screen is screen


async def test_nothing_there_is_said(place: Path, tmp_path: Path) -> None:
    app = launch_app({"train_path": str(place / "rows.jsonl")})
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await picker(app, pilot)
        text = " ".join(shown(app).split())
        assert "No models in the hub cache at" in text and "Type a hub id" in text and "Looked in" in text
        await write(pilot, "qwen")
        assert [type(row).__name__ for row in screen.table.rows] == ["Offer"], (
            "a plain word may be an id without an organisation"
        )
        await write(pilot, " instruct")
        assert "No model here matches qwen instruct" in shown(app)
        await pilot.press("escape")
        assert screen.typed == "" and app.screen is screen
        model_dir(place / "models" / "new-one")
        await pilot.press("f5")
        await until(pilot, lambda: "models/new-one" in screen.table.text)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))


async def test_a_directory_is_typed_and_completed(place: Path, tmp_path: Path) -> None:
    model_dir(tmp_path / "elsewhere" / "my-model")
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        await write(pilot, f"{tmp_path}/else")
        await until(pilot, lambda: "no model lies there" in shown(app))
        await pilot.press("enter")
        assert app.screen is screen and "No model lies there" in told(app)
        await pilot.press("tab")
        await until(pilot, lambda: screen.typed.endswith("elsewhere/"))
        await pilot.press("tab")
        await until(pilot, lambda: screen.typed.endswith("my-model/"))
        await until(pilot, lambda: "Take the directory" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        assert Path(launch.model.text("base_model")) == tmp_path / "elsewhere" / "my-model"


async def test_the_hub_is_asked_and_the_answer_is_taken(place: Path, hub: Hub) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        await picker(app, pilot)
        await write(pilot, "https")
        await pilot.press("colon")
        await write(pilot, "//huggingface.co/org/open")
        assert "Ask the hub about org/open" in shown(app), "a page's address will do"
        await pilot.press("enter")
        await until(pilot, lambda: "It is on the hub" in " ".join(shown(app).split()), 20)
        text = shown(app)
        assert "1.50 B" in text and "mit" in text and "4.9 KiB to download" in text and hub.asked
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        assert launch.model.text("base_model") == "org/open"
        await until(pilot, lambda: "on the hub" in shown(app), 20)
        assert launch.model.problem("base_model") is None


async def test_refusals_of_the_hub_are_words(place: Path, hub: Hub) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        screen = await picker(app, pilot)
        await write(pilot, "org/gated")
        await pilot.press("enter")
        await until(pilot, lambda: ("org/gated", None) in screen.seen.answers, 20)
        await pilot.pause()
        assert "gated" in shown(app) and app.screen is screen
        await pilot.press("escape")
        await write(pilot, "org/none")
        await pilot.press("enter")
        await until(pilot, lambda: ("org/none", None) in screen.seen.answers, 20)
        await pilot.pause()
        assert screen.seen.answers["org/none", None].kind == "missing" and "not on the hub" in shown(app)
        count = len(hub.asked)
        await pilot.press("enter")
        await until(pilot, lambda: len(hub.asked) > count and screen._asked is None, 20)
        assert app.screen is screen, "it is asked again, not taken"


async def test_a_silent_hub_is_given_up(place: Path, hub: Hub) -> None:
    hub.delay = 30.0
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        screen = await picker(app, pilot)
        await write(pilot, "org/open")
        await pilot.press("enter")
        await until(pilot, lambda: "10 s left" in shown(app))
        await until(pilot, lambda: "8 s left" in shown(app))
        await pilot.press("escape")
        assert app.screen is screen and "s left" not in shown(app) and screen.typed == "org/open"
        await pilot.press("down", "up", "escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))


async def test_with_the_hub_switched_off(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        await picker(app, pilot)
        await write(pilot, "org/open")
        await pilot.press("enter")
        await until(pilot, lambda: "HF_HUB_OFFLINE" in shown(app), 5)


async def test_code_runs_only_after_the_typed_word(place: Path) -> None:
    own = model_dir(place / "own", code=True)
    app = launch_app(filled(place))
    async with app.run_test(size=(80, 24)) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        await write(pilot, "own")
        for answer in ("enter", "yes"):
            await pilot.press("enter")
            await asked(app, pilot)
            text = shown(app)
            assert "configuration_own.py" in text and "modeling_own.py" in text and f"{len(CODE)} B" in text
            assert str(own) in "".join(text.split()).replace("│", "") or "own" in text
            code = consent.code_of(str(own))
            assert code is not None and code.sha256[:12] in text
            if answer == "yes":
                await write(pilot, "yes")
            await pilot.press("enter")
            assert isinstance(app.screen, ConsentScreen), "only the word counts"
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is screen)
            assert "Not taken" in told(app) and not consent.agreed(code)
        await pilot.press("enter")
        await asked(app, pilot)
        await write(pilot, "trust")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        assert launch.model.text("base_model") == str(own) and launch.model.text("trust_remote_code") == "true"
        assert consent.agreed(code)


async def test_trust_ends_with_the_model_the_revision_or_a_byte(place: Path) -> None:
    own = model_dir(place / "own", code=True)
    code = consent.code_of(str(own))
    consent.agree(code)
    app = launch_app(filled(place, base_model=str(own)))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)

        async def trust() -> None:
            await go(pilot, launch, "trust_remote_code")
            await pilot.press("right")
            await until(pilot, lambda: launch.model.text("trust_remote_code") == "true")
            await until(pilot, lambda: not launch._reading)

        await trust()
        assert "You have agreed to exactly this code before" in told(app), "the word is typed once for the same code"
        await go(pilot, launch, "revision")
        await write(pilot, "other")
        await pilot.press("enter")
        await until(pilot, lambda: launch.model.text("trust_remote_code") == "false")
        await trust()
        (own / "modeling_own.py").write_text("import os\n")
        launch.look_again()
        await until(pilot, lambda: launch.model.text("trust_remote_code") == "false")
        await until(pilot, lambda: "not what you agreed to" in told(app))
        await go(pilot, launch, "trust_remote_code")
        await pilot.press("right")
        await asked(app, pilot)
        await pilot.press("escape")


async def test_a_model_without_code_needs_no_word(place: Path) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        await go(pilot, launch, "trust_remote_code")
        await pilot.press("right")
        await until(pilot, lambda: launch.model.text("trust_remote_code") == "true")
        assert app.screen is launch and "brings no code of its own" in told(app)


async def test_code_on_the_hub_is_fetched_to_be_read(place: Path, hub: Hub) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        await write(pilot, "org/own")
        await pilot.press("enter")
        await until(pilot, lambda: ("org/own", None) in screen.seen.answers, 20)
        assert screen.seen.answers["org/own", None].needs_code
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Fetch the code of org/own" in shown(app)
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        assert launch.model.text("base_model") == str(place / "start")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await asked(app, pilot)
        assert "configuration_own.py" in shown(app) and hub.repositories["org/own"].commit in "".join(
            shown(app).split()
        )
        await write(pilot, "trust")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        assert launch.model.text("base_model") == "org/own" and launch.model.text("trust_remote_code") == "true"
        assert not any("resolve" in path and path.endswith("model.safetensors") for path in hub.asked), "no weights"


async def test_the_form_asks_the_hub_once_an_edit_is_over(
    place: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SETTLE_SECONDS", 0.02)
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        await go(pilot, launch, "base_model")
        await pilot.press("enter")
        await write(pilot, "org/none")
        await pilot.pause(0.5)
        assert hub.asked == [], "not while one types"
        await pilot.press("enter")
        await until(pilot, lambda: launch.model.problem("base_model") is not None, 20)
        assert any("org/none" in path for path in hub.asked)
        assert "org/none" in row(app, "base_model")
        await pilot.press("enter")
        await write(pilot, "org/open")
        await pilot.press("enter")
        await until(pilot, lambda: launch.model.hub is not None and launch.model.hub.kind == "ok", 20)
        await pilot.pause()
        assert launch.model.problem("base_model") is None and "to download" in shown(app)


async def test_hostile_names_are_harmless_and_aligned(place: Path) -> None:
    for number, name in enumerate(
        (HOSTILE.replace("/", "_"), "모델" * 40, "x" * 250, "👩\u200d💻\u200d" * 8, "a\nb\tc")
    ):
        model_dir(place / "models" / name, age=number * 1000, licence='"\\e[31mred"')
    for size in ((80, 24), (160, 50)):
        app = launch_app(filled(place))
        async with app.run_test(size=size) as pilot:
            screen = await picker(app, pilot)
            assert len(screen.table.rows) == 6
            for _ in range(6):
                text = shown(app)
                assert all(character.isprintable() or character == "\n" for character in text)
                await pilot.press("down")
            widths = {sum(cell_width(part) for part, _ in screen._draw_row(row)) for row in screen.table.rows}
            assert widths == {screen.table.room}
            await write(pilot, "모델")
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
            assert app.screen.model.text("base_model").endswith("모델" * 40)


def cell_width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


async def test_the_first_rows_come_at_once_and_keys_never_wait(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def scan(folders: Any = (), cancelled: threading.Event | None = None) -> Iterator[catalogue.Model]:
        for number in range(3000):
            if number == 1500:
                go_on.wait(10)
            yield catalogue.Model(f"org/model-{number:04}", None, Path(f"/m/{number}"), "hub cache", parameters=number * 10**6,
                                  used=float(number), bytes=number)  # fmt: skip

    monkeypatch.setattr(catalogue, "scan", scan)
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        await form(app, pilot)
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and len(app.screen.ledger.models) >= 1)
        screen = app.screen
        assert isinstance(screen, ModelsScreen) and screen._searching and "searching" in shown(app)
        await pilot.press("down")
        chosen = screen.table.row.name
        go_on.set()
        await until(pilot, lambda: not screen._searching and len(screen.table.rows) == 3000)
        assert screen.table.row.name == chosen, "the cursor keeps to its row"
        began = time.monotonic()
        await write(pilot, "model-29")
        assert time.monotonic() - began < 2 and len(screen.table.rows) == 100
        await pilot.press("pagedown", "ctrl+end")
        assert screen.table.row is screen.table.rows[-1] and screen.table.row.name in shown(app)


def test_nobody_waits_for_a_pipe(place: Path) -> None:
    from tui.models.codefiles import read

    own = model_dir(place / "own", code=True)
    os.mkfifo(own / "pipe.py")
    began = time.monotonic()
    found = read(str(own))
    assert time.monotonic() - began < 2 and found.code is not None and "modeling_own.py" in found.code.files


async def test_what_a_model_lacks_is_said(place: Path, cache: Path, hub: Hub) -> None:
    (hub_model(cache, "org/open") / "model.safetensors").unlink()
    (hub_model(cache, "org/mute") / "tokenizer.json").unlink()
    (model_dir(place / "models" / "dumb") / "tokenizer.json").unlink()
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        assert "2 partial, 2 cannot be trained" in shown(app)
        for typed, words in (("mute", "tokenizer is not downloaded yet"), ("dumb", "no tokenizer: it cannot be"),
                             ("org/open", "Its weights are not downloaded yet")):  # fmt: skip
            await pilot.press("escape", *typed) if screen.typed else await write(pilot, typed)
            if "/" in typed:  # the id itself is offered first
                await pilot.press("down")

            def pane() -> str:
                return " ".join(" ".join(line[72:] for line in shown(app).splitlines()).split())

            await until(pilot, lambda words=words: words in pane())
            assert ("Enter asks the hub about the rest" in pane()) is (typed != "dumb"), pane()
        await pilot.press("enter")
        await until(pilot, lambda: ("org/open", None) in screen.seen.answers, 20)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        assert launch.model.text("base_model") == "org/open"


async def test_the_models_in_a_folder_are_offered(place: Path, cache: Path, tmp_path: Path) -> None:
    for name in ("one", "maker/two", "a/b/too-deep"):
        model_dir(tmp_path / "shelf" / name)
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        await write(pilot, f"{tmp_path}/shelf")
        await until(pilot, lambda: "no model itself, 2 in it" in shown(app))
        assert "2 models lie in it" in " ".join(shown(app).split()) and "too-deep" not in shown(app)
        await pilot.press("enter")
        assert app.screen is screen and "Take one of the models in it" in told(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.screen is launch)
        assert launch.model.text("base_model") in [str(tmp_path / "shelf" / name) for name in ("one", "maker/two")]


async def test_of_a_model_that_is_here_in_part_the_hub_is_asked_about_the_rest(
    place: Path, cache: Path, hub: Hub
) -> None:
    snapshot = hub_model(cache, "org/open")
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    app = launch_app(filled(place))
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        screen = await picker(app, pilot)
        await write(pilot, "incomplete")
        assert "weights are incomplete" in screen.table.text
        await pilot.press("enter")
        await until(pilot, lambda: ("org/open", None) in screen.seen.answers, 20)
        assert screen.typed == "org/open"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is launch)
        await until(pilot, lambda: launch.model.hub is not None and not launch._reading, 20)
        assert launch.model.text("base_model") == "org/open" and launch.model.problem("base_model") is None


async def test_the_form_says_what_cannot_be_trained(place: Path, cache: Path) -> None:
    for name in ("BAAI/bge-small-en", str(model_dir(place / "bert", architecture="BertModel", model_type="bert"))):
        app = launch_app(filled(place, base_model=name))
        async with app.run_test(size=SIZE) as pilot:
            launch = await form(app, pilot)
            problem = launch.model.problem("base_model")
            assert problem is not None and "no causal language model (BertModel)" in problem.message
            await pilot.pause()
            assert "BertModel" in shown(app)


def test_every_key_has_an_action() -> None:
    for key in TABLES["models"]:
        assert hasattr(ModelsScreen, f"action_{key.action.partition('(')[0]}"), key.id


async def test_every_key_is_in_the_help_and_actions_are_found_by_name(place: Path, cache: Path) -> None:
    app = launch_app(filled(place))
    async with app.run_test(size=(160, 50)) as pilot:
        launch = await form(app, pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen is not launch)
        await write(pilot, "Pick a model")
        await until(pilot, lambda: "Models  (F12)" in shown(app) and "Costs  (F11)" not in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.pause()
        text = " ".join(shown(app).split())
        assert all(row.help[:40] in text for row in TABLES["models"] if row.show), text
