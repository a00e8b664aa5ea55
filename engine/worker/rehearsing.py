"""The parts of a run, put together for a few steps over its longest rows. Loads torch: for :mod:`engine.worker.dryrun`."""

from __future__ import annotations

import heapq
import json
import random
import time
from typing import Any

import pyarrow as pa
from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback

from engine.config import RunConfig
from engine.preflight import updates
from engine.worker import dataset
from engine.worker.dataset import Row
from engine.worker.failure import CannotTrain
from engine.worker.marking import CannotRender, Marked, Marker
from engine.worker.recipe import Recipe
from engine.worker.train import Training

# So many rows are tokenised at least, and at most, while the longest ones are looked for.
_FEWEST, _MOST = 64, 8192
_LONG_STEPS, _RECORDED_STEPS = 2, 3
_DIGITS = "0123456789"


class Rehearsing(Training):
    """A run of two steps over the longest rows as they would be trained, and one over rows as they come.

    The second step holds all that any step can: gradients of earlier passes, the optimizer's state, and in its last pass the
    longest rows of all. The third one only tells how long a usual step takes; where it would be compiled anew, or rows are
    packed and so all alike, there is none. Where passes are recorded as CUDA graphs, which happens when a shape comes up the
    second time, there are three steps of each, of which the last is timed.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows = 0
        self._long, self._usual = _LONG_STEPS, 1
        self._lengths: list[int] = []
        self._recipe: Recipe | None = None

    @property
    def _rows_per_step(self) -> int:
        return int(self.config["batch_size"] * self.config["gradient_accumulation_steps"])

    @property
    def _packs(self) -> bool:
        return self._recipe is not None and self._recipe.packing

    def rehearse(self, begun: float) -> dict[str, Any]:
        """Load, step, evaluate one batch; figures in bytes, seconds and tokens. ``begun`` is when all this began."""
        import torch

        trainer = self.set_up()
        clock = _clock(self.recorder)
        trainer.add_callback(clock)
        for name in ("save_strategy", "eval_strategy"):
            setattr(trainer.args, name, type(getattr(trainer.args, name))("no"))
        loaded = time.monotonic() - begun
        trainer.train()
        evaluated = 0
        if trainer.eval_dataset is not None:
            self.recorder.phase("evaluating", 0, 1)
            trainer.evaluate()
            evaluated = len(trainer.eval_dataset)
        cuda = torch.cuda.is_available()
        seconds, each = clock.seconds, self._tokens_of_steps()
        step, usual = seconds[self._long - 1], self._usual > 0
        return {
            "peak": torch.cuda.max_memory_allocated() if cuda else None,
            "reserved": torch.cuda.max_memory_reserved() if cuda else None,
            "first_step_seconds": seconds[0], "step_seconds": step, "load_seconds": loaded,
            "tokens_per_step": each[0], "tokens_per_second": each[0] / max(step, 1e-9),
            "longest": max(self._lengths), "rows": self.rows, "evaluated": evaluated,
            "usual_seconds": seconds[-1] if usual else None, "usual_tokens": each[-1] if usual else None,
            "chosen": self._recipe.as_chosen() if self._recipe is not None else None,
        }  # fmt: skip

    def write_record(self, recipe: Recipe) -> None:
        """Nothing is recorded; what ``auto`` chose decides which steps are needed."""
        self._recipe = recipe
        if recipe.packing or self.config["torch_compile"] or recipe.attn_implementation == "flex_attention":
            self._usual = 0
        if recipe.end_to_end and recipe.cuda_graphs:
            self._long, self._usual = _RECORDED_STEPS, _RECORDED_STEPS
        self.config["max_steps"] = self._long + self._usual
        for name, choice in recipe.auto.items():
            print(f"{name}: {choice['value']} ({choice['why']})", flush=True)

    def prepare_rows(self, data: Any, marker: Marker, weights: Any = None) -> tuple[Any, Any]:
        """Only the rows that are needed: the longest ones, and some as they come."""
        self.recorder.phase("tokenising")
        train, evaluation, left_out = dataset.load(self.config)
        if left_out:
            self.recorder.notice(left_out, "warning")
        settings = RunConfig.model_construct(**self.config)
        if updates.chosen(settings):
            some = self._as_they_come(train, marker, _FEWEST)
            mean = float(dataset.lengths_of(some).mean())
            self.config["gradient_accumulation_steps"] = updates.accumulation(settings, len(train), mean * len(train))
        evaluated = self._some(evaluation, marker, "evaluation rows") if evaluation else None
        return self._some(train, marker, "rows"), evaluated

    def settle_updates(self, recipe: Recipe, train: Any) -> None:
        """Settled already: it decided how many rows are needed."""

    def _some(self, rows: list[Row], marker: Marker, what: str) -> Any:
        if self._packs and what == "rows":  # a quarter more than is needed, so that they fill each other's gaps
            room = self._rows_per_step * int(self.config["max_seq_length"])
            return self._as_they_come(rows, marker, 1, room + room // 4)
        count = self._rows_per_step if what == "rows" else int(self.config["per_device_eval_batch_size"])
        found = self._longest(rows, marker, count)
        if what != "rows":
            return found
        self.rows = len(found)
        parts = [_repeated(found, self._rows_per_step)] * self._long
        if self._usual:
            usual = self._as_they_come(rows, marker, self._rows_per_step)
            parts += [_repeated(usual, self._rows_per_step)] * self._usual
        whole = concatenate_datasets(parts)
        self._lengths = [len(ids) for ids in whole["input_ids"]]
        return whole

    def build_trainer(self, recipe: Recipe, model: Any, tokenizer: Any, train: Any, evaluation: Any) -> Any:
        """The run's trainer, which takes the rows in this order; packed ones are known only now."""
        trainer = super().build_trainer(recipe, model, tokenizer, train, evaluation)
        trainer.args.train_sampling_strategy = "sequential"
        if self._packs:
            lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
            order = sorted(range(len(lengths)), key=lambda place: lengths[place])[-self._rows_per_step :]
            trainer.train_dataset = _repeated(trainer.train_dataset.select(order), self._rows_per_step * self._long)
            self.rows, self._lengths = len(order), [len(ids) for ids in trainer.train_dataset["input_ids"]]
        return trainer

    def _tokens_of_steps(self) -> list[int]:
        """Tokens, without padding, of each step."""
        each = self._rows_per_step
        return [sum(self._lengths[at : at + each]) for at in range(0, len(self._lengths), each)]

    def _longest(self, rows: list[Row], marker: Marker, count: int) -> Dataset:
        """The ``count`` rows that are longest as they are trained, the longest last; fewer where there are not so many.

        Rows are tokenised by what their characters promise, the longest first, until none that is left could be as long, were
        the promise as far too low as for any row before. What is left out of the training is left out here.
        """
        sizes = [_promised(row) for row in rows]
        ranked = sorted(range(len(rows)), key=lambda place: -sizes[place])
        limit, worst = int(self.config["max_seq_length"]), 0.0
        best: list[tuple[int, int, Marked]] = []  # a heap: the shortest of the longest ones first
        for tried, place in enumerate(ranked):
            if len(best) == count and (
                best[0][0] >= limit or tried >= _MOST or (tried >= _FEWEST and sizes[place] * worst < best[0][0])
            ):
                break
            marked = self._mark(rows[place], marker)
            if marked is not None:
                worst = max(worst, len(marked.ids) / max(1.0, sizes[place]))
                heapq.heappush(best, (len(marked.input_ids), -tried, marked))
                if len(best) > count:
                    heapq.heappop(best)
        return self._dataset([marked for _, _, marked in sorted(best, key=lambda one: one[:2])], rows, marker)

    def _as_they_come(self, rows: list[Row], marker: Marker, count: int, tokens: int = 0) -> Dataset:
        """Rows drawn by the seed until they are so many and have so many tokens; all of them where they are too few."""
        order = list(range(len(rows)))
        random.Random(self.config["seed"]).shuffle(order)
        found: list[Marked] = []
        total = 0
        for place in order:
            if len(found) >= count and total >= tokens:
                break
            marked = self._mark(rows[place], marker)
            if marked is not None:
                found.append(marked)
                total += len(marked.input_ids)
        return self._dataset(found, rows, marker)

    def _mark(self, row: Row, marker: Marker) -> Marked | None:
        """The row as it is trained; ``None`` if it is left out. A row that cannot be rendered ends all, as in the run."""
        try:
            marked = marker.mark(row.chat)
        except CannotRender as refusal:
            if self.config["on_bad_rows"] == "skip":
                return None
            raise CannotTrain(f"{row.where}: {refusal}") from refusal
        return marked if marked.learned else None

    def _dataset(self, found: list[Marked], rows: list[Row], marker: Marker) -> Dataset:
        if not found:
            lost = dataset.tokenised(rows, marker)
            dataset.what_was_lost(lost, self.config["max_seq_length"], skip=self.config["on_bad_rows"] == "skip")
        kind = pa.list_(pa.int32())
        columns = {"input_ids": [one.input_ids for one in found], "labels": [one.labels for one in found]}
        return Dataset(pa.table({name: pa.array(values, kind) for name, values in columns.items()}))


def _promised(row: Row) -> float:
    """Roughly how many tokens a row becomes: one for four letters, more for digits, and most for what is not ASCII."""
    chat = row.chat
    text = (
        chat.text if chat.text is not None else json.dumps([chat.messages, chat.tools], ensure_ascii=False, default=str)
    )
    size = len(text.encode("utf-8", "replace"))
    return size / 4 + 0.5 * sum(map(text.count, _DIGITS)) + 0.5 * (size - len(text))


def _repeated(rows: Dataset, count: int) -> Dataset:
    """So many rows, over and over if they are fewer, the last one last."""
    have = len(rows)
    return rows.select([(have - count + place) % have for place in range(count)])


def _clock(recorder: Any) -> Any:
    import torch

    class Clock(TrainerCallback):
        """Seconds of each optimizer step, with everything done that the GPU was given."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self._mark = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._wait()
            self._mark = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._wait()
            self.seconds.append(time.perf_counter() - self._mark)
            recorder.phase("training", state.global_step, state.max_steps)

        def _wait(self) -> None:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()

    return Clock()
