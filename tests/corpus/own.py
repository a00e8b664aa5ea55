"""Runs of tunedeck itself, in every state and with every loss."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import QWEN, adapter, falling, put_adapter, put_checkpoint, put_state, state, train_rows, write
from tests.support import make_run

_OWN = "Qwen/Qwen2.5-0.5B"


def _told(steps: int, total: int, **more: Any) -> dict[str, Any]:
    return {"tool": "tunedeck", "base_model": _OWN, "step": steps, "total_steps": total, "points": steps, **more}


@layout
def own_states(here: Path) -> list[Case]:
    """One in each state."""
    found = []
    for name in ("completed", "stopped", "failed", "killed", "queued", "starting", "running", "stopping"):
        steps = {"completed": 40, "queued": 0, "starting": 0}.get(name, 15)
        make_run(here / name, steps=steps, total=40, state=name, reason="as it was", evals=0 if steps == 0 else 5)
        expected = (
            _told(steps, 40, state=name)
            if steps
            else {"tool": "tunedeck", "state": name, "base_model": _OWN, "total_steps": 40}
        )
        found.append(Case(f"own-{name}", here / name, expected))
    return found


@layout
def own_with_everything(here: Path) -> dict[str, Any]:
    """With checkpoints, an adapter and the trainer's own state: it is listed once, as ours."""
    make_run(
        here,
        steps=40,
        config={
            "lora_r": 8,
            "learning_rate": 3e-4,
            "max_seq_length": 512,
            "batch_size": 2,
            "num_train_epochs": 3,
            "lora_alpha": 16,
        },
    )
    put_checkpoint(here, 20, state(train_rows(falling(2)), 20, 40), adapter(_OWN))
    put_checkpoint(here, 40, state(train_rows(falling(4)), 40, 40), adapter(_OWN))
    put_adapter(here, adapter(_OWN))
    put_state(here, state(train_rows(falling(4)), 40, 40))
    write(here / ".tunedeck.20260101-aaaaaa" / "run.json", {"format": 1, "id": "20260101-aaaaaa"})
    return _told(
        40,
        40,
        state="completed",
        checkpoints=[20, 40],
        lora_r=8,
        learning_rate=3e-4,
        max_seq_length=512,
        batch_size=2,
        lora_alpha=16,
        num_train_epochs=3,
    )


@layout
def own_damaged(here: Path) -> list[Case]:
    """Its records torn, each in turn."""
    found = []
    for name in ("run.json", "status.json"):
        for kind, content in {"cut": '{"format": 1, "id": "x', "list": "[]", "empty": "", "noise": "\0\xff"}.items():
            place = here / f"{name.split('.')[0]}-{kind}"
            make_run(place, steps=10)
            write(place / ".tunedeck" / name, content)
            found.append(Case(f"own-damaged-{name}-{kind}", place, {"tool": "tunedeck", "problem": name}))
    return found


@layout
def own_events_lost(here: Path) -> dict[str, Any]:
    """The stream of events is gone; the status tells."""
    run = make_run(here, steps=30)
    run.events.unlink()
    return _told(30, 30, state="completed")


@layout
def own_newer_format(here: Path) -> dict[str, Any]:
    """Of a later version."""
    run = make_run(here, steps=5)
    text = run.run_json.read_text()
    run.run_json.write_text(text.replace('"format": 1', '"format": 99').replace('"format":1', '"format":99'))
    return {"tool": "tunedeck"}


@layout
def own_meta_empty(here: Path) -> dict[str, Any]:
    """An empty ``.tunedeck``."""
    (here / "run" / ".tunedeck").mkdir(parents=True)
    return Case("own-meta-empty", here / "run", {"tool": "tunedeck", "state": "unknown", "problem": "run.json"})  # type: ignore[return-value]


@layout
def own_beside_others(here: Path) -> list[Case]:
    """Ours, theirs and a link from one to the other."""
    make_run(here / "ours", steps=5)
    put_checkpoint(here / "theirs", 20, state(train_rows(falling(2)), 20, 20), adapter(QWEN))
    os.symlink("../ours/.tunedeck", here / "theirs" / ".tunedeck.old")
    return [Case("own-beside", here / "ours", _told(5, 5, state="completed")),
            Case("theirs-beside", here / "theirs", {"tool": "transformers", "base_model": QWEN, "step": 20})]  # fmt: skip
