"""The length sheet: what is counted, what is cut, padded, packed and suggested, a sample of it, and the cache."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import RunConfig, parse
from engine.data import DataReport, Reading, check_sources
from engine.inspecting import InspectError, Inspector
from engine.preflight import lengths
from engine.preflight.lengths import Lengths, measure, packed, padding, suggest

SAMPLE = paths.sample_data_dir()
MODEL = SAMPLE / "tiny-qwen2"


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    asked = Inspector()
    yield asked
    asked.close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "lengths"


class Refusing:
    """Stands in for an inspector that must not be asked."""

    def ask(self, *args: Any, **fields: Any) -> dict[str, Any]:
        raise AssertionError("was asked")


def setup(path: Path | str = SAMPLE / "train.jsonl", **more: Any) -> tuple[RunConfig, DataReport]:
    config = parse({"base_model": str(MODEL), "train_path": str(path), "output_dir": "out", **more})
    return config, check_sources(config.train_path, reading=Reading.of(config.model_dump()))


def by_hand(config: RunConfig) -> list[tuple[int, int]]:
    """Length and learned tokens of each row as the trainer's own rows have them."""
    from engine.worker import chat, dataset
    from engine.worker.marking import Marker

    values = config.model_dump()
    tokenizer = chat.load_tokenizer(values)
    chat.ensure_pad_token(tokenizer)
    marker = Marker(tokenizer, assistant_only=config.assistant_only_loss is not False, limit=config.max_seq_length)
    marked = [marker.mark(row.chat) for row in dataset.load(values)[0]]
    return [(len(one.ids), one.learned) for one in marked]


@pytest.mark.parametrize("more", [{}, {"max_seq_length": 120}, {"max_seq_length": 64, "assistant_only_loss": False}])
def test_the_sheet_is_what_the_trainer_will_see(inspector: Inspector, more: dict[str, Any]) -> None:
    config, report = setup(**more)
    found, rows = measure(inspector, config, report), by_hand(config)
    limit = config.max_seq_length
    assert not found.estimated and found.rows == len(rows) == report.rows
    assert found.tokens == sum(n for n, _ in rows) and found.trained == sum(learned for _, learned in rows)
    assert found.truncated == sum(n > limit for n, _ in rows)
    assert found.usable == sum(learned > 0 for _, learned in rows) and found.empty == len(rows) - found.usable
    assert found.kept == sum(min(n, limit) for n, learned in rows if learned)
    assert found.longest == max(n for n, _ in rows) and found.quantiles()[0.0] == min(n for n, _ in rows)
    assert sum(count for _, _, count in found.histogram()) == len(rows)
    assert all(low <= found.longest for low, _, _ in found.histogram()) and found.histogram()[-1][1] > found.longest


def test_amounts_are_drawn_as_the_trainer_draws_them(inspector: Inspector, tmp_path: Path) -> None:
    config, report = setup(f"{SAMPLE / 'train.jsonl'}:37,{SAMPLE / 'eval.jsonl'}:x2", seed=5)
    found, rows = measure(inspector, config, report), by_hand(config)
    assert found.rows == len(rows) and found.tokens == sum(n for n, _ in rows)


def test_rows_that_are_not_rendered_and_rows_without_an_answer(inspector: Inspector, tmp_path: Path) -> None:
    asks = {"messages": [{"role": "user", "content": "hi"}]}
    fine = {"messages": [*asks["messages"], {"role": "assistant", "content": "hello"}]}
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (fine, asks, fine)))
    config, report = setup(file)
    found = measure(inspector, config, report)
    assert (found.rows, found.usable, found.empty) == (2, 2, 0)
    whole = measure(inspector, *setup(file, assistant_only_loss=False))
    assert (whole.rows, whole.usable) == (3, 3) and whole.trained == whole.tokens


def test_a_sample_is_close_and_marked(inspector: Inspector, tmp_path: Path) -> None:
    lines = (SAMPLE / "train.jsonl").read_text().splitlines()
    many = random.Random(3).choices(lines, k=3000)
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(many) + "\n")
    config, report = setup(file)
    told: list[tuple[int, int]] = []
    guess = measure(inspector, config, report, sample=True)
    exact = measure(inspector, config, report, tell=lambda done, total: told.append((done, total)))
    assert guess.estimated and not exact.estimated and len(guess.lengths) < 600
    assert guess.rows == exact.rows == 3000 and abs(guess.tokens - exact.tokens) < 0.1 * exact.tokens
    assert told[-1] == (3000, 3000) or told[-1][0] <= 3000
    # Once all are counted, a sample is no longer taken.
    again = measure(Refusing(), config, report, sample=True)  # type: ignore[arg-type]
    assert not again.estimated and again.tokens == exact.tokens


def test_the_cache_is_by_content(inspector: Inspector, tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes((SAMPLE / "eval.jsonl").read_bytes())
    config, report = setup(file)
    first = measure(inspector, config, report)
    (kept,) = own_cache.glob("*.json")
    moved = tmp_path / "b.jsonl"
    file.rename(moved)
    other, moved_report = setup(moved)
    assert measure(Refusing(), other, moved_report) == first  # type: ignore[arg-type]
    for more in ({"max_seq_length": 100}, {"assistant_only_loss": False}):
        with pytest.raises(AssertionError, match="was asked"):
            measure(Refusing(), *setup(moved, **more))  # type: ignore[arg-type]
    # What is damaged is counted again.
    for damage in (b"", b"[]", b"{", b'{"lengths": [1], "learned": [], "answered": [], "refused": []}', b'{"lengths": ["x"]}',
                   kept.read_bytes().replace(b'"answered":[1', b'"answered":[null')):  # fmt: skip
        kept.write_bytes(damage)
        assert measure(inspector, other, moved_report) == first
    with moved.open("a") as out:
        out.write(moved.read_text().splitlines()[0] + "\n")
    with pytest.raises(AssertionError, match="was asked"):
        measure(Refusing(), *setup(moved))  # type: ignore[arg-type]


def test_another_template_is_another_count(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "tokenizer.json").write_text("{}")
    before = lengths.tokenizer_print(str(model))
    (model / "chat_template.jinja").write_text("{{ messages }}")
    assert before and before != lengths.tokenizer_print(str(model))
    assert lengths.tokenizer_print("nobody/nothing-such") is None


def test_the_hub_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--a--b"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    assert lengths.model_folder("a/b") is None and lengths.model_folder("a/b", "abc") == folder / "snapshots" / "abc"
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    assert lengths.model_folder("a/b") == folder / "snapshots" / "abc"


def test_it_can_be_taken_back(inspector: Inspector) -> None:
    config, report = setup()
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(InspectError) as caught:
        measure(inspector, config.model_copy(update={"max_seq_length": 77}), report, cancelled=cancelled)
    assert caught.value.kind == "cancelled"


def test_padding_packing_and_suggestions() -> None:
    assert padding([5, 9, 3], 1) == 0.0 and padding([], 4) == 0.0 and padding([7] * 10, 4) == 0.0
    assert padding([10, 30], 2) == pytest.approx(1 - 40 / 60)
    assert (
        packed([], 10) == 0
        and packed([10, 10], 10) == 2
        and packed([6, 4, 5, 5], 10) == 2
        and packed([6, 6, 4], 10) == 2
    )
    assert suggest([]) is None and suggest([10]) == 64 and suggest([64]) == 64 and suggest([65]) == 128
    assert suggest(sorted([100] * 999 + [5000])) == 128
    assert Lengths(10).histogram() == [] and Lengths(10).quantiles() == {} and Lengths(10).longest == 0


@pytest.mark.slow
def test_packing_is_that_of_trl() -> None:
    from datasets import Dataset
    from trl import pack_dataset

    drawn = random.Random(1)
    for limit in (16, 50, 333):
        sizes = [drawn.randint(1, limit) for _ in range(500)]
        rows = Dataset.from_dict({"input_ids": [[0] * size for size in sizes]})
        assert packed(sizes, limit) == len(pack_dataset(rows, seq_length=limit, strategy="bfd"))
