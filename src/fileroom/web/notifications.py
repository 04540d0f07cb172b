"""WebSockets of web subscribers (PS3.18 8.10.4, 8.10.5): events of workitems as DICOM JSON, one message each.

A handshake passes through everything that a GET of the same address would: trusted proxies, names, plain HTTP, login, and
once a minute again while the connection is open. So a token that was revoked ends its connections too. Browsers send cookies
along whoever made them: a handshake with the Origin of another site is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import FileroomError, NotAllowedError, ServiceError, told
from fileroom.core.limits import NOTIFICATION_CHANNELS_MAX, NOTIFICATION_CHANNELS_PER_CALLER_MAX
from fileroom.dicom import uids
from fileroom.dicom.json_model import JsonObject
from fileroom.web.address import DICOMWEB_PATH
from fileroom.web.endpoint import ROUTE, send_answer
from fileroom.web.errors import error_answer, problem
from fileroom.worklist.workitem_outbox import ChannelTakenError, Notice, channel_notices, notices_told, open_channel
from fileroom.worklist.workitem_subscriptions import owner_of

CHANNEL_PATH: Final = f"{DICOMWEB_PATH}/subscribers/{{aetitle}}"
CHANNEL_PATHS: Final = (f"{DICOMWEB_PATH}/subscribers/", "/ws/subscribers/")
"""The address of the standard, and one that peers were written for."""
LOOK_EVERY_S: Final = 0.5
CHECK_AGAIN_EVERY_S: Final = 60.0
"""How often it is asked whether whoever opened a connection may still do so."""
_SOCKET: Final = "fileroom.websocket"
_TAKEN, _NOT_ALLOWED, _GOING, _FAILED = 4001, 4003, 1001, 1011
_MESSAGE_ID_MAX: Final = 65_535
_log: Final = structlog.get_logger(__name__)


def is_channel(raw_path: bytes) -> bool:
    """Whether a WebSocket may be opened at an address; others are answered as any GET."""
    return raw_path.startswith(tuple(path.encode() for path in CHANNEL_PATHS))


@dataclass(slots=True)
class _Socket:
    """A handshake under way: the server's side of it, and how to ask again whether it is allowed."""

    receive: Receive
    send: Send
    is_allowed: Callable[[], Awaitable[bool]]
    is_check: bool = False
    is_accepted: bool = False


class NotificationDoor:
    """ASGI middleware in front of everything: a handshake goes through `app` as the GET that it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as it is, a handshake as a GET with its socket beside it."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        first = await receive()
        if first["type"] != "websocket.connect":
            return

        async def is_allowed() -> bool:
            status = 0

            async def hear(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]

            check = _Socket(receive, send, is_allowed, is_check=True)
            await self._app(_as_get(scope, check), _never, hear)
            return status == HTTPStatus.NO_CONTENT

        socket = _Socket(receive, send, is_allowed)
        await self._app(_as_get(scope, socket), _never, _refusing(socket))


class NotificationChannel:
    """The ASGI application at the address of a channel."""

    def __init__(self, archive: Archive, stopping: asyncio.Event | None = None) -> None:
        self._archive = archive
        self._stopping = stopping or asyncio.Event()
        self._open: dict[str, int] = {}
        self._allowed = "GET, HEAD, OPTIONS"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open a channel and tell events until it ends; or say why not."""
        scope[ROUTE] = CHANNEL_PATH
        socket = scope.get(_SOCKET)
        request = Request(scope, receive)
        if scope["method"] not in ("GET", "HEAD"):
            refusal = problem(HTTPStatus.METHOD_NOT_ALLOWED, "Events are told over a WebSocket, which a GET opens.")
            await send_answer(refusal.with_headers({"allow": self._allowed}), scope, send)
            return
        try:
            require(Permission.ORDER_READ)
        except FileroomError as error:
            await send_answer(error_answer(error, CHANNEL_PATH), scope, send)
            return
        if not isinstance(socket, _Socket):
            refusal = problem(HTTPStatus.UPGRADE_REQUIRED, "Open a WebSocket at this address (RFC 6455).")
            await send_answer(refusal.with_headers({"upgrade": "websocket", "connection": "Upgrade"}), scope, send)
            return
        if socket.is_check:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            _refuse_other_sites(request)
            async with self._place():
                mark = await open_channel(self._archive, request.path_params["aetitle"])
                # Tells `web.measured` that this is a stream, which is not timed.
                await send(
                    {"type": "http.response.start", "status": 101, "headers": [(b"content-type", b"text/event-stream")]}
                )
                await socket.send({"type": "websocket.accept"})
                await self._tell(socket, request.path_params["aetitle"], mark)
        except FileroomError as error:
            await send_answer(error_answer(error, CHANNEL_PATH), scope, send)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the channels that this process and this caller may have. Raises ServiceError, NotAllowedError."""
        owner = owner_of(current_access())
        if sum(self._open.values()) >= NOTIFICATION_CHANNELS_MAX:
            raise ServiceError(told("Too many notification channels are open. Try again later."))
        if self._open.get(owner, 0) >= NOTIFICATION_CHANNELS_PER_CALLER_MAX:
            raise NotAllowedError(
                told("You have {most} notification channels open, as many as anybody may.", most=self._open[owner])
            )
        self._open[owner] = self._open.get(owner, 0) + 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    async def _tell(self, socket: _Socket, aet: str, mark: str) -> None:
        """Until the subscriber leaves, somebody else speaks for its title, or it is allowed no longer."""
        leaving = asyncio.create_task(_until_left(socket))
        code, reason = _GOING, "The server stops"
        try:
            code, reason = await self._tell_until(socket, leaving, aet, mark)
        except FileroomError as error:
            _log.info("notification_channel_ended", reason=str(error))
            code = _TAKEN if isinstance(error, ChannelTakenError) else _FAILED
            code = _NOT_ALLOWED if isinstance(error, NotAllowedError) else code
            reason = str(error)[:100]
        except Exception as error:  # noqa: BLE001 - the boundary of a connection
            _log.info("notification_channel_ended", reason=type(error).__name__)
            code, reason = _FAILED, "Fileroom could not go on"
        finally:
            if not leaving.done():
                leaving.cancel()
                with contextlib.suppress(Exception):
                    await socket.send({"type": "websocket.close", "code": code, "reason": reason})
            await asyncio.gather(leaving, return_exceptions=True)

    async def _tell_until(self, socket: _Socket, leaving: asyncio.Task[None], aet: str, mark: str) -> tuple[int, str]:
        clock = asyncio.get_running_loop().time
        check_at = clock() + CHECK_AGAIN_EVERY_S
        number = 0
        while not leaving.done():
            if self._stopping.is_set():
                return _GOING, "The server stops"
            if clock() >= check_at:
                if not await socket.is_allowed():
                    return _NOT_ALLOWED, "Your login is over"
                check_at = clock() + CHECK_AGAIN_EVERY_S
            notices = await channel_notices(self._archive, aet, mark)
            for notice in notices:
                number = number % _MESSAGE_ID_MAX + 1
                text = orjson.dumps(event_report(notice, number)).decode()
                await socket.send({"type": "websocket.send", "text": text})
                await notices_told(self._archive, aet, [notice.number])
            if not notices:
                await asyncio.wait([leaving], timeout=LOOK_EVERY_S)
        return _GOING, ""


def event_report(notice: Notice, message_id: int) -> JsonObject:
    """An event as it is sent: its command elements, then its data set (11.13)."""
    return {
        "00000002": {"vr": "UI", "Value": [uids.UPS_EVENT]},
        "00000110": {"vr": "US", "Value": [message_id]},
        "00001000": {"vr": "UI", "Value": [notice.sop_instance_uid]},
        "00001002": {"vr": "US", "Value": [notice.event_type]},
        **notice.information,
    }


# --- helpers ---


def _as_get(scope: Scope, socket: _Socket) -> Scope:
    found = dict(scope)
    found.pop("subprotocols", None)
    found |= {"type": "http", "method": "GET", "scheme": "https" if scope.get("scheme") == "wss" else "http"}
    found["headers"] = list(scope["headers"])
    found[_SOCKET] = socket
    return found


def _refusing(socket: _Socket) -> Send:
    """What the application answers instead of opening the socket, as the answer to the handshake (RFC 6455 4.2.2)."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == HTTPStatus.SWITCHING_PROTOCOLS:
                socket.is_accepted = True
                return
            await socket.send({**message, "type": "websocket.http.response.start"})
        elif not socket.is_accepted:
            body = bytes(message.get("body", b""))
            more: dict[str, Any] = {"body": body, "more_body": message.get("more_body", False)}
            await socket.send({"type": "websocket.http.response.body", **more})

    return send


async def _never() -> Message:
    """The request has no body; whether the subscriber leaves is heard on its socket."""
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def _until_left(socket: _Socket) -> None:
    """What a subscriber says is passed over: nothing is expected of it."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _refuse_other_sites(request: Request) -> None:
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise NotAllowedError(told("Another web site tried to listen here through your browser; that is refused."))


__all__ = ["CHANNEL_PATH", "CHANNEL_PATHS", "NotificationChannel", "NotificationDoor", "event_report", "is_channel"]
