"""The command ``tunedeck``: headless verbs go to ``engine.cli`` before Textual is loaded; the rest is the app."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.paths import expand

USAGE = """\
tunedeck: configure, launch, watch and remember LoRA fine-tuning runs

  tunedeck [--root DIR ...]     the app
  tunedeck demo                 the app with the sample run filled in: no GPU, no network needed
  tunedeck watch RUN            the app, opened at a run
"""
OPTIONS = """
  --root DIR    search this folder for runs, too (may be given again)
  --theme NAME  auto, dark, light or ansi (the terminal's own colours)
  --plain       send whole regions of the screen, not only what changed: for terminals that show it wrong
  --version     print the version

RUN is a directory or the beginning of a run's id. Help on a command: tunedeck COMMAND --help"""
APP_VERBS = ("demo", "watch")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale that lacks a letter must not end a command
    if words and not words[0].startswith("-") and words[0] not in APP_VERBS:
        from engine.cli import main as headless

        return headless(words)
    if any(word in ("-h", "--help") for word in words):
        print(usage())
        return 0
    if "--version" in words:
        from engine import __version__

        print(f"tunedeck {__version__}")
        return 0
    return _app(words)


def usage() -> str:
    """What ``--help`` prints."""
    from engine.cli import VERBS

    lines = [f"  tunedeck {verb:<21}{about}" for verb, (_, about) in VERBS.items()]
    return USAGE + "\n".join(lines) + "\n" + OPTIONS


def _app(words: list[str]) -> int:
    from engine.errors import EXIT_BAD_INPUT, TunedeckError

    try:
        options = _parse(words)
    except TunedeckError as error:
        from engine.cli.output import print_problems

        print_problems(error.problems)
        return error.exit_code
    missing = _no_terminal()
    if missing:
        print(f"tunedeck: {missing}. Without one, use: tunedeck runs, tunedeck train ... (see --help)", file=sys.stderr)
        return EXIT_BAD_INPUT
    from tui.terminal import motion

    motion.still()
    from tui import leaving
    from tui.app import TunedeckApp

    leaving.prepare()
    app = TunedeckApp(**options)  # type: ignore[arg-type]
    app.run()
    leaving.speak()
    return app.return_code or 0


def _no_terminal() -> str:
    """Why the app cannot be shown; empty if it can."""
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("error output", sys.stderr)):
        try:
            if stream is not None and stream.isatty():
                continue
        except ValueError:
            pass
        return f"the app needs a terminal, but its standard {name} is none"
    return "the app needs a terminal that can do more than TERM=dumb" if os.environ.get("TERM") == "dumb" else ""


def _parse(words: list[str]) -> dict[str, object]:
    """The app's options; raises :class:`engine.errors.InputError`."""
    from engine.errors import InputError, Problem
    from engine.text import clean

    options: dict[str, object] = {"roots": []}
    roots: list[Path] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.partition("=")
        if name in ("--root", "--theme"):
            value = value if equals else next(remaining, "")
            if not value:
                raise InputError(Problem("usage", f"{name} needs a value", "See: tunedeck --help"))
            if name == "--root":
                roots.append(_root(value))
            else:
                options["theme_name"] = _theme(value)
        elif word == "--plain":
            os.environ["TUNEDECK_PLAIN"] = "1"
        elif word.startswith("-"):
            raise InputError(Problem("usage", f"there is no option {clean(word, 60)}", "See: tunedeck --help"))
        else:
            rest.append(word)
    options["roots"] = roots
    if rest[:1] == ["watch"]:
        if len(rest) != 2:
            raise InputError(Problem("usage", "watch needs one RUN", "List runs with: tunedeck runs"))
        from engine.history import find_run

        options.update(initial="watch", watch=find_run(rest[1], roots).path)
    elif rest[:1] == ["demo"]:
        if len(rest) != 1:
            raise InputError(Problem("usage", "demo takes nothing else", "See: tunedeck --help"))
        from engine.samples import demo_values

        options.update(initial="launch", values=demo_values(), title="Sample run")
    return options


def _root(value: str) -> Path:
    from engine.errors import InputError, Problem

    path = expand(value).absolute()
    if not path.is_dir():
        raise InputError(Problem("bad-root", "is no directory", "Give a folder that holds runs", file=str(path)))
    return path


def _theme(value: str) -> str:
    from engine.errors import InputError, Problem
    from engine.text import clean

    choices = ("auto", "dark", "light", "ansi")
    if value not in choices:
        raise InputError(
            Problem("usage", f"there is no theme {clean(value, 40)!r}", f"Themes are {', '.join(choices)}")
        )
    return value


if __name__ == "__main__":
    sys.exit(main())
