"""A server on the loopback that takes what ``wandb sync`` uploads, for tests."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_BUCKET = {
    "id": "QnVja2V0", "name": "run", "displayName": "run", "description": "", "config": "{}", "sweepName": None,
    "historyLineCount": 0, "project": {"id": "UHJvag==", "name": "p", "entity": {"id": "RW50", "name": "e"}},
}  # fmt: skip
_VIEWER = {
    "id": "VXNlcg==", "username": "u", "entity": "e", "email": "", "flags": "{}", "teams": {"edges": []},
    "apiKeys": {"edges": []}, "admin": False,
}  # fmt: skip
_ARTIFACT = {"id": "QXJ0", "state": "COMMITTED", "artifactSequence": {"id": "U2Vx", "latestArtifact": None}}


@dataclass
class Uploaded:
    """What arrived.

    Attributes:
        url: address of the server.
        history: rows in order.
        summary: the last summary.
        alerts: variables of each alert.
        files: path -> content.
    """

    url: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def serving() -> Iterator[Uploaded]:
    """Serve until the block ends."""
    uploaded = Uploaded()

    class Handler(_Handler):
        into = uploaded

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: a client that is done just goes."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        uploaded.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield uploaded
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    into: Uploaded

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self.into.files[self.path.removeprefix("/up/")] = self._body()
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path.startswith("/graphql"):
            asked = json.loads(body)
            self._answer({"data": self._query(asked["query"], asked.get("variables") or {})})
            return
        if "file_stream" in self.path:
            files = json.loads(body).get("files") or {}
            self.into.history += [json.loads(line) for line in files.get("wandb-history.jsonl", {}).get("content", ())]
            for line in files.get("wandb-summary.json", {}).get("content", ()):
                self.into.summary = json.loads(line)
        self._answer({"exitcode": None, "limits": {}})

    def _query(self, text: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertBucket" in text:
            return {"upsertBucket": {"bucket": _BUCKET, "inserted": True}}
        if "notifyScriptableRunAlert" in text:
            self.into.alerts.append(variables)
            return {"notifyScriptableRunAlert": {"success": True}}
        if "createRunFiles" in text:
            files = [{"name": name, "uploadUrl": f"{self.into.url}/up/{name}"} for name in variables.get("files", ())]
            return {"createRunFiles": {"runID": "QnVja2V0", "uploadHeaders": [], "files": files}}
        if "viewer" in text:
            return {"viewer": _VIEWER}
        if "serverFeatures" in text or "ServerFeatures" in text:
            return {"serverInfo": {"features": []}}
        if "createArtifact(" in text or "CreateArtifact(" in text:
            return {"createArtifact": {"artifact": _ARTIFACT}}
        return {"project": None} if "artifacttype" in text.lower() else {}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _answer(self, data: object) -> None:
        out = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)
