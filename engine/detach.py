"""Whether a run outlives its user's logout, and what can be done for it on machines with systemd.

A plain process of its own session outlives a logout unless logind is told to kill what a user leaves behind; a unit of
the user's own service manager does not outlive one unless the user lingers. So a scope of that manager is right only
where lingering is on.
"""

from __future__ import annotations

import getpass
import re
import subprocess

from engine.errors import Problem

ASK_SECONDS = 3.0
_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def risk() -> Problem | None:
    """The warning that a logout would kill the runs of this user, and how to prevent it; ``None`` if it would not.

    Takes a few milliseconds, and seconds only where the login manager does not answer.
    """
    if _property("KillUserProcesses") != "b true" or lingers():
        return None
    user = _user()
    # "as 1 \"root\"": those whom the rule spares, and, if any are named, those alone whom it hits.
    if user in _names(_property("KillExcludeUsers")):
        return None
    only = _names(_property("KillOnlyUsers"))
    if only and user not in only:
        return None
    return Problem(
        "logout-kills",
        "this machine kills a user's processes at logout, runs too",
        "Switch that off for you with: loginctl enable-linger",
        severity="warning",
    )


def lingers() -> bool:
    """Whether this user's own service manager goes on after the last logout."""
    return _ask("loginctl", "show-user", _user(), "-p", "Linger", "--value") == "yes"


def has_login_manager() -> bool:
    """Whether there is a login manager that could end anything."""
    return bool(_property("KillUserProcesses"))


def enter_scope(run_id: str, pid: int) -> bool:
    """Move a process out of its login session into a scope of the user's service manager, where lingering is on.

    Whatever it starts afterwards is there too. Whether it worked; nothing is harmed if not.
    """
    if not re.fullmatch(r"[0-9A-Za-z_.-]{1,200}", run_id) or not lingers():
        return False
    properties = ["3", "PIDs", "au", "1", str(pid), "CollectMode", "s", "inactive-or-failed",
                  "Description", "s", f"tunedeck run {run_id}"]  # fmt: skip
    call = ["busctl", "--user", "call", *_SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))"]
    return _ask(*call, f"tunedeck-{run_id}.scope", "fail", *properties, "0").startswith("o ")


def _property(name: str) -> str:
    return _ask("busctl", "get-property", *_LOGIND, name)


def _names(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _ask(*command: str) -> str:
    """What a program answers; empty if there is none, if it fails, or if it takes too long."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
