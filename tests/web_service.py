"""A web service that answers as a test says, and takes down what it was asked; over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def parts(self) -> list[tuple[str, bytes]]:
        """Content type and body of each part, read by the standard library's parser of mails."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + self.body, policy=email.policy.HTTP)
        assert message.is_multipart(), "the body is not multipart"
        return [(one.get_content_type(), one.get_payload(decode=True)) for one in message.iter_parts()]


@dataclass
class Said:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False


Answers = Callable[[Asked], Said]


class WebService:
    """Answers by `answers`; what it was asked stands in `asked`."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # It hung up in the middle.
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        asked = Asked(scope["method"], scope["path"], scope["query_string"].decode(), headers, bytes(body))
        self.asked.append(asked)
        said = self.answers(asked)
        if said.hang_up:  # In the middle of its answer.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b"1", "more_body": True})
            raise RuntimeError("hung up")
        given = [(name.encode(), value.encode()) for name, value in said.headers.items()]
        given.append((b"content-length", str(len(said.body)).encode()))
        await send({"type": "http.response.start", "status": said.status, "headers": given})
        await send({"type": "http.response.body", "body": said.body})


@asynccontextmanager
async def serving(service: WebService, *, tls: tuple[Path, Path, Path] | None = None) -> AsyncIterator[WebService]:
    """Run it in the test's own event loop. `tls`: certificate, key, and the issuers of the clients it lets in."""
    listening = socket.create_server(("127.0.0.1", 0))
    more: dict[str, Any] = {}
    if tls is not None:
        certificate, key, issuers = map(str, tls)
        more = {
            "ssl_certfile": certificate,
            "ssl_keyfile": key,
            "ssl_ca_certs": issuers,
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
    config = uvicorn.Config(service, log_config=None, access_log=False, lifespan="off", ws="none", **more)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])
    scheme = "https" if tls is not None else "http"
    service.url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield service
    finally:
        server.should_exit = True
        await server.shutdown([listening])
        await asyncio.sleep(0)
