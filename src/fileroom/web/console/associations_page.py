"""`/admin/associations`: who called, whom Fileroom called, what became of it, and what to do about what failed.

The list, live while associations are open, and one association whole. The questions are those of `fileroom associations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request

from fileroom.admin.ledger_advice import Advice, See, advise
from fileroom.admin.ledger_rows import Direction, Mark, OperationRow, Outcome
from fileroom.admin.ledger_search import AssociationEntry, LedgerFilter, Place
from fileroom.admin.moments import read_moment
from fileroom.admin.nodes import list_nodes
from fileroom.archive.associations import associations_caused_by, search_associations, show_association
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, RequestError
from fileroom.dicom.uids import uid_name
from fileroom.dimse.status import StatusCategory, category, describe
from fileroom.routing.destination_states import destinations_of_node
from fileroom.web.answers import Answer
from fileroom.web.console.language import N_, Reader
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.endpoint import Handler
from fileroom.web.errors import error_answer

ASSOCIATIONS_PATH: Final = "/admin/associations"
PAGE_ASSOCIATIONS: Final = 50
RUNNING_SHOWN_MAX: Final = 30
"""Open ones at the top of the page; a hundred idle ones are no news, and the list below has all."""
CAUSED_SHOWN_MAX: Final = 50
WORDS: Final = ("patient", "aet", "node", "address", "from", "to", "outcome")
"""What can be asked for, by the names of the command's options."""
_VALUE_CHARS_MAX: Final = 400
_NUMBER_DIGITS_MAX: Final = 18

OUTCOMES: Final = {
    Outcome.OPEN: N_("open"),
    Outcome.RELEASED: N_("ended in order"),
    Outcome.REJECTED: N_("turned away"),
    Outcome.ABORTED_BY_PEER: N_("broken off by the peer"),
    Outcome.ABORTED_BY_US: N_("broken off by Fileroom"),
    Outcome.CONNECTION_LOST: N_("connection lost"),
    Outcome.TIMED_OUT: N_("timed out"),
    Outcome.UNREACHABLE: N_("not reached"),
    Outcome.INTERRUPTED: N_("interrupted"),
}
PURPOSES: Final = {
    "move": N_("to send what was asked for"),
    "commitment": N_("to tell what is safe"),
    "echo": N_("to ask whether it is there"),
    "send": N_("to send"),
    "find": N_("to search"),
    "get": N_("to fetch"),
    "route": N_("to send by a rule"),
    "notice": N_("to tell of performed steps and available instances"),
}
RESULTS: Final = {
    0: N_("accepted"),
    1: N_("refused by the application"),
    2: N_("refused without a reason"),
    3: N_("no such service here"),
    4: N_("none of these transfer syntaxes"),
}
_SEE: Final = {
    See.NODE: ("/admin/nodes", N_("To its node")),
    See.NODES: ("/admin/nodes", N_("To the nodes")),
    See.HELD: ("/admin/nodes", N_("To the callers that wait")),
    See.SETTINGS: ("/admin/settings", N_("To the settings")),
    See.SYSTEM: ("/system", N_("To the state of the system")),
    See.REFUSALS: ("/system", N_("To what was refused")),
    See.CONFLICTS: ("/system", N_("To what is kept aside")),
    See.CAUSED: ("#caused", N_("To the associations that it caused")),
    See.CERTIFICATES: ("/admin/certificates", N_("To the certificates")),
}


@dataclass(frozen=True, slots=True)
class ShownAdvice:
    """A sentence, the next step, and a link to where that is done."""

    what: str
    next_step: str
    link: str
    link_text: str


@dataclass(frozen=True, slots=True)
class ShownAssociation:
    """An entry as the list shows it."""

    entry: AssociationEntry
    peer: str
    outcome: str
    purpose: str
    advice: Sequence[ShownAdvice]


def association_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The list with its live part, and one association, by path and method."""

    async def show(request: Request) -> Answer:
        return await (_live(archive, request) if is_part(request) else _list(archive, request))

    async def one(request: Request) -> Answer:
        return await _one(archive, request)

    return {
        ASSOCIATIONS_PATH: {"GET": show},
        f"{ASSOCIATIONS_PATH}/{{number}}": {"GET": one},
    }


async def _list(archive: Archive, request: Request) -> Answer:
    require(Permission.LEDGER_READ)
    asked = _asked(request)
    after = request.query_params.get("after", "")
    error: RequestError | None = None
    entries: list[AssociationEntry] = []
    try:
        entries = await _search(archive, asked, after=after, limit=PAGE_ASSOCIATIONS + 1)
    except RequestError as problem:
        error = problem
    nodes = await _node_names(archive)
    reader = view_of(request).reader
    shown = entries[:PAGE_ASSOCIATIONS]
    more = len(entries) > PAGE_ASSOCIATIONS
    values: dict[str, Any] = {
        "rows": [_shown(entry, archive.settings.aet, reader, nodes) for entry in shown],
        "asked": asked,
        "nodes": sorted(set(nodes.values())),
        "outcomes": {outcome.value: reader.gettext(title) for outcome, title in OUTCOMES.items()},
        "older": _address({**asked, "after": str(shown[-1].place)}) if more else "",
        "first": not after,
        "newest": str(shown[0].id) if shown else "",
        "again": _address(asked),
        "error": reader.say(error) if error else "",
        **await _running(archive, {} if error else asked, reader, nodes),
    }
    status = error_answer(error, ASSOCIATIONS_PATH).status if error else int(HTTPStatus.OK)
    return await page(archive, request, "associations.html", place="admin", status=status, **values)


async def _live(archive: Archive, request: Request) -> Answer:
    """Those that are open, and which is the newest in the list, for a page that is open."""
    require(Permission.LEDGER_READ)
    asked = _asked(request)
    newest = await _search(archive, asked, limit=1)
    reader = view_of(request).reader
    values: dict[str, Any] = {
        "again": _address(asked),
        "first": True,
        "newest": str(newest[0].id) if newest else "",
        **await _running(archive, asked, reader, await _node_names(archive)),
    }
    return await page(archive, request, "associations_live.html", **values)


async def _running(
    archive: Archive, asked: Mapping[str, str], reader: Reader, nodes: Mapping[str, str]
) -> dict[str, Any]:
    entries = await _search(archive, {**asked, "outcome": ""}, running=True, limit=RUNNING_SHOWN_MAX + 1)
    return {
        "running": [_shown(entry, archive.settings.aet, reader, nodes) for entry in entries[:RUNNING_SHOWN_MAX]],
        "more_running": len(entries) > RUNNING_SHOWN_MAX,
        "now": archive.now(),
    }


async def _one(archive: Archive, request: Request) -> Answer:
    number = request.path_params["number"]
    if not (number.isascii() and number.isdigit() and len(number) <= _NUMBER_DIGITS_MAX):
        raise NotFoundError("There is no such association.")
    entry, studies = await show_association(archive, int(number))
    nodes = await _node_names(archive)
    reader = view_of(request).reader
    own_aet = archive.settings.aet
    caused = await associations_caused_by(archive, entry, CAUSED_SHOWN_MAX)
    values: dict[str, Any] = {
        "one": _shown(entry, own_aet, reader, nodes),
        "studies": studies,
        "carried_uids": list(
            dict.fromkeys(row.study_instance_uid for row in entry.operations if row.study_instance_uid)
        ),
        "caused": [_shown(child, own_aet, reader, nodes) for child in caused],
        "results": {code: reader.gettext(text) for code, text in RESULTS.items()},
        "uid_name": uid_name,
        "status_of": lambda row: _status(row, reader),
        "is_failed": _is_failed,
        "node": nodes.get(_peer(entry), ""),
        "destinations": await _destinations(archive, nodes.get(_peer(entry), "")),
    }
    return await page(archive, request, "association.html", place="admin", **values)


async def _search(
    archive: Archive, asked: Mapping[str, str], *, after: str = "", limit: int, running: bool = False
) -> list[AssociationEntry]:
    """What fits. Raises RequestError for what makes no sense."""
    outcome = asked.get("outcome", "")
    if outcome not in ("", "failed", *(one.value for one in Outcome)):
        raise InvalidRequestError("There is no such outcome.")
    now = archive.now()
    wanted = LedgerFilter(
        aet=asked.get("aet", ""),
        host=asked.get("address", ""),
        since=read_moment(asked.get("from", ""), now),
        until=read_moment(asked.get("to", ""), now, end=True),
        failed=outcome == "failed",
        outcome=Outcome(outcome) if outcome and outcome != "failed" else None,
        running=running,
    )
    place = Place.parse(after) if after else None
    return await search_associations(
        archive, wanted, patient=asked.get("patient", ""), node=asked.get("node", ""), after=place, limit=limit
    )


def _asked(request: Request) -> dict[str, str]:
    asked = {name: value for name in WORDS if (value := request.query_params.get(name, "").strip())}
    return {name: value[:_VALUE_CHARS_MAX].replace("\0", "") for name, value in asked.items()}


def _address(asked: Mapping[str, str]) -> str:
    return f"{ASSOCIATIONS_PATH}?{urlencode(asked)}" if asked else ASSOCIATIONS_PATH


async def _node_names(archive: Archive) -> dict[str, str]:
    """Names of nodes by their AE titles, for who may see them."""
    if not current_access().allows(Permission.NODE_READ):
        return {}
    return {str(node.aet): node.name for node in await list_nodes(archive.pool)}


async def _destinations(archive: Archive, node: str) -> list[str]:
    """Destinations of routing that lead to the peer, for who may see them."""
    if not node or not current_access().allows(Permission.ROUTING_READ):
        return []
    return await destinations_of_node(archive, node)


def _peer(entry: AssociationEntry) -> str:
    return entry.calling_aet if entry.direction is Direction.IN else entry.called_aet


def _shown(entry: AssociationEntry, own_aet: str, reader: Reader, nodes: Mapping[str, str]) -> ShownAssociation:
    return ShownAssociation(
        entry=entry,
        peer=_peer(entry),
        outcome=reader.gettext(_outcome(entry)),
        purpose=reader.gettext(PURPOSES[entry.purpose]) if entry.purpose in PURPOSES else entry.purpose,
        advice=[_shown_advice(advice, reader, nodes.get(_peer(entry), "")) for advice in advise(entry, own_aet)],
    )


def _outcome(entry: AssociationEntry) -> str:
    """How it ended; a good end on which something failed is not called good."""
    if entry.outcome is not Outcome.RELEASED or entry.mark is Mark.GOOD:
        return OUTCOMES[entry.outcome]
    if entry.contexts_proposed and not entry.contexts_accepted:
        return N_("ended; nothing was agreed on")
    return N_("ended; not all was done") if entry.mark is Mark.FAILED else N_("ended, with warnings")


def _shown_advice(advice: Advice, reader: Reader, node: str) -> ShownAdvice:
    link, text = _SEE[advice.see] if advice.see is not None else ("", "")
    if advice.see is See.NODE and node:
        link = f"{link}/node?name={quote(node, safe='')}"
    return ShownAdvice(
        reader.gettext(advice.what) % advice.values,
        reader.gettext(advice.next_step) % advice.values,
        link,
        reader.gettext(text) if text else "",
    )


def _status(row: OperationRow, reader: Reader) -> str:
    """What became of an operation, in words."""
    if row.status is None:
        return reader.gettext("goes on") if row.ended_at is None else reader.gettext("no answer")
    return reader.gettext("success") if row.status == 0 else describe(row.status)


def _is_failed(row: OperationRow) -> bool:
    if row.ended_at is None:
        return False
    return row.status is None or bool(row.failed) or category(row.status) is StatusCategory.FAILURE
