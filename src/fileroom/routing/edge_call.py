"""The edge's requests to its centre: one HTTP client, every answer checked, every failure one of our errors.

    async with calling(archive, centre) as call:
        await call.hello(...)
        receipt = await call.put_piece(sha256, piece, data)

TLS is checked by the trusted certificates of this Fileroom and those of the system; with a fingerprint by that very
certificate alone, before anything is said. Our certificate for calls is shown where the centre asks for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from fileroom.admin.tls_in_use import client_tls_for
from fileroom.archive.services import Archive
from fileroom.core.errors import PeerError, PeerRefusedError, PeerTimeoutError, ProtocolError, told
from fileroom.core.limits import CONNECT_TIMEOUT_S
from fileroom.net.tls import PeerTls, why_refused
from fileroom.routing.edge_centres import Centre
from fileroom.routing.edge_uploads import Receipt
from fileroom.routing.edge_wire import EDGE_PATH, JSON_BYTES_MAX, STALL_S, WAIT_S_MAX, Piece, content_digest, short_text

_SPARE_S: Final = 15.0
"""Beyond the time that a long poll was asked to take."""
_STORE_S: Final = 360.0
"""Until the centre has stored an object: as long as its store may take (`core.limits.STORE_TIMEOUT_S`)."""
_GZIP_LEVEL: Final = 1
_TOKEN_REFUSED: Final = frozenset({401, 403})


class CentreRefusesError(PeerRefusedError):
    """The centre does not take the token: nothing works until somebody changes that."""


class WithdrawnError(PeerError):
    """What the edge wanted to fetch is not there for it any more."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that waits for this edge at the centre."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    sha256: str
    bytes: int


@contextlib.asynccontextmanager
async def calling(archive: Archive, centre: Centre) -> AsyncIterator[CentreCall]:
    """A client for as long as the block lasts. Raises PeerRefusedError where the fingerprint is another, ConfigurationError."""
    verify: ssl.SSLContext | bool = True
    if centre.url.startswith("https:"):
        verify = await _context(archive, centre)
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=60)
    timeout = httpx.Timeout(STALL_S, connect=CONNECT_TIMEOUT_S, pool=_STORE_S)
    headers = {"authorization": f"Bearer {centre.token}", "accept": "application/json"}
    async with httpx.AsyncClient(
        base_url=centre.url + EDGE_PATH,
        verify=verify,
        timeout=timeout,
        limits=limits,
        headers=headers,
        follow_redirects=False,
        trust_env=True,
    ) as client:
        yield CentreCall(client, centre)


class CentreCall:
    """Requests to one centre. All of them raise CentreRefusesError, PeerRefusedError, PeerTimeoutError, ProtocolError."""

    def __init__(self, client: httpx.AsyncClient, centre: Centre) -> None:
        self._client = client
        self._centre = centre

    async def hello(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say who we are; what the centre says of itself."""
        return _mapping(await self._ask("POST", "/hello", content=orjson.dumps(said)))

    async def how_much(self, sha256: str, turn: str = "") -> Receipt:
        """How much of an object the centre has."""
        with _translated(self._centre):
            answer = await self._client.head(f"/objects/{sha256}", headers={"edge-turn": turn} if turn else {})
        self._require(answer, b"")
        try:
            return Receipt(short_text(answer.headers.get("edge-state")), int(answer.headers.get("edge-have", "")))
        except ValueError as error:
            raise ProtocolError(told("{url} is no centre of the edge link.", url=self._centre.url)) from error

    async def put_piece(self, sha256: str, piece: Piece, data: bytes, turn: str = "") -> Receipt:
        """Send a piece; `turn` tells behind which others the object is to be stored. A receipt also for what is not taken."""
        headers = {
            "content-type": "application/octet-stream",
            "content-range": str(piece),
            "content-digest": content_digest(hashlib.sha256(data).digest()),
        }
        if turn:
            headers["edge-turn"] = turn
        if self._centre.compress:
            headers["content-encoding"] = "gzip"
            data = await asyncio.to_thread(zlib.compress, data, _GZIP_LEVEL, 31)
        timeout = httpx.Timeout(STALL_S, connect=CONNECT_TIMEOUT_S, read=_STORE_S, pool=_STORE_S)
        found = _mapping(
            await self._ask(
                "PUT", f"/objects/{sha256}", content=data, headers=headers, timeout=timeout, also=(409, 422)
            )
        )
        have = found.get("have")
        return Receipt(
            short_text(found.get("state")),
            have if isinstance(have, int) else 0,
            short_text(found.get("cause") or found.get("detail")),
            is_wrong=bool(found.get("is_wrong")),
        )

    async def offers(self, wait_s: float, most: int) -> list[Waiting]:
        """What waits for us; comes back empty after `wait_s`."""
        wait_s = min(wait_s, WAIT_S_MAX)
        timeout = httpx.Timeout(STALL_S, connect=CONNECT_TIMEOUT_S, read=wait_s + _SPARE_S)
        found = _mapping(await self._ask("GET", "/offers", params={"wait": wait_s, "most": most}, timeout=timeout))
        offers = found.get("offers")
        if not isinstance(offers, list):
            raise ProtocolError(told("{url} is no centre of the edge link.", url=self._centre.url))
        return [_waiting(one) for one in offers[:most]]

    async def fetch(self, offer: Waiting, start: int) -> AsyncIterator[bytes]:
        """The bytes of an offer from `start`, at most as many as it should have. Raises WithdrawnError besides."""
        headers = {"range": f"bytes={start}-", "accept": "application/octet-stream"}
        headers["accept-encoding"] = "gzip" if self._centre.compress else "identity"
        left = offer.bytes - start
        with _translated(self._centre):
            async with self._client.stream("GET", f"/offers/{offer.id}", headers=headers) as answer:
                if answer.status_code == 404:
                    raise WithdrawnError(told("The centre has withdrawn the object."))
                if answer.status_code != (206 if start else 200):
                    self._require(answer, (await answer.aread())[:JSON_BYTES_MAX])
                    raise ProtocolError(told("The centre gives another part of the object than was asked for."))
                async for data in answer.aiter_bytes():
                    left -= len(data)
                    if left < 0:
                        raise ProtocolError(told("The centre gives more of an object than it has said."))
                    yield data

    async def settle(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Tell what became of offers."""
        await self._ask("POST", "/outcomes", content=orjson.dumps({"outcomes": list(outcomes)}))

    async def _ask(self, method: str, path: str, *, also: tuple[int, ...] = (), **options: Any) -> Any:
        with _translated(self._centre):
            async with self._client.stream(method, path, **options) as answer:
                body = b""
                async for data in answer.aiter_bytes():
                    body += data
                    if len(body) > JSON_BYTES_MAX:
                        raise ProtocolError(told("{url} is no centre of the edge link.", url=self._centre.url))
        if answer.status_code not in also:
            self._require(answer, body)
        try:
            return orjson.loads(body) if body else {}
        except orjson.JSONDecodeError as error:
            raise ProtocolError(told("{url} is no centre of the edge link.", url=self._centre.url)) from error

    def _require(self, answer: httpx.Response, body: bytes) -> None:
        """Raises what a status means."""
        if answer.status_code < 300:
            return
        try:
            detail = short_text(_mapping(orjson.loads(body)).get("detail"))
        except orjson.JSONDecodeError:
            detail = ""
        if answer.status_code in _TOKEN_REFUSED:
            raise CentreRefusesError(
                told("The centre {name} refuses this edge: {reason}", name=self._centre.name, reason=detail or "?")
            )
        raise PeerRefusedError(
            told(
                "The centre {name} answers {status}: {reason}",
                name=self._centre.name,
                status=answer.status_code,
                reason=detail or "?",
            )
        )


async def _context(archive: Archive, centre: Centre) -> ssl.SSLContext:
    tls = await client_tls_for(archive.pool, archive.settings, PeerTls(fingerprint=centre.fingerprint))
    if not centre.fingerprint:
        tls.context.load_default_certs()
        return tls.context
    place = urlsplit(centre.url)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(place.hostname, place.port or 443, ssl=tls.context)
    except (OSError, TimeoutError, ssl.SSLError) as error:
        raise PeerRefusedError(f"The centre {centre.name} is not reached: {why_refused(error)}.") from error
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    if hashlib.sha256(shown).hexdigest() != centre.fingerprint:
        raise PeerRefusedError(
            told("The centre {name} shows another certificate than the one with the fingerprint.", name=centre.name)
        )
    # From here on that very certificate is the only one that is trusted, and the handshake itself proves its key.
    tls.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(shown))
    tls.context.verify_mode = ssl.CERT_REQUIRED
    return tls.context


@contextlib.contextmanager
def _translated(centre: Centre) -> Any:
    try:
        yield
    except httpx.TimeoutException as error:
        raise PeerTimeoutError(told("The centre {name} did not answer in time.", name=centre.name)) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, zlib.error) as error:
        cause = error.__cause__ or error.__context__
        reason = why_refused(cause) if isinstance(cause, ssl.SSLError) else str(error) or type(error).__name__
        raise PeerRefusedError(
            told("The centre {name} is not reached: {reason}", name=centre.name, reason=reason[:200])
        ) from error


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _waiting(value: Any) -> Waiting:
    found = _mapping(value)
    try:
        one = Waiting(
            int(found["id"]), str(found["study"]), str(found["instance"]), str(found["sha256"]), int(found["bytes"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(told("The centre offers something that cannot be read.")) from error
    if len(one.sha256) != 64 or one.bytes <= 0:
        raise ProtocolError(told("The centre offers something that cannot be read."))
    return one
