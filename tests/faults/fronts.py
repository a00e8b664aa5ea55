"""Where the app runs when it is lost: a pseudo-terminal, a tmux server, a session of a real loopback sshd."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from tests.faults import home
from tests.faults.trial import Skip


class Front:
    """A place that shows a program; :meth:`lose` takes it away, :meth:`gone` says when the program itself was gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program: psutil.Process | None = None

    def start(self, words: list[str]) -> None:
        """Show a program."""
        raise NotImplementedError

    def text(self) -> str:
        """What stands on its screen."""
        raise NotImplementedError

    def type(self, keys: bytes) -> None:
        """Type keys."""
        raise NotImplementedError

    def lose(self, number: int) -> None:
        """Take it away."""
        raise NotImplementedError

    def close(self) -> None:
        """Clean up."""

    def wait_for_text(self, text: str, seconds: float = 30) -> None:
        """Wait until a text stands on the screen."""
        deadline = time.monotonic() + seconds
        while text not in self.text():
            assert time.monotonic() < deadline, (
                f"not within {seconds:g} s on the screen: {text!r}; it shows {self.text()[-1500:]}"
            )
            time.sleep(0.03)
        self.find()

    def find(self) -> None:
        """Find the program by the words it was started with, below whatever shows it."""
        if self.program is None:
            self.program = home_program(os.environ[home.MARK], self.words)

    words: list[str] = []

    def gone(self, seconds: float) -> float | None:
        """When the program was gone (monotonic), ``None`` if it still lives after ``seconds``."""
        if self.program is None:
            return time.monotonic()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.drain()
            try:
                if not self.program.is_running() or self.program.status() == psutil.STATUS_ZOMBIE:
                    return time.monotonic()
            except psutil.NoSuchProcess:
                return time.monotonic()
            time.sleep(0.01)
        return None

    def drain(self) -> None:
        """Read what the program writes, where somebody must."""


def home_program(mark: str, words: list[str]) -> psutil.Process | None:
    """The process that runs ``words`` in this trial: the interpreter that was given the command."""
    for pid in home.marked(mark):
        with contextlib.suppress(psutil.Error):
            line = psutil.Process(pid).cmdline()
            if line[-len(words) :] == words and "python" in os.path.basename(line[0]):
                return psutil.Process(pid)
    return None


class Pty(Front):
    """A pseudo-terminal of our own."""

    def __init__(self, folder: Path, way: str = "") -> None:
        super().__init__(folder)
        self.way = way
        self.terminal: Any = None

    def start(self, words: list[str]) -> None:
        from tests.pty import terminal

        self.words = words
        with mock.patch.object(terminal, "COMMAND", words[0]):
            self.terminal = terminal.Terminal(self.folder, *words[1:])
        self.program = psutil.Process(self.terminal.process.pid)

    def text(self) -> str:
        self.terminal.read(0.02)
        return str(self.terminal.screen_text)

    def type(self, keys: bytes) -> None:
        os.write(self.terminal.master, keys)

    def drain(self) -> None:
        if self.terminal.master >= 0:
            self.terminal.read(0.0)
        self.terminal._reap()

    def lose(self, number: int) -> None:
        self.terminal.read(0.0)
        if self.way == "terminal closed":
            self.terminal.close_master()
        else:
            self.terminal.process.send_signal(signal.SIGKILL if self.way == "SIGKILL" else signal.SIGHUP)

    def close(self) -> None:
        if self.terminal is not None:
            self.terminal.close()


class Tmux(Front):
    """A tmux server of our own; it is killed by its own command or by a signal, in turns."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if shutil.which("tmux") is None:
            raise Skip("tmux is not installed")
        self.socket = str(folder / "tmux")

    def _tmux(self, *words: str) -> str:
        answer = subprocess.run(
            ["tmux", "-S", self.socket, "-f", "/dev/null", *words], capture_output=True, text=True, check=False
        )
        return answer.stdout

    def start(self, words: list[str]) -> None:
        self.words = words
        self._tmux("new-session", "-d", "-x", "100", "-y", "30", shlex.join(words))
        home.Until(10)(lambda: self.find() or self.program, "the program in tmux")

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def type(self, keys: bytes) -> None:
        self._tmux("send-keys", "-H", *(f"{byte:02x}" for byte in keys))

    def lose(self, number: int) -> None:
        server = self._tmux("display-message", "-p", "#{pid}").strip()
        if number // 5 % 2 and server:
            os.kill(int(server), signal.SIGKILL)
        else:
            self._tmux("kill-server")

    def close(self) -> None:
        self._tmux("kill-server")


class Ssh(Front):
    """``ssh -tt`` to an sshd of our own on the loopback; dropped by the death of client, session or whole sshd."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        if not os.path.exists(self.sshd) or shutil.which("ssh") is None:
            raise Skip("openssh-server is not installed: apt-get install openssh-server")
        self.place = folder / "ssh"
        self.place.mkdir(mode=0o700)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.place / name)], check=True)
        shutil.copy(self.place / "user.pub", self.place / "authorized")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)
        self.port = _free_port()
        self.daemon: subprocess.Popen[bytes] | None = None
        self.front: Pty | None = None

    def _serve(self) -> None:
        lines = [f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.place / 'host'}", "UsePAM no", "StrictModes no",
                 f"AuthorizedKeysFile {self.place / 'authorized'}", "PermitRootLogin yes", f"PidFile {self.place / 'pid'}",
                 "PasswordAuthentication no", "PrintMotd no", "PrintLastLog no", "AllowTcpForwarding no"]  # fmt: skip
        (self.place / "conf").write_text("\n".join(lines) + "\n")
        with (self.place / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [self.sshd, "-D", "-e", "-f", str(self.place / "conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        home.Until(10)(self._answers, f"sshd on the loopback: {(self.place / 'log').read_text()[-400:]}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
            return line.recv(4) == b"SSH-"
        return False

    def start(self, words: list[str]) -> None:
        self.words = words
        self._serve()
        wanted = {
            k: v
            for k, v in os.environ.items()
            if k.startswith(("XDG_", "TUNEDECK_", "OMP_", "PYTHON", "HF_", "LC_", "LANG", "TMPDIR", "PATH"))
        }
        line = f"cd {shlex.quote(str(self.folder))}; exec env {' '.join(f'{k}={shlex.quote(v)}' for k, v in wanted.items())} {shlex.join(words)}"
        client = ["ssh", "-tt", "-F", "none", "-p", str(self.port), "-i", str(self.place / "user"), "-o", "StrictHostKeyChecking=no",
                  "-o", f"UserKnownHostsFile={self.place / 'known'}", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "127.0.0.1", line]  # fmt: skip
        self.front = Pty(self.folder)
        self.front.start(["/usr/bin/env", *client])
        try:
            home.Until(15)(lambda: (self.front.text(), self.find(), self.program)[2], "the program behind sshd")
        except AssertionError as error:
            raise AssertionError(
                f"{error}: {self.front.text()[-500:]}; {(self.place / 'log').read_text()[-500:]}"
            ) from None

    def text(self) -> str:
        assert self.front is not None
        return self.front.text()

    def type(self, keys: bytes) -> None:
        assert self.front is not None
        self.front.type(keys)

    def drain(self) -> None:
        if self.front is not None:
            self.front.drain()

    def lose(self, number: int) -> None:
        assert self.daemon is not None and self.front is not None
        way = number // 5 % 3
        children = psutil.Process(self.daemon.pid).children(recursive=True)
        sessions = [p for p in children if p.name().startswith("sshd")]
        if way == 0:
            self.front.terminal.process.kill()
        else:
            for victim in sessions:
                with contextlib.suppress(psutil.Error):
                    victim.kill()
            if way == 2:
                self.daemon.kill()

    def close(self) -> None:
        if self.front is not None:
            self.front.close()
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_front(way: str, folder: Path) -> Front:
    """The place that belongs to a way of losing it."""
    if way.startswith("tmux"):
        return Tmux(folder)
    if way.startswith("sshd"):
        return Ssh(folder)
    return Pty(folder, way)
