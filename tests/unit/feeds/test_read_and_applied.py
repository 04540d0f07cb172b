"""What mappings read is what the worklist's room can apply: a patient's days, message by message."""

from __future__ import annotations

from fileroom.archive.services import Archive
from fileroom.feeds.mapping import read_changes
from fileroom.feeds.mapping_fields import mapping_from_fields
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause
from hl7_texts import message

IHE = mapping_from_fields({})
ANNA = "PID|1||4711^^^HOSP^MR||Muster^Anna||19700301|F||||||||||A1"
TWICE = "PID|1||4712^^^HOSP^MR||Muster^A.||19700301|F"
VISIT = "PV1|1|I|W1^101^A||||1^Boss^Bea" + "|" * 12
ORC = "ORC|{}|P1^RIS|F1^PACS||{}||1^once^^202611231000^^S"
OBR = "OBR|1|P1^RIS|F1^PACS|CTABD^CT Abdomen^L^PROT1^Arterial^LP||||||||||||||ACC1|RP1|SPS1||||CT"
SCH = "SCH|AP1|AP2|||||||||^^60^202611241000^202611241100" + "|" * 14 + "Booked|P1^RIS|F1^PACS"


async def tell(archive: Archive, kind: str, *segments: str) -> list[str]:
    """The effects of a message, in one transaction."""
    changes = read_changes(message(kind, *segments), IHE)
    async with archive.pool.connection() as connection, connection.transaction():
        found = [await apply_change(archive, connection, one, Cause("feed")) for one in changes]
    return [str(effect.words) for some in found for effect in some]


async def rows(archive: Archive, statement: bytes) -> list[tuple[object, ...]]:
    async with archive.pool.connection() as connection:
        return list(await (await connection.execute(statement)).fetchall())


async def test_the_days_of_a_patient(archive: Archive) -> None:
    for event in ("A28", "A05", "A01", "A02", "A12", "A03", "A13", "A08", "A31", "A04"):
        await tell(archive, f"ADT^{event}", ANNA, VISIT + "V1")
    assert await rows(archive, b"SELECT number, state, location FROM visit") == [("V1", "admitted", "W1 101 A")]

    await tell(archive, "ORM^O01", TWICE, ORC.format("NW", "SC"), OBR, "ZDS|1.2.840.99.1")
    await tell(archive, "SIU^S13", SCH, TWICE, "RGS|1", "AIS|1||CTABD^CT|202611241030", "AIL|1||ROOM7")
    steps = b"SELECT step_id, modality, start_date, start_time, location, state FROM scheduled_step"
    assert await rows(archive, steps) == [("SPS1", "CT", "20261124", "103000", "ROOM7", "scheduled")]

    await tell(archive, "ADT^A40", ANNA, "MRG|4712^^^HOSP^MR")
    owner = b"""SELECT i.value, o.state, o.study_instance_uid FROM imaging_order o
        JOIN patient_identifier i ON i.patient = o.patient AND i.is_first"""
    assert await rows(archive, owner) == [("4711", "scheduled", "1.2.840.99.1")]
    await tell(archive, "ADT^A37", ANNA, TWICE)
    assert await rows(archive, owner) == [("4712", "scheduled", "1.2.840.99.1")]
    await tell(archive, "ADT^A24", ANNA, TWICE)

    await tell(archive, "ORM^O01", TWICE, ORC.format("SC", "IP"), OBR)
    await tell(archive, "OMG^O19", TWICE, ORC.format("XO", "CM"), OBR)
    assert await rows(archive, owner) == [("4712", "completed", "1.2.840.99.1")]

    await tell(archive, "ADT^A50", ANNA, "MRG|4711^^^HOSP^MR||||V1", VISIT + "V2")
    await tell(archive, "ADT^A45", TWICE, "MRG|4711^^^HOSP^MR||||V2", VISIT + "V2")
    numbers = b"SELECT v.number, i.value FROM visit v JOIN patient_identifier i ON i.patient = v.patient AND i.is_first"
    assert await rows(archive, numbers) == [("V2", "4712")]
    await tell(archive, "ADT^A47", "PID|1||4713^^^HOSP^MR||Muster^A.", "MRG|4712^^^HOSP^MR")
    assert await rows(archive, numbers) == [("V2", "4713")]
    await tell(archive, "ADT^A23", "PID|1||4713^^^HOSP^MR", VISIT + "V2")
    assert await rows(archive, numbers) == []


async def test_a_cancellation_before_its_order_and_an_order_before_its_patient(archive: Archive) -> None:
    await tell(archive, "ORM^O01", ORC.format("CA", ""))
    await tell(archive, "OMI^O23", ANNA, ORC.format("NW", "SC"), OBR, "IPC|ACC1|RP1|1.2.840.99.3|SPS1|CT||||CT_ONE")
    found = await rows(archive, b"SELECT state, study_instance_uid, patient IS NULL FROM imaging_order")
    assert found == [("cancelled", "1.2.840.99.3", False)]


async def test_messages_of_merges_of_patients_and_accounts_that_nobody_knows(archive: Archive) -> None:
    account = "MRG|4712^^^HOSP^MR||A66"
    for event in ("A18", "A34", "A36", "A39", "A40", "A35", "A41", "A43", "A44", "A49", "A46"):
        assert await tell(archive, f"ADT^{event}", ANNA, account), event
