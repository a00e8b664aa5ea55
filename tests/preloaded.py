"""A worker's, and an inspector's, interpreter that has the training libraries in it already.

Importing torch, transformers, TRL and PEFT takes most of a short run's time. Where it is not what a test is about, one
process of the test session imports them, and each start is a fork of it: a process of its own, as fresh as one that has
just imported them. What :func:`interpreter` writes is an executable that takes Python's command line; it passes its
environment, folder, standard streams and signals to the fork, and ends as the fork ends, by the same code or signal. If
it is killed, the fork is.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parent.parent
RELAYED = (signal.SIGINT, signal.SIGTERM)
CLIENT = """#!{python} -IS
import json, os, signal, socket, struct, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
for number in {relayed!r}:
    signal.signal(number, lambda n, frame: line.send(bytes([n])))
request = {{"words": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(), "setup": {setup!r}}}
data = json.dumps(request).encode()
socket.send_fds(line, [struct.pack("I", len(data))], [0, 1, 2])
line.sendall(data)
answer = line.recv(4, socket.MSG_WAITALL)
code = struct.unpack("i", answer)[0] if len(answer) == 4 else 70
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""

_server: subprocess.Popen[bytes] | None = None
_folder: Path | None = None


def interpreter(path: Path, setup: str = "") -> Path:
    """Write an executable to ``path``; ``setup`` is code that runs first in each of its processes that trains."""
    import sysconfig

    # The installed Python itself: what an environment adds to it is not needed for passing something on.
    python = Path(sysconfig.get_config_var("BINDIR")) / f"python{sysconfig.get_config_var('VERSION')}"
    text = CLIENT.format(python=python if python.exists() else sys.executable, address=_address(), setup=setup,
                         relayed=tuple(map(int, RELAYED)))  # fmt: skip
    path.write_text(text)
    path.chmod(0o755)
    return path


def _address() -> str:
    """Of the process with the libraries, which is started at the first call and ends with this one."""
    global _server, _folder
    if _server is None or _server.poll() is not None:
        _folder = Path(tempfile.mkdtemp(prefix="tdp-"))  # short: sockets have limits
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
        _server = subprocess.Popen([sys.executable, "-P", "-m", "tests.preloaded", str(_folder / "s")], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, env=environment)  # fmt: skip
        atexit.register(_end, _server)
        assert _server.stdout is not None and _server.stdout.readline() == b"ready\n"
    return str(_folder / "s")  # type: ignore[operator]


def _end(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


# In the process with the libraries.


def serve(address: str) -> None:
    """Load everything, then fork for each connection until standard input ends."""
    from engine.worker import libraries

    libraries.load()
    gc.unfreeze()  # each fork loads, and sets aside what is loaded, once more: at no cost, but by itself
    door = socket.socket(socket.AF_UNIX)
    door.bind(address)
    door.listen(64)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([door, 0], [], [])
        if 0 in ready:
            return shutil.rmtree(Path(address).parent, ignore_errors=True)
        line, _ = door.accept()
        if os.fork() == 0:
            door.close()
            _attend(line)
        line.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # those that attended to earlier ones


def _attend(line: socket.socket) -> NoReturn:
    """One process for one connection: pass signals on, and the end back."""
    head, streams, _, _ = socket.recv_fds(line, 4, 3)
    request = json.loads(_read(line, struct.unpack("I", head)[0]))
    pid = os.fork()
    if pid == 0:
        line.close()
        _become(request, streams)
    for stream in streams:
        os.close(stream)
    over = os.pidfd_open(pid)
    while True:
        ready, _, _ = select.select([line, over], [], [])
        if over in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(OSError):
                line.sendall(struct.pack("i", code))
            os._exit(0)
        numbers = line.recv(16)
        for number in numbers or [signal.SIGKILL]:
            signal.pidfd_send_signal(over, number)
        if not numbers:
            os.waitpid(pid, 0)
            os._exit(0)


def _read(line: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += line.recv(length - len(data))
    return data


def _become(request: dict, streams: list[int]) -> NoReturn:
    """What Python would be that was started with these words."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here: a shell's background job
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # where temporary files go is for this environment to say
    os.chdir(request["folder"])
    sys.stdin = sys.__stdin__ = open(0, closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)
    code = 0
    try:
        names = {"__name__": "__main__"}
        if "engine.worker.inspect" not in request["words"]:
            exec(request["setup"], names)
        words = [word for word in request["words"] if word != "-P"]
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        elif words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=False)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
    except BaseException as error:
        traceback.print_exc()
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        code = 1
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
