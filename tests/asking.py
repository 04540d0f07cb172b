"""Asking every address of the web port in somebody's name: is that somebody let in, or refused?

Only the head of the answer is looked at, and only for a refusal: what is asked for is mostly not there.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.routing import Route, Router
from starlette.types import Message, Scope

from fileroom.core.access import Access, acting_as
from fileroom.web.api.mount import ApiMount

REFUSED: Final = 403
ANSWER_TIMEOUT_S: Final = 30.0
"""For the head of an answer; one that never ends has begun by then."""
_VALUES: Final = {
    "study": "1.2.3",
    **dict.fromkeys(("patient", "other", "retired", "merge", "visit", "move", "step"), "1"),
    "series": "1.2.3.1",
    "instance": "1.2.3.1.1",
    "frames": "1",
    "path": "7FE00010",
    "version": "1",
    "name": "x.css",
    "resource": "nodes",
    "use": "web",
    "sha256": "0" * 64,
    "offer": "1",
    "certificate": "pacs",
    "node": "CT1",
    "login": "ada",
    "role": "ct-desk",
    "number": "1",
    "sealed": "x",
    "kind": "images_without_report",
    "code": "CTABD",
    "workitem": "1.2.3",
    "aetitle": "WATCHER",
    "requester": "RIS",
    "id": "1",
    **dict.fromkeys(("session_id", "token_id", "glass_id", "filter_id", "correction_id"), "1"),
}
_QUERIES: Final = {
    "/worklist/workitem": b"uid=1.2.3",
    "/wado": b"requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.1&objectUID=1.2.3.1.1",
    "/viewer": b"StudyInstanceUIDs=1.2.3",
    "/viewer/first-image": b"study=1.2.3",
    "/studies/download": b"uid=1.2.3",
    "/studies/rows": b"uid=1.2.3",
}
_FORM: Final = b"name=x&login=ada&role=auditor&id=1&aet=X&host=localhost&port=9"
_VIEWER_FILES: Final = re.compile(r"/viewer/[^/{]*/\{name:path\}")


def routes_of(router: Router) -> list[tuple[str, str]]:
    """(method, path) of every address, HEAD and OPTIONS left out: they are as GET, and open."""
    found = []
    for route in router.routes:
        if not isinstance(route, Route):
            raise TypeError(f"{route!r} is no plain route; say here how its addresses are found")
        if isinstance(route.endpoint, ApiMount):
            found += [
                (method, one.path)
                for one in route.endpoint.api().app.routes
                if isinstance(one, Route)
                for method in one.methods or ()
                if method not in ("HEAD", "OPTIONS")
            ]
            continue
        allowed: str = getattr(route.endpoint, "_allowed")  # noqa: B009 - private, and typed as any callable
        found += [(method, route.path) for method in allowed.split(", ") if method not in ("HEAD", "OPTIONS")]
    return found


def name_of(method: str, path: str) -> str:
    """How an address is called in lists: the viewer's files have another one with every build."""
    return f"{method} {_VIEWER_FILES.sub('/viewer/{build}/{name}', path)}"


def empty_viewer(folder: Path) -> Path:
    """A viewer whose files are missing, so that its addresses are there whether or not it has been set up."""
    listing = {"build": "build", "version": "0", "scripts": ["x.js"], "styles": ["x.css"], "files": {}}
    (folder / "viewer.json").write_bytes(orjson.dumps(listing))
    return folder


async def is_let_in(router: Router, method: str, path: str, access: Access) -> bool:
    """Whether a request in somebody's name is answered with anything but a refusal."""
    url = path.replace(":path}", "}").format(**_VALUES)
    headers = [(b"host", b"localhost"), (b"accept", b"*/*")]
    body = b""
    if method == "POST":
        is_dicom = path.startswith("/dicom-web")
        body = b"\0" * 132 if is_dicom else _FORM
        content_type = b"application/dicom" if is_dicom else b"application/x-www-form-urlencoded"
        headers += [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": url,
        "raw_path": url.encode(),
        "root_path": "",
        "query_string": _QUERIES.get(path, b""),
        "headers": headers,
        "client": ("127.0.0.1", 40000),
        "server": ("localhost", 80),
    }
    return await _status(router, scope, body, access) != REFUSED


async def _status(router: Router, scope: Scope, body: bytes, access: Access) -> int:
    """The status of the answer's head; what comes behind it is not waited for."""
    began: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and not began.done():
            began.set_result(message["status"])

    async def serve() -> None:
        with acting_as(access):
            await router(scope, receive, send)

    task: asyncio.Task[Any] = asyncio.create_task(serve())
    done, _ = await asyncio.wait({task, began}, timeout=ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not done or not began.done():
        raise AssertionError(f"{scope['method']} {scope['path']} gave no answer")
    return began.result()
