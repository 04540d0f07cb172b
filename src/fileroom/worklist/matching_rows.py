"""What matching reads and writes: studies as their images say, orders that may be theirs, notes, matches, exceptions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.index.rows import name_keys
from fileroom.worklist.identifiers import RECORD_KINDS
from fileroom.worklist.match_score import OrderSaid, PatientSaid, Reason, RequestSaid, Scored, StepSaid, StudySaid
from fileroom.worklist.performed import link_late

CANDIDATES_MAX: Final = 100
"""Orders that are weighed for one study; of a patient, the nearest in time."""
CANDIDATES_KEPT_MAX: Final = 10
"""Shown in the queue; further down nothing is found any more."""
PATIENT_DAYS: Final = 14
"""Orders of the same patient so long before or after the study are weighed."""
STATION_HOURS: Final = 2
"""Orders of others, planned for the same modality at that time, are shown: somebody chose the wrong line of the worklist."""
_DUE_NOTES_MAX: Final = 500

_STEP_ID, _PROCEDURE_ID, _ACCESSION = "00400009", "00401001", "00080050"
_NAMESPACES: Final = ("00400031", "00400032")


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study and what decides whether it may be an exception."""

    said: StudySaid
    quiet_s: float
    age_days: float
    """From the date of the study until now; 0 where it has none."""
    was_fetched: bool
    """Brought by Fileroom itself from another archive: a prior, whose order is long over."""
    sender: str
    """AE title of whoever sent the first object; empty for other ways."""
    has_patient: bool
    """False: objects about no patient, as hanging protocols."""


@dataclass(frozen=True, slots=True)
class MatchRow:
    """A match that stands."""

    id: int
    study_uid: str
    order: int
    how: str
    score: int
    corrections: list[int]
    matched_at: dt.datetime
    matched_by: str


# --- studies ---


async def read_study(connection: AsyncConnection[Any], uid: str) -> StudyRow | None:
    """The study, None when it is gone."""
    cursor = await connection.execute(
        b"""SELECT s.id, coalesce(s.patient_id, ''), coalesce(s.issuer_of_patient_id, ''), coalesce(s.patient_name, ''),
                coalesce(s.patient_birth_date, ''), coalesce(s.patient_sex, ''), coalesce(s.accession_number, ''),
                s.issuer_of_accession_number_sequence, coalesce(s.study_date, ''), coalesce(s.study_time, ''),
                coalesce(s.study_description, ''), coalesce(s.referring_physician_name, ''), s.modalities,
                coalesce(extract(epoch FROM now() - (SELECT max(e.changed_at) FROM series e WHERE e.study = s.id)), 0)::float8,
                i.received_by, i.sender, s.patient_name IS NOT NULL OR s.patient_id IS NOT NULL OR s.study_date IS NOT NULL
            FROM study s LEFT JOIN LATERAL (SELECT i.received_by, i.sender FROM series e JOIN instance i ON i.series = e.id
                WHERE e.study = s.id ORDER BY i.id LIMIT 1) i ON true
            WHERE s.study_instance_uid = %s""",
        (uid,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    cursor = await connection.execute(
        b"""SELECT coalesce(station_name, ''), request_attributes_sequence, coalesce(series_date, ''),
                coalesce(series_time, ''), performed_procedure_step_start_date, performed_procedure_step_start_time
            FROM series WHERE study = %s ORDER BY id LIMIT 1000""",
        (row[0],),
    )
    series = await cursor.fetchall()
    aet = row[15].partition("@")[0] if row[15] and "@" in row[15] else ""
    date, time = (row[8], row[9]) if row[8] else next(((one[2], one[3]) for one in series if one[2]), ("", ""))
    requests = dict.fromkeys(request for one in series for request in _requests(one[1]))
    said = StudySaid(
        uid,
        patient_id=row[1],
        issuer=row[2],
        name=row[3],
        birth_date=row[4],
        sex=row[5],
        accession=row[6],
        accession_issuer=_namespace(row[7]),
        date=date,
        time=time,
        description=row[10],
        referring=row[11],
        modalities=tuple(row[12]),
        stations=tuple(dict.fromkeys(name for name in (*(one[0] for one in series), aet) if name)),
        requests=tuple(requests),
    )
    return StudyRow(said, row[13], _age_days(date), row[14] == "fetch", aet, row[16])


def _requests(items: Any) -> Iterable[RequestSaid]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping):
            made = RequestSaid(*(_text(item, tag) for tag in (_STEP_ID, _PROCEDURE_ID, _ACCESSION)))
            if made != RequestSaid():
                yield made


def _namespace(items: Any) -> str:
    """Whose accession number it is (PS3.3 10.14 HL7v2 Hierarchic Designator)."""
    for item in items if isinstance(items, list) else ():
        for tag in _NAMESPACES:
            if isinstance(item, Mapping) and (text := _text(item, tag)):
                return text
    return ""


def _text(item: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute in DICOM JSON."""
    entry = item.get(tag)
    values = entry.get("Value") if isinstance(entry, Mapping) else None
    return str(values[0]).strip() if isinstance(values, list) and values and values[0] is not None else ""


def _age_days(date: str) -> float:
    try:
        begun = dt.datetime.strptime(date, "%Y%m%d").replace(tzinfo=dt.UTC)
    except ValueError:
        return 0.0
    return (dt.datetime.now(dt.UTC) - begun) / dt.timedelta(days=1)


# --- orders ---


async def has_orders(connection: AsyncConnection[Any], days: int) -> bool:
    """Whether a RIS has told of any order in the last days."""
    cursor = await connection.execute(
        b"""SELECT EXISTS (SELECT FROM imaging_order WHERE ordered_at > now() - make_interval(days => %s))
            OR EXISTS (SELECT FROM (SELECT changed_at FROM imaging_order ORDER BY id DESC LIMIT 1000) o
                WHERE changed_at > now() - make_interval(days => %s))""",
        (days, days),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def knows_patient(connection: AsyncConnection[Any], study: StudySaid) -> bool:
    """Whether the RIS has told of the study's patient."""
    cursor = await connection.execute(
        b"""SELECT EXISTS (SELECT FROM patient_identifier WHERE value = %s AND kind = ANY(%s)
            AND (%s = '' OR authority = '' OR authority = %s))""",
        (study.patient_id, sorted(RECORD_KINDS), study.issuer, study.issuer),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def find_orders(connection: AsyncConnection[Any], study: StudySaid) -> list[OrderSaid]:
    """Orders that may be those of a study: named by its images, of its patient, or planned where and when it was made."""
    accessions = [*{study.accession, *(one.accession for one in study.requests)} - {""}]
    steps = [*{one.step_id for one in study.requests} - {""}]
    name_key = name_keys(study.name)[0].strip("^")
    cursor = await connection.execute(
        b"""SELECT id FROM imaging_order WHERE study_instance_uid = %(uid)s
            UNION SELECT id FROM imaging_order WHERE accession_number = ANY(%(accessions)s) AND accession_number <> ''
            UNION SELECT imaging_order FROM performed_step WHERE study_instance_uid = %(uid)s AND imaging_order IS NOT NULL
            UNION (SELECT imaging_order FROM scheduled_step WHERE step_id = ANY(%(steps)s) ORDER BY id DESC LIMIT %(most)s)""",
        {"uid": study.uid, "accessions": accessions, "steps": steps, "most": CANDIDATES_MAX},
    )
    ids = [row[0] for row in await cursor.fetchall()]
    day = _day(study.date)
    if study.patient_id or (name_key and study.birth_date):
        cursor = await connection.execute(
            b"""SELECT o.id FROM imaging_order o LEFT JOIN LATERAL (SELECT min(start_date) AS start FROM scheduled_step
                    WHERE imaging_order = o.id AND start_date <> '') t ON true
                WHERE o.patient IN (SELECT coalesce(p.merged_into, p.id) FROM registered_patient p WHERE p.id IN (
                        SELECT patient FROM patient_identifier WHERE value = %(patient)s AND kind = ANY(%(kinds)s)
                        UNION SELECT id FROM registered_patient WHERE birth_date = %(birth)s AND birth_date <> ''
                            AND patient_name_key = %(name)s AND %(name)s <> ''))
                  AND coalesce(t.start, to_char(o.ordered_at, 'YYYYMMDD')) BETWEEN %(from)s AND %(to)s
                ORDER BY o.id DESC LIMIT %(most)s""",
            {
                "patient": study.patient_id,
                "kinds": sorted(RECORD_KINDS),
                "birth": study.birth_date,
                "name": name_key,
                "from": f"{day - dt.timedelta(days=PATIENT_DAYS):%Y%m%d}",
                "to": f"{day + dt.timedelta(days=PATIENT_DAYS):%Y%m%d}",
                "most": CANDIDATES_MAX,
            },
        )
        ids += [row[0] for row in await cursor.fetchall()]
    ids += await _planned_there(connection, study)
    return await read_orders(connection, list(dict.fromkeys(ids))[:CANDIDATES_MAX])


async def _planned_there(connection: AsyncConnection[Any], study: StudySaid) -> list[int]:
    """Orders of anybody, planned for the modality at about the time; only to be looked at."""
    if not (study.date and study.time and study.modalities):
        return []
    hour = int(study.time[:2]) if study.time[:2].isdigit() else 0
    low, high = max(hour - STATION_HOURS, 0), min(hour + STATION_HOURS + 1, 24)
    cursor = await connection.execute(
        b"""SELECT imaging_order FROM scheduled_step WHERE start_date = %s AND modality = ANY(%s)
                AND start_time >= %s AND start_time < %s AND state IN ('scheduled', 'arrived', 'in_progress')
            ORDER BY start_time, id LIMIT 20""",
        (study.date, list(study.modalities), f"{low:02}", f"{high:02}"),
    )
    return [row[0] for row in await cursor.fetchall()]


async def orders_called(connection: AsyncConnection[Any], text: str, most: int) -> list[int]:
    """Orders whose accession, placer or filler number it is; of a patient with that number, the newest."""
    cursor = await connection.execute(
        b"""SELECT id FROM imaging_order WHERE %(text)s <> '' AND (accession_number = %(text)s OR filler_number = %(text)s
                OR (placer_number = %(text)s AND placer_number <> '') OR patient IN (
                    SELECT patient FROM patient_identifier WHERE value = %(text)s AND kind = ANY(%(kinds)s)))
            ORDER BY id DESC LIMIT %(most)s""",
        {"text": text, "kinds": sorted(RECORD_KINDS), "most": most},
    )
    return [row[0] for row in await cursor.fetchall()]


async def read_orders(connection: AsyncConnection[Any], ids: Sequence[int]) -> list[OrderSaid]:
    """Orders as matching sees them, in the order of `ids`."""
    if not ids:
        return []
    cursor = await connection.execute(
        b"""SELECT o.id, o.study_instance_uid, o.accession_number, o.accession_authority, o.procedure_id,
                o.procedure_meaning, o.referring_physician, o.state, p.id, p.patient_name, p.birth_date, p.sex, p.other_names,
                ARRAY(SELECT ARRAY[i.value, i.authority] FROM patient_identifier i WHERE i.patient = p.id
                    AND i.kind = ANY(%(kinds)s) ORDER BY i.is_first DESC, i.id),
                (SELECT json_agg(json_build_array(t.step_id, t.modality, t.station_aets, t.station_name, t.start_date,
                    t.start_time) ORDER BY t.id) FROM scheduled_step t WHERE t.imaging_order = o.id),
                ARRAY(SELECT DISTINCT study_instance_uid FROM performed_step WHERE imaging_order = o.id
                    AND study_instance_uid <> ''),
                ARRAY(SELECT study_instance_uid FROM study_match WHERE imaging_order = o.id AND undone_at IS NULL)
            FROM imaging_order o LEFT JOIN registered_patient own ON own.id = o.patient
            LEFT JOIN registered_patient p ON p.id = coalesce(own.merged_into, own.id) WHERE o.id = ANY(%(ids)s)""",
        {"kinds": sorted(RECORD_KINDS), "ids": list(ids)},
    )
    found = {row[0]: _order(row) for row in await cursor.fetchall()}
    return [found[number] for number in ids if number in found]


def _order(row: tuple[Any, ...]) -> OrderSaid:
    patient = None
    if row[8] is not None:
        identifiers = tuple((value, authority) for value, authority in row[13])
        patient = PatientSaid(identifiers, row[9], row[10], row[11], tuple(row[12]))
    steps = tuple(
        StepSaid(step_id, modality, tuple(filter(None, [*aets, station])), date, time)
        for step_id, modality, aets, station, date, time in row[14] or ()
    )
    return OrderSaid(
        row[0],
        patient,
        study_uid=row[1],
        accession=row[2],
        accession_authority=row[3],
        procedure_id=row[4],
        description=row[5],
        referring=row[6],
        state=row[7],
        steps=steps,
        performed_studies=tuple(row[15]),
        matched_studies=tuple(row[16]),
    )


def _day(date: str) -> dt.date:
    try:
        return dt.datetime.strptime(date, "%Y%m%d").date()
    except ValueError:
        return dt.datetime.now(dt.UTC).date()


# --- notes ---


async def note_series(connection: AsyncConnection[Any], settled_s: float) -> None:
    """Note the studies that have got series since the mark, and move the mark on."""
    await connection.execute(
        b"INSERT INTO matching_mark (reached, ahead) VALUES (0, 0) ON CONFLICT (one_row) DO NOTHING"
    )
    cursor = await connection.execute(b"SELECT reached FROM matching_mark FOR UPDATE")
    row = await cursor.fetchone()
    reached = int(row[0]) if row else 0
    await connection.execute(
        b"""INSERT INTO unmatched_study AS u (study_instance_uid, series)
            SELECT s.study_instance_uid, n.series
            FROM (SELECT DISTINCT study FROM series WHERE id > %s) f JOIN study s ON s.id = f.study
            JOIN LATERAL (SELECT count(*) AS series FROM series WHERE study = s.id) n ON true
            LEFT JOIN unmatched_study k ON k.study_instance_uid = s.study_instance_uid
            WHERE k.series IS DISTINCT FROM n.series AND s.study_instance_uid IS NOT NULL
            ORDER BY s.study_instance_uid
            ON CONFLICT (study_instance_uid) DO UPDATE SET due_at = now(), series = excluded.series, attempts = 0""",
        (reached,),
    )
    await connection.execute(
        b"""UPDATE matching_mark SET reached = ahead, ahead = (SELECT coalesce(max(id), 0) FROM series), ahead_at = now()
            WHERE ahead_at < now() - make_interval(secs => %s)""",
        (settled_s,),
    )
    await connection.execute(
        b"DELETE FROM unmatched_study WHERE due_at IS NULL AND looked_at < now() - make_interval(secs => %s)",
        (3 * settled_s,),
    )


async def note_orders(connection: AsyncConnection[Any]) -> int:
    """Note the studies that changes of orders may concern; returns how many changes there were."""
    cursor = await connection.execute(
        b"""DELETE FROM matching_note WHERE id IN (SELECT id FROM matching_note ORDER BY id LIMIT %s
            FOR UPDATE SKIP LOCKED) RETURNING imaging_order, study_instance_uid""",
        (_DUE_NOTES_MAX,),
    )
    notes = await cursor.fetchall()
    if not notes:
        return 0
    orders = sorted({row[0] for row in notes if row[0] is not None})
    await link_late(connection, orders)
    await connection.execute(
        _NOTE_ORDERS,
        {
            "orders": orders,
            "studies": sorted({row[1] for row in notes if row[1]}),
            "kinds": sorted(RECORD_KINDS),
            "days": PATIENT_DAYS,
        },
    )
    return len(notes)


_NOTE_ORDERS: Final = b"""
WITH o AS MATERIALIZED (SELECT * FROM imaging_order WHERE id = ANY(%(orders)s)),
found AS (
    SELECT s.study_instance_uid AS uid FROM o JOIN study s ON s.study_instance_uid = o.study_instance_uid
    UNION SELECT s.study_instance_uid FROM o JOIN study s ON s.accession_number = o.accession_number
        WHERE o.accession_number <> ''
    UNION SELECT s.study_instance_uid FROM study s WHERE s.study_instance_uid = ANY(%(studies)s)
    UNION SELECT s.study_instance_uid FROM o JOIN patient_identifier i ON i.patient = o.patient AND i.kind = ANY(%(kinds)s)
        JOIN study s ON s.patient_id = i.value WHERE s.received_at > now() - make_interval(days => %(days)s)
    UNION SELECT m.study_instance_uid FROM o JOIN study_match m ON m.imaging_order = o.id AND m.undone_at IS NULL
    UNION SELECT x.study_instance_uid FROM study_exception x WHERE x.state = 'open' AND EXISTS (
        SELECT FROM jsonb_array_elements(x.candidates) c WHERE (c->>'order')::bigint = ANY(%(orders)s))
    UNION SELECT x.study_instance_uid FROM study_exception x JOIN study s ON s.study_instance_uid = x.study_instance_uid
        JOIN series e ON e.study = s.id WHERE x.state = 'open' AND e.request_attributes_sequence IS NOT NULL AND EXISTS (
        SELECT FROM scheduled_step t JOIN o ON o.id = t.imaging_order WHERE e.request_attributes_sequence
            @> jsonb_build_array(jsonb_build_object('00400009', jsonb_build_object('Value', jsonb_build_array(t.step_id))))))
INSERT INTO unmatched_study AS u (study_instance_uid) SELECT uid FROM found ORDER BY uid
ON CONFLICT (study_instance_uid) DO UPDATE SET due_at = now(), attempts = 0"""


async def note_study(connection: AsyncConnection[Any], uid: str, in_s: float = 0) -> None:
    """Look at a study (again)."""
    await connection.execute(
        b"""INSERT INTO unmatched_study AS u (study_instance_uid, due_at) VALUES (%s, now() + make_interval(secs => %s))
            ON CONFLICT (study_instance_uid) DO UPDATE SET due_at = excluded.due_at, attempts = 0""",
        (uid, in_s),
    )


async def claim_due(connection: AsyncConnection[Any], count: int, claim_s: float) -> list[tuple[str, int]]:
    """(study, attempt) of some that are due; nobody else gets them for `claim_s`."""
    cursor = await connection.execute(
        b"""UPDATE unmatched_study u SET due_at = now() + make_interval(secs => %s), attempts = u.attempts + 1
            FROM (SELECT study_instance_uid FROM unmatched_study WHERE due_at <= now() ORDER BY due_at LIMIT %s
                FOR UPDATE SKIP LOCKED) d
            WHERE d.study_instance_uid = u.study_instance_uid RETURNING u.study_instance_uid, u.attempts""",
        (claim_s, count),
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def looked_at(connection: AsyncConnection[Any], uid: str, attempt: int, again_in_s: float | None) -> None:
    """A study was looked at: it is due again after some seconds, or (None) not until something changes.

    What was noted meanwhile is not forgotten: a note begins to count the attempts anew.
    """
    await connection.execute(
        b"""UPDATE unmatched_study SET due_at = now() + make_interval(secs => %s), looked_at = now()
            WHERE study_instance_uid = %s AND attempts = %s""",
        (again_in_s, uid, attempt),
    )


# --- matches and exceptions ---


async def read_match(connection: AsyncConnection[Any], uid: str) -> MatchRow | None:
    """The match of a study that stands."""
    cursor = await connection.execute(
        b"""SELECT id, study_instance_uid, imaging_order, how, score, corrections, matched_at, matched_by FROM study_match
            WHERE study_instance_uid = %s AND undone_at IS NULL""",
        (uid,),
    )
    row = await cursor.fetchone()
    return MatchRow(*row) if row else None


async def insert_match(
    connection: AsyncConnection[Any],
    uid: str,
    order: int,
    *,
    how: str,
    points: int,
    corrections: Sequence[int],
    who: str,
) -> int:
    """A study has met an order; its open exception is over."""
    cursor = await connection.execute(
        b"""INSERT INTO study_match (study_instance_uid, imaging_order, how, score, corrections, matched_by)
            VALUES (%s, %s, %s, %s, %s, %s) RETURNING id""",
        (uid, order, how, points, list(corrections), who),
    )
    row = await cursor.fetchone()
    await connection.execute(
        b"""UPDATE study_exception SET state = 'fixed', ended_at = now(), ended_by = %s
            WHERE study_instance_uid = %s AND state = 'open'""",
        (who, uid),
    )
    return int(row[0]) if row else 0


async def undone_orders(connection: AsyncConnection[Any], uid: str) -> frozenset[int]:
    """Orders from which a person has taken the study away."""
    cursor = await connection.execute(
        b"SELECT DISTINCT imaging_order FROM study_match WHERE study_instance_uid = %s AND undone_at IS NOT NULL",
        (uid,),
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def put_exception(
    connection: AsyncConnection[Any], uid: str, reasons: Sequence[Reason], ranked: Sequence[Scored]
) -> None:
    """A person has to look at a study; where the exception is open already, why and with what candidates now."""
    await connection.execute(
        b"""INSERT INTO study_exception AS x (study_instance_uid, reasons, candidates) VALUES (%s, %s, %s)
            ON CONFLICT (study_instance_uid) WHERE state = 'open'
            DO UPDATE SET reasons = excluded.reasons, candidates = excluded.candidates""",
        (
            uid,
            Jsonb([{"code": one.code, "values": one.values} for one in reasons]),
            Jsonb([{"order": one.order.id, "score": one.score} for one in ranked[:CANDIDATES_KEPT_MAX]]),
        ),
    )


async def last_exception_state(connection: AsyncConnection[Any], uid: str) -> str:
    """open, fixed or dismissed; empty: the study never was an exception."""
    cursor = await connection.execute(
        b"SELECT state FROM study_exception WHERE study_instance_uid = %s ORDER BY id DESC LIMIT 1", (uid,)
    )
    row = await cursor.fetchone()
    return str(row[0]) if row else ""


async def forget_study(connection: AsyncConnection[Any], uid: str) -> None:
    """A study is not in the archive any more."""
    await connection.execute(b"DELETE FROM study_exception WHERE study_instance_uid = %s AND state = 'open'", (uid,))
    await connection.execute(b"DELETE FROM unmatched_study WHERE study_instance_uid = %s", (uid,))
