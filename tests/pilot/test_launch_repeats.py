"""The form says which rows of the evaluation data are trained on as well."""

from __future__ import annotations

import json
from pathlib import Path

from tests.pilot.test_launch import SIZE, form, launch_app, shown
from tests.support import fake_model, until


def write(path: Path, questions: str) -> str:
    rows = [[{"role": "user", "content": letter}, {"role": "assistant", "content": "yes"}] for letter in questions]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return str(path)


async def test_rows_of_both_data_are_told(tmp_path: Path) -> None:
    train, evaluation = write(tmp_path / "t.jsonl", "abcd"), write(tmp_path / "e.jsonl", "xcya")
    values = {"train_path": train, "eval_path": evaluation, "base_model": str(fake_model(tmp_path / "model"))}
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await form(app, pilot)
        await until(pilot, lambda: "eval-in-train 2" in shown(app))
        screen.model.set("eval_path", write(tmp_path / "other.jsonl", "xyz"))
        screen._ask()
        await until(pilot, lambda: "eval-in-train" not in shown(app))
