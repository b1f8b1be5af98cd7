"""A Hugging Face Hub on loopback: the routes that a download needs, over a folder, with faults on demand.

The real client talks to it, so what a test sees is what a user with that network would see.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

COMMIT: Final = "a" * 40
REPO: Final = "someone/gpt-oss-20b-MXFP4-Q8"

_API: Final = re.compile(rf"/api/models/{REPO}/(?P<what>revision|tree)/(?P<revision>[^/?]+)")
_FILE: Final = re.compile(rf"/{REPO}/resolve/[^/]+/(?P<name>.+)")


@dataclass
class HubServer:
    """`files` are those of the one repository. `requests` lists method and path of all that was asked.

    `refusals` are statuses with which the next requests for files are answered; `altered` files arrive with a flipped
    bit that many times; `cut` files lose their connection half way that many times.
    """

    files: dict[str, bytes]
    endpoint: str = ""
    revision: str = "main"
    status: int = 200
    refusals: list[int] = field(default_factory=list)
    altered: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    @property
    def downloads(self) -> list[str]:
        return [line.rpartition("/")[2] for line in self.requests if line.startswith("GET /someone")]


@contextmanager
def hub_server(files: dict[str, bytes]) -> Iterator[HubServer]:
    hub = HubServer(files)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub = hub
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    hub: HubServer


class _Handler(BaseHTTPRequestHandler):
    @property
    def hub(self) -> HubServer:
        assert isinstance(self.server, _Server)
        return self.server.hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.status != 200:
            self._refuse(self.hub.status)
        elif api := _API.match(self.path):
            self._describe(api["what"], api["revision"])
        elif file := _FILE.match(self.path):
            self._file(file["name"])
        else:
            self._refuse(404, "RepoNotFound")

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _describe(self, what: str, revision: str) -> None:
        if revision not in (self.hub.revision, COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif what == "revision":
            self._json({"id": REPO, "sha": COMMIT, "siblings": []})
        else:
            self._json([_entry(name, content) for name, content in self.hub.files.items()])

    def _json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name: str) -> None:
        if self.command == "GET" and self.hub.refusals:
            self._refuse(self.hub.refusals.pop(0))
            return
        content = self.hub.files[name]
        start = 0
        if requested := self.headers.get("Range"):
            self.hub.ranges.append(requested)
            start = int(requested.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_sha256(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(content)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            self._send(name, content[start:])

    def _send(self, name: str, content: bytes) -> None:
        if self.hub.altered.get(name, 0):
            self.hub.altered[name] -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.hub.cut.get(name, 0):
            self.hub.cut[name] -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)


def _entry(name: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": _git_hash(content)}
    if name.endswith(".safetensors"):
        entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
    return entry


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
