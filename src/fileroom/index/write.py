"""Writing instances into the index: many at a time, one transaction, one round trip.

The work is done by one database function, `store_instances`, made here from the attribute table. Its argument is JSON:
for each instance the columns of its four levels, and where it shall be delivered (`routing.delivery_rows`). For an instance
of a known series it costs one look-up, one insert and one count; only the first instance of a series looks at patient and
study.

`IndexWriter` keeps one connection and speaks to it without blocking through psycopg's libpq layer: instances that arrive
while a transaction is under way go together into the next one (group commit). This is the ingest path: psycopg's cursor
objects and a thread would cost more than the transaction itself.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVarTuple

import psycopg
import structlog
from psycopg import AsyncConnection, pq
from psycopg.pq import ConnStatus, ExecStatus, abc

from fileroom.core.errors import DatabaseError
from fileroom.core.meters import Meters
from fileroom.dicom.query import Level
from fileroom.index.attributes import columns_at

BATCH_ROWS_MAX: Final = 64
"""Past this a larger transaction gains nothing and makes the first of the batch wait."""
WAITING_ROWS_MAX: Final = 4096
"""More senders than this waiting for the database means it is gone; further objects are refused at once."""
COMMIT_TIMEOUT_S: Final = 30.0
YOUNG_FOR_S: Final = 60
"""Longer than any flush takes."""
STOP_TIMEOUT_S: Final = COMMIT_TIMEOUT_S
CONNECT_TIMEOUT_S: Final = 5
"""For each address of the server, libpq's own."""
OPEN_TIMEOUT_S: Final = 20.0
"""Until a new connection is ready for work, with looking up names and preparing the statement."""
_SERIALIZATION_FAILURES: Final = frozenset({b"40001", b"40P01"})
_STATEMENT: Final = b"store_instances"
_QUERY: Final = b"SELECT outcome, storage_key, file_bytes, digest, young FROM store_instances($1)"

_log = structlog.get_logger(__name__)

STORED_COLUMNS: Final = (
    ("transfer_syntax_uid", "text"),
    ("storage_key", "text"),
    ("file_bytes", "bigint"),
    ("dataset_offset", "integer"),
    ("pixel_offset", "bigint"),
    ("digest", "text"),
    ("received_by", "text"),
    ("sender", "text"),
    ("received_at", "timestamptz"),
)
"""Columns of an instance that are facts about the stored object. The digest travels as hexadecimal."""


class UnconfirmedCommitError(DatabaseError):
    """The connection broke while the transaction was under way: whether it was committed is not known."""


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance on its way into the index: `json` is its row, the UIDs give the order of locking."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    json: bytes
    modality: str = ""

    @property
    def lock_order(self) -> tuple[str, str, str]:
        """Transactions that touch the same rows take them in this order, so that none waits in a circle."""
        return (self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)


@dataclass(frozen=True, slots=True)
class Inserted:
    """The instance is in the index now."""


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """An instance with this UID was there before; nothing was changed."""

    storage_key: str
    file_bytes: int
    digest: bytes
    is_young: bool = False
    """Written within the last minute: its sender's own flush may still be under way, and may fail."""


Arguments = TypeVarTuple("Arguments")
WriteOutcome = Inserted | AlreadyThere
_Entry = tuple[InstanceRow, asyncio.Future[WriteOutcome]]


class IndexWriter:
    """Writes rows in batches over a connection of its own, opened again whenever it is lost."""

    def __init__(self, database_url: str, meters: Meters | None = None) -> None:
        self._url = database_url
        self._commits = (meters or Meters()).commits
        self._waiting: list[_Entry] = []
        self._under_way: list[_Entry] = []
        self._wake = asyncio.Event()
        self._connection: AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def start(self) -> None:
        """Connect and begin to work. Raises DatabaseError."""
        await self._connect()
        self._task = asyncio.create_task(self._work(), name="index-writer")

    async def stop(self) -> None:
        """Finish what is under way and what is waiting, then close. What could not be finished fails, what comes now too."""
        self._is_stopping = True
        unfinished = {future for _, future in (*self._under_way, *self._waiting) if not future.done()}
        if unfinished and self._task:
            _, unfinished = await asyncio.wait(unfinished, timeout=STOP_TIMEOUT_S)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._disconnect()
        for future in unfinished:
            if not future.done():
                future.set_exception(
                    UnconfirmedCommitError("Fileroom stopped before the database confirmed the commit.")
                )

    def write(self, row: InstanceRow) -> asyncio.Future[WriteOutcome]:
        """A future that is done when the row is committed. It fails with DatabaseError when it is not."""
        future: asyncio.Future[WriteOutcome] = asyncio.get_running_loop().create_future()
        if self._is_stopping:
            future.set_exception(DatabaseError("Fileroom stops. Try again later."))
            return future
        if len(self._waiting) >= WAITING_ROWS_MAX:
            future.set_exception(
                DatabaseError("The database is too slow: too many objects wait for it. Try again later.")
            )
            return future
        self._waiting.append((row, future))
        self._wake.set()
        return future

    # --- the loop ---

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._under_way = batch = self._waiting[:BATCH_ROWS_MAX]
            del self._waiting[: len(batch)]
            if not self._waiting:
                self._wake.clear()
            try:
                await self._write_batch(batch)
            except Exception as error:  # noqa: BLE001 - the loop's boundary: these objects fail, the next may not
                _log.warning("index_write_failed", error_type=type(error).__name__)
                failure = (
                    error if isinstance(error, DatabaseError) else DatabaseError(f"The index write failed: {error}")
                )
                for _, future in batch:
                    if not future.done():
                        future.set_exception(failure)

    async def _write_batch(self, batch: list[_Entry]) -> None:
        batch.sort(key=lambda entry: entry[0].lock_order)
        try:
            outcomes = await self._store([row for row, _ in batch])
        except _StatementError:
            # One row that the database will not take must not refuse its neighbours.
            for row, future in batch:
                try:
                    _resolve(future, (await self._store([row]))[0])
                except _StatementError as error:
                    if not future.done():
                        future.set_exception(DatabaseError(f"The database did not take the object's row: {error}"))
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            _resolve(future, outcome)

    async def _store(self, rows: list[InstanceRow]) -> list[WriteOutcome]:
        began = time.perf_counter()
        argument = b"[" + b",".join(row.json for row in rows) + b"]"
        for attempt in range(3):
            pgconn = self._connection.pgconn if self._connection is not None else None
            if pgconn is not None and _is_readable(pgconn.socket):
                self._disconnect()  # What an idle connection has to say is, nearly always, farewell.
                pgconn = None
            if pgconn is None:
                pgconn = await self._connect()
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    result = await self._ask(pgconn.send_query_prepared, _STATEMENT, [argument])
            except Exception as error:
                # Whether the transaction was committed is unknown. Nobody is told success; a repeated object is found
                # to be there already. Whatever it was: libpq may be in the midst of an exchange, so it starts anew.
                self._disconnect()
                raise UnconfirmedCommitError("The database did not confirm the commit. Try again later.") from error
            if result.status == ExecStatus.TUPLES_OK:
                self._commits.observe((), time.perf_counter() - began)
                return [_outcome(result, index) for index in range(result.ntuples)]
            code = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
            if code[:2] in (b"57", b"08"):  # the server is going away
                self._disconnect()
                raise UnconfirmedCommitError("The database is shutting down. Try again later.")
            if code not in _SERIALIZATION_FAILURES or attempt == 2:
                raise _StatementError((result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode())
        raise AssertionError("unreachable")

    # --- the connection ---

    async def _connect(self) -> abc.PGconn:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                # Not libpq's own connect: it blocks, and psycopg holds the interpreter's lock meanwhile, in a thread too,
                # so that nothing at all would go on here while the server's machine is away.
                self._connection = await AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
                )
                pgconn = self._connection.pgconn
                pgconn.nonblocking = 1
                result = await self._ask(pgconn.send_prepare, _STATEMENT, _QUERY)
        except (psycopg.Error, DatabaseError, OSError, TimeoutError) as error:
            self._disconnect()
            reason = _first_line(str(error)) or f"no connection within {OPEN_TIMEOUT_S:g} s"
            raise DatabaseError(
                f"The database does not answer: {reason}. Check FILEROOM_DATABASE_URL and the server."
            ) from error
        if result.status != ExecStatus.COMMAND_OK:
            self._disconnect()
            message = _first_line(result.error_message.decode(errors="replace"))
            raise DatabaseError(
                f"The database lacks the function store_instances: {message}. Start 'fileroom serve' once."
            )
        return pgconn

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None

    async def _ask(self, send: Callable[[*Arguments], None], *arguments: *Arguments) -> abc.PGresult:
        """The last result of what `send` sends. It sets no limit of time: its callers do."""
        if self._connection is None:
            raise DatabaseError("There is no connection to the database.")
        connection = self._connection.pgconn
        try:
            send(*arguments)
            while connection.flush():
                await _ready(connection.socket, writable=True)
            result: abc.PGresult | None = None
            while True:
                connection.consume_input()
                while not connection.is_busy():
                    latest = connection.get_result()
                    if latest is None:
                        if result is None:
                            raise DatabaseError("The database ended the connection.")
                        return result
                    result = latest
                await _ready(connection.socket)
        except Exception as error:
            if connection.status == ConnStatus.BAD:
                raise DatabaseError("The connection to the database was lost. Try again later.") from error
            raise


class _StatementError(Exception):
    """The database refused the rows themselves."""


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]


def _is_readable(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


async def _ready(descriptor: int, *, writable: bool = False) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writable else (loop.add_reader, loop.remove_reader)
    add(descriptor, _wake_up, future)
    try:
        await future
    finally:
        remove(descriptor)


def _wake_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _resolve(future: asyncio.Future[WriteOutcome], outcome: WriteOutcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _outcome(result: abc.PGresult, index: int) -> WriteOutcome:
    if result.get_value(index, 0) == b"inserted":
        return Inserted()
    key, size, digest = (result.get_value(index, column) or b"" for column in (1, 2, 3))
    return AlreadyThere(key.decode(), int(size), bytes.fromhex(digest.decode()), result.get_value(index, 4) == b"t")


# --- the database function ---


def store_function_sql() -> str:
    """The text of `store_instances(jsonb)` and of `ensure_series`, for the schema's repeatables.

    Dropped first, as REPLACE cannot change what a function returns or how its arguments are called.
    """
    return f"{_ensure_series_sql()}\n{_store_instances_sql()}"


def _names(columns: Iterable[tuple[str, str]]) -> str:
    return ", ".join(name for name, _ in columns)


def _record(source: str, columns: Iterable[tuple[str, str]], alias: str) -> str:
    definition = ", ".join(f"{name} {kind}" for name, kind in columns)
    return f"jsonb_to_record({source}) AS {alias}({definition})"


def _ensure_series_sql() -> str:
    patient, study, series = (columns_at(level) for level in (Level.PATIENT, Level.STUDY, Level.SERIES))
    fill = ", ".join(f"{name} = coalesce(study.{name}, s.{name})" for name, _ in study)
    return f"""
DROP FUNCTION IF EXISTS ensure_series(jsonb);
CREATE FUNCTION ensure_series(entry jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    the_patient bigint;
    the_study bigint;
    the_series bigint;
    modality text := entry->'series'->>'modality';
    institution text := entry->'series'->>'institution_name_key';
BEGIN
    SELECT id INTO the_study FROM study WHERE study_instance_uid = entry->'study'->>'study_instance_uid';
    IF the_study IS NULL THEN
        INSERT INTO patient (identity, {_names(patient)})
            SELECT entry->>'identity', p.* FROM {_record("entry->'patient'", patient, "p")}
            ON CONFLICT (identity) DO NOTHING;
        SELECT id INTO STRICT the_patient FROM patient WHERE identity = entry->>'identity';
        INSERT INTO study (patient, brought_by, {_names(patient)}, {_names(study)})
            SELECT the_patient, coalesce(entry->>'brought_by', ''), p.*, s.*
            FROM {_record("entry->'patient'", patient, "p")}, {_record("entry->'study'", study, "s")}
            ON CONFLICT (study_instance_uid) DO NOTHING;
        SELECT id INTO STRICT the_study FROM study WHERE study_instance_uid = entry->'study'->>'study_instance_uid';
    END IF;
    INSERT INTO series (study, {_names(series)})
        SELECT the_study, e.* FROM {_record("entry->'series'", series, "e")}
        ON CONFLICT (study, series_instance_uid) DO NOTHING
        RETURNING id INTO the_series;
    IF the_series IS NULL THEN
        SELECT id INTO STRICT the_series FROM series
            WHERE study = the_study AND series_instance_uid = entry->'series'->>'series_instance_uid';
        RETURN the_series;
    END IF;
    -- A new series may know what the study's first one did not.
    UPDATE study SET {fill},
        modalities = CASE WHEN modality IS NULL OR modality = ANY(modalities) THEN modalities
                          ELSE array_append(modalities, modality) END,
        institutions = CASE WHEN institution IS NULL OR institution = ANY(institutions) THEN institutions
                            ELSE array_append(institutions, institution) END
        FROM {_record("entry->'study'", study, "s")} WHERE study.id = the_study;
    RETURN the_series;
END $$;
"""


_INSTANCE_VALUES: Final = {"digest": "decode(i.digest, 'hex')", "received_at": "coalesce(i.received_at, now())"}


def _store_instances_sql() -> str:
    instance = (*columns_at(Level.INSTANCE), *STORED_COLUMNS)
    values = ", ".join(_INSTANCE_VALUES.get(name, f"i.{name}") for name, _ in instance)
    return f"""
DROP FUNCTION IF EXISTS store_instances(jsonb);
CREATE FUNCTION store_instances(batch jsonb)
RETURNS TABLE (outcome text, storage_key text, file_bytes bigint, digest text, young boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    entry jsonb;
    the_series bigint;
    the_instance bigint;
    planned jsonb := '[]';
BEGIN
    FOR entry IN SELECT value FROM jsonb_array_elements(batch) LOOP
        SELECT e.id INTO the_series FROM series e JOIN study s ON s.id = e.study
            WHERE e.series_instance_uid = entry->'series'->>'series_instance_uid'
            AND s.study_instance_uid = entry->'study'->>'study_instance_uid';
        IF the_series IS NULL THEN
            the_series := ensure_series(entry);
        END IF;
        LOOP
            INSERT INTO instance (series, {_names(instance)})
                SELECT the_series, {values} FROM {_record("entry->'instance'", instance, "i")}
                ON CONFLICT (sop_instance_uid) DO NOTHING
                RETURNING id INTO the_instance;
            EXIT WHEN the_instance IS NOT NULL;
            RETURN QUERY SELECT 'there', i.storage_key, i.file_bytes, encode(i.digest, 'hex'),
                    i.received_at > now() - interval '{YOUNG_FOR_S} seconds'
                FROM instance i WHERE i.sop_instance_uid = entry->'instance'->>'sop_instance_uid';
            EXIT WHEN FOUND;  -- else it was deleted just now: insert again
        END LOOP;
        IF the_instance IS NOT NULL THEN
            UPDATE series SET instance_count = instance_count + 1, changed_at = now(), documented = false
                WHERE id = the_series;
            UPDATE study SET sop_classes = array_append(sop_classes, entry->'instance'->>'sop_class_uid')
                WHERE id = (SELECT study FROM series WHERE id = the_series)
                AND NOT sop_classes @> ARRAY[entry->'instance'->>'sop_class_uid'];
            IF entry ? 'deliveries' THEN
                planned := planned || jsonb_build_object('instance', the_instance,
                    'study', entry->'study'->'study_instance_uid', 'series', entry->'series'->'series_instance_uid',
                    'sop', entry->'instance'->'sop_instance_uid', 'class', entry->'instance'->'sop_class_uid',
                    'bytes', entry->'instance'->'file_bytes', 'deliveries', entry->'deliveries');
            END IF;
            RETURN QUERY SELECT 'inserted', NULL::text, NULL::bigint, NULL::text, NULL::boolean;
        END IF;
    END LOOP;
    IF planned <> '[]' THEN
        PERFORM add_deliveries(planned);
    END IF;
END $$;
"""
