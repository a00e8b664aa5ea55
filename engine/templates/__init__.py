"""Chat templates: those that can be named, what a value of ``chat_template_path`` means, and which fit a tokenizer.

Nothing heavy is loaded: TRL's templates are read as files, without importing it.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
import re
from pathlib import Path

from engine.errors import InputError, Problem
from engine.paths import expand
from engine.templates import reading
from engine.templates.reading import control_tokens, own
from engine.templates.table import BY_NAME, NAMES, OF_TYPE, SIGNS, TABLE, Known
from engine.text import clean

__all__ = ["NAMES", "SETTING", "Known", "absolute", "advice", "control_tokens", "family", "fitting", "is_path", "known",
           "lacking", "own", "same", "text", "tokens_of"]  # fmt: skip

SETTING = "chat_template_path"
_LARGEST_FILE = 1_000_000
# What is given for a template by mistake.
_OTHER_FILES = frozenset({".json", ".jsonl", ".csv", ".tsv", ".parquet", ".gz", ".zip", ".safetensors", ".bin", ".pt", ".gguf",
                          ".model", ".py", ".yaml", ".yml"})  # fmt: skip
_OURS = Path(__file__).parent / "own"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def known() -> list[Known]:
    """The templates that can be named here: ours, and those that the installed TRL holds."""
    return [one for one in TABLE if _file(one) is not None]


def text(value: str) -> str:
    """The template that a value of ``chat_template_path`` means.

    A known name, a file, a directory with a tokenizer, or the hub id of one that lies in the local cache. Raises
    :class:`InputError` with the setting, and the file and line where one is at fault.
    """
    value = value.strip()
    if value in BY_NAME:
        return _of_name(BY_NAME[value])
    try:
        path = expand(value)
        if path.is_dir():
            return _of_folder(path)
        if path.is_file():
            return _of_file(path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "no possible path"
        raise _bad(f"cannot be read: {reason}", "Check the path") from None
    if not is_path(value) and _HUB_ID.fullmatch(value):
        from engine.models.cache import model_folder

        folder = model_folder(value)
        if folder is None:
            raise _bad(
                f"{clean(value, 100)} is neither a path nor in the local hub cache", "Download it first, or give a file"
            )
        return _of_folder(folder)
    if is_path(value):
        why = "is no regular file" if os.path.lexists(path) else "does not exist"
        raise _bad(why, "Give a .jinja file, a directory with a tokenizer, or a known name", path)
    near = difflib.get_close_matches(value.lower().replace("-", "_").replace(".", "_"), NAMES, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(NAMES[:6])} …; or give a .jinja file"
    raise _bad(f"no chat template goes by the name {clean(value, 60)!r}", hint)


def is_path(value: str) -> bool:
    """Whether a value is meant as a path; a known name never is."""
    value = value.strip()
    if value in BY_NAME:
        return False
    if value.startswith(("/", "./", "../", "~")) or value.endswith((".jinja", ".jinja2", ".j2", "/")):
        return True
    try:
        return Path(value).exists() or value.count("/") > 1
    except (OSError, ValueError):
        return False


def absolute(value: str) -> str:
    """The same value, valid from any folder."""
    return str(expand(value.strip()).absolute()) if is_path(value) else value.strip()


def family(template: str) -> str:
    """Which family's way of writing turns a template has: ``chatml``, ``llama3`` … or ``own``."""
    bare = re.sub(r"\{#.*?#\}", "", template, flags=re.S)
    for name, signs in SIGNS:
        if all(sign in bare for sign in signs):
            return name
    close = re.sub(r"\s|\\n", "", bare).replace('"', "'")
    if "<|user|>" in close or ("'<|'+" in close and "'|>'" in close):
        # Both write the role in bars; only one closes what the user says as well.
        if re.search(r"'<\|user\|>'\+[\w.\['\]]+\+eos_token", close) or _closes_every_turn(close):
            return "zephyr"
        return "tulu" if "eos_token" in close else "own"
    return "own"


def _closes_every_turn(close: str) -> bool:
    """Of a template that writes whatever role there is: nothing asks for the role before the closing token."""
    wrote = re.search(r"'<\|'\+message(?:\['role'\]|\.role)\+'\|>'", close)
    if wrote is None:
        return False
    before_end = close[wrote.end() : close.find("eos_token", wrote.end())]
    return "%if" not in before_end.replace("%-if", "%if") and "assistant" not in before_end


def lacking(folder: Path, tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some control tokens that the tokenizer in a folder would split; none where its files do not tell."""
    there = control_tokens(folder)
    return () if there is None else tuple(token for token in tokens if token not in there)


def tokens_of(template: str) -> tuple[str, ...]:
    """The control tokens that a template of a known family writes."""
    found = family(template)
    tokens = dict.fromkeys(token for one in TABLE if one.family == found for token in one.tokens)
    return tuple(token for token in tokens if token in template)


def fitting(folder: Path) -> list[Known]:
    """All known templates, the best for a model's files first; those whose control tokens it lacks last."""
    there = control_tokens(folder)
    kind, vocabulary = reading.model_facts(folder)
    order = list(OF_TYPE.get(kind, ()))
    if vocabulary > 100_000 and "mistral_tekken" in order:  # a tokenizer of Tekken's kind, which writes no spaces
        order.remove("mistral_tekken")
        order.insert(order.index("mistral"), "mistral_tekken")

    def rank(one: Known) -> tuple[bool, bool, int]:
        split = there is not None and not set(one.tokens) <= there
        # Control tokens that the tokenizer has say more than the kind of the model.
        return split, not one.tokens and not split, order.index(one.name) if one.name in order else len(order)

    return sorted(known(), key=rank)


def advice(folder: Path | None) -> str:
    """What to set where a model has no template: the three that fit best."""
    names = [one.name for one in (fitting(folder) if folder is not None else known())[:3]]
    return f"Set {SETTING} to {', '.join(names[:-1])} or {names[-1]}" if names else f"Set {SETTING} to a .jinja file"


def same(one: str, other: str) -> bool:
    """Whether two templates are the same but for space at their ends."""
    return one.strip() == other.strip()


@functools.cache
def _trl() -> Path | None:
    try:
        found = importlib.util.find_spec("trl")
    except (ImportError, ValueError):
        return None
    places = list(found.submodule_search_locations or ()) if found is not None else []
    return Path(places[0]) / "chat_templates" if places else None


def _file(one: Known) -> Path | None:
    folder = _OURS if one.ours else _trl()
    file = folder / f"{one.name}.jinja" if folder is not None else None
    return file if file is not None and file.is_file() else None


def _of_name(one: Known) -> str:
    file = _file(one)
    if file is None:
        raise _bad(
            f"{one.name} is a template of TRL, which does not hold it here",
            "Install a newer trl, or give a .jinja file",
        )
    return file.read_text(encoding="utf-8")


def _of_folder(folder: Path) -> str:
    found = own(folder)
    if found is None:
        raise _bad("holds no chat template", "Give a .jinja file, or a directory with a tokenizer that has one", folder)
    return _checked(found, folder)


def _of_file(file: Path) -> str:
    if file.suffix.lower() in _OTHER_FILES:
        raise _bad("is no chat template", "Give a .jinja file, or the directory with the tokenizer", file)
    if file.stat().st_size > _LARGEST_FILE:
        raise _bad("is too large for a chat template", "Give a .jinja file", file)
    try:
        found = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _bad("is not UTF-8 text", "Give a .jinja file", file) from None
    return _checked(found, file)


def _checked(template: str, place: Path) -> str:
    if not template.strip():
        raise _bad("is empty", "Give a file with a chat template", place)
    from engine.templates import parsing

    line, why = parsing.fault(template)
    if why:
        raise _bad(f"cannot be read as a template: {why}", "Correct it, or take a known one", place, line)
    if "messages" not in template:
        raise _bad("never reads the messages of a chat", "Give a chat template in Jinja", place)
    if "{{" not in template and "{%" not in template:
        raise _bad("is plain text: nothing in it is Jinja", "Give a chat template in Jinja", place)
    return template


def _bad(message: str, hint: str, file: Path | None = None, line: int | None = None) -> InputError:
    return InputError(Problem("bad-template", message, hint, SETTING, None if file is None else str(file), line))
