"""``python -P -m engine.worker.rows FILE``: the rows of a Parquet file as JSON lines, for :mod:`engine.data.helper`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from engine.worker import bounds


def main() -> int:
    """Write all rows, or what is wrong, to standard output."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever asked has gone: so do we
    # Libraries that print something must not be taken for rows.
    bounds.all_memory()
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    os.dup2(2, 1)

    def refuse(kind: str, message: str, hint: str) -> int:
        out.write(b"!" + json.dumps({"kind": kind, "message": message, "hint": hint}).encode() + b"\n")
        out.flush()
        return 1

    try:
        from engine.worker import parquet
    except ImportError as error:
        return refuse(
            "missing-package", f"needs the package {error.name}, which is not installed", "pip install pyarrow"
        )
    try:
        for line in parquet.lines(Path(sys.argv[1])):
            out.write(line)
    except parquet.Twice as error:
        return refuse("duplicate-field", f"has two columns named {error}", "Rename or remove one of them")
    except MemoryError:
        return refuse(
            "row-too-long", "holds groups of rows that do not fit into memory", "Write it with smaller row groups"
        )
    except (OSError, *parquet.BROKEN) as error:
        if getattr(error, "errno", None) is not None:
            return refuse("unreadable-file", f"cannot be read: {getattr(error, 'strerror', error)}", "Check the file")
        why = str(error).strip().splitlines() or [""]
        return refuse("broken-parquet", f"is a damaged Parquet file: {why[0]}", "Copy or download it again")
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
