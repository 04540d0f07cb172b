"""The procedure code table: what a code of the RIS means for modalities, stations, rooms and protocols.

An order says "CTABD"; the modality needs a modality, a station AE title, a room and perhaps protocol codes. What the message
leaves open is filled from here; what it says wins. A code without a scheme fits every scheme that has no row of its own.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.admin.audit import record
from fileroom.admin.audit_events import settings_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, RequestError, told
from fileroom.core.identifiers import AETitle
from fileroom.worklist.facts import Code

CODES_MAX: Final = 20_000
"""Of the table: a group of hospitals has some thousand procedures."""
STATIONS_MAX: Final = 50
"""Of a code: every station of a large department."""
PROTOCOLS_MAX: Final = 20
CSV_BYTES_MAX: Final = 8 * 1024 * 1024
MINUTES_MAX: Final = 24 * 60
_TEXT_CHARS_MAX: Final = 64
"""Code values and meanings are SH and LO (PS3.5 6.2)."""
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{0,16}")
COLUMNS: Final = (
    *(
        "code",
        "scheme",
        "meaning",
        "modality",
        "body_part",
        "laterality",
        "stations",
        "location",
        "minutes",
        "protocols",
    ),
)
"""Of the CSV file. Stations stand apart by blanks, protocols by `;`, each as code^scheme^meaning."""


@dataclass(frozen=True, slots=True)
class ProcedureCode:
    """One row of the table. `minutes`: how long it takes; 0: not known."""

    code: str
    scheme: str = ""
    meaning: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""
    station_aets: tuple[str, ...] = ()
    location: str = ""
    minutes: int = 0
    protocol_codes: tuple[Code, ...] = ()
    version: int = 0
    """0: not in the table yet."""
    changed_by: str = ""


async def list_procedure_codes(archive: Archive, text: str = "", *, limit: int = CODES_MAX) -> list[ProcedureCode]:
    """The table by code; with `text` those whose code or meaning begins with it. Raises NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    pattern = text.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                _SELECT + b" WHERE code ILIKE %s OR meaning ILIKE %s ORDER BY code, scheme LIMIT %s",
                (pattern, "%" + pattern if text.strip() else pattern, min(limit, CODES_MAX)),
            )
            return [_of_row(row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise DatabaseError(f"The procedure codes cannot be read: {type(error).__name__}. Try again later.") from error


async def get_procedure_code(archive: Archive, code: str, scheme: str = "") -> ProcedureCode:
    """One row. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    async with archive.pool.connection() as connection:
        found = await _read(connection, code, scheme)
    if found is None:
        raise _unknown(code)
    return found


async def put_procedure_code(archive: Archive, given: ProcedureCode, *, version: int | None = None) -> ProcedureCode:
    """Add a code, or replace it. `version`: of the row that the edit began with (0: there was none), None: whatever it is.

    Raises InvalidRequestError, ConflictError, NotAllowedError, DatabaseError.
    """
    require(Permission.ORDER_MANAGE)
    checked = checked_procedure_code(given)
    async with archive.pool.connection() as connection, connection.transaction():
        return await _write(connection, checked, version)


async def remove_procedure_code(archive: Archive, code: str, scheme: str = "") -> None:
    """Remove a code; orders keep what it gave them. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ORDER_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"DELETE FROM procedure_code WHERE code = %s AND scheme = %s", (code.strip(), scheme.strip())
        )
        if not cursor.rowcount:
            raise _unknown(code)
        await record(connection, settings_changed(f"procedure code {code.strip()}", "procedure code removed"))


async def import_procedure_codes(archive: Archive, text: str) -> tuple[int, int]:
    """Add and replace codes from CSV with a head line; all or none. Returns how many are new and how many changed.

    Raises InvalidRequestError (which line, why), NotAllowedError, DatabaseError.
    """
    require(Permission.ORDER_MANAGE)
    rows = read_csv(text)
    made = changed = 0
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(b"SELECT * FROM (" + _SELECT + b") known FOR UPDATE")
        known = {(one.scheme, one.code): one for one in (_of_row(row) for row in await cursor.fetchall())}
        for one in rows:
            before = known.get((one.scheme, one.code))
            if before is not None and replace(before, version=0, changed_by="") == one:
                continue
            await _write(connection, one, None, quiet=True)
            made, changed = made + (before is None), changed + (before is not None)
        if made or changed:
            what = f"procedure codes imported: {made} new, {changed} changed"
            await record(connection, settings_changed("procedure codes", what))
    return made, changed


async def find_procedure_code(connection: AsyncConnection[Any], code: Code) -> ProcedureCode | None:
    """The row that stands for a code: of its scheme, else the one for any. Raises psycopg.Error."""
    cursor = await connection.execute(
        _SELECT + b" WHERE code = %s AND scheme = ANY(%s) ORDER BY scheme = '' LIMIT 1",
        (code.value, [code.scheme, ""]),
    )
    row = await cursor.fetchone()
    return None if row is None else _of_row(row)


def checked_procedure_code(given: ProcedureCode) -> ProcedureCode:
    """The row in its normal form. Raises InvalidRequestError."""
    texts = {
        name: _text(getattr(given, name), name)
        for name in ("code", "scheme", "meaning", "modality", "body_part", "laterality", "location")
    }
    for name in ("modality", "body_part", "laterality"):
        texts[name] = texts[name].upper()
        if not _CODE_STRING.fullmatch(texts[name]):
            raise InvalidRequestError(
                told(
                    "{value} is no {name}: at most 16 capital letters, digits, blanks and underscores.",
                    value=repr(texts[name][:40]),
                    name=name.replace("_", " "),
                )
            )
    if not texts["code"]:
        raise InvalidRequestError(told("A procedure code needs its code."))
    if len(given.station_aets) > STATIONS_MAX or len(given.protocol_codes) > PROTOCOLS_MAX:
        raise InvalidRequestError(
            told(
                "A procedure code has at most {stations} stations and {protocols} protocol codes.",
                stations=STATIONS_MAX,
                protocols=PROTOCOLS_MAX,
            )
        )
    if not 0 <= given.minutes <= MINUTES_MAX:
        raise InvalidRequestError(told("A procedure takes 0 to {most} minutes; 0: not known.", most=MINUTES_MAX))
    stations = tuple(dict.fromkeys(str(AETitle(one)) for one in given.station_aets))
    protocols = tuple(
        Code(_text(one.value, "protocol"), _text(one.scheme, "scheme"), _text(one.meaning, "meaning"))
        for one in given.protocol_codes
    )
    return ProcedureCode(
        code=texts["code"],
        scheme=texts["scheme"],
        meaning=texts["meaning"],
        modality=texts["modality"],
        body_part=texts["body_part"],
        laterality=texts["laterality"],
        station_aets=stations,
        location=texts["location"],
        minutes=given.minutes,
        protocol_codes=tuple(one for one in protocols if one.value),
    )


def read_csv(text: str) -> list[ProcedureCode]:
    """The rows of a CSV file, checked. Raises InvalidRequestError: which line, and why."""
    if len(text.encode()) > CSV_BYTES_MAX:
        raise InvalidRequestError(told("The file is larger than {most} MB.", most=CSV_BYTES_MAX // 1024 // 1024))
    text = text.removeprefix("\ufeff")
    head = text.partition("\n")[0]
    delimiter = ";" if head.count(";") > head.count(",") else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    unknown = sorted(set(names) - set(COLUMNS))
    if "code" not in names or unknown:
        raise InvalidRequestError(
            told("The first line names the columns, among them code: {columns}.", columns=", ".join(COLUMNS))
        )
    found: dict[tuple[str, str], ProcedureCode] = {}
    try:
        for row in reader:
            one = _of_csv(row, reader.line_num)
            found[one.scheme, one.code] = one
            if len(found) > CODES_MAX:
                raise InvalidRequestError(told("The table holds at most {most} codes.", most=CODES_MAX))
    except csv.Error as error:
        raise InvalidRequestError(told("Line {line} is no CSV.", line=reader.line_num)) from error
    return list(found.values())


def write_csv(codes: Sequence[ProcedureCode]) -> str:
    """The table as `read_csv` takes it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in codes:
        writer.writerow(
            [
                *(one.code, one.scheme, one.meaning, one.modality, one.body_part, one.laterality),
                *(" ".join(one.station_aets), one.location, one.minutes or "", protocols_to_text(one.protocol_codes)),
            ]
        )
    return out.getvalue()


def protocols_to_text(codes: Sequence[Code]) -> str:
    """`code^scheme^meaning; ...` as people write it."""
    return "; ".join("^".join((one.value, one.scheme, one.meaning)).rstrip("^") for one in codes)


def protocols_from_text(text: str) -> tuple[Code, ...]:
    """What `protocols_to_text` writes; also one on each line."""
    pieces = (piece.strip() for piece in re.split(r"[;\n]", text))
    return tuple(Code(*(part.strip() for part in (*piece.split("^", 2), "", "")[:3])) for piece in pieces if piece)


# --- helpers ---

_NAMES: Final = tuple(one.name for one in fields(ProcedureCode))
_SELECT: Final = f"SELECT {', '.join(_NAMES)} FROM procedure_code".encode()


def _of_row(row: tuple[Any, ...]) -> ProcedureCode:
    values = dict(zip(_NAMES, row, strict=True))
    values["station_aets"] = tuple(values["station_aets"])
    values["protocol_codes"] = tuple(Code(**one) for one in values["protocol_codes"])
    return ProcedureCode(**values)


def _unknown(code: str) -> NotFoundError:
    return NotFoundError(told("There is no procedure code {code} in the table.", code=code[:_TEXT_CHARS_MAX]))


def _text(value: str, name: str) -> str:
    value = " ".join(value.split())
    if len(value) > _TEXT_CHARS_MAX or not value.isprintable():
        raise InvalidRequestError(
            told(
                "The {name} of a procedure code has at most {most} printable characters.",
                name=name.replace("_", " "),
                most=_TEXT_CHARS_MAX,
            )
        )
    return value


def _of_csv(row: dict[str, Any], line: int) -> ProcedureCode:
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    try:
        if None in row:
            raise InvalidRequestError(told("there are more values than columns"))
        minutes = values["minutes"] or "0"
        if not (minutes.isascii() and minutes.isdigit() and len(minutes) <= 4):
            raise InvalidRequestError(told("minutes is a whole number"))
        return checked_procedure_code(
            ProcedureCode(
                code=values["code"],
                scheme=values["scheme"],
                meaning=values["meaning"],
                modality=values["modality"],
                body_part=values["body_part"],
                laterality=values["laterality"],
                station_aets=tuple(re.split(r"[\s,;\\]+", values["stations"])) if values["stations"] else (),
                location=values["location"],
                minutes=int(minutes),
                protocol_codes=protocols_from_text(values["protocols"]),
            )
        )
    except RequestError as error:
        raise InvalidRequestError(told("Line {line}: {why}", line=line, why=error.sentence)) from error


async def _read(
    connection: AsyncConnection[Any], code: str, scheme: str, *, lock: bool = False
) -> ProcedureCode | None:
    cursor = await connection.execute(
        _SELECT + b" WHERE code = %s AND scheme = %s" + (b" FOR UPDATE" if lock else b""),
        (code.strip(), scheme.strip()),
    )
    row = await cursor.fetchone()
    return None if row is None else _of_row(row)


async def _write(
    connection: AsyncConnection[Any], one: ProcedureCode, version: int | None, *, quiet: bool = False
) -> ProcedureCode:
    before = None if quiet else await _read(connection, one.code, one.scheme, lock=True)
    if version is not None and version != (before.version if before else 0):
        raise ConflictError(
            told(
                "The procedure code {code} was changed by {who} while you were editing it; nothing of yours is written.",
                code=one.code,
                who=before.changed_by if before else "somebody",
            )
        )
    if before is not None and replace(before, version=0, changed_by="") == one:
        return before
    values = {name: getattr(one, name) for name in _NAMES if name not in ("version", "changed_by")}
    protocols = [{"value": code.value, "scheme": code.scheme, "meaning": code.meaning} for code in one.protocol_codes]
    values |= {"station_aets": list(one.station_aets), "protocol_codes": Jsonb(protocols, dumps=orjson.dumps)}
    names = ", ".join(values)
    updated = ", ".join(f"{name} = EXCLUDED.{name}" for name in values)
    cursor = await connection.execute(
        f"""INSERT INTO procedure_code ({names}, changed_by) VALUES ({", ".join(["%s"] * len(values))}, %s)
            ON CONFLICT (scheme, code) DO UPDATE SET {updated}, version = procedure_code.version + 1,
            changed_at = now(), changed_by = EXCLUDED.changed_by
            RETURNING version, changed_by""".encode(),
        (*values.values(), current_access().name),
    )
    row = await cursor.fetchone()
    if not quiet:
        what = f"procedure code {'changed' if before else 'added'}: {write_csv([one]).splitlines()[1]}"
        await record(connection, settings_changed(f"procedure code {one.code}", what[:1000]))
    return replace(one, version=row[0], changed_by=row[1]) if row else one
