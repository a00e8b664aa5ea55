"""Checkpoints on disk: complete before they count, torn ones never offered, other people's never touched."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoints import MANIFEST, checkpoints, newest_valid, recover, verify
from engine.rundir import RunDir, write_json
from engine.worker import checkpointing, disk
from engine.worker.checkpointing import FINAL, Keeper
from engine.worker.failure import CannotTrain, explain

RUN = "20261124-080000-aaaaa"
FILES = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt",
         "tokenizer.json", "trainer_state.json")  # fmt: skip


def torch_file(text: str) -> bytes:
    """A file of the form that ``torch.save`` writes, without torch."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", text)
        archive.writestr("archive/data/0", text * 50)
    return data.getvalue()


def fill(folder: Path, step: int) -> Path:
    """The files of a checkpoint, as a trainer writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(torch_file(f"{name} {step}"))
    (folder / "adapter_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text('{"tokens": []}')
    state = {"global_step": step, "log_history": [{"loss": float("nan")}]}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def keeper(path: Path, *, limit: int | None = None, attempt: int = 1, said: list[str] | None = None) -> Keeper:
    run = RunDir(path)
    run.make()
    write_json(run.run_json, {"format": 1, "id": RUN})
    return Keeper(run, run_id=RUN, attempt=attempt, limit=limit, say=(said if said is not None else []).append)


def save(keep: Keeper, step: int, *, finite: bool = True) -> Path:
    stage = fill(keep.begin(f"checkpoint-{step}"), step)
    target = keep.finish(stage, step, finite=finite)
    keep.rotate()
    return target


def steps(path: Path) -> list[int]:
    return [c.step for c in checkpoints(path)]


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


# -- judging ------------------------------------------------------------------------------------------------------------


def test_a_saved_checkpoint_is_complete_and_verifies(tmp_path: Path) -> None:
    target = save(keeper(tmp_path), 20)
    (found,) = checkpoints(tmp_path)
    assert (found.step, found.path, found.valid, found.finite, found.run, found.attempt) == (
        20,
        target,
        True,
        True,
        RUN,
        1,
    )
    assert verify(found) == "" and found.as_dict()["valid"] is True
    record = json.loads((target / MANIFEST).read_text())
    assert set(record["files"]) == set(FILES) and record["format"] == 1 and record["step"] == 20
    assert not [name for name in os.listdir(tmp_path / ".tunedeck/partial") if name.startswith("checkpoint")]


@pytest.mark.parametrize("name", FILES)
def test_torn_at_every_file(tmp_path: Path, name: str) -> None:
    keep = keeper(tmp_path)
    save(keep, 10)
    file = save(keep, 20) / name
    whole = file.read_bytes()
    (tmp_path / "elsewhere").write_bytes(whole)
    for damage in ("missing", "empty", "short", "long", "link", "pipe"):
        file.unlink()
        if damage == "link":
            file.symlink_to(tmp_path / "elsewhere")
        elif damage == "pipe":
            os.mkfifo(file)
        elif damage != "missing":
            file.write_bytes({"empty": b"", "short": whole[:-1], "long": whole + b"x"}[damage])
        ten, twenty = checkpoints(tmp_path)
        assert ten.valid and not twenty.valid and name in twenty.problem and name in verify(twenty), damage
        newest = newest_valid(tmp_path)
        assert newest is not None and newest.step == 10
        if damage == "missing":
            file.touch()


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits_are_found_by_verify(tmp_path: Path, name: str) -> None:
    file = save(keeper(tmp_path), 20) / name
    whole = file.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        (found,) = checkpoints(tmp_path)
        assert found.valid and name in verify(found), place
    file.write_bytes(whole)
    assert verify(checkpoints(tmp_path)[0]) == ""


def test_a_damaged_manifest_is_never_good_and_never_a_crash(tmp_path: Path) -> None:
    file = save(keeper(tmp_path), 20) / MANIFEST
    whole = file.read_bytes()
    names = [json.dumps(name).encode() for name in ("finite", "time", "attempt", "run", RUN)]
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 7)]) + whole[place + 1 :])
        (found,) = checkpoints(tmp_path)
        if found.valid and not verify(found):
            # Only what says nothing of the files can be wrong unseen; a flipped run id makes it another run's.
            line = whole[whole.rfind(b"\n", 0, place) + 1 : whole.find(b"\n", place)]
            assert any(n in line for n in names) or whole[place : place + 1].isspace(), (place, line)
    for cut in range(0, len(whole) - 2, 7):
        file.write_bytes(whole[:cut])
        assert not checkpoints(tmp_path)[0].valid
    for bad in ({"format": 2}, {"format": 1, "step": 20, "files": {"../x": {"bytes": 1, "sha256": ""}}}, {"format": 1, "step": 20, "files": {"a\0": {}}},
                {"format": 1, "step": 20, "files": []}, {"format": 1, "step": 20, "files": {}}):  # fmt: skip
        file.write_text(json.dumps(bad))
        assert not checkpoints(tmp_path)[0].valid and verify(checkpoints(tmp_path)[0])


def test_what_a_trainer_would_load_must_be_in_the_manifest(tmp_path: Path) -> None:
    target = save(keeper(tmp_path), 20)
    (target / "note.txt").write_text("a person's")
    assert verify(checkpoints(tmp_path)[0]) == ""
    (target / "scaler.pt").write_bytes(b"x")
    assert "scaler.pt" in verify(checkpoints(tmp_path)[0])


def test_the_newest_is_the_last_written_with_finite_weights(tmp_path: Path) -> None:
    first = keeper(tmp_path)
    for step in (10, 20, 30):
        save(first, step)
    second = keeper(tmp_path, attempt=2)  # begun again from step 10
    save(second, 15)
    newest = newest_valid(tmp_path)
    assert newest is not None and newest.step == 15
    said: list[str] = []
    save(keeper(tmp_path, attempt=2, said=said), 25, finite=False)
    newest = newest_valid(tmp_path)
    assert newest is not None and newest.step == 15 and "checkpoint-25" in said[0]
    for step in (10, 15, 20, 30):
        shutil.rmtree(tmp_path / f"checkpoint-{step}")
    newest = newest_valid(tmp_path)
    assert newest is not None and newest.step == 25 and newest.finite is False


def test_without_a_manifest_headers_decide(tmp_path: Path) -> None:
    folder = fill(tmp_path / "checkpoint-7", 7)
    (found,) = checkpoints(tmp_path)
    assert found.valid and found.finite is None and found.run is None and verify(found) == ""
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors", "trainer_state.json"):
        whole = (folder / name).read_bytes()
        for size in {0, 1, 2, 5, len(whole) // 2, len(whole) - 23, len(whole) - 1}:
            (folder / name).write_bytes(whole[:size])
            assert not checkpoints(tmp_path)[0].valid or size == 1, (name, size)
        (folder / name).write_bytes(bytes(len(whole)))
        assert not checkpoints(tmp_path)[0].valid, f"{name} of zeros"
        (folder / name).write_bytes(whole)
    rows = [{"loss": 1.0, "step": n, "text": "x" * 1000} for n in range(9000)]
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 7, "log_history": rows}))
    assert (folder / "trainer_state.json").stat().st_size > 8 * 1024 * 1024 and checkpoints(tmp_path)[0].valid
    (folder / "rng_state.pth").unlink()
    assert checkpoints(tmp_path)[0].valid


# -- saving and clearing away -------------------------------------------------------------------------------------------


def test_rotation_keeps_the_newest_the_best_and_everything_foreign(tmp_path: Path) -> None:
    fill(tmp_path / "checkpoint-1", 1)
    other = fill(tmp_path / "checkpoint-2", 2)
    (other / MANIFEST).write_text(json.dumps({"format": 1, "run": "another", "step": 2, "files": {}}))
    (tmp_path / "checkpoint-3").mkdir()
    target = fill(tmp_path / "outside", 4)
    (target / MANIFEST).write_text(json.dumps({"run": RUN}))
    (tmp_path / "checkpoint-4").symlink_to(target)
    before = tree(tmp_path)
    keep = keeper(tmp_path, limit=2)
    for step in (10, 20, 30, 40):
        save(keep, step)
    assert steps(tmp_path) == [1, 2, 3, 30, 40]
    keep.best = tmp_path / "checkpoint-30"
    for step in (50, 60):
        save(keep, step)
    assert steps(tmp_path) == [1, 2, 3, 30, 60]
    assert {name: data for name, data in tree(tmp_path).items() if name in before} == before
    assert (tmp_path / "checkpoint-4").is_symlink()


def test_rotation_never_takes_the_newest_finite_one(tmp_path: Path) -> None:
    keep = keeper(tmp_path, limit=1)
    save(keep, 10)
    save(keep, 20)
    for step in (30, 40, 50):
        save(keep, step, finite=False)
    assert steps(tmp_path) == [20, 50]
    save(keep, 60)
    assert steps(tmp_path) == [60]


def test_a_later_attempt_that_began_earlier_is_the_newer_one(tmp_path: Path) -> None:
    first = keeper(tmp_path, limit=2)
    for step in (20, 30, 40):
        save(first, step)
    save(keeper(tmp_path, limit=2, attempt=2), 25)
    assert steps(tmp_path) == [25, 40]


def test_a_step_saved_again_replaces_its_own_only(tmp_path: Path) -> None:
    save(keeper(tmp_path), 10)
    save(keeper(tmp_path, attempt=2), 10)
    (found,) = checkpoints(tmp_path)
    assert found.attempt == 2 and verify(found) == "" and os.listdir(tmp_path / ".tunedeck/partial") == []


@pytest.mark.parametrize("kind", ["foreign", "torn", "empty", "link", "file"])
def test_what_stands_in_the_way_is_moved_aside(tmp_path: Path, kind: str) -> None:
    said: list[str] = []
    keep, path = keeper(tmp_path, said=said), tmp_path / "checkpoint-10"
    if kind == "link":
        path.symlink_to(fill(tmp_path / "elsewhere", 10))
    elif kind == "file":
        path.write_text("mine")
    elif kind == "empty":
        path.mkdir()
    else:
        fill(path, 10)
        if kind == "torn":
            (path / "optimizer.pt").unlink()
    (tmp_path / "checkpoint-10.foreign-1").mkdir()
    save(keep, 10)
    assert verify(checkpoints(tmp_path)[0]) == "" and os.path.lexists(tmp_path / "checkpoint-10.foreign-2")
    assert "checkpoint-10.foreign-2" in said[0]
    if kind == "link":
        assert set(os.listdir(tmp_path / "elsewhere")) == set(FILES)


def test_replacing_works_where_two_cannot_be_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointing, "exchange", lambda *_: False)
    save(keeper(tmp_path), 10)
    save(keeper(tmp_path, attempt=2), 10)
    assert checkpoints(tmp_path)[0].attempt == 2

    moves: list[str] = []
    rename = os.rename

    def killed_after_one(source: Any, target: Any) -> None:
        if moves:
            raise KeyboardInterrupt
        moves.append(str(source))
        rename(source, target)

    keep = keeper(tmp_path, attempt=3)
    stage = fill(keep.begin("checkpoint-10"), 10)
    monkeypatch.setattr(os, "rename", killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        keep.finish(stage, 10, finite=True)
    monkeypatch.setattr(os, "rename", rename)
    assert checkpoints(tmp_path) == []
    found = recover(keep.run)
    assert found is not None and found.attempt == 3 and verify(found) == "" and steps(tmp_path) == [10]
    assert recover(keep.run) is None


def test_only_complete_ones_of_this_run_are_recovered(tmp_path: Path) -> None:
    keep = keeper(tmp_path)
    other = keep.partial / "checkpoint-5"
    shutil.copytree(save(keep, 10), keep.partial / "checkpoint-20")
    shutil.copytree(tmp_path / "checkpoint-10", other)
    record = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps({**record, "step": 5, "run": "another"}))
    assert recover(keep.run) is None and steps(tmp_path) == [10]


def test_leftovers_go_only_when_a_newer_complete_one_stands(tmp_path: Path) -> None:
    keep = keeper(tmp_path)
    os.utime(fill(keep.begin("checkpoint-10"), 10), (1, 1))
    keep.rotate()
    again = keep.begin("checkpoint-10")  # a resumed run saves that step again, and is killed again
    os.utime(fill(again, 10), (1, 1))
    keep.rotate()
    assert sorted(os.listdir(keep.partial)) == ["checkpoint-10", "checkpoint-10.torn-1"]
    outside = fill(tmp_path / "outside", 3)
    (keep.partial / "checkpoint-3").symlink_to(outside)
    save(keep, 20)
    assert os.listdir(keep.partial) == ["checkpoint-3"] and set(os.listdir(outside)) == set(FILES)


def test_the_final_files_are_put_in_place_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = keeper(tmp_path)
    keep.keep_reserve()
    save(keep, 10)
    order: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(b).name), replace(a, b)))
    keep.place_final(fill(keep.begin(FINAL), 10))
    keep.close()
    assert order[0] == "adapter_config.json" and order[-1] == "adapter_model.safetensors"
    assert set(FILES) <= set(os.listdir(tmp_path)) and not keep.partial.exists()


# -- troubles of the disk -------------------------------------------------------------------------------------------------


def attempts(keep: Keeper, error: Exception, needed: disk.Room = disk.Room(1)) -> str:
    def write() -> None:
        fill(keep.begin("checkpoint-30"), 30)
        raise error

    with pytest.raises(CannotTrain) as caught:
        keep.guarded("checkpoint-30", needed, write)
    assert not (keep.partial / "checkpoint-30").exists()
    return str(caught.value)


@pytest.mark.parametrize(("error", "words"), [
    (OSError(errno.ENOSPC, "x"), "disk full"), (OSError(errno.EDQUOT, "x"), "disk full: your disk quota"),
    (OSError(errno.EIO, "x"), "the disk reported an error"), (OSError(errno.EROFS, "x"), "read-only file system"),
    (OSError(errno.EMFILE, "x"), "too many open files"), (OSError(errno.EACCES, "x"), "no permission"),
    (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk full"),
    (RuntimeError("I/O error: Input/output error (os error 5)"), "the disk reported an error"),
])  # fmt: skip
def test_troubles_are_named_and_the_last_good_one_stays(tmp_path: Path, error: Exception, words: str) -> None:
    keep = keeper(tmp_path, limit=1)
    save(keep, 20)
    before = tree(tmp_path / "checkpoint-20")
    reason = attempts(keep, error)
    assert reason.startswith(words) and "checkpoint-20 is complete" in reason and "resume" in reason
    assert tree(tmp_path / "checkpoint-20") == before
    assert explain(CannotTrain(reason), 29, {}) == reason


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    keep = keeper(tmp_path)

    def write() -> None:
        fill(keep.begin("checkpoint-30"), 30)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        keep.guarded("checkpoint-30", disk.Room(1), write)


def test_room_is_made_within_the_limit_only(tmp_path: Path) -> None:
    keep = keeper(tmp_path, limit=3)
    for step in (10, 20):
        save(keep, step)
    tried: list[int] = []

    def write() -> None:
        tried.append(len(steps(tmp_path)))
        stage = fill(keep.begin("checkpoint-30"), 30)
        if len(tried) == 1:
            raise OSError(errno.ENOSPC, "x")
        keep.finish(stage, 30, finite=True)

    with pytest.raises(CannotTrain, match="disk full"):
        keep.guarded("checkpoint-30", disk.Room(1), write)
    assert tried == [2] and steps(tmp_path) == [10, 20]
    keep.limit = 2
    tried.clear()
    keep.guarded("checkpoint-30", disk.Room(1), write)
    assert tried == [2, 1] and steps(tmp_path) == [20, 30]


def test_what_cannot_fit_is_not_begun(tmp_path: Path) -> None:
    keep = keeper(tmp_path, limit=2)
    for step in (10, 20):
        save(keep, step)
    with pytest.raises(
        CannotTrain, match=r"disk full: checkpoint-30 needs 1024\.0 TiB, .* free on /.*; checkpoint-20 is complete"
    ):
        keep.guarded("checkpoint-30", disk.Room(1 << 50), lambda: pytest.fail("begun"))
    assert steps(tmp_path) == [20], "the limit of two allowed one beside the new one"


def test_too_little_room_for_the_final_adapter_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    keep = keeper(tmp_path, said=said)
    for step in (10, 20):
        keep.guarded(f"checkpoint-{step}", disk.Room(1), lambda step=step: save(keep, step), spare=disk.Room(1 << 50))
    assert steps(tmp_path) == [10, 20] and len(said) == 1 and "no room for the final adapter" in said[0]


def test_needs_are_read_off_the_last_one(tmp_path: Path) -> None:
    keep = keeper(tmp_path)
    guess = (disk.Room(1, 2), disk.Room(3, 4))
    assert keep.need(lambda: guess) == guess
    target = save(keep, 10)
    checkpoint, final = keep.need(lambda: guess)
    assert checkpoint.bytes >= sum(p.stat().st_blocks * 512 for p in target.iterdir()) > 0
    assert checkpoint.files == len(FILES) + 3 and final.files == 6 and final.bytes < checkpoint.bytes
    assert keeper(tmp_path, attempt=2).need(lambda: guess) == guess


def test_explained_without_a_traceback(tmp_path: Path) -> None:
    config: dict[str, object] = {"output_dir": str(tmp_path), "batch_size": 2, "max_seq_length": 64}
    for error, words in {
        RuntimeError("CUDA error: out of memory\nCompile with…"): "out of GPU memory at step 4",
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"): "out of GPU memory",
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"): "out of host memory",
        OSError(errno.ENOSPC, "No space left on device"): "disk full",
        OSError(errno.EMFILE, "Too many open files", str(tmp_path / "x")): "too many open files",
        PermissionError(errno.EACCES, "Permission denied", "/data/x.jsonl"): "no permission at step 4: /data/x.jsonl",
        OSError(errno.EIO, "Input/output error", str(tmp_path / "x")): "the disk reported an error",
        RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed"): "PytorchStreamWriter failed",
        ValueError("mine"): "mine (ValueError at step 4)",
        FileNotFoundError(2, "No such file", "a.jsonl"): "a file is missing: a.jsonl",
    }.items():  # fmt: skip
        reason = explain(error, 3, config)
        assert reason.startswith(words) and "\n" not in reason, reason
    assert os.listdir(tmp_path) == []
