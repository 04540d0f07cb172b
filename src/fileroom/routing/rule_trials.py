"""Trying a rule without effect: on the objects of a study, and on what arrived in the last days.

Both see what whoever asks may see, and objects as they are now, corrections laid over. A back-test asks the index where that
knows all that the condition refers to, and reads headers of files only where it must; it is bounded, and ends when the
caller stops listening.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from fileroom.admin.nodes import Node, read_nodes
from fileroom.archive.examine import Claim
from fileroom.archive.retrieve import Selection, StoredInstance, list_instances, read_header_bytes
from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import DatabaseError, FileroomError, InvalidRequestError, NotFoundError, told
from fileroom.dicom import walk
from fileroom.dicom.charset import character_set
from fileroom.dicom.header_scan import ScannedHeader, scan_header
from fileroom.dicom.values import encode_values
from fileroom.index.attributes import BY_TAG, Attribute, Kind
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.routing.conditions import Condition, compile_condition
from fileroom.routing.operands import Facts, Operand, OrderFacts, StudyFacts
from fileroom.routing.order_values import order_values
from fileroom.routing.rule_set import node_of, zone_named

OBJECTS_TRIED_MAX: Final = 2000
"""Of one study."""
DAYS_MAX: Final = 3660
ROWS_MAX: Final = 2_000_000
"""Groups of like objects that one back-test asks about."""
HEADERS_MAX: Final = 20_000
"""Files that one back-test opens: some minutes."""
STUDIES_LISTED_MAX: Final = 500
_ROWS_AT_ONCE: Final = 500
"""A few milliseconds of work, then others have their turn."""
_PROGRESS_EVERY: Final = 1000
_UTF8: Final = character_set(b"ISO_IR 192")

Progress = Callable[[int, int], None]
"""(objects asked about, objects matched) so far."""


@dataclass(frozen=True, slots=True)
class TriedPart:
    """A part of the condition: whether it holds, and the values that it looked at, by their names."""

    text: str
    start: int
    end: int
    holds: bool
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TriedObject:
    """What the rule says to one object. `failure`: why it could not be asked."""

    sop_instance_uid: str
    series_instance_uid: str
    modality: str
    instance_number: int | None
    matched: bool
    parts: tuple[TriedPart, ...] = ()
    failure: str = ""


@dataclass(slots=True)
class BackTest:
    """What a rule would have matched. `stopped`: why it did not look at all of it; empty: it did."""

    days: int
    since: str
    source: str
    """index or headers."""
    asked: int = 0
    objects: int = 0
    studies: int = 0
    by_modality: dict[str, int] = field(default_factory=dict)
    """Objects; the most first."""
    studies_by_modality: dict[str, int] = field(default_factory=dict)
    by_day: dict[str, int] = field(default_factory=dict)
    listed: list[FoundStudy] = field(default_factory=list)
    unreadable: int = 0
    stopped: str = ""


@dataclass(slots=True)
class FoundStudy:
    """A study of which something matched."""

    study_instance_uid: str
    date: str
    description: str
    modalities: list[str]
    arrived: str
    objects: int = 0


async def try_rule(
    archive: Archive, fields: Mapping[str, Any], study_uid: str, *, called: str = ""
) -> list[TriedObject]:
    """What a rule, or just `{"when": ...}`, says to each object of a study, with the parts of its condition. No effect.

    `called`: the AE title that its sender called, which the archive does not keep; empty: ours.

    Raises ExpressionError, NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_READ)
    condition = _condition(fields)
    instances = await list_instances(archive, Selection(study_uids=(study_uid,)), permission=Permission.STUDY_SEARCH)
    if not instances:
        raise NotFoundError(told("There is no study {uid}.", uid=study_uid[:64]))
    arrivals = await arrivals_of(archive, study_uid)
    nodes = await read_nodes(archive.pool)
    study = _study_facts(instances, arrivals, archive.now())
    order = await order_values(archive, study_uid)
    tried: list[TriedObject] = []
    for instance in instances[:OBJECTS_TRIED_MAX]:
        try:
            header = await _header(archive, instance, condition.tags)
        except FileroomError as error:
            tried.append(_tried(instance, matched=False, failure=str(error)))
            continue
        sender, received_by, received_at = arrivals.get(instance.sop_instance_uid, ("", "", archive.now()))
        claim = claim_of(instance, sender, received_by)
        if received_by == "dimse" or called:
            claim = dataclasses.replace(claim, receiving_aet=called or archive.settings.aet)
        facts = _facts(archive, header, claim, received_at, study, order, nodes)
        parts = tuple(_part(part, facts) for part in condition.parts)
        tried.append(_tried(instance, matched=_holds(condition, facts), parts=parts))
    return tried


async def backtest(
    archive: Archive,
    fields: Mapping[str, Any],
    days: int,
    *,
    progress: Progress | None = None,
    rows_max: int = ROWS_MAX,
) -> BackTest:
    """What a rule, or just `{"when": ...}`, would have matched of all that arrived in the last `days`. No effect.

    Raises ExpressionError, InvalidRequestError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ROUTING_READ)
    access.require(Permission.STUDY_SEARCH)
    if not 1 <= days <= DAYS_MAX:
        raise InvalidRequestError(told("A back-test looks at 1 to {most} days.", most=DAYS_MAX))
    condition = _condition(fields)
    since = archive.now() - dt.timedelta(days=days)
    attributes = _indexed(condition)
    found = BackTest(days, f"{since:%Y-%m-%dT%H:%M:%SZ}", "headers" if attributes is None else "index")
    listed: dict[str, FoundStudy] = {}
    seen: set[tuple[str, str]] = set()
    rows = 0
    rows_max = rows_max if attributes is not None else min(rows_max, HEADERS_MAX)
    nodes = await read_nodes(archive.pool)
    orders = _Orders(archive, condition)
    async with aclosing(_rows(archive, access, condition, attributes, since, rows_max + 1)) as asked:
        async for row in asked:
            rows += 1
            if rows > rows_max:
                found.stopped = told("It stopped after {number} objects; ask about fewer days.", number=found.asked)
                break
            found.asked += row.objects
            if await _row_matches(archive, condition, attributes, row, found, nodes, orders):
                _count(found, listed, seen, row)
            if progress is not None and rows % _PROGRESS_EVERY == 0:
                progress(found.asked, found.objects)
    found.studies = len(listed)
    found.by_modality = dict(sorted(found.by_modality.items(), key=lambda one: -one[1]))
    found.by_day = dict(sorted(found.by_day.items()))
    found.listed = sorted(listed.values(), key=lambda one: one.arrived, reverse=True)[:STUDIES_LISTED_MAX]
    if progress is not None:
        progress(found.asked, found.objects)
    return found


# --- asking one object ---


def _condition(fields: Mapping[str, Any]) -> Condition:
    when = fields.get("when")
    if not isinstance(when, str | Mapping):
        raise InvalidRequestError(told("The condition of a rule (when) is a text in CEL or a tree of conditions."))
    return compile_condition(when)


def _facts(
    archive: Archive,
    header: ScannedHeader,
    claim: Claim,
    received_at: dt.datetime,
    study: StudyFacts,
    order: OrderFacts,
    nodes: Sequence[Node],
) -> Facts:
    """As they were when the object arrived."""
    moment = received_at.astimezone(zone_named(archive.settings.routing_zone))
    return Facts(header, claim, node_of(claim, nodes), moment, study, order, archive.settings.routing_holidays)


def _holds(condition: Condition, facts: Facts) -> bool:
    try:
        return condition.holds(facts)
    except Exception:  # noqa: BLE001 - as when objects arrive: what cannot be answered does not match
        return False


def _part(part: Any, facts: Facts) -> TriedPart:
    try:
        holds = part.holds(facts)
    except Exception:  # noqa: BLE001 - as above
        holds = False
    values = {operand.text: _shown(operand, facts) for operand in part.operands}
    return TriedPart(part.text, part.start, part.end, holds, values)


def _shown(operand: Operand, facts: Facts) -> str:
    value = operand.read(facts)
    if isinstance(value, list):
        return "\\".join(map(_one, value))[:500]
    return _one(value)[:500]


def _one(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tried(
    instance: StoredInstance, *, matched: bool, parts: tuple[TriedPart, ...] = (), failure: str = ""
) -> TriedObject:
    return TriedObject(
        instance.sop_instance_uid,
        instance.series_instance_uid,
        instance.modality or "",
        instance.instance_number,
        matched,
        parts,
        failure,
    )


def claim_of(instance: StoredInstance, sender: str, received_by: str) -> Claim:
    aet = sender.rpartition("@")[0] if received_by == "dimse" else ""
    return Claim(
        instance.sop_class_uid,
        instance.sop_instance_uid,
        instance.transfer_syntax_uid,
        received_by,
        sender,
        aet or None,
    )


async def _header(archive: Archive, instance: StoredInstance, tags: frozenset[int]) -> ScannedHeader:
    encoded = await read_header_bytes(archive, instance, permission=Permission.STUDY_SEARCH)
    return scan_header(encoded.data, encoded.transfer_syntax, tags, complete=True)


async def arrivals_of(archive: Archive, study_uid: str) -> dict[str, tuple[str, str, dt.datetime]]:
    """(sender, received by, when) by SOP Instance UID; whoever asks was shown the instances already."""
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                b"""SELECT i.sop_instance_uid, i.sender, i.received_by, i.received_at FROM instance i
                    JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study WHERE s.study_instance_uid = %s""",
                (study_uid,),
            )
            return {row[0]: (row[1], row[2], row[3]) for row in await cursor.fetchall()}
    except psycopg.Error as error:
        raise DatabaseError(f"The study cannot be read: {type(error).__name__}. Try again later.") from error


def _study_facts(
    instances: list[StoredInstance], arrivals: Mapping[str, tuple[str, str, dt.datetime]], now: dt.datetime
) -> StudyFacts:
    first = min((row[2] for row in arrivals.values()), default=now)
    modalities = dict.fromkeys(one.modality for one in instances if one.modality)
    series = {one.series_instance_uid for one in instances}
    return StudyFacts(len(instances), len(series), tuple(modalities), (now - first).total_seconds() / 60, "complete")


# --- asking the index ---


class _Orders:
    """The orders of studies, each read once, and only for a condition that asks for them."""

    def __init__(self, archive: Archive, condition: Condition) -> None:
        self._archive = archive
        self._asked = any(operand.what.startswith("order.") for operand in condition.operands)
        self._known: tuple[str, OrderFacts] = ("", {})

    async def of(self, study_uid: str) -> OrderFacts:
        """Rows of a study mostly come one after the other: only the last one is kept."""
        if self._asked and self._known[0] != study_uid:
            self._known = (study_uid, await order_values(self._archive, study_uid))
        return self._known[1]


@dataclass(frozen=True, slots=True)
class _Row:
    """Like objects of one series: what the index knows of them."""

    study_uid: str
    date: str
    description: str
    modality: str
    day: str
    sender: str
    received_by: str
    sop_class_uid: str
    transfer_syntax: str
    received_at: dt.datetime
    study: StudyFacts
    objects: int
    sop_uid: str
    values: tuple[Any, ...]


def _indexed(condition: Condition) -> tuple[Attribute, ...] | None:
    """The attributes that it refers to, when the index has them all as they are; None when headers must be read."""
    found = [BY_TAG.get(tag) for tag in sorted(condition.tags)]
    usable = [one for one in found if one is not None and one.kind not in (Kind.SEQUENCE, Kind.COMPUTED)]
    deep = any(len(operand.path) > 1 for operand in condition.operands)
    return None if deep or len(usable) != len(found) else tuple(usable)


_LEVELS: Final = {"PATIENT": "s", "STUDY": "s", "SERIES": "e", "IMAGE": "i", "INSTANCE": "i"}


async def _rows(
    archive: Archive,
    access: Access,
    condition: Condition,
    attributes: tuple[Attribute, ...] | None,
    since: dt.datetime,
    rows_max: int,
) -> AsyncGenerator[_Row]:
    visible = study_is_visible(visibility_of(access))
    columns = [f"{_LEVELS[one.level.name]}.{one.column}" for one in attributes or ()]
    timed = any(
        operand.what.startswith("now.") or operand.path for operand in condition.operands if operand.what != "value"
    )
    when = "date_trunc('minute', i.received_at)" if timed else "date_trunc('day', i.received_at)"
    single = attributes is None
    text = f"""
        SELECT s.study_instance_uid, coalesce(s.study_date, ''), coalesce(s.study_description, ''), coalesce(e.modality, ''),
            i.sender, i.received_by, coalesce(i.sop_class_uid, ''), i.transfer_syntax_uid, {when}, s.received_at, s.modalities,
            (SELECT sum(x.instance_count) FROM series x WHERE x.study = s.id),
            (SELECT count(*) FROM series x WHERE x.study = s.id), count(*), min(i.sop_instance_uid)
            {"".join(", " + column for column in columns)}
        FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study
        WHERE e.changed_at >= %s AND i.received_at >= %s AND {visible.text or "true"}
        GROUP BY s.id, e.id, 5, 6, 7, 8, 9{"".join(", " + column for column in columns)}{", i.id" if single else ""}"""  # noqa: S608 - our own columns
    parameters = (since, since, *visible.parameters)
    try:
        if single:  # The connection is given back before files are read.
            async with archive.pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(f"{text} ORDER BY min(i.id) DESC LIMIT {int(rows_max)}".encode(), parameters)
                found = await cursor.fetchall()
            for row in found:
                yield _row(row, archive.now())
            return
        async with (
            archive.pool.connection() as connection,
            connection.transaction(),
            connection.cursor("backtest", row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(text.encode(), parameters)
            while rows := await cursor.fetchmany(_ROWS_AT_ONCE):
                for row in rows:
                    yield _row(row, archive.now())
    except psycopg.Error as error:
        raise DatabaseError(f"The index cannot be asked: {type(error).__name__}. Try again later.") from error


def _row(row: tuple[Any, ...], now: dt.datetime) -> _Row:
    age = (now - row[9]).total_seconds() / 60
    study = StudyFacts(int(row[11] or 0), int(row[12] or 0), tuple(row[10] or ()), age, "complete")
    return _Row(
        row[0], row[1], row[2], row[3], f"{row[8]:%Y-%m-%d}", row[4], row[5], row[6], row[7], row[8], study, row[13],
        row[14] or "", tuple(row[15:]),
    )  # fmt: skip


async def _row_matches(
    archive: Archive,
    condition: Condition,
    attributes: tuple[Attribute, ...] | None,
    row: _Row,
    found: BackTest,
    nodes: Sequence[Node],
    orders: _Orders,
) -> bool:
    if attributes is None:
        instances = await list_instances(
            archive, Selection(sop_uids=(row.sop_uid,)), permission=Permission.STUDY_SEARCH
        )
        if not instances:
            return False
        try:
            header = await _header(archive, instances[0], condition.tags)
        except FileroomError:
            found.unreadable += 1
            return False
    else:
        header = _header_of(attributes, row.values)
    aet = row.sender.rpartition("@")[0] if row.received_by == "dimse" else ""
    claim = Claim(row.sop_class_uid, row.sop_uid, row.transfer_syntax, row.received_by, row.sender, aet or None)
    order = await orders.of(row.study_uid)
    return _holds(condition, _facts(archive, header, claim, row.received_at, row.study, order, nodes))


def _header_of(attributes: tuple[Attribute, ...], values: tuple[Any, ...]) -> ScannedHeader:
    """The index's values as if they had been scanned."""
    raw: dict[int, bytes] = {}
    for attribute, value in zip(attributes, values, strict=True):
        if value is None or value == "":
            continue
        numeric = isinstance(value, int)
        raw[attribute.tag] = (
            encode_values(attribute.vr, [value], _UTF8) if numeric else str(value).encode("utf-8", "replace")
        )
    return ScannedHeader(raw, {}, walk.EXPLICIT_LE, None, 0, charset=_UTF8)


def _count(found: BackTest, listed: dict[str, FoundStudy], seen: set[tuple[str, str]], row: _Row) -> None:
    found.objects += row.objects
    found.by_modality[row.modality] = found.by_modality.get(row.modality, 0) + row.objects
    found.by_day[row.day] = found.by_day.get(row.day, 0) + row.objects
    if (row.study_uid, row.modality) not in seen:
        seen.add((row.study_uid, row.modality))
        found.studies_by_modality[row.modality] = found.studies_by_modality.get(row.modality, 0) + 1
    study = listed.get(row.study_uid)
    if study is None:
        study = listed[row.study_uid] = FoundStudy(row.study_uid, row.date, row.description, [], row.day)
    study.objects += row.objects
    if row.modality and row.modality not in study.modalities:
        study.modalities.append(row.modality)
