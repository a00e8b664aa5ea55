"""Headless commands. Light to import: each verb loads what it needs when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from engine.errors import EXIT_BAD_INPUT, EXIT_FAILED, TunedeckError
from engine.queue import revive

# verb: (module, one line of help); a verb stands here when it works.
VERBS = {
    "train": ("engine.cli.train", "train without the app, with a progress bar"),
    "preflight": ("engine.cli.preflight", "check a run and say what it costs, without starting it"),
    "runs": ("engine.cli.listing", "list runs of any tool: filter, sort, choose columns"),
    "show": ("engine.cli.showing", "everything known of one run"),
    "compare": ("engine.cli.compare", "what differs between runs, and which did best"),
    "export": ("engine.cli.export", "a run's curves as CSV or JSON lines"),
    "stop": ("engine.cli.control", "end a run after its current step; it saves first"),
    "checkpoint": ("engine.cli.control", "have a run save a checkpoint now"),
    "evaluate": ("engine.cli.control", "have a run evaluate now"),
    "resume": ("engine.cli.resume", "go on with a run that ended, from a checkpoint"),
    "queue": ("engine.cli.queue", "what waits for a free GPU; queue move RUN POSITION, queue cancel RUN"),
    "rm": ("engine.cli.rm", "remove a run, or free space with --prune; --dry-run says what would go"),
    "doctor": ("engine.cli.doctor", "what this machine can do, and what would bite"),
}


class UsageParser(argparse.ArgumentParser):
    """Argparse with the nearest known word for a mistyped flag, and without abbreviations."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> None:  # type: ignore[override]
        """Print what is wrong in one line and exit with 2."""
        from engine.text import clean

        print(f"{self.prog}: {clean(message, 500)}\nSee: {self.prog} --help", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT)


def main(argv: Sequence[str]) -> int:
    """Run one verb; returns the exit code (0 done, 1 the run failed, 2 bad input, 130 stopped)."""
    verb, arguments = argv[0], list(argv[1:])
    if verb not in VERBS:
        import difflib

        from engine.text import clean

        near = difflib.get_close_matches(verb, [*VERBS, "demo", "watch"], n=1)
        hint = f"Did you mean {near[0]}?" if near else "See: tunedeck --help"
        print(f"tunedeck: there is no command {clean(verb, 60)!r}. {hint}", file=sys.stderr)
        return EXIT_BAD_INPUT
    try:
        revive()
        run: Callable[[str, list[str]], int] = import_module(VERBS[verb][0]).run
        return run(verb, arguments)
    except TunedeckError as error:
        from engine.cli.output import print_problems

        print_problems(error.problems)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has gone; that is no error
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _unforeseen(error)


def _unforeseen(error: Exception) -> int:
    """What nobody thought of: one line for the person, the traceback for the log."""
    import traceback

    from engine import paths
    from engine.text import clean

    where = ""
    try:
        log = paths.state_dir() / "app.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="replace") as file:
            traceback.print_exception(error, file=file)
        where = f" Details: {log}"
    except OSError:
        pass
    print(f"error: {clean(error, 300) or type(error).__name__}.{clean(where)}", file=sys.stderr)
    return EXIT_BAD_INPUT if isinstance(error, OSError | ValueError | RuntimeError) else EXIT_FAILED
