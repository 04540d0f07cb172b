"""Orders to who works with them beside the RIS, a dictation system above all: ORM^O01 (HL7 v2.5.1 ch. 4.4.1).

A feed out says which (`orders`): `complete`, an exam when its images are complete, with the Study Instance UID that opens it;
`all`, also each change of an order before that. What was told is known by the outbox itself (`cause`), for as long as the feed
keeps it and at most LOOK_BACK_DAYS: nothing older is told anew.

    NW SC   a new order          SC IP   it began        SC CM   it is done, its images are complete
    XO SC   it changed           CA CA   cancelled       DC DC   discontinued
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, NotFoundError, told
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import FeedSet, read_feeds
from fileroom.feeds.outbox import queue_message
from fileroom.feeds.query_segments import patient_segments
from fileroom.hl7.build import MessageBuilder, Value, hl7_time
from fileroom.hl7.message import Message, parse_message
from fileroom.hl7.values import xcn
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.reports.turnaround import NOT_REPORTED
from fileroom.worklist.facts import Identifier
from fileroom.worklist.order_rows import Order, read_order
from fileroom.worklist.patient_query import PatientFound, read_patient

ORDERS_INTERVAL_S: Final = 5.0
ROUND_MAX: Final = 100
LOOK_BACK_DAYS: Final = 2
SENDER: Final = ("FILEROOM", "FILEROOM")
_STATUS: Final = {
    "scheduled": ("XO", "SC"),
    "arrived": ("XO", "SC"),
    "in_progress": ("SC", "IP"),
    "completed": ("SC", "CM"),
    "cancelled": ("CA", "CA"),
    "discontinued": ("DC", "DC"),
}


def order_message(
    order: Order, patient: PatientFound, control: tuple[str, str], control_id: str, now: dt.datetime
) -> Message:
    """ORM^O01 of one order. `control`: ORC-1 and ORC-5."""
    builder = MessageBuilder().header("ORM^O01^ORM_O01", control_id=control_id, now=now, sender=SENDER)
    for name, fields in patient_segments(patient, 1, (), with_visit=True, is_candidate=False):
        builder.segment(name, fields)
    placer: Value = (order.placer_number, order.placer_authority)
    filler: Value = (order.filler_number or order.accession_number, order.filler_authority or SENDER[0])
    step = order.steps[0] if order.steps else None
    start = f"{step.start_date}{step.start_time[:4]}" if step and step.start_date else None
    priority = {"STAT": "S", "HIGH": "A"}.get(order.priority, "R")
    physician: Value = tuple(xcn(order.ordering_physician)) if order.ordering_physician else None
    quantity: Value = ("", "", "", start, "", priority)
    builder.segment(
        "ORC", {1: control[0], 2: placer, 3: filler, 5: control[1], 7: quantity, 9: hl7_time(now), 12: physician}
    )
    scheme = order.procedure_scheme or "L"
    builder.segment(
        "OBR",
        {
            1: "1",
            2: placer,
            3: filler,
            4: (order.procedure_code or order.procedure_meaning or "UNKNOWN", order.procedure_meaning, scheme),
            13: order.clinical_information,
            16: physician,
            18: order.accession_number,
            19: order.procedure_id,
            24: step.modality if step else None,
            27: quantity,
            31: ("", order.reason) if order.reason else None,
        },
    )
    builder.segment("ZDS", {1: (order.study_instance_uid, "Fileroom", "Application", "DICOM")})
    return parse_message(builder.build())


async def tell_orders(archive: Archive, feeds: FeedSet) -> int:
    """Queue what is due for the feeds that ask for orders; how many messages. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    made = 0
    for feed in feeds.outgoing:
        if feed.orders != "none":
            async with archive.pool.connection() as connection, connection.transaction():
                made += await _tell_exams(archive, connection, feed)
                if feed.orders == "all":
                    made += await _tell_changes(archive, connection, feed)
    return made


async def send_exam(archive: Archive, study_uid: str, feed: str) -> None:
    """Queue the order of a study for a feed out because somebody asks for it, whatever was told before.

    Raises NotFoundError, ConflictError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    feeds = await read_feeds(archive.pool)
    if not any(one.name == feed for one in feeds.outgoing):
        raise NotFoundError(told("There is no feed out {name} in force.", name=feed))
    visible = study_is_visible(visibility_of(access))
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            f"SELECT 1 FROM study s WHERE s.study_instance_uid = %s AND {visible.text or 'true'}".encode(),  # noqa: S608 - our own
            (study_uid, *visible.parameters),
        )
        if await cursor.fetchone() is None:
            raise NotFoundError(
                told("There is no study {study}; it was deleted or never received.", study=study_uid[:64])
            )
        now = archive.now()
        cause = f"exam {study_uid} asked {now:%Y%m%d%H%M%S%f}"
        if not await _tell_exam(archive, connection, feed, study_uid, cause, access.name):
            raise ConflictError(told("The patient of this study has no number: no order can be told of it."))


# --- helpers ---


async def _tell_exams(archive: Archive, connection: AsyncConnection[Any], feed: Outgoing) -> int:
    """Studies whose images are complete."""
    now = archive.now()
    cursor = await connection.execute(
        b"""SELECT s.study_instance_uid FROM study s
            JOIN LATERAL (SELECT max(e.changed_at) AS at FROM series e WHERE e.study = s.id AND e.instance_count > 0
                AND e.modality <> ALL(%s)) i ON i.at BETWEEN %s AND %s
            WHERE s.received_at >= %s AND coalesce(s.patient_id, '') <> ''
            AND NOT EXISTS (SELECT FROM hl7_outgoing q WHERE q.feed = %s AND q.cause <> ''
                AND q.cause = 'exam ' || s.study_instance_uid)
            ORDER BY i.at LIMIT %s""",
        (
            list(NOT_REPORTED),
            _since(feed, now),
            now - dt.timedelta(seconds=float(archive.settings.routing_stable_s)),
            _since(feed, now),
            feed.name,
            ROUND_MAX,
        ),
    )
    made = 0
    for (uid,) in await cursor.fetchall():
        made += await _tell_exam(archive, connection, feed.name, uid, f"exam {uid}", "orders")
    return made


async def _tell_changes(archive: Archive, connection: AsyncConnection[Any], feed: Outgoing) -> int:
    """Orders that were made or changed; one that is completed is told with its images."""
    now = archive.now()
    cursor = await connection.execute(
        b"""SELECT o.id, o.version, NOT EXISTS (SELECT FROM hl7_outgoing q WHERE q.feed = %s AND q.cause <> ''
                AND q.cause LIKE 'order ' || o.id || ' %%') AS is_new
            FROM imaging_order o WHERE o.changed_at >= %s AND o.patient IS NOT NULL AND o.placed AND o.state <> 'completed'
            AND NOT EXISTS (SELECT FROM hl7_outgoing q WHERE q.feed = %s AND q.cause <> ''
                AND q.cause = 'order ' || o.id || ' version ' || o.version)
            ORDER BY o.changed_at, o.id LIMIT %s""",
        (feed.name, _since(feed, now), feed.name, ROUND_MAX),
    )
    made = 0
    for number, version, is_new in await cursor.fetchall():
        order = await read_order(connection, number)
        patient = await read_patient(connection, order.patient, order.visit) if order and order.patient else None
        if order is None or patient is None:
            continue
        control = _STATUS[order.state.value]
        if is_new and control == ("XO", "SC"):
            control = ("NW", "SC")
        message = order_message(order, patient, control, f"FRO{number}.{version}", now.astimezone())
        made += await queue_message(
            connection, feed.name, message, cause=f"order {number} version {version}", who="orders"
        )
    return made


def _since(feed: Outgoing, now: dt.datetime) -> dt.datetime:
    """The outbox forgets what it sent after `keep_days`: never look further back, or it would be told again."""
    return now - dt.timedelta(days=min(feed.keep_days, LOOK_BACK_DAYS))


async def _tell_exam(
    archive: Archive, connection: AsyncConnection[Any], feed: str, study_uid: str, cause: str, who: str
) -> bool:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT s.study_instance_uid, s.patient_id, s.issuer_of_patient_id, s.patient_name, s.patient_birth_date,
                    s.patient_sex, s.accession_number, s.study_description, s.modalities, m.imaging_order AS order,
                    nextval('hl7_outgoing_id_seq') AS number
                FROM study s LEFT JOIN study_match m ON m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL
                WHERE s.study_instance_uid = %s""",
            (study_uid,),
        )
        row = await cursor.fetchone()
    if row is None or not row["patient_id"]:
        return False
    order = await read_order(connection, row["order"]) if row["order"] is not None else None
    patient = await read_patient(connection, order.patient, order.visit) if order and order.patient else None
    now = archive.now().astimezone()
    message = order_message(_exam(order, row), patient or _patient(row), ("SC", "CM"), f"FRX{row['number']}", now)
    return await queue_message(connection, feed, message, cause=cause, who=who)


def _exam(order: Order | None, row: dict[str, Any]) -> Order:
    """The order as the dictation system shall see it: with the study that is here."""
    fields = {name: getattr(order, name) for name in Order.__slots__} if order is not None else {}
    fields["study_instance_uid"] = row["study_instance_uid"]
    fields["accession_number"] = fields.get("accession_number") or row["accession_number"] or ""
    fields["procedure_meaning"] = fields.get("procedure_meaning") or row["study_description"] or ""
    return Order(**fields)


def _patient(row: dict[str, Any]) -> PatientFound:
    """The patient of a study that met no order, as its images name them."""
    identifiers: Sequence[Identifier] = (Identifier(row["patient_id"], row["issuer_of_patient_id"] or ""),)
    return PatientFound(
        key=0,
        id=0,
        patient_name=row["patient_name"] or "",
        birth_date=row["patient_birth_date"] or "",
        sex=row["patient_sex"] or "",
        other_names=(),
        details={},
        identifiers=tuple(identifiers),
        visit=None,
    )
