"""Writing a report in the console: begun from a template, saved while it is typed, signed, added to, corrected, cancelled.

What is typed is kept beside the versions (`report_edit`) until it is signed. `edits` counts its saves: whoever saves or signs
says which they have seen, and is told when somebody else was there meanwhile. Nothing is written then.

    begin ─> save ... ─> sign preliminary ─> save ... ─> sign final ─> add an addendum
                                                           └─> save ... ─> correct, with the reason

A draft is its author's; whoever may sign may go on with those of others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from fileroom.admin.audit import record
from fileroom.admin.audit_events import report_changed
from fileroom.admin.entries import read_entries, read_entry
from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import (
    ConflictError,
    DatabaseError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    TooLargeError,
    told,
)
from fileroom.reports.facts import Addendum, ReportContent, ReportSection, ReportSource, ReportState
from fileroom.reports.report_rows import (
    REPORT_COLUMNS,
    ReportRow,
    ReportVersion,
    read_versions,
    report_of,
    sections_as_json,
)
from fileroom.reports.report_visibility import report_is_visible
from fileroom.reports.signers import signing_name
from fileroom.reports.template_starters import BLANK
from fileroom.reports.template_words import read_reported_study
from fileroom.reports.templates import (
    HEADING_CHARS_MAX,
    TEMPLATES,
    TITLE_CHARS_MAX,
    ranked,
    sections_for,
    title_for,
)
from fileroom.reports.writing import ADDENDA_MAX, REASON_CHARS_MAX, write_version

CHARS_MAX: Final = 400_000
"""Of what is typed: the longest report anybody has read has a tenth."""
SECTIONS_MAX: Final = 60
ADDENDUM_CHARS_MAX: Final = 100_000
_BREAKS: Final = str.maketrans({"\r": "\n", "\x0b": "\n", "\x0c": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n"})
_LEFT_OUT: Final = dict.fromkeys([*range(9), *range(0x0E, 0x20), 0x7F])


@dataclass(frozen=True, slots=True)
class Edit:
    """A report as its editor shows it: what is typed, or what the newest version says."""

    report: ReportRow
    latest: ReportVersion
    edits: int
    title: str
    sections: tuple[ReportSection, ...]
    is_open: bool
    """Something is typed that the newest version does not say."""
    saved_at: dt.datetime | None
    saved_by: str
    signer: str = ""
    """The name that a signature of whoever asks would carry; a PN."""


class EditedMeanwhileError(ConflictError):
    """Somebody else has saved or signed since; nothing was written. `now` is how it is."""

    def __init__(self, now: Edit, who: str) -> None:
        super().__init__(
            told(
                "This report was changed by {who} while you were writing; nothing of yours is written yet. What you typed is "
                "still here: compare, and save again.",
                who=who,
            )
        )
        self.now = now


async def begin_report(archive: Archive, study_uid: str, template: str | None = None, *, language: str = "en") -> int:
    """Begin a report about a study as a draft; its number. `template` None: the one that fits best; empty: headings alone.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    async with archive.pool.connection() as connection, connection.transaction():
        study = await read_reported_study(connection, access, study_uid)
        if study is None:
            raise NotFoundError(told("There is no such study in the archive, or it is not yours to see."))
        fields = BLANK.get(language, BLANK["en"])
        if template is None:
            fitting = ranked(
                [one for one in await read_entries(archive.pool, TEMPLATES) if one.enabled], study, language
            )
            fields = fitting[0].fields if fitting else fields
        elif template:
            fields = (await read_entry(archive.pool, TEMPLATES, template)).fields
        title = title_for(fields, study)
        sections = _checked_sections(sections_for(fields, study))
        cursor = await connection.execute(
            b"""INSERT INTO report (study_instance_uid, imaging_order, patient, accession_number, source, title, created_by,
                    changed_by) VALUES (%s, %s, %s, %s, 'console', %s, %s, %s) RETURNING id""",
            (study_uid, study.order, study.patient, study.accession_number, title, access.name, access.name),
        )
        row = await cursor.fetchone()
        number = int(row[0]) if row else 0
        author = await signing_name(connection, access)
        content = ReportContent(sections, author=author)
        await write_version(connection, number, ReportState.DRAFT, content, who=access.name)
        await connection.execute(
            b"INSERT INTO report_edit (report, title, saved_by) VALUES (%s, %s, %s)", (number, title, access.name)
        )
        await record(
            connection,
            report_changed(study_uid, study.accession_number, ("", ""), f"report {number} begun"),
        )
    return number


async def read_edit(archive: Archive, number: int) -> Edit:
    """A report to be written on. Raises NotFoundError, ConflictError (from elsewhere), NotAllowedError, DatabaseError."""
    access = require(Permission.REPORT_WRITE)
    try:
        async with archive.pool.connection() as connection:
            edit = await _read(connection, access, number)
            _require_may_write(access, edit)
            return replace(edit, signer=await signing_name(connection, access))
    except psycopg.Error as error:
        raise DatabaseError(f"The report cannot be read: {type(error).__name__}. Try again later.") from error


async def save_report(
    archive: Archive, number: int, known: int, sections: Sequence[ReportSection], title: str | None = None
) -> Edit:
    """Keep what is typed; no version is made. `known` is the Edit's `edits` that the typing began with.

    Raises EditedMeanwhileError, InvalidRequestError, TooLargeError, ConflictError, NotFoundError, NotAllowedError,
    DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    checked = _checked_sections(sections)
    async with archive.pool.connection() as connection, connection.transaction():
        edit = await _locked(connection, access, number)
        wanted = edit.title if title is None else _checked_title(title)
        if (checked, wanted) == (edit.sections, edit.title):
            return edit  # also where the answer to the save before was lost on its way
        _require_seen(edit, known)
        saved = await _keep(connection, access, edit, checked, wanted)
        if not edit.is_open or edit.saved_by != access.name:
            await _record(connection, edit, f"report {number}: writing")
        return saved


async def discard_edit(archive: Archive, number: int, known: int) -> Edit:
    """Take back what was typed since the newest version. Raises as `save_report` does."""
    access = require(Permission.REPORT_WRITE)
    async with archive.pool.connection() as connection, connection.transaction():
        edit = await _locked(connection, access, number, known)
        if edit.is_open:
            await _close(connection, access, number)
            await _record(connection, edit, f"report {number}: what was typed was discarded")
        return await _read(connection, access, number)


async def sign_report(archive: Archive, number: int, known: int, state: ReportState) -> ReportVersion:
    """Make a version of what is typed: preliminary, or final with the signer's name.

    Raises EditedMeanwhileError, InvalidRequestError (it says nothing), ConflictError (the state does not follow),
    NotFoundError, NotAllowedError, DatabaseError.
    """
    if state not in (ReportState.PRELIMINARY, ReportState.FINAL):
        require(Permission.REPORT_WRITE)
        raise InvalidRequestError(told("A report is signed as preliminary or as final."))
    access = require(Permission.REPORT_WRITE)
    if state is ReportState.FINAL:
        access.require(Permission.REPORT_SIGN)
    async with archive.pool.connection() as connection, connection.transaction():
        edit = await _locked(connection, access, number, known)
        if edit.report.state.is_signed:
            raise ConflictError(
                told(
                    "Report {number} is signed already. Correct it with a reason, or write an addendum.", number=number
                )
            )
        _require_says_something(edit)
        name = await signing_name(connection, access)
        author = edit.latest.content.author or name
        content = replace(edit.latest.content, sections=_said(edit), author=author)
        if state is ReportState.FINAL:
            content = replace(content, signer=name)
        version = await write_version(connection, number, state, content, who=access.name)
        await _set_title(connection, edit)
        await _close(connection, access, number)
        of = "" if edit.report.created_by == access.name else f", begun by {edit.report.created_by}"
        await _record(connection, edit, f"report {number} signed as {state.value}{of}: version {version.version}")
        return version


async def correct_report(archive: Archive, number: int, known: int, reason: str) -> ReportVersion:
    """Put what is typed in the place of what was signed, for a reason that stands with the version.

    Raises EditedMeanwhileError, InvalidRequestError, ConflictError (not signed, nothing changed), NotFoundError,
    NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_SIGN)
    reason = _checked_reason(reason)
    async with archive.pool.connection() as connection, connection.transaction():
        edit = await _locked(connection, access, number, known)
        _require_signed(edit)
        if not edit.is_open:
            raise ConflictError(
                told("Nothing was changed in report {number}, so there is nothing to sign.", number=number)
            )
        _require_says_something(edit)
        content = replace(edit.latest.content, sections=_said(edit), signer=await signing_name(connection, access))
        version = await write_version(
            connection, number, ReportState.CORRECTED, content, who=access.name, reason=reason
        )
        await _set_title(connection, edit)
        await _close(connection, access, number)
        await _record(connection, edit, f"report {number} corrected: version {version.version}, because: {reason}")
        return version


async def add_addendum(archive: Archive, number: int, known_version: int, text: str) -> ReportVersion:
    """Add to what was signed, as a version of its own. `known_version` is the version that was read.

    Raises ConflictError (not signed, changed meanwhile), InvalidRequestError, NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_SIGN)
    text = clean_text(text).strip()
    if not text:
        raise InvalidRequestError(told("An addendum needs words."))
    if len(text) > ADDENDUM_CHARS_MAX:
        raise TooLargeError(told("An addendum has at most {most} characters.", most=ADDENDUM_CHARS_MAX))
    async with archive.pool.connection() as connection, connection.transaction():
        edit = await _locked(connection, access, number)
        _require_signed(edit)
        if edit.report.version != known_version:
            raise EditedMeanwhileError(edit, edit.report.changed_by)
        if len(edit.latest.content.addenda) >= ADDENDA_MAX:
            raise ConflictError(told("This report has {most} addenda; correct it instead.", most=ADDENDA_MAX))
        name = await signing_name(connection, access)
        addendum = Addendum(text, name, archive.now().replace(microsecond=0))
        content = replace(edit.latest.content, addenda=(*edit.latest.content.addenda, addendum), signer=name)
        version = await write_version(connection, number, ReportState.CORRECTED, content, who=access.name)
        await _record(connection, edit, f"report {number}: addendum, version {version.version}")
        return version


async def cancel_report(archive: Archive, number: int, reason: str = "") -> ReportVersion:
    """Say that a report no longer stands. A signed one needs a reason and the right to sign; its words stay readable.

    Raises ConflictError, InvalidRequestError, NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    async with archive.pool.connection() as connection, connection.transaction():
        edit = await _locked(connection, access, number)
        if edit.report.state is not ReportState.DRAFT:
            reason = _checked_reason(reason)
        content = replace(
            edit.latest.content, sections=edit.sections if edit.report.version == 1 else edit.latest.content.sections
        )
        version = await write_version(
            connection, number, ReportState.CANCELLED, content, who=access.name, reason=clean_text(reason).strip()
        )
        await _close(connection, access, number)
        await _record(connection, edit, f"report {number} cancelled{f', because: {reason}' if reason else ''}")
        return version


def clean_text(text: str) -> str:
    """Lines apart by newlines, nothing that is no character: what word processors put on the clipboard is taken along."""
    text = text.replace("\r\n", "\n").translate(_BREAKS).translate(_LEFT_OUT)
    return text.encode("utf-8", "replace").decode()


def may_write(access: Access, report: ReportRow) -> bool:
    """Whether somebody may go on with a report of the console in its state."""
    if report.source is not ReportSource.CONSOLE or report.state is ReportState.CANCELLED:
        return False
    if report.state is ReportState.PRELIMINARY or (
        report.state is ReportState.DRAFT and report.created_by == access.name
    ):
        return access.allows(Permission.REPORT_WRITE)
    return access.allows(Permission.REPORT_WRITE) and access.allows(Permission.REPORT_SIGN)


# --- helpers ---


async def _read(connection: AsyncConnection[Any], access: Access, number: int, *, lock: bool = False) -> Edit:
    visible = report_is_visible(access)
    statement = f"""
        SELECT {REPORT_COLUMNS.decode()}, e.edits, e.title AS typed_title, e.sections AS typed, e.saved_at, e.saved_by
        FROM report r LEFT JOIN report_edit e ON e.report = r.id
        WHERE r.id = %s{f" AND {visible.text}" if visible.text else ""}{" FOR UPDATE OF r" if lock else ""}"""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement.encode(), (number, *visible.parameters))
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("There is no such report."))
    report = report_of(row)
    if report.source is not ReportSource.CONSOLE:
        raise ConflictError(
            told("Report {number} came from elsewhere; it is changed where it was written.", number=report.id)
        )
    latest = (await read_versions(connection, number, report.version))[0]
    typed = row["typed"]
    sections = latest.content.sections
    if typed is not None:
        sections = tuple(ReportSection(one["heading"], one["text"]) for one in typed)
    return Edit(
        report,
        latest,
        row["edits"] or 0,
        row["typed_title"] if typed is not None else report.title,
        sections,
        typed is not None,
        row["saved_at"],
        row["saved_by"] or "",
    )


async def _locked(connection: AsyncConnection[Any], access: Access, number: int, known: int | None = None) -> Edit:
    """Raises NotFoundError, ConflictError, NotAllowedError; EditedMeanwhileError where it is not what somebody has seen."""
    edit = await _read(connection, access, number, lock=True)
    _require_may_write(access, edit)
    if known is not None:
        _require_seen(edit, known)
    return edit


def _require_seen(edit: Edit, known: int) -> None:
    if edit.edits != known:
        raise EditedMeanwhileError(edit, edit.saved_by)


def _require_may_write(access: Access, edit: Edit) -> None:
    report = edit.report
    if report.state is ReportState.CANCELLED:
        raise ConflictError(told("Report {number} was cancelled; write a new one.", number=report.id))
    if may_write(access, report):
        return
    access.require(Permission.REPORT_WRITE)
    if report.state is ReportState.DRAFT and not access.allows(Permission.REPORT_SIGN):
        raise NotAllowedError(
            told(
                "Report {number} is a draft of {who}; only they and those who sign go on with it.",
                number=report.id,
                who=report.created_by,
            )
        )
    access.require(Permission.REPORT_SIGN)


async def _keep(
    connection: AsyncConnection[Any], access: Access, edit: Edit, sections: tuple[ReportSection, ...], title: str
) -> Edit:
    cursor = await connection.execute(
        b"""INSERT INTO report_edit AS e (report, edits, title, sections, saved_by) VALUES (%s, 1, %s, %s, %s)
            ON CONFLICT (report) DO UPDATE SET edits = e.edits + 1, title = excluded.title, sections = excluded.sections,
                saved_at = now(), saved_by = excluded.saved_by RETURNING edits, saved_at""",
        (edit.report.id, title, Jsonb(sections_as_json(ReportContent(sections))), access.name),
    )
    row = await cursor.fetchone()
    edits, saved_at = row if row else (0, None)
    return replace(
        edit, edits=edits, title=title, sections=sections, is_open=True, saved_at=saved_at, saved_by=access.name
    )


async def _close(connection: AsyncConnection[Any], access: Access, number: int) -> None:
    """Nothing is typed any more; who has the editor open still is told."""
    await connection.execute(
        b"""INSERT INTO report_edit AS e (report, edits, saved_by) VALUES (%s, 1, %s)
            ON CONFLICT (report) DO UPDATE SET edits = e.edits + 1, sections = NULL, saved_at = now(),
                saved_by = excluded.saved_by""",
        (number, access.name),
    )


async def _set_title(connection: AsyncConnection[Any], edit: Edit) -> None:
    await connection.execute(b"UPDATE report SET title = %s WHERE id = %s", (edit.title, edit.report.id))


async def _record(connection: AsyncConnection[Any], edit: Edit, what: str) -> None:
    report = edit.report
    await record(connection, report_changed(report.study_instance_uid, report.accession_number, ("", ""), what))


def _checked_sections(sections: Sequence[ReportSection]) -> tuple[ReportSection, ...]:
    """Raises TooLargeError, InvalidRequestError."""
    checked = tuple(
        ReportSection(" ".join(clean_text(one.heading).split()), clean_text(one.text).rstrip()) for one in sections
    )
    if len(checked) > SECTIONS_MAX:
        raise TooLargeError(told("A report has at most {most} sections.", most=SECTIONS_MAX))
    if any(len(one.heading) > HEADING_CHARS_MAX for one in checked):
        raise InvalidRequestError(told("A heading has at most {most} characters.", most=HEADING_CHARS_MAX))
    chars = sum(len(one.heading) + len(one.text) for one in checked)
    if chars > CHARS_MAX:
        raise TooLargeError(
            told("The report has {count} characters; at most {most} are kept.", count=chars, most=CHARS_MAX)
        )
    return checked


def _checked_title(title: str) -> str:
    title = " ".join(clean_text(title).split())
    if len(title) > TITLE_CHARS_MAX:
        raise InvalidRequestError(told("A title has at most {most} characters.", most=TITLE_CHARS_MAX))
    return title


def _checked_reason(reason: str) -> str:
    reason = " ".join(clean_text(reason).split())
    if not reason:
        raise InvalidRequestError(
            told("Give the reason: it stands with the version, for whoever has read the one before.")
        )
    if len(reason) > REASON_CHARS_MAX:
        raise InvalidRequestError(told("A reason has at most {most} characters.", most=REASON_CHARS_MAX))
    return reason


def _said(edit: Edit) -> tuple[ReportSection, ...]:
    """The sections that say something: a heading without text is a template's, not the signer's."""
    return tuple(one for one in edit.sections if one.text.strip())


def _require_says_something(edit: Edit) -> None:
    if not _said(edit):
        raise InvalidRequestError(told("This report says nothing yet; there is nothing to sign."))


def _require_signed(edit: Edit) -> None:
    if not edit.report.state.is_signed:
        raise ConflictError(told("Report {number} is not signed yet: change it and sign it.", number=edit.report.id))
