"""Opening a run of another tool from the list, in the real app behind a terminal emulator: a long log, and a huge one.

    python -m tests.benchmarks.open_run [ROWS] [HUGE_GIGABYTES]

Targets: a ``trainer_state.json`` of 24,000 rows stands on the screen 0.3 s after the key once the page was opened before, 0.5 s
the first time; of one of a gigabyte a key answers within 0.1 s while it is read, and one can leave at any time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.browser import press, silence
from tests.benchmarks.emulated import Emulated

SIZE = (120, 40)
ENTER, ESCAPE = b"\r", b"\x1b"
PIECE = 20_000


def long_run(folder: Path, rows: int) -> None:
    """A run of TRL that logged at every step."""
    folder.mkdir(parents=True)
    log = []
    for step in range(1, rows + 1):
        log.append({"epoch": step / 8000, "grad_norm": 1.23, "learning_rate": 1e-4, "loss": 2 / (1 + step / 3000), "step": step,
                    "mean_token_accuracy": 0.7, "num_tokens": step * 4000})  # fmt: skip
        if step % 1000 == 0:
            log.append({"epoch": step / 8000, "eval_loss": 2.1 / (1 + step / 3000), "step": step})
    state = {"epoch": rows / 8000, "global_step": rows, "max_steps": rows, "log_history": log}
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2))
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 16, "lora_alpha": 32}')


def huge_run(folder: Path, size: float) -> None:
    """A run whose log nobody wants to read whole."""
    folder.mkdir(parents=True)
    written = first = 0
    with (folder / "trainer_state.json").open("w") as file:
        file.write('{"epoch": 3.0, "global_step": 9000000, "max_steps": 9000000, "log_history": [\n')
        while written < size:
            written += file.write("".join(f'{{"epoch": {step / 3e6:.4f}, "learning_rate": 0.0001, "loss": 1.{step % 997}, "step": {step}}},\n'
                                          for step in range(first + 1, first + PIECE + 1)))  # fmt: skip
            first += PIECE
        file.write(f'{{"epoch": 3.0, "loss": 0.1, "step": {first + 1}}}]}}\n')


def opened(terminal: Emulated, *words: str, seconds: float = 60.0) -> float:
    """Seconds from Enter until all of these words stand on the screen."""
    terminal.type(ENTER)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        terminal.turn(0.002)
        text = "\n".join(terminal.lines)
        if all(word in text for word in words):
            return time.monotonic() - began
    raise AssertionError("\n".join(terminal.lines))


def listed(folder: Path, home: Path) -> Emulated:
    """The app with the one run of a folder in its list."""
    env = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG", "DATA")}
    terminal = Emulated("--root", str(folder), size=SIZE, env=env, folder=home)
    until = time.monotonic() + 60
    while "1 run" not in terminal.lines[0] or "searching" in terminal.lines[0]:
        terminal.turn(0.01)
        assert time.monotonic() < until, terminal.lines[0]
    silence(terminal, 1.0)
    return terminal


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 24_000
    huge = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        long_run(base / "long" / "run", rows)
        terminal = listed(base / "long", base)
        times = []
        for _ in range(14):
            times.append(opened(terminal, "reached", "━ smooth"))
            silence(terminal, 0.7)
            terminal.type(ESCAPE)
            silence(terminal, 0.7)
        print(
            f"{rows:,} rows: first {1e3 * times[0]:.0f} ms, then {', '.join(f'{1e3 * t:.0f}' for t in times[1:])} ms to text and curve"
        )
        terminal.type(ENTER)
        silence(terminal, 1.5)
        keys = [
            press(terminal, key)[1]
            for key in (b"2", b"3", b"4", b"7", b"1", b"3", b"x", b"+", b"+", b"\x1b[D", b"0", b"g")
        ]
        silence(terminal, 5.0)  # until the last message has gone
        print(f"  keys settled in {1e3 * max(keys):.0f} ms at most; at rest {silence(terminal, 5.0)} bytes in 5 s")
        terminal.close()
        if huge:
            huge_run(base / "huge" / "run", huge * 1e9)
            terminal = listed(base / "huge", base)
            terminal.type(ENTER)
            answers = [press(terminal, key)[0] for key in (b"2", b"4", b"7", b"1")]
            print(f"{huge:g} GB: keys answer in {1e3 * max(answers):.0f} ms at most while it is read")
            terminal.type(ESCAPE)
            silence(terminal, 1.0)
            print(f"  shown {1e3 * opened(terminal, 'reached', 'only its two ends were read'):.0f} ms after Enter")
            terminal.close()


if __name__ == "__main__":
    main()
