"""The length sheet: what is counted, what is cut, padded, packed and suggested, a sample of it, and the cache."""

from __future__ import annotations

import json
import math
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import RunConfig, parse
from engine.data import DataReport, Reading, check_sources
from engine.inspecting import InspectError, Inspector
from engine.preflight import counting, distribution
from engine.preflight.distribution import Distribution, packed, padding
from engine.preflight.lengths import Lengths, measure
from engine.preflight.rowcounts import Rows

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
    counting._counts.clear()
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
    assert guess.estimated and not exact.estimated and guess.counted == 1000 and exact.counted == 3000
    assert guess.rows == exact.rows == 3000 and abs(guess.tokens - exact.tokens) < 0.05 * exact.tokens
    assert (
        abs(guess.trained - exact.trained) < 0.05 * exact.trained and abs(guess.kept - exact.kept) < 0.05 * exact.kept
    )
    assert sum(count for _, _, count in guess.histogram()) == pytest.approx(3000, abs=6)
    assert told[-1] == (3000, 3000) and [done for done, _ in told] == sorted(done for done, _ in told)
    # Once all are counted, a sample is no longer taken.
    again = measure(Refusing(), config, report, sample=True)  # type: ignore[arg-type]
    assert not again.estimated and again.tokens == exact.tokens


def test_each_file_of_a_sample_weighs_as_much_as_it_is_taken(inspector: Inspector, tmp_path: Path) -> None:
    lines = (SAMPLE / "train.jsonl").read_text().splitlines()
    texts = [
        json.dumps({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "no"}]})
    ] * 1500
    long, short = tmp_path / "long.jsonl", tmp_path / "short.jsonl"
    long.write_text("\n".join(lines * 5) + "\n")
    short.write_text("\n".join(texts) + "\n")
    config, report = setup(f"{long}:10%,{short}:x3")
    guess = measure(inspector, config, report, sample=True)
    exact = measure(inspector, config, report)
    assert guess.estimated and guess.rows == exact.rows == 200 + 4500
    assert abs(guess.tokens - exact.tokens) < 0.05 * exact.tokens


def test_the_cache_is_by_content(inspector: Inspector, tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes((SAMPLE / "eval.jsonl").read_bytes())
    config, report = setup(file)
    first = measure(inspector, config, report)
    (kept,) = own_cache.glob("*.rows")
    moved = tmp_path / "b.jsonl"
    file.rename(moved)
    other, moved_report = setup(moved)
    assert measure(Refusing(), other, moved_report) == first  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="was asked"):
        measure(Refusing(), *setup(moved, assistant_only_loss=False))  # type: ignore[arg-type]
    # What is damaged is counted again.
    whole = kept.read_bytes()
    for damage in (b"", b"[]", b"{", b"{}\n", whole[:-3], whole[:-3] + b"abc", whole.replace(b'"format":2', b'"format":9'),
                   whole.replace(b'"bytes":[', b'"bytes":[9999999999999,'), whole.replace(b'"crc":', b'"crc":1')):  # fmt: skip
        counting._counts.clear()
        kept.write_bytes(damage)
        with pytest.raises(AssertionError, match="was asked"):
            measure(Refusing(), other, moved_report)  # type: ignore[arg-type]
        assert measure(inspector, other, moved_report) == first and kept.read_bytes() == whole
    counting._counts.clear()
    with moved.open("a") as out:
        out.write(moved.read_text().splitlines()[0] + "\n")
    with pytest.raises(AssertionError, match="was asked"):
        measure(Refusing(), *setup(moved))  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [1, 30, 90, 150, 4000])
def test_another_limit_needs_no_new_count(inspector: Inspector, limit: int) -> None:
    measure(inspector, *setup())
    config, report = setup(max_seq_length=limit) if limit > 30 else setup()
    config = config.model_copy(update={"max_seq_length": limit})
    found, rows = measure(Refusing(), config, report), by_hand(config)  # type: ignore[arg-type]
    assert found.trained == sum(learned for _, learned in rows)
    assert found.usable == sum(learned > 0 for _, learned in rows)
    assert found.kept == sum(min(n, limit) for n, learned in rows if learned)


def test_two_who_ask_count_together_and_what_was_counted_stays(inspector: Inspector, tmp_path: Path) -> None:
    lines = (SAMPLE / "train.jsonl").read_text().splitlines()
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(lines * 3) + "\n")
    config, report = setup(file)
    asked: list[int] = []

    class Few:
        """Counts by three hundred rows, and writes down from where."""

        def ask(self, what: str, timeout: float, cancelled: threading.Event | None, **fields: Any) -> dict[str, Any]:
            if cancelled is not None and len(asked) >= 2:
                cancelled.set()
            asked.append(fields["row"])
            return inspector.ask(what, timeout, cancelled, **{**fields, "count": 300})

    stop, few = threading.Event(), Few()
    with pytest.raises(InspectError) as caught:
        measure(few, config, report, cancelled=stop)  # type: ignore[arg-type]
    assert caught.value.kind == "cancelled" and asked == [0, 300, 600]
    asked.clear()
    found: list[Lengths] = []
    threads = [threading.Thread(target=lambda: found.append(measure(few, config, report))) for _ in range(2)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [600, 900] or asked == [600, 900, 1200], "nothing is counted twice"
    assert found[0] == found[1] == measure(inspector, *setup(file)) and found[0].counted == 1200


def test_a_file_that_changes_meanwhile_is_said(inspector: Inspector, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes((SAMPLE / "eval.jsonl").read_bytes())
    config, report = setup(file)

    class Writing:
        def ask(self, what: str, timeout: float, cancelled: Any, **fields: Any) -> dict[str, Any]:
            answer = inspector.ask(what, timeout, cancelled, **fields)
            with file.open("a") as out:
                out.write(file.read_text().splitlines()[0] + "\n")
            return answer

    with pytest.raises(InspectError) as caught:
        measure(Writing(), config, report)  # type: ignore[arg-type]
    assert caught.value.kind == "changed-file" and caught.value.problems[0].file == str(file)


def test_another_template_is_another_count(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "tokenizer.json").write_text("{}")
    before = counting.tokenizer_print(str(model))
    (model / "chat_template.jinja").write_text("{{ messages }}")
    assert before and before != counting.tokenizer_print(str(model))
    assert counting.tokenizer_print("nobody/nothing-such") is None


def test_the_hub_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--a--b"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    assert counting.model_folder("a/b") is None and counting.model_folder("a/b", "abc") == folder / "snapshots" / "abc"
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    assert counting.model_folder("a/b") == folder / "snapshots" / "abc"


def test_it_can_be_taken_back(inspector: Inspector) -> None:
    config, report = setup()
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(InspectError) as caught:
        measure(inspector, config.model_copy(update={"max_seq_length": 77}), report, cancelled=cancelled)
    assert caught.value.kind == "cancelled"


def test_padding_and_packing() -> None:
    assert padding({5: 1, 9: 1, 3: 1}, 1) == 0.0 and padding({}, 4) == 0.0 and padding({7: 10}, 4) == 0.0
    assert padding({10: 1, 30: 1}, 2) == pytest.approx(1 - 40 / 60)
    # Half of all pairs are of two kinds: 10 and 30 in one batch waste 20 of 60.
    assert padding({10: 500_000, 30: 500_000}, 2) == pytest.approx(0.2, abs=0.01)
    assert padding({10: 50.5, 30: 50.5}, 2) == pytest.approx(0.2, abs=0.01)
    assert (
        packed([], 10) == 0
        and packed([10, 10], 10) == 2
        and packed([6, 4, 5, 5], 10) == 2
        and packed([6, 6, 4], 10) == 2
    )
    assert Lengths(10).histogram() == [] and Lengths(10).quantiles() == {} and Lengths(10).longest == 0


def spread(lengths: list[int]) -> Distribution:
    return Distribution(Counter(lengths))


def test_quantiles_and_bins_agree_with_counting_one_by_one() -> None:
    dice = random.Random(5)
    lengths = [dice.randrange(1, 900) for _ in range(1000)]
    found, ordered = spread(lengths), sorted(lengths)
    assert (found.rows, found.tokens, found.longest, found.shortest) == (1000, sum(lengths), max(lengths), min(lengths))
    assert found.above(500) == sum(length > 500 for length in lengths)
    for share in (0.0, 0.001, 0.5, 0.9, 0.99, 0.995, 1.0):
        assert found.quantile(share) == ordered[max(1, math.ceil(share * 1000 - 1e-9)) - 1], share
    bins = found.histogram(12)
    assert len(bins) <= 12 and sum(item.rows for item in bins) == 1000
    assert all(item.rows == sum(item.low <= n < item.high for n in lengths) for item in bins)


def test_what_is_far_longer_than_the_rest_does_not_squeeze_the_picture_nor_decide() -> None:
    found = spread([100] * 999 + [50_000])
    bins = found.histogram(10)
    assert bins[-1].rest and bins[-1].rows == 1 and bins[-1].high == 50_001 and bins[-2].high < 200 and len(bins) <= 10
    assert found.suggestion() == (128, 1, 50_000)
    assert spread([100, 140]).suggestion() == (192, 0, 140) and spread([64]).suggestion() == (64, 0, 64)
    assert spread([]).suggestion() is None and spread([]).histogram(5) == [] and spread([]).quantile(0.5) is None
    assert distribution.ROUND == 64
    for most in range(1, 30):
        for longest in (1, 9, 10, 63, 64, 999, 1000, 12_345):
            assert len(spread([longest, 1]).histogram(most)) <= most or most == 1


def test_a_million_rows_take_little_room(own_cache: Path) -> None:
    from engine.preflight import rowcounts

    rows, drawn = Rows(), random.Random(1)
    for _ in range(20):
        lengths = [drawn.randint(50, 1500) for _ in range(5000)]
        rows.add({"lengths": lengths, "spans": [[20, n // 2, n // 2 + 9, n] for n in lengths], "answered": [1] * 5000,
                  "refused": []})  # fmt: skip
    held = sum(sys.getsizeof(part) for part in (rows.lengths, rows.learned, rows.ends, rows.spans, rows.answered))
    assert len(rows) == 100_000 and held < 45 * len(rows)
    rowcounts.remember("k", rows)
    assert (own_cache / "k.rows").stat().st_size < 15 * len(rows) and rowcounts.recall("k") == rows


@pytest.mark.slow
def test_packing_is_that_of_trl() -> None:
    from datasets import Dataset
    from trl import pack_dataset

    drawn = random.Random(1)
    for limit in (16, 50, 333):
        sizes = [drawn.randint(1, limit) for _ in range(500)]
        rows = Dataset.from_dict({"input_ids": [[0] * size for size in sizes]})
        assert packed(sizes, limit) == len(pack_dataset(rows, seq_length=limit, strategy="bfd"))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, 4, 8])
def test_padding_is_that_of_the_trainers_batches(batch: int, tmp_path: Path) -> None:
    """The share of padding in the batches of the trainer's own loader, over several epochs' orders."""
    import torch
    from datasets import Dataset
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from trl import SFTConfig, SFTTrainer

    from engine.worker import chat

    drawn = random.Random(2)
    sizes = [min(300, int(drawn.lognormvariate(4, 0.8)) + 5) for _ in range(403)]
    rows = Dataset.from_dict({"input_ids": [[5] * size for size in sizes], "labels": [[5] * size for size in sizes]})
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=2000, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                         num_attention_heads=2, num_key_value_heads=2))  # fmt: skip
    tokenizer = chat.load_tokenizer({"base_model": str(MODEL), "revision": None, "trust_remote_code": False})
    trainer = SFTTrainer(
        model=model, train_dataset=rows, processing_class=tokenizer,
        args=SFTConfig(output_dir=str(tmp_path), max_length=None, use_cpu=True, bf16=False, report_to="none", disable_tqdm=True,
                       per_device_train_batch_size=batch, gradient_checkpointing=False),
    )  # fmt: skip
    loader, room, real = trainer.get_train_dataloader(), 0, 0
    for epoch in range(12):
        torch.manual_seed(epoch)
        loader.set_epoch(epoch)
        for given in loader:
            room += given["attention_mask"].numel()
            real += int(given["attention_mask"].sum())
    assert real == 12 * sum(sizes)
    assert padding(Counter(sizes), batch) == pytest.approx(1 - real / room, abs=0.015)
