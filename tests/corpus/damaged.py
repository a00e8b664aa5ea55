"""Files that cannot be read whole, or at all: the run is listed with what is left, and one line says what is lost."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import (
    QWEN,
    adapter,
    eval_row,
    falling,
    lines,
    put_adapter,
    put_checkpoint,
    put_state,
    state,
    told,
    train_rows,
    write,
)

_LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 123456\n"
_GIGABYTE = 1 << 30
_WHOLE = json.dumps(state(train_rows(falling(20)), 200, 400, epoch=1.5), indent=2, sort_keys=True)
_LOST: dict[str, Any] = {
    "state": "unknown",
    "base_model": QWEN,
    "lora_r": 16,
    "last_loss": None,
    "problem": "trainer_state.json",
}


@layout
def damaged_states(here: Path) -> list[Case]:
    """A state that tells nothing, beside an adapter that does."""
    kinds: dict[str, bytes | str] = {
        "lfs": _LFS, "empty": "", "blank": "  \n\n", "zeros": bytes(4096), "noise": bytes(range(256)) * 8, "html": "<!DOCTYPE html><title>404</title>",
        "list": "[1, 2, 3]", "number": "42", "null": "null", "string": '"state"', "true": "true", "nan": "NaN", "yaml": "global_step: 5\n",
        "deep": "[" * 200_000, "deep-object": '{"a":' * 100_000, "deep-closed": "[" * 50_000 + "]" * 50_000,
        "gzip": b"\x1f\x8b\x08\x00" + bytes(100), "brace": "{", "quote": '{"',
    }  # fmt: skip
    found = []
    for name, content in kinds.items():
        write(here / name / "trainer_state.json", content)
        put_adapter(here / name, adapter(QWEN, 16, 32))
        found.append(Case(f"damaged-state-{name}", here / name, dict(_LOST)))
    return found


@layout
def damaged_encodings(here: Path) -> list[Case]:
    """Other encodings and line ends: readable, all of it."""
    losses = falling(3)
    content = state(train_rows(losses, note="학습"), 30, 60)
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    expected = told(losses, tool="transformers", state="unknown", step=30, total_steps=60)
    kinds: dict[str, bytes] = {"bom": b"\xef\xbb\xbf" + text.encode(), "crlf": text.replace("\n", "\r\n").encode(), "one-line": json.dumps(content).encode(),
                               "utf-16": text.encode("utf-16"), "invalid-utf-8": text.encode().replace("학습".encode(), b"\xff\xfe\x80", 1)}  # fmt: skip
    found = []
    for name, data in kinds.items():
        write(here / name / "trainer_state.json", data)
        surely = expected if name != "utf-16" else {}
        found.append(Case(f"damaged-encoding-{name}", here / name, dict(surely)))
    return found


@layout
def damaged_newest_checkpoint(here: Path) -> list[Case]:
    """The newest checkpoint is torn: the one before it tells."""
    losses = falling(6)
    half = json.dumps(state(train_rows(falling(8)), 80, 100, epoch=2.0), indent=2, sort_keys=True)
    kinds: dict[str, bytes | str | None] = {
        "missing": None,
        "empty": "",
        "half": half[: len(half) * 2 // 3],
        "lfs": _LFS,
        "zeros": bytes(2000),
    }
    found = []
    for name, content in kinds.items():
        put_checkpoint(here / name, 40, state(train_rows(losses[:4]), 40, 100, epoch=1.0), adapter(QWEN))
        put_checkpoint(here / name, 60, state(train_rows(losses), 60, 100, epoch=1.5), adapter(QWEN))
        newest = put_checkpoint(here / name, 80, None, adapter(QWEN))
        expected = {
            "state": "unknown",
            "base_model": QWEN,
            "checkpoints": [40, 60, 80],
            "valid": [40, 60],
            "total_steps": 100,
        }
        if content is not None:
            write(newest / "trainer_state.json", content)
            expected["problem"] = "trainer_state.json"
        if name != "half":  # of which the rows that stand could be read
            expected |= told(losses, step=60)
        found.append(Case(f"damaged-newest-{name}", here / name, expected))
    return found


@layout
def damaged_root_state(here: Path) -> list[Case]:
    """The root's state is a pointer or torn; the newest checkpoint's is whole."""
    losses = falling(6)
    found = []
    for name, content in {"lfs": _LFS, "empty": "", "cut": _WHOLE[:40]}.items():
        write(here / name / "trainer_state.json", content)
        put_adapter(here / name, adapter(QWEN))
        put_checkpoint(here / name, 60, state(train_rows(losses), 60, 60), adapter(QWEN))
        expected = told(losses, tool="transformers", state="completed", step=60, checkpoints=[60], base_model=QWEN)
        found.append(Case(f"damaged-root-state-{name}", here / name, expected | {"problem": "trainer_state.json"}))
    return found


@layout
def damaged_cut_state(here: Path) -> list[Case]:
    """Cut in the midst of its rows, or with a merge's marks in it: what stands is worth having, and it is said that it was cut."""
    write(here / "run" / "trainer_state.json", _WHOLE[: _WHOLE.index('"step": 150')])
    put_adapter(here / "run", adapter(QWEN, 16, 32))
    write(
        here / "conflict" / "trainer_state.json", "<<<<<<< HEAD\n" + _WHOLE + "=======\n" + _WHOLE + ">>>>>>> theirs\n"
    )
    put_adapter(here / "conflict", adapter(QWEN, 16, 32))
    expected = {"state": "unknown", "base_model": QWEN, "lora_r": 16, "problem": "trainer_state.json"}
    return [
        Case("damaged-cut-state", here / "run", expected),
        Case("damaged-conflict", here / "conflict", dict(expected)),
    ]


@layout
def damaged_adapters(here: Path) -> list[Case]:
    """The adapter's configuration tells nothing, or one line; the state does."""
    losses = falling(3)
    kinds: dict[str, bytes | str] = {
        "lfs": _LFS,
        "empty": "",
        "list": "[]",
        "null": "null",
        "deep": "[" * 200_000,
        "noise": bytes(range(128, 256)),
        "cut": '{"r": 16, "lora',
    }
    found = []
    for name, content in kinds.items():
        put_adapter(here / name)
        write(here / name / "adapter_config.json", content)
        put_state(here / name, state(train_rows(losses), 30, 30))
        found.append(Case(f"damaged-adapter-{name}", here / name,
                          told(losses, tool="transformers", state="completed", base_model=None, lora_r=16 if name == "cut" else None,
                               problem="adapter_config.json")))  # fmt: skip
    return found


@layout
def damaged_adapters_alone(here: Path) -> list[Case]:
    """A clone without its large files: pointers stand in place of everything."""
    found = []
    for name, content in {"lfs": _LFS, "cut": '{"r": 16, "lora'}.items():
        write(here / name / "adapter_config.json", content)
        write(here / name / "adapter_model.safetensors", _LFS)
        found.append(
            Case(
                f"damaged-adapter-alone-{name}",
                here / name,
                {"state": "unknown", "points": None, "problem": "adapter_config.json"},
            )
        )
    return found


@layout
def damaged_results(here: Path) -> list[Case]:
    """Result files that are none: the state is read, and nothing is taken as ended."""
    losses = falling(3)
    kinds = {"lfs": _LFS, "list": "[]", "empty": "", "words": '{"train_runtime": "long", "train_loss": null}'}
    found = []
    for name, content in kinds.items():
        for file in ("all_results.json", "train_results.json"):
            write(here / name / file, content)
        put_state(here / name, state(train_rows(losses), 30, 90))
        found.append(Case(f"damaged-results-{name}", here / name, told(losses, tool="transformers", step=30, total_steps=90)
                          | ({} if name == "words" else {"state": "unknown", "problem": "results.json"})))  # fmt: skip
    return found


@layout
def damaged_logs(here: Path) -> list[Case]:
    """Logs of lines: damaged ones are passed over, and said."""
    rows = [{"current_steps": i, "total_steps": 9, "loss": 1.0 / i, "lr": 1e-4} for i in range(1, 6)]
    good = lines(rows)
    kinds: dict[str, tuple[bytes | str, dict[str, Any]]] = {
        "hole": (good[:60] + "\0" * 3000 + "\n" + good, {"last_loss": 0.2, "step": 5, "total_steps": 9, "problem": "trainer_log.jsonl"}),
        "noise-line": (good.encode() + b"\xff\xfe\x00garbage\n" + good[:10].encode(), {"last_loss": 0.2, "points": 5, "problem": "trainer_log.jsonl"}),
        "long-line": (good + '{"loss": 9, "x": "' + "x" * 3_000_000 + '"}\n' + good, {"last_loss": 0.2, "step": 5}),
        "deep-line": (good + "[" * 100_000 + "\n" + good[:30], {"step": 5, "problem": "trainer_log.jsonl"}),
        "crlf": (good.replace("\n", "\r\n"), {"last_loss": 0.2, "points": 5, "problem": None}),
    }  # fmt: skip
    found = []
    for name, (content, expected) in kinds.items():
        write(here / name / "trainer_log.jsonl", content)
        found.append(Case(f"damaged-log-{name}", here / name, {"tool": "llama-factory", "state": "unknown"} | expected))
    write(here / "lfs" / "trainer_log.jsonl", _LFS)
    put_state(here / "lfs", state(train_rows([1.0, 0.5]), 20, 20))
    return [
        *found,
        Case("damaged-log-lfs", here / "lfs", {"state": "completed", "last_loss": 0.5, "remark": "trainer_log.jsonl"}),
    ]


def _no_file(place: Path, kind: str) -> None:
    """Something that is no regular file, where one should stand."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        os.mknod(place, stat.S_IFSOCK | 0o600)
    elif kind == "folder":
        place.mkdir()
    elif kind == "loop":
        place.symlink_to(place.name)
    else:
        place.symlink_to({"zero": "/dev/zero", "gone": "nowhere/at/all", "memory": "/proc/self/mem"}[kind])


_KINDS = ("fifo", "socket", "folder", "loop", "zero", "gone", "memory")


@layout
def damaged_no_files(here: Path) -> list[Case]:
    """Pipes, sockets, folders, devices and loops in place of the state: nothing waits, nothing is read without end."""
    found = []
    for kind in _KINDS:
        put_adapter(here / kind, adapter(QWEN, 16, 32))
        _no_file(here / kind / "trainer_state.json", kind)
        found.append(Case(f"damaged-{kind}-state", here / kind, dict(_LOST)))
    return found


@layout
def damaged_other_no_files(here: Path) -> list[Case]:
    """The same in place of everything else that is read."""
    names = ("adapter_config.json", "README.md", "all_results.json", "trainer_log.jsonl", "logging.jsonl", "args.json", "training_args.yaml", "config.json",
             "debug.log", "running_log.txt", "train_results.json", "training_args.bin", "llamaboard_config.yaml")  # fmt: skip
    losses = falling(3)
    found = []
    for kind in _KINDS:
        put_state(here / kind, state(train_rows(losses), 30, 30))
        for name in names:
            _no_file(here / kind / name, kind)
        _no_file(here / kind / "runs" / "host" / "events.out.tfevents.1.host.1.0", kind)
        _no_file(here / kind / "checkpoint-10", kind)
        _no_file(here / kind / "checkpoint-20" / "trainer_state.json", kind)
        found.append(Case(f"damaged-{kind}-everywhere", here / kind, told(losses, state="completed", step=30)))
    return found


def _sparse(file: Path, head: str, tail: str = "") -> None:
    """A file of a gigabyte that takes no room: a head, nothing, a tail."""
    write(file, head)
    with file.open("r+b") as stream:
        stream.truncate(_GIGABYTE - len(tail))
        stream.seek(0, os.SEEK_END)
        stream.write(tail.encode())


@layout
def damaged_gigabyte_state(here: Path) -> dict[str, Any]:
    """A state of a gigabyte: both ends are read."""
    head, tail = _WHOLE.split('"step": 100\n', 1)
    _sparse(here / "trainer_state.json", head, tail)
    put_adapter(here, adapter(QWEN, 16, 32))
    return {"tool": "transformers", "state": "unknown", "base_model": QWEN, "lora_r": 16, "step": 200, "total_steps": 400,
            "last_loss": falling(20)[-1], "problem": "trainer_state.json"}  # fmt: skip


@layout
def damaged_gigabytes(here: Path) -> list[Case]:
    """Other files of a gigabyte: read in part or not at all, and said."""
    losses = falling(3)
    found = []
    for name in (
        "adapter_config.json",
        "README.md",
        "args.json",
        "training_args.yaml",
        "all_results.json",
        "config.json",
        "debug.log",
    ):
        place = here / name.replace(".", "-")
        put_state(place, state(train_rows(losses), 30, 60))
        _sparse(place / name, "---\n" if name == "README.md" else "{")
        found.append(Case(f"damaged-gigabyte-{name}", place, told(losses, step=30, total_steps=60)))
    rows = [{"current_steps": i, "total_steps": 99, "loss": 1.0, "lr": 1e-4} for i in range(1, 6)]
    _sparse(
        here / "log" / "trainer_log.jsonl", lines(rows), "\n" + lines([rows[0] | {"current_steps": 60, "loss": 0.25}])
    )
    return [
        *found,
        Case(
            "damaged-gigabyte-log",
            here / "log",
            {"tool": "llama-factory", "step": 60, "last_loss": 0.25, "total_steps": 99, "problem": "trainer_log.jsonl"},
        ),
    ]


@layout
def damaged_large_but_whole(here: Path) -> dict[str, Any]:
    """Twenty megabytes of evaluations with long texts in them: large, and read whole."""
    losses = falling(10)
    rows = [*train_rows(losses), *[eval_row(i, 1.0, note="x" * 20_000) for i in range(200)]]
    put_state(here, state(rows, 100, 100))
    return told(losses, [1.0] * 200, state="completed", step=100)


@layout
def damaged_no_permission(here: Path) -> list[Case]:
    """Not to be read by everybody; nothing to show to the superuser, who reads all."""
    if os.geteuid() == 0:
        return []
    for name in ("file", "folder"):
        put_adapter(here / name, adapter(QWEN, 16, 32))
        put_state(here / name, state(train_rows([1.0]), 10, 10))
    (here / "file" / "trainer_state.json").chmod(0)
    (here / "folder").chmod(0)
    return [Case("damaged-no-permission", here / "file", dict(_LOST))]
