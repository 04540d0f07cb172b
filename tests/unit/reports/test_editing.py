"""Writing a report: begun, saved, signed, added to, corrected, cancelled; two who write at once; who may do what."""

from __future__ import annotations

import asyncio

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import EVERYTHING, SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import (
    ConflictError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    RequestError,
    TooLargeError,
)
from fileroom.reports.editing import (
    CHARS_MAX,
    EditedMeanwhileError,
    add_addendum,
    begin_report,
    cancel_report,
    clean_text,
    correct_report,
    discard_edit,
    read_edit,
    save_report,
    sign_report,
)
from fileroom.reports.facts import ReportSection, ReportState
from fileroom.reports.reports import get_report, get_versions, reports_of_study
from fileroom.reports.signers import pn_of_full_name
from fileroom.reports.templates import put_template
from stored_objects import make_file, store_file

_WRITES = frozenset({Permission.STUDY_SEARCH, Permission.STUDY_VIEW, Permission.REPORT_WRITE})
RESIDENT = Access(ActorKind.PERSON, "ada", _WRITES)
OTHER = Access(ActorKind.PERSON, "bob", _WRITES)
SIGNER = Access(ActorKind.PERSON, "eve", _WRITES | {Permission.REPORT_SIGN})
READER = Access(ActorKind.PERSON, "rob", frozenset({Permission.STUDY_SEARCH, Permission.STUDY_VIEW}))
STUDY = "1.2.3"
FOUND = (ReportSection("Findings", "No nodule."), ReportSection("Impression", "Normal."))


@pytest.fixture(autouse=True)
async def _study(archive: Archive) -> None:
    await store_file(archive, make_file(StudyInstanceUID=STUDY, AccessionNumber="A1", StudyDescription="CT chest"))


async def written(archive: Archive, state: ReportState = ReportState.FINAL) -> int:
    number = await begin_report(archive, STUDY, "")
    if state is not ReportState.DRAFT:
        edit = await save_report(archive, number, 0, FOUND, "CT of the chest")
        await sign_report(archive, number, edit.edits, state)
    return number


async def audited(archive: Archive) -> list[str]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT message FROM audit_event ORDER BY id")
        return [str(row[0]) for row in await cursor.fetchall()]


async def test_a_report_is_begun_with_the_template_that_fits(archive: Archive) -> None:
    sections = [{"heading": "Findings", "text": "{AccessionNumber}: "}]
    await put_template(archive, "CT", {"modalities": ["CT"], "title": "{StudyDescription}!", "sections": sections})
    number = await begin_report(archive, STUDY)
    edit = await read_edit(archive, number)
    assert (edit.title, edit.report.state, edit.is_open) == ("CT chest!", ReportState.DRAFT, False)
    assert edit.sections == (ReportSection("Findings", "A1:"),)
    assert (edit.report.accession_number, edit.report.version) == ("A1", 1)
    assert [one.id for one in await reports_of_study(archive, STUDY)] == [number]


async def test_without_a_template_there_are_headings_in_the_readers_language(archive: Archive) -> None:
    edit = await read_edit(archive, await begin_report(archive, STUDY, language="de"))
    assert [one.heading for one in edit.sections][-2:] == ["Befund", "Beurteilung"]


async def test_a_study_that_is_not_here_has_no_report(archive: Archive) -> None:
    with pytest.raises(NotFoundError):
        await begin_report(archive, "9.9")


async def test_what_is_typed_is_kept_and_makes_no_version(archive: Archive) -> None:
    number = await written(archive, ReportState.DRAFT)
    edit = await save_report(archive, number, 0, FOUND, "New")
    again = await save_report(archive, number, edit.edits, [*FOUND, ReportSection("", "more\r\nlines\x0b.\0 ")], "New")
    assert (again.edits, again.sections[2].text) == (2, "more\nlines\n.")
    now = await read_edit(archive, number)
    assert (now.sections, now.title, now.is_open) == (again.sections, "New", True)
    assert len(await get_versions(archive, number)) == 1
    discarded = await discard_edit(archive, number, again.edits)
    assert (discarded.is_open, discarded.title) == (False, "CT chest")


async def test_signed_as_preliminary_then_as_final_then_added_to_then_corrected(archive: Archive) -> None:
    with acting_as(RESIDENT):
        number = await written(archive, ReportState.PRELIMINARY)
    with acting_as(SIGNER):
        edit = await read_edit(archive, number)
        changed = (FOUND[0], ReportSection("Impression", "Normal. No follow-up."))
        edit = await save_report(archive, number, edit.edits, changed)
        final = await sign_report(archive, number, edit.edits, ReportState.FINAL)
        assert (final.content.author, final.content.signer) == ("ada", "eve")
        await add_addendum(archive, number, 3, "Compared with 2025.")
        edit = await read_edit(archive, number)
        edit = await save_report(archive, number, edit.edits, FOUND)
        assert (await get_versions(archive, number))[0].content.sections == changed  # what is signed stays meanwhile
        await correct_report(archive, number, edit.edits, "wrong side")
    versions = await get_versions(archive, number)
    assert [one.state.value for one in versions] == ["corrected", "corrected", "final", "preliminary", "draft"]
    assert (versions[0].reason, versions[0].content.sections) == ("wrong side", FOUND)
    assert [one.text for one in versions[0].content.addenda] == ["Compared with 2025."]
    assert versions[0].content.addenda[0].by == "eve"
    trail = " ".join(await audited(archive))
    words = ("begun", "signed as preliminary", "signed as final, begun by ada", "addendum", "because: wrong side")
    assert [word for word in words if word not in trail] == []


async def test_of_two_who_write_the_second_is_told_and_nothing_is_lost(archive: Archive) -> None:
    number = await written(archive, ReportState.PRELIMINARY)
    with acting_as(RESIDENT):
        mine = await read_edit(archive, number)
    with acting_as(OTHER):
        theirs = await read_edit(archive, number)
        theirs = await save_report(archive, number, theirs.edits, [ReportSection("Findings", "theirs")])
    with acting_as(RESIDENT), pytest.raises(EditedMeanwhileError, match="bob") as told:
        await save_report(archive, number, mine.edits, [ReportSection("Findings", "mine")])
    assert told.value.now.sections[0].text == "theirs"
    with acting_as(SIGNER), pytest.raises(EditedMeanwhileError):
        await sign_report(archive, number, mine.edits, ReportState.FINAL)  # what was shown is not what would be signed
    with acting_as(RESIDENT):
        await save_report(archive, number, theirs.edits, [ReportSection("Findings", "mine")])
    with acting_as(OTHER):
        assert (await read_edit(archive, number)).sections[0].text == "mine"


async def test_of_many_saves_at_once_one_is_kept(archive: Archive) -> None:
    number = await written(archive, ReportState.DRAFT)
    tries = [save_report(archive, number, 0, [ReportSection("", f"{place}")]) for place in range(8)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, EditedMeanwhileError) for one in done) == 7


async def test_a_save_whose_answer_was_lost_is_no_conflict(archive: Archive) -> None:
    number = await written(archive, ReportState.DRAFT)
    first = await save_report(archive, number, 0, FOUND)
    assert (await save_report(archive, number, 0, FOUND)).edits == first.edits


async def test_whoever_has_the_editor_open_is_told_of_a_signature(archive: Archive) -> None:
    number = await written(archive, ReportState.PRELIMINARY)
    edit = await read_edit(archive, number)
    await sign_report(archive, number, edit.edits, ReportState.FINAL)
    with pytest.raises(EditedMeanwhileError):
        await save_report(archive, number, edit.edits, [ReportSection("", "late")])


async def test_who_may_write_and_sign(archive: Archive) -> None:
    with acting_as(RESIDENT):
        draft = await written(archive, ReportState.DRAFT)
        edit = await save_report(archive, draft, 0, FOUND)
        with pytest.raises(NotAllowedError):
            await sign_report(archive, draft, edit.edits, ReportState.FINAL)
    with acting_as(OTHER), pytest.raises(NotAllowedError, match="ada"):
        await save_report(archive, draft, edit.edits, [ReportSection("", "x")])
    with acting_as(READER):
        with pytest.raises(NotAllowedError):
            await begin_report(archive, STUDY)
        with pytest.raises(NotFoundError):
            await get_report(archive, draft)  # nobody has signed it
    with acting_as(SIGNER):
        await sign_report(archive, draft, edit.edits, ReportState.FINAL)
    with acting_as(READER):
        assert (await get_report(archive, draft)).state is ReportState.FINAL
    with acting_as(RESIDENT):
        for work in (
            add_addendum(archive, draft, 2, "x"),
            correct_report(archive, draft, 2, "x"),
            cancel_report(archive, draft, "x"),
            save_report(archive, draft, 2, [ReportSection("", "x")]),
        ):
            with pytest.raises(NotAllowedError):
                await work


async def test_a_row_scope_hides_the_report_with_its_study(archive: Archive) -> None:
    number = await written(archive)
    ward = Access(ActorKind.PERSON, "eve", SIGNER.permissions, RowScope(patient_ids=("nobody",)))
    with acting_as(ward):
        for work in (begin_report(archive, STUDY), read_edit(archive, number), cancel_report(archive, number, "x")):
            with pytest.raises(NotFoundError):
                await work
    assert ward.rows != EVERYTHING


async def test_what_does_not_follow_is_refused_with_the_reason(archive: Archive) -> None:
    draft = await written(archive, ReportState.DRAFT)
    with pytest.raises(InvalidRequestError, match="says nothing"):
        edit = await save_report(archive, draft, 0, [ReportSection("Findings", " \n")])
        await sign_report(archive, draft, edit.edits, ReportState.FINAL)
    with pytest.raises(ConflictError, match="not signed"):
        await add_addendum(archive, draft, 1, "x")
    final = await written(archive)
    edit = await read_edit(archive, final)
    with pytest.raises(ConflictError, match="Nothing was changed"):
        await correct_report(archive, final, edit.edits, "x")
    with pytest.raises(ConflictError, match="signed already"):
        await sign_report(archive, final, edit.edits, ReportState.PRELIMINARY)
    with pytest.raises(InvalidRequestError):
        await sign_report(archive, final, edit.edits, ReportState.CANCELLED)
    with pytest.raises(InvalidRequestError, match="reason"):
        await cancel_report(archive, final, " ")
    with pytest.raises(EditedMeanwhileError):
        await add_addendum(archive, final, 1, "read in another version")
    await cancel_report(archive, final, "wrong patient")
    with pytest.raises(ConflictError, match="cancelled"):
        await save_report(archive, final, edit.edits, FOUND)


async def test_a_draft_is_cancelled_without_a_reason_and_keeps_its_words(archive: Archive) -> None:
    draft = await written(archive, ReportState.DRAFT)
    await save_report(archive, draft, 0, FOUND)
    version = await cancel_report(archive, draft)
    assert (version.state, version.content.sections) == (ReportState.CANCELLED, FOUND)


@pytest.mark.parametrize(
    ("sections", "error"),
    [
        ([ReportSection("", "x" * (CHARS_MAX + 1))], TooLargeError),
        ([ReportSection("", "x")] * 61, TooLargeError),
        ([ReportSection("x" * 101, "")], InvalidRequestError),
    ],
)
async def test_what_is_too_much_is_refused(
    archive: Archive, sections: list[ReportSection], error: type[RequestError]
) -> None:
    number = await written(archive, ReportState.DRAFT)
    with pytest.raises(error):
        await save_report(archive, number, 0, sections)


async def test_two_hundred_thousand_characters_are_signed_as_they_are(archive: Archive) -> None:
    text = "Ærø <b>&amp; 肺 " * 12_500
    number = await written(archive, ReportState.DRAFT)
    edit = await save_report(archive, number, 0, [ReportSection("Findings", text)])
    version = await sign_report(archive, number, edit.edits, ReportState.FINAL)
    assert version.content.sections[0].text == text.rstrip()


async def test_headings_without_words_are_not_signed(archive: Archive) -> None:
    number = await written(archive, ReportState.DRAFT)
    edit = await save_report(archive, number, 0, [ReportSection("Technique", " "), *FOUND])
    assert (await sign_report(archive, number, edit.edits, ReportState.FINAL)).content.sections == FOUND


async def test_a_report_from_elsewhere_is_not_changed_here(archive: Archive) -> None:
    number = await written(archive)
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE report SET source = 'hl7' WHERE id = %s", (number,))
    with acting_as(SYSTEM), pytest.raises(ConflictError, match="elsewhere"):
        await read_edit(archive, number)


def test_what_is_no_character_is_left_out() -> None:
    assert clean_text("a\0b\x07\tc\r\nd\re\u2028f\ud800") == "ab\tc\nd\ne\nf?"


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("Ada Lovelace", "Lovelace^Ada"),
        ("Dr. Ada Lovelace", "Lovelace^Ada^^Dr."),
        ("Prof. Dr. med. Ludwig van Beethoven", "Beethoven^Ludwig van^^Prof. Dr. med."),
        ("Lovelace, Dr. Ada King", "Lovelace^Ada King^^Dr."),
        ("ada", "ada"),
        ("Doe^Jane", "Doe^Jane"),
        ("愛達", "愛達"),
        ("Dr.", "Dr."),
        ("x" * 90, "x" * 64),
    ],
)
def test_a_full_name_as_it_stands_under_a_report(full: str, name: str) -> None:
    assert pn_of_full_name(full) == name
