"""The centre's addresses for edges (`routing.edge_wire`): hello, objects in pieces, offers, outcomes.

Every one asks for the permission `edge.link` and for the edge that the token belongs to (`routing.edges.calling_edge`).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from fileroom import __version__
from fileroom.archive.services import Archive
from fileroom.core.access import Access
from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.routing.edge_arrivals import EdgeArrivals
from fileroom.routing.edge_outbox import OfferWatch, give_offers, open_offer, take_outcomes
from fileroom.routing.edge_turns import Turn
from fileroom.routing.edge_uploads import ComingPiece, EdgeUploads, Receipt, inflated
from fileroom.routing.edge_wire import (
    EDGE_PATH,
    JSON_BYTES_MAX,
    OBJECT_BYTES_MAX,
    OFFERS_MAX,
    OUTCOMES_MAX,
    PIECE_BYTES_MAX,
    WAIT_S_MAX,
    read_content_digest,
    read_content_range,
    read_range_start,
    read_sha256,
    read_turn,
    short_text,
)
from fileroom.routing.edges import Hello, calling_edge, note_hello
from fileroom.web.answers import NO_STORE, Answer, json_answer
from fileroom.web.audited import requestor
from fileroom.web.endpoint import Endpoint, Handler
from fileroom.web.files import file_pieces

_OCTETS: Final = "application/octet-stream"
_NUMBER_MAX: Final = 2**53


def edge_routes(archive: Archive) -> list[BaseRoute]:
    """All of them."""
    link = _Link(archive)
    handlers: dict[str, dict[str, Handler]] = {
        f"{EDGE_PATH}/hello": {"POST": link.hello},
        f"{EDGE_PATH}/objects/{{sha256}}": {"HEAD": link.how_much, "PUT": link.receive},
        f"{EDGE_PATH}/offers": {"GET": link.offers},
        f"{EDGE_PATH}/offers/{{offer}}": {"GET": link.give},
        f"{EDGE_PATH}/outcomes": {"POST": link.outcomes},
    }
    return [Route(path, Endpoint(path, methods)) for path, methods in handlers.items()]


class _Link:
    """The handlers, and what a web worker keeps for them."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._uploads = EdgeUploads(archive)
        self._watch = OfferWatch(archive)
        self._received: dict[str, EdgeArrivals] = {}

    async def hello(self, request: Request) -> Answer:
        """An edge is here."""
        edge = await calling_edge(self._archive)
        said = await _json(request)
        round_trip_s = min(_number(said.get("round_trip_s")), 60.0)
        ahead_s = _number(said.get("time")) + round_trip_s / 2 - self._archive.now().timestamp()
        hello = Hello(
            session=short_text(said.get("session"), 64),
            version=short_text(said.get("version"), 60),
            clock_ahead_s=max(-1e9, min(ahead_s, 1e9)),
            round_trip_s=round_trip_s,
            waiting=int(_number(said.get("waiting"))),
            failed=int(_number(said.get("failed"))),
        )
        await note_hello(self._archive, edge, hello)
        return json_answer(
            {
                "edge": edge.name,
                "version": __version__,
                "time": self._archive.now().timestamp(),
                "object_bytes_max": OBJECT_BYTES_MAX,
                "piece_bytes_max": PIECE_BYTES_MAX,
            }
        )

    async def how_much(self, request: Request) -> Answer:
        """HEAD of an object: how much of it is here, in header fields."""
        edge = await calling_edge(self._archive)
        sha256 = read_sha256(request.path_params["sha256"])
        receipt = await self._uploads.how_much(edge, sha256, _turn(request, edge.id))
        headers = {"edge-state": receipt.state, "edge-have": str(receipt.have), "cache-control": NO_STORE}
        return Answer(HTTPStatus.OK, headers)

    async def receive(self, request: Request) -> Answer:
        """PUT of a piece."""
        edge = await calling_edge(self._archive)
        coming = ComingPiece(
            edge,
            read_sha256(request.path_params["sha256"]),
            read_content_range(request.headers.get("content-range", "")),
            read_content_digest(request.headers.get("content-digest", "")),
            _turn(request, edge.id),
        )
        received = self._received_from(edge.name, requestor(request))
        body = _body(request, coming.piece.end - coming.piece.start)
        receipt = await self._uploads.receive(coming, body, received.stored)
        return json_answer(_receipt(receipt), status=_status(receipt))

    async def offers(self, request: Request) -> Answer:
        """What waits for the edge: at once, or when something comes within `wait` seconds."""
        edge = await calling_edge(self._archive)
        most = int(_number(_text_number(request, "most", OFFERS_MAX)))
        wait_s = min(_number(_text_number(request, "wait", 0)), WAIT_S_MAX)
        offers = await give_offers(self._archive, edge, most) if most else []
        if not offers and wait_s and most:
            await self._watch.wait(edge.id, wait_s)
            offers = await give_offers(self._archive, edge, most)
        return json_answer(
            {
                "offers": [
                    {
                        "id": one.id,
                        "study": one.study_instance_uid,
                        "instance": one.sop_instance_uid,
                        "sha256": one.sha256,
                        "bytes": one.bytes,
                    }
                    for one in offers
                ]
            }
        )

    async def give(self, request: Request) -> Answer:
        """The bytes of an offer, from where the Range says."""
        edge = await calling_edge(self._archive)
        text = request.path_params["offer"]
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise InvalidRequestError("An offer's address ends in its number.")
        asked = read_range_start(request.headers.get("range"))
        opened = await open_offer(self._archive, edge, int(text), asked)
        headers = {"content-type": _OCTETS, "cache-control": NO_STORE}
        status = HTTPStatus.OK
        length = opened.offer.bytes - opened.start
        if asked:
            status = HTTPStatus.PARTIAL_CONTENT
            headers["content-range"] = f"bytes {opened.start}-{opened.offer.bytes - 1}/{opened.offer.bytes}"
        body = file_pieces(opened.file) if opened.file is not None else opened.chunks
        if request.headers.get("accept-encoding", "") == "gzip":
            return Answer(status, {**headers, "content-encoding": "gzip"}, _gzipped(body))
        return Answer(status, headers, body, length)

    async def outcomes(self, request: Request) -> Answer:
        """What became of offers."""
        edge = await calling_edge(self._archive)
        outcomes = (await _json(request)).get("outcomes")
        if not isinstance(outcomes, list) or len(outcomes) > OUTCOMES_MAX:
            raise InvalidRequestError(f"Send at most {OUTCOMES_MAX} outcomes.")
        known = [one for one in outcomes if isinstance(one, dict)]
        return json_answer({"taken": await take_outcomes(self._archive, edge, known)})

    def _received_from(self, name: str, actor: Access) -> EdgeArrivals:
        found = self._received.get(name)
        if found is None:
            found = self._received[name] = EdgeArrivals(self._archive, actor)
        return found


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"state": receipt.state, "have": receipt.have, "cause": receipt.cause, "is_wrong": receipt.is_wrong}


def _status(receipt: Receipt) -> HTTPStatus:
    if receipt.state == "refused":
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if receipt.state == "part":
        return HTTPStatus.CONFLICT if receipt.is_wrong else HTTPStatus.ACCEPTED
    return HTTPStatus.CREATED if receipt.state == "stored" else HTTPStatus.OK


def _turn(request: Request, edge_id: int) -> Turn:
    order, place = read_turn(request.headers.get("edge-turn", ""))
    return Turn(edge_id, order, place)


def _body(request: Request, bytes_max: int) -> AsyncIterator[bytes]:
    coding = request.headers.get("content-encoding", "identity")
    if coding == "gzip":
        return inflated(request.stream(), bytes_max)
    if coding != "identity":
        raise InvalidRequestError("A piece comes as it is, or as gzip.")
    return request.stream()


async def _gzipped(body: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    encoder = zlib.compressobj(1, wbits=31)
    async for piece in body:
        data = await asyncio.to_thread(encoder.compress, piece)
        if data:
            yield data
    yield encoder.flush()


async def _json(request: Request) -> Mapping[str, Any]:
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > JSON_BYTES_MAX:
            raise TooLargeError(f"A message of the edge link has at most {JSON_BYTES_MAX} bytes.")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("A message of the edge link is a JSON object.") from error
    if not isinstance(found, dict):
        raise InvalidRequestError("A message of the edge link is a JSON object.")
    return found


def _number(value: object) -> float:
    """A number of the other end; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _NUMBER_MAX:
        return 0.0
    return float(value)


def _text_number(request: Request, name: str, default: float) -> float:
    try:
        return float(request.query_params.get(name, default))
    except ValueError:
        return 0.0
