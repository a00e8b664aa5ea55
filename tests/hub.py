"""A hub on loopback: repositories with files, branches and commits, that answers as the real one does."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

GOOD = "hf_good"


@dataclass
class Repository:
    """``readers`` may read it where it is gated or private; ``None``: everybody may."""

    files: dict[str, bytes]
    gated: str | bool = False
    private: bool = False
    card: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    readers: tuple[str, ...] = ()
    branches: tuple[str, ...] = ("main",)

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(name.encode() + data for name, data in sorted(self.files.items()))).hexdigest()


class Hub(ThreadingHTTPServer):
    """``asked`` are the paths, ``tokens`` what came with them; ``delay`` seconds pass before an answer; ``broken`` is a status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.delay, self.broken = 0.0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *parts: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        hub = self.server
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        hub.asked.append(path)
        hub.tokens.append(token)
        time.sleep(hub.delay)
        if hub.broken:
            return self._send(hub.broken, b"{}", body=body)
        if token and token != GOOD:
            return self._refuse(401, "", "Invalid credentials in Authorization header", body)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._api("/".join(parts[2:4]), parts[4:], token, body)
        return self._file("/".join(parts[:2]), parts[2:], token, body)

    def _api(self, name: str, rest: list[str], token: str, body: bool) -> None:
        found = self._found(name, token, body)
        if found is None:
            return None
        if rest == ["auth-check"]:
            if found.gated and token not in found.readers:
                return self._refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.", body)
            return self._send(200, b"{}", body=body)
        if rest[:1] == ["tree"] or rest[:1] == ["refs"]:
            items = [{"type": "file", "path": p, "size": len(d), "oid": _etag(d)} for p, d in found.files.items()]
            return self._send(200, json.dumps(items).encode(), body=body)
        if rest[:1] == ["revision"] and rest[1] not in (*found.branches, found.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}", body)
        record = {
            "id": name, "modelId": name, "sha": found.commit, "gated": found.gated, "private": found.private, "tags": [],
            "siblings": [{"rfilename": p, "size": len(d), "blobId": _etag(d)} for p, d in found.files.items()],
            "cardData": found.card,
        }  # fmt: skip
        if found.parameters:
            record["safetensors"] = {"parameters": found.parameters, "total": sum(found.parameters.values())}
        return self._send(200, json.dumps(record).encode(), body=body)

    def _file(self, name: str, rest: list[str], token: str, body: bool) -> None:
        found = self._found(name, token, body)
        if found is None:
            return None
        if found.gated and token not in found.readers:
            return self._refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.", body)
        if rest[:1] != ["resolve"] or rest[1] not in (*found.branches, found.commit):
            return self._refuse(404, "RevisionNotFound", "Invalid rev id", body)
        data = found.files.get("/".join(rest[2:]))
        if data is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", body)
        return self._send(200, data, {"X-Repo-Commit": found.commit, "ETag": f'"{_etag(data)}"'}, body=body)

    def _found(self, name: str, token: str, body: bool) -> Repository | None:
        found = self.server.repositories.get(name)
        if found is None or (found.private and token not in found.readers):
            # The real one does not tell a private model from none.
            self._refuse(404 if token else 401, "RepoNotFound" if token else "", "Repository not found", body)
            return None
        return found

    def _refuse(self, status: int, code: str, message: str, body: bool) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": message}).encode(), headers, body=body)

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None, *, body: bool) -> None:
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
