"""People's own words on a run: ``notes.json`` with its name, note and tags."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from engine.errors import Problem, TunedeckError
from engine.rundir import FORMAT, RunDir, read_json, write_json
from engine.text import clean

MAX_NAME, MAX_TAGS, MAX_NOTE = 200, 50, 200_000
ALSO = "--- somebody else wrote meanwhile:"


@dataclass(frozen=True, slots=True)
class Notes:
    """What ``notes.json`` holds, cleaned; ``raw`` is the file's own content, with keys that are not known here."""

    name: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict, compare=False)


class ChangedMeanwhileError(TunedeckError):
    """Somebody else saved since these notes were read; ``both`` holds their words and ours."""

    def __init__(self, problem: Problem, both: Notes, theirs: Notes) -> None:
        super().__init__(problem)
        self.both, self.theirs = both, theirs


def refusal(run: RunDir) -> str:
    """Why the notes of a run cannot be edited, in words; empty if they can."""
    record = run.read_run()
    if record is None:
        return "This directory has no record of tunedeck's, so it has no place for notes: it stays as it is"
    form = record.get("format")
    if isinstance(form, int) and form > FORMAT:
        return "This run was recorded by a newer version: it is only shown"
    try:
        owner = run.meta.stat().st_uid
    except OSError as error:
        return f"The run's record cannot be reached: {clean(error.strerror or 'unknown', 100)}"
    if owner != os.geteuid():
        return "This run belongs to somebody else"
    if not os.access(run.meta, os.W_OK | os.X_OK):
        return "The run's directory is read-only"
    if run.notes_json.exists() and read_json(run.notes_json) is None:
        return "notes.json is damaged: move it away first, or what is in it would be lost"
    return ""


def load(run: RunDir) -> Notes:
    """The notes as they are now; empty if there are none."""
    return parse(run.read_notes())


def parse(raw: dict[str, Any]) -> Notes:
    """What a record of notes holds, cleaned; values of a wrong kind are empty."""
    tags = raw.get("tags")
    return Notes(
        name=_text(raw.get("name"), MAX_NAME),
        notes=clean(raw["notes"], None, keep_newlines=True) if isinstance(raw.get("notes"), str) else "",
        tags=tuple(_text(tag, 100) for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        raw=raw,
    )


def split_tags(text: str) -> tuple[str, ...]:
    """Tags as one types them: words with commas or spaces between, each once."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def save(run: RunDir, read: Notes, wanted: Notes) -> None:
    """Write what is wanted over what was read; atomically, readable by the owner (and the group, if the run is shared).

    Raises :class:`ChangedMeanwhileError` if the file is no longer what was read, and :class:`TunedeckError` if it
    cannot be written.
    """
    why = refusal(run) or too_much(wanted)
    if why:
        raise TunedeckError(Problem("cannot-save", why, file=str(run.notes_json)))
    now = load(run)
    if now != read:
        text = "Somebody else changed this meanwhile: their words and yours are both here now"
        problem = Problem("changed-meanwhile", text, "Look them over, and save again", file=str(run.notes_json))
        raise ChangedMeanwhileError(problem, merged(read, now, wanted), now)
    changed = {name: list(value) if isinstance(value, tuple) else value
               for name in ("name", "notes", "tags") if (value := getattr(wanted, name)) != getattr(read, name)}  # fmt: skip
    if not changed:
        return
    config = (run.read_run() or {}).get("config")
    share = config.get("share") if isinstance(config, dict) else None
    try:
        write_json(run.notes_json, {**now.raw, **changed}, run.file_mode(str(share)))
    except OSError as error:
        why = f"cannot be written: {clean(error.strerror or 'unknown', 100)}"
        raise TunedeckError(Problem("cannot-save", why, file=str(run.notes_json))) from None


def too_much(wanted: Notes) -> str:
    """Which limit these words go over, in words; empty if none."""
    if len(wanted.name) > MAX_NAME:
        return f"The name is too long: {len(wanted.name)} characters, {MAX_NAME} at most"
    if len(wanted.tags) > MAX_TAGS:
        return f"These are {len(wanted.tags)} tags, {MAX_TAGS} at most"
    if len(wanted.notes) > MAX_NOTE:
        return f"The note is too long: {len(wanted.notes):,} characters, {MAX_NOTE:,} at most"
    return ""


def merged(read: Notes, theirs: Notes, ours: Notes) -> Notes:
    """Their changes and ours; where both changed the same, ours with theirs below it."""
    below = []
    if ours.name != read.name and theirs.name not in (read.name, ours.name):
        below.append(f"name: {theirs.name}")
    if ours.notes != read.notes and theirs.notes not in (read.notes, ours.notes):
        below.append(theirs.notes)
    text = ours.notes if ours.notes != read.notes else theirs.notes
    gone = set(read.tags) - set(ours.tags)
    return Notes(
        name=ours.name if ours.name != read.name else theirs.name,
        notes="\n".join([text.rstrip("\n"), "", ALSO, *below]) if below else text,
        tags=tuple(dict.fromkeys([*(tag for tag in theirs.tags if tag not in gone), *ours.tags])),
    )


def _text(value: Any, limit: int) -> str:
    return clean(value, limit) if isinstance(value, str) else ""
