"""Asks at a terminal whether code that a model brings may run: only the typed word counts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.cli.output import bytes_text
from engine.errors import InputError, Problem
from engine.models import cache, consent, hub
from engine.text import clean

if TYPE_CHECKING:
    from engine.config import RunConfig

_SHOWN = 40
_FETCH_SECONDS = 120.0
SETTING = "trust_remote_code"


def ask_consent(config: RunConfig, arguments: Sequence[str] | None = None) -> None:
    """Settle whether the model's own code may run, where ``trust_remote_code`` asks for it; to be called before all checks.

    At a terminal the code is named and a word asked for. Without one, ``--trust_remote_code`` together with ``--revision``
    and the full commit, both among the ``arguments`` of the command, are consent to that commit of a hub model. Raises
    :class:`engine.errors.InputError` where consent was asked for and not given; what else is missing the checks say.
    """
    if not config.trust_remote_code:
        return
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    code = _code(config)
    if code is None or code.missing or consent.agreed(code):
        return
    if at_terminal:
        _show(config, code)
        if not _typed():
            raise InputError(Problem("needs-consent", "the word was not typed, so nothing of the model may run",
                                     "Set it to false to do without the model's own code", setting=SETTING))  # fmt: skip
        _keep(code)
    elif code.commit is not None and code.commit == config.revision and _both_typed(code.commit, arguments):
        _keep(code)


def _code(config: RunConfig) -> consent.Code | None:
    """The model's code; that of a hub model is fetched first, without its weights, where it is not all here."""
    name = config.base_model
    code = consent.code_of(name, config.revision)
    whole = code is not None and not code.missing
    if whole or not cache.is_name(name) or cache.offline():
        return code
    folder = cache.model_folder(name, config.revision)
    if code is None and folder is not None and folder.parent.name != "snapshots":
        return None  # a directory that brings no code
    answer = hub.lately(name, config.revision)
    if answer.ok and (answer.code or code is not None):
        print(f"Fetching the code of {clean(name, 200)}, not its weights", file=sys.stderr, flush=True)
        fetched = hub.fetch_code(name, config.revision, timeout=_FETCH_SECONDS)
        if not fetched.ok:
            raise InputError(fetched.problem())
    return consent.code_of(name, config.revision)


def _show(config: RunConfig, code: consent.Code) -> None:
    """What would run, on standard error: standard output may be a document."""
    folder = cache.model_folder(config.base_model, config.revision)
    lines = ["", f"The model {consent.title(code)} brings Python code, which would run with all your rights:"]
    wide = max((len(bytes_text(size)) for size in code.sizes), default=0)
    pairs = list(zip(code.files, code.sizes, strict=True))
    lines += [f"  {bytes_text(size):>{wide}}  {clean(file, 200)}" for file, size in pairs[:_SHOWN]]
    if len(pairs) > _SHOWN:
        lines.append(f"  and {len(pairs) - _SHOWN} more files")
    if code.commit is not None:
        lines.append(f"Revision  {code.commit}")
    lines += [f"SHA-256   {code.sha256[:16]}…", f"Read it in {clean(folder, 500)}", ""]
    print("\n".join(lines), file=sys.stderr)


def _typed() -> bool:
    """Whether the word was typed, and nothing else."""
    print(
        f'Type the word "{consent.WORD}" to let this code run, anything else not to: ',
        end="",
        file=sys.stderr,
        flush=True,
    )
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return False
    return line.strip() == consent.WORD


def _both_typed(commit: str, arguments: Sequence[str] | None) -> bool:
    """Whether flag and commit stand on the command line: a file of settings from elsewhere cannot consent for anybody."""
    words = [str(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    flags = {word.split("=", 1)[0].replace("-", "_").lstrip("_") for word in words if word.startswith("--")}
    return (
        SETTING in flags
        and "revision" in flags
        and any(word == commit or word == f"--revision={commit}" for word in words)
    )


def _keep(code: consent.Code) -> None:
    try:
        consent.agree(code)
    except OSError as error:
        raise InputError(Problem("needs-consent", f"the consent cannot be kept: {error.strerror or error}",
                                 "Set XDG_STATE_HOME to a folder that can be written", setting=SETTING)) from None  # fmt: skip
