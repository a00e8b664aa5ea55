"""``python -P -m engine.models.hubprocess``: asks the hub one thing. A request on standard input, an answer on standard output.

It holds the hub's own library, which finds the token, the mirror and the proxies as for a download.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import orjson

from engine.models import code, known, weights
from engine.models.cache import snapshot, token_from
from engine.models.reading import licence_in, read_object

_SMALL = 8 * 2**20
_MOST_CODE_FILES, _MOST_CODE_BYTES = 300, 32 * 2**20
_MOST_OTHERS = 5
_SETTINGS = ("config.json", "tokenizer_config.json", "generation_config.json", "processor_config.json",
             "preprocessor_config.json", "adapter_config.json")  # fmt: skip
_BAD_TOKEN = "Invalid credentials in Authorization header"
_LOGIN = "Log in with: hf auth login (or: huggingface-cli login)"


def main() -> None:
    """Answer one request."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    request = orjson.loads(sys.stdin.buffer.read())
    try:
        answer = tell(request)
    except Exception as error:
        answer = refusal(error, str(request["name"]), request.get("revision"))
    out.write(orjson.dumps(answer, default=str))
    out.flush()
    os._exit(0)  # connections that hang must not hold it up


def tell(request: dict[str, Any]) -> dict[str, Any]:
    """What the hub says; raises what its library raises."""
    from huggingface_hub import HfApi

    name, revision, seconds = request["name"], request.get("revision"), float(request["timeout"])
    api = HfApi()
    info = api.model_info(name, revision=revision, files_metadata=True, timeout=seconds)
    files = {one.rfilename: one.size for one in info.siblings or []}
    gated = bool(info.gated)
    if gated:
        api.auth_check(name)
    if request.get("fetch"):
        _fetch(name, revision or "main", files)
    folder = _read(name, info.sha, files, request["folder"])
    return {"kind": "ok", "commit": info.sha, "gated": gated, **_described(info, files, folder)}


def _read(name: str, commit: str | None, files: dict[str, int | None], folder: str) -> Path:
    """The model's small settings, in a folder for the moment."""
    from huggingface_hub import hf_hub_download

    for file in _SETTINGS:
        if file in files and (files[file] or 0) <= _SMALL:
            hf_hub_download(name, file, revision=commit, local_dir=folder)
    return Path(folder)


def _described(info: Any, files: dict[str, int | None], folder: Path) -> dict[str, Any]:
    config = read_object(folder / "config.json") or {}
    tokenizer = read_object(folder / "tokenizer_config.json", _SMALL) or {}
    brought = code.named_in(folder)
    brought.generates = code.GENERATE in files
    found, size = _weights(files)
    told = info.safetensors.parameters if info.safetensors is not None else {}
    counts = {str(dtype): int(count) for dtype, count in told.items()}
    given = config.get("architectures")
    card = info.card_data.to_dict() if hasattr(info.card_data, "to_dict") else {}
    other = (
        "an adapter" if "adapter_config.json" in files else "GGUF only" if found == "gguf" else "config.json is missing"
    )
    trouble = (
        ("" if config else other)
        or known.trouble(config, brought.auto_map, code=brought.any)
        or weights.Weights(found, files=["unknown"]).trouble
    )
    return {
        "code": brought.any, "needs_code": brought.any and known.needs_code(config, tokenizer, brought.auto_map),
        "bytes": size or None, "parameters": weights.parameters_of(counts, config), "dtype": weights.dtype_of(counts, config),
        "architecture": str(given[0]) if isinstance(given, list) and given else "", "model_type": str(config.get("model_type") or ""),
        "licence": licence_in(card), "template": _has_template(files, tokenizer), "trouble": trouble,
    }  # fmt: skip


def _weights(files: dict[str, int | None]) -> tuple[str, int]:
    """Of which kind the weights are, and their bytes."""
    top = {name: size or 0 for name, size in files.items() if "/" not in name}
    safe = {
        n: s for n, s in top.items() if n == weights.SINGLE or (n.startswith("model-") and n.endswith(".safetensors"))
    }
    groups = (
        ("complete", safe if weights.SINGLE in top or weights.INDEX in top else {}),
        ("pickle", {n: s for n, s in top.items() if n.startswith("pytorch_model") and n.endswith(".bin")}),
        ("gguf", {n: s for n, s in top.items() if n.endswith(".gguf")}),
        ("other", {n: s for n, s in top.items() if n.endswith((".safetensors", ".pt", ".pth", ".h5", ".msgpack"))}),
    )
    return next(((kind, sum(group.values())) for kind, group in groups if group), ("none", 0))


def _has_template(files: dict[str, int | None], tokenizer: dict[str, Any]) -> bool | None:
    if "chat_template.jinja" in files or "chat_template.json" in files or tokenizer.get("chat_template"):
        return True
    return False if "tokenizer_config.json" in files else None


def _fetch(name: str, revision: str, files: dict[str, int | None]) -> None:
    """Bring code and settings into the local cache, and the code of other repositories that they name.

    By the revision's own name: so the cache keeps which commit it stands for.
    """
    from huggingface_hub import HfApi

    _bring(name, revision, files)
    folder = snapshot(name, revision)
    for other in sorted(code.named_in(folder).others)[:_MOST_OTHERS] if folder is not None else ():
        info = HfApi().model_info(other, files_metadata=True)
        _bring(other, "main", {one.rfilename: one.size for one in info.siblings or []})


def _bring(name: str, revision: str, files: dict[str, int | None]) -> None:
    from huggingface_hub import snapshot_download

    python = [file for file in files if file.endswith(".py")]
    if len(python) > _MOST_CODE_FILES or sum(files[file] or 0 for file in python) > _MOST_CODE_BYTES:
        raise ValueError("it brings more code than anybody could read")
    wanted = [*python, *(file for file in _SETTINGS if file in files and (files[file] or 0) <= _SMALL)]
    if wanted:
        snapshot_download(
            name, revision=revision, allow_patterns=[file.replace("[", "[[]") for file in wanted], max_workers=4
        )


def refusal(error: Exception, name: str, revision: str | None) -> dict[str, Any]:
    """An error of the hub's library as an answer for people."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{name}"
    status = getattr(getattr(error, "response", None), "status_code", None)

    def say(kind: str, message: str, hint: str) -> dict[str, Any]:
        return {"kind": kind, "message": message, "hint": hint}

    if isinstance(error, errors.GatedRepoError):
        who = "the token may not read it" if token_from() else "you are not logged in"
        return {**say("gated", f"{name} asks for its licence to be accepted, and {who}",
                      f"Accept it at {page}" + ("" if token_from() else f". {_LOGIN}")), "gated": True}  # fmt: skip
    if isinstance(error, errors.RevisionNotFoundError):
        return say(
            "no-revision",
            f"{name} has no branch, tag or commit {revision}",
            f"Look at {page}/tree/main, or leave it empty",
        )
    if isinstance(error, errors.DisabledRepoError):
        return say("missing", f"{name} was disabled on the hub", "Take another model")
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    refused = status == 401 and headers.get("X-Error-Message") != _BAD_TOKEN
    if isinstance(error, errors.RepositoryNotFoundError) or refused:
        private = "; the token may not read it" if token_from() else f". If it is private: {_LOGIN}"
        return say(
            "missing",
            f"{name} is not on the hub, or it is private (the hub does not tell which)",
            f"Check the name{private}",
        )
    if isinstance(error, errors.HFValidationError):
        return say(
            "missing", f"{name} is no name of a model on the hub", "Give a hub id like Qwen/Qwen2.5-0.5B-Instruct"
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return say("offline", "the hub is switched off (HF_HUB_OFFLINE)", "Unset HF_HUB_OFFLINE to ask it")
    if status == 401:
        source = token_from()
        where = f"the token in {source}" if source else "the token"
        return say("bad-token", f"the hub does not take {where}: it is wrong or has expired", f"{_LOGIN}, or remove it")
    if status == 403:
        return say("bad-token", f"the token may not read {name}", "Take a token that may read it: hf auth login")
    if status is not None:
        wait = " (it asks to wait)" if status == 429 else ""
        return say("unreachable", f"the hub answers with an error: {status}{wait}", "Try again later")
    if "imeout" in type(error).__name__:
        return say("timeout", "the hub did not answer in time", "Check the network, or try again")
    text = next((line for line in str(error).strip().splitlines() if line.strip()), type(error).__name__)
    return say("unreachable", f"the hub cannot be reached: {text}", "Check the network and HF_ENDPOINT")


if __name__ == "__main__":
    main()
