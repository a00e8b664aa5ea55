"""What the form does about its model: opens the picker, takes a model over, and asks for consent to a model's code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.text import clean
from tui import report
from tui.launch.model import TRUST
from tui.models.permission import Permission, permission
from tui.screens.dialog import in_front

if TYPE_CHECKING:
    from tui.screens.launch import LaunchScreen


@dataclass(frozen=True, slots=True)
class Taken:
    """The model that was picked; ``sha256`` is that of the code that may run, ``about`` says in a few words what it is."""

    name: str
    revision: str | None = None
    sha256: str | None = None
    about: str = ""


class Choosing:
    """The form's model."""

    def __init__(self, screen: LaunchScreen) -> None:
        self._screen = screen

    def open(self) -> None:
        """Show the picker."""
        if not in_front(self._screen):
            return
        from tui.screens.models import ModelsScreen

        self._screen.list.end_edit()
        form = self._screen.model
        trusts = form.config is not None and form.config.trust_remote_code
        picker = ModelsScreen(form.text("base_model").strip(), form.text("revision").strip() or None, trusts=trusts)
        self._screen.app.push_screen(picker, self._take)

    def _take(self, taken: Taken | None) -> None:
        if taken is None:
            return
        form = self._screen.model
        self._screen.list.end_edit()
        trusted = form.text(TRUST)
        form.base = form.hub = None
        form.load({"base_model": taken.name, "revision": taken.revision})
        if taken.sha256 is not None:
            form.grant(taken.sha256)
        at = f", revision {taken.revision[:12]}" if taken.revision else ""
        about = f" ({taken.about})" if taken.about else ""
        ended = ". trust_remote_code is off again" if trusted != form.text(TRUST) == "false" else ""
        self._screen.took_over(f"base_model is now {clean(taken.name, 200)}{clean(at, 60)}{about}{ended}. F9 undoes it")
        self._screen.list.go("base_model")

    def code_seen(self, sha256: str | None) -> None:
        """The model brings this code now (empty: none; ``None``: not known): trust in other code ends."""
        if sha256 is not None and self._screen.model.code_seen(sha256):
            words = "trust_remote_code is off again: the model's code is not what you agreed to"
            report.tell(self._screen.app, words, severity="warning")

    def consent(self) -> None:
        """Whether the model's code may run was asked for: look at it, then ask."""
        form = self._screen.model
        if not form.asks_consent:
            return
        form.asks_consent = False
        self._screen.list.end_edit()
        work = self._consent(form.text("base_model").strip(), form.text("revision").strip() or None)
        self._screen.run_worker(work, group="consent", exclusive=True)

    async def _consent(self, name: str, revision: str | None) -> None:
        form = self._screen.model
        bare = form.base is None and form.hub is not None and form.hub.kind == "ok" and not form.hub.code
        allowed = Permission(True) if bare else await permission(self._screen, name, revision)
        if (form.text("base_model").strip(), form.text("revision").strip() or None) != (name, revision):
            return  # another model meanwhile
        if allowed.granted:
            form.grant(allowed.sha256)
            if not allowed.sha256:
                report.tell(
                    self._screen.app, f"{clean(name, 200)} brings no code of its own: this changes nothing for it"
                )
            elif not allowed.asked:
                report.tell(self._screen.app, "You have agreed to exactly this code before: it may run")
        self._screen.list.renew()
        self._screen.show_again()
        self._screen.look_again()
