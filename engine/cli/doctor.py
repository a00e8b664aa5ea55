"""``tunedeck doctor``: what this machine can do, and what would bite."""

from __future__ import annotations

import importlib.util
import locale
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from engine import detach, hardware, paths
from engine.cli import UsageParser
from engine.cli.output import bytes_text, print_json
from engine.errors import EXIT_DONE, EXIT_FAILED
from engine.models import cache, weights
from engine.text import clean

_HUB_SECONDS = 5.0
_MARKS = {"ok": "ok  ", "note": "note", "warning": "WARN", "error": "FAIL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``level`` is ok, note, warning or error."""

    topic: str
    level: str
    message: str
    hint: str = ""


def run(verb: str, arguments: list[str]) -> int:
    """Print all findings; 1 if something would keep every run from working."""
    parser = UsageParser(prog="tunedeck doctor")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(arguments)
    findings = list(examine())
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        for f in findings:
            hint = f" {f.hint}." if f.hint else ""
            print(clean(f"{_MARKS[f.level]}  {f.topic:<10} {f.message}.{hint}"))
    return EXIT_FAILED if any(finding.level == "error" for finding in findings) else EXIT_DONE


def examine() -> Iterator[Finding]:
    """All findings, in the order in which a person wants them."""
    yield from _packages()
    yield from _gpus()
    yield from _memory_and_disk()
    yield from _hub()
    yield from _session()
    yield from _terminal()


def _packages() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    for name in ("torch", "transformers", "trl", "peft", "datasets"):
        try:
            yield Finding(name, "ok", f"version {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            yield Finding(name, "error", "is not installed", f"pip install {name}, or set worker_python for every run")
    for name, extra, what in (
        ("bitsandbytes", "quant", "4-bit and 8-bit base models"),
        ("liger_kernel", "fast", "fused kernels"),
    ):
        if importlib.util.find_spec(name) is None:
            yield Finding(name, "note", f"is not installed: no {what}", f"pip install 'tunedeck[{extra}]'")
        else:
            yield Finding(name, "ok", "is installed")


def _gpus() -> Iterator[Finding]:
    cards = hardware.gpus()
    driver = hardware.driver_version()
    if not cards:
        yield Finding("gpu", "warning", "no NVIDIA GPU was found: runs will train on the CPU, which is slow",
                      "" if driver else "Check the driver with nvidia-smi")  # fmt: skip
        return
    yield Finding("driver", "ok", f"NVIDIA {driver}")
    for card in cards:
        free, total = bytes_text(card.memory_free), bytes_text(card.memory_total)
        text = f"{card.index}: {card.name}, {free} of {total} free"
        if card.foreign_processes:
            yield Finding("gpu", "warning", f"{text}; {card.foreign_processes} processes of others run on it")
        elif card.memory_free < 0.5 * card.memory_total:
            yield Finding("gpu", "warning", f"{text}: more than half is taken")
        else:
            yield Finding("gpu", "ok", text)


def _memory_and_disk() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    yield Finding("memory", "ok" if memory.available > 4 * 2**30 else "warning",
                  f"{bytes_text(memory.available)} of {bytes_text(memory.total)} free")  # fmt: skip
    for label, folder in (("disk", Path.cwd()), ("cache", _existing(cache.folder_of_cache()))):
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            yield Finding(label, "warning", f"{folder}: {error.strerror}")
            continue
        low = usage.free < 5 * 2**30
        yield Finding(label, "warning" if low else "ok", f"{bytes_text(usage.free)} free at {folder}",
                      "Checkpoints and models may not fit" if low else "")  # fmt: skip
    state = paths.state_dir()
    if not os.access(_existing(state), os.W_OK):
        yield Finding("state", "warning", f"{state} cannot be written: launched runs will not be remembered",
                      "Set XDG_STATE_HOME to a directory that can be written")  # fmt: skip


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _hub() -> Iterator[Finding]:
    place, most = cache.folder_of_cache(), time.monotonic() + _HUB_SECONDS
    names, size, broken = cache.names(), 0, 0
    for name in names:
        if time.monotonic() > most:
            break
        size += _bytes(cache.repository(name))
        broken += any(weights.look(snapshot).kind == "incomplete" for snapshot in cache.snapshots(name)[:1])
    about = "more than " if time.monotonic() > most else ""
    models = f"{len(names)} {'model' if len(names) == 1 else 'models'}"
    yield Finding("hub", "ok", f"{models}, {about}{bytes_text(size)}, in the cache at {place}")
    if broken:
        yield Finding("hub", "note", f"the weights of {broken} cached {'model' if broken == 1 else 'models'} are incomplete",
                      "The rest is downloaded when a run needs it")  # fmt: skip
    source = cache.token_from()
    if source:
        yield Finding("hub", "ok", f"a token is there ({source})")
    else:
        yield Finding("hub", "note", "not logged in: gated models cannot be downloaded", "Log in with: hf auth login")
    if cache.offline():
        yield Finding("hub", "note", "HF_HUB_OFFLINE is set: only cached and local models work")


def _bytes(place: Path) -> int:
    """What a model of the cache takes on the disk: its blobs, or its files where the cache makes no links."""
    total = 0
    for folder in (place / "blobs", *cache.snapshots(place.name.removeprefix("models--").replace("--", "/"))):
        try:
            with os.scandir(folder) as entries:
                total += sum(e.stat(follow_symlinks=False).st_size for e in entries if e.is_file(follow_symlinks=False))
        except OSError:
            continue
    return total


def _session() -> Iterator[Finding]:
    """Whether runs survive a logout: logind may kill what a user leaves behind."""
    risk = detach.risk()
    if risk is not None:
        yield Finding("session", "warning", risk.message, risk.hint)
    elif not detach.has_login_manager():
        yield Finding("session", "ok", "no systemd login manager: runs outlive a logout")
    else:
        yield Finding("session", "ok", "runs outlive a logout")


def _terminal() -> Iterator[Finding]:
    term = os.environ.get("TERM", "")
    encoding = locale.getpreferredencoding(False).lower().replace("-", "")
    if not sys.stdout.isatty():
        return
    size = shutil.get_terminal_size()
    where = " in tmux" if os.environ.get("TMUX") else " in screen" if os.environ.get("STY") else ""
    yield Finding("terminal", "ok", f"{term or 'unknown'}{where}, {size.columns} columns by {size.lines} lines")
    if encoding != "utf8":
        yield Finding("terminal", "warning", f"the locale's encoding is {encoding}, not UTF-8: charts are drawn in ASCII",
                      "Set LANG to a UTF-8 locale, for example C.UTF-8")  # fmt: skip
    if size.columns < 80 or size.lines < 24:
        yield Finding("terminal", "warning", "is smaller than 80 by 24: the app will be cramped")
    if "256" not in term and os.environ.get("COLORTERM") not in ("truecolor", "24bit"):
        yield Finding("terminal", "note", "may have only 16 colours", "If it has more, set TERM to xterm-256color")
