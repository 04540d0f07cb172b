from __future__ import annotations

import pytest

from fileroom.core.errors import InvalidRequestError
from fileroom.feeds.mapping import read_changes, read_into
from fileroom.feeds.mapping_fields import Mapping, mapping_from_fields
from fileroom.feeds.reading import Reading
from fileroom.worklist.changes import Nothing, PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, OrderState, StepFacts
from hl7_texts import PID, PV1, message

IHE = mapping_from_fields({})
ORC = "ORC|NW|P1^RIS|F1^PACS||SC||1^once^^202611231000^^S||20261122101500|||3^Order^Otto"
OBR = (
    "OBR|1|P1^RIS|F1^PACS|CTABD^CT Abdomen^L^PROT1^Arterial^LP||||||||DIAB^Diabetes|Pain|||3^Order^Otto||ACC1|RP1|SPS1"
    "||||CT||||||WALK|^Appendicitis?"
)
ZDS = "ZDS|1.2.840.99.1^RIS^Application^DICOM"


def orders_of(kind: str, *segments: str, mapping: Mapping = IHE) -> list[PutOrder]:
    changes = read_changes(message(kind, *segments), mapping)
    assert all(isinstance(one, PutOrder) for one in changes), changes
    return [one for one in changes if isinstance(one, PutOrder)]


def one_order(kind: str, *segments: str, mapping: Mapping = IHE) -> PutOrder:
    (change,) = orders_of(kind, *segments, mapping=mapping)
    return change


def test_an_order_of_ihe_scheduled_workflow() -> None:
    change = one_order("ORM^O01", PID, PV1, ORC, OBR, ZDS)
    assert change.order == OrderFacts(
        Identifier("P1", "RIS", ""),
        Identifier("F1", "PACS", ""),
        Identifier("ACC1", "", ""),
        procedure_id="RP1",
        study_instance_uid="1.2.840.99.1",
        procedure=Code("CTABD", "L", "CT Abdomen"),
        priority="STAT",
        ordering_physician="Order^Otto",
        referring_physician="Ruf^Rolf",
        reason="Appendicitis?",
        clinical_information="Pain",
        transport="Walking",
        danger="Diabetes",
        steps=(
            StepFacts(
                "SPS1",
                "CT",
                start="202611231000",
                description="Arterial",
                protocol_codes=(Code("PROT1", "LP", "Arterial"),),
            ),
        ),
        details={"ZDS": ZDS},
    )
    assert (change.state, change.must_be) == (OrderState.SCHEDULED, "new")
    assert change.patient is not None
    assert change.patient.identifiers[0] == Identifier("4711", "HOSP", "MR")
    assert change.visit is not None
    assert change.visit.number.value == "V100"


def test_groups_of_one_procedure_are_one_order_with_its_steps_and_codes() -> None:
    venous = OBR.replace("PROT1^Arterial", "PROT2^Venous")
    second = OBR.replace("SPS1", "SPS2").replace("202611231000", "202611231100")
    change = one_order("ORM^O01", PID, PV1, ORC, OBR, ORC, venous, ORC, second, ZDS)
    assert change.order.steps is not None
    assert [(one.step_id, [code.value for code in one.protocol_codes or ()]) for one in change.order.steps] == [
        ("SPS1", ["PROT1", "PROT2"]),
        ("SPS2", ["PROT1"]),
    ]


def test_several_orders_of_a_message_share_the_study_that_stands_at_its_end() -> None:
    first, second = orders_of(
        "ORM^O01", PID, ORC, OBR, ORC.replace("P1^", "P2^"), OBR.replace("P1^", "P2^").replace("ACC1", "ACC2"), ZDS
    )
    assert [one.order.accession and one.order.accession.value for one in (first, second)] == ["ACC1", "ACC2"]
    assert first.order.study_instance_uid == second.order.study_instance_uid == "1.2.840.99.1"
    assert first.patient == second.patient


def test_each_group_has_its_own_study_where_each_says_one() -> None:
    first, second = orders_of("ORM^O01", PID, ORC, OBR, ZDS, ORC.replace("P1^", "P2^"), OBR, "ZDS|1.2.840.99.2")
    assert (first.order.study_instance_uid, second.order.study_instance_uid) == ("1.2.840.99.1", "1.2.840.99.2")


def test_several_obr_under_one_orc() -> None:
    first, second = orders_of("OMG^O19", PID, ORC, OBR, OBR.replace("RP1", "RP2"))
    assert (first.order.procedure_id, second.order.procedure_id) == ("RP1", "RP2")
    assert first.order.placer == second.order.placer


@pytest.mark.parametrize(
    ("control", "status", "state", "must_be"),
    [
        ("NW", "", OrderState.SCHEDULED, "new"),
        ("NW", "IP", OrderState.IN_PROGRESS, "new"),
        ("XO", "", None, ""),
        ("XO", "CM", OrderState.COMPLETED, ""),
        ("CA", "", OrderState.CANCELLED, ""),
        ("CA", "SC", OrderState.CANCELLED, ""),
        ("DC", "", OrderState.DISCONTINUED, ""),
        ("SC", "IP", OrderState.IN_PROGRESS, ""),
        ("SC", "CM", OrderState.COMPLETED, ""),
        ("HD", "HD", None, ""),
        ("RL", "SC", OrderState.SCHEDULED, ""),
        ("RP", "", OrderState.CANCELLED, ""),
        ("RU", "", OrderState.CANCELLED, ""),
        ("OD", "", OrderState.DISCONTINUED, ""),
        ("OC", "", OrderState.CANCELLED, ""),
        ("CR", "", OrderState.CANCELLED, ""),
        ("RE", "", None, ""),
        ("PA", "", None, ""),
        ("CH", "", OrderState.SCHEDULED, ""),
        ("SN", "", None, ""),
        ("NA", "", None, ""),
    ],
)
def test_order_control_and_status_say_the_state(
    control: str, status: str, state: OrderState | None, must_be: str
) -> None:
    change = one_order("ORM^O01", PID, f"ORC|{control}|P1|||{status}", "OBR|1|P1||CT")
    assert (change.state, change.must_be) == (state, must_be)


def test_the_result_status_says_the_state_where_the_order_status_does_not() -> None:
    obr = "OBR|1|P1||CT" + "|" * 21 + "F"
    assert one_order("ORM^O01", PID, "ORC|SC|P1", obr).state is OrderState.COMPLETED
    assert one_order("ORM^O01", PID, "ORC|SC|P1|||IP", obr).state is OrderState.IN_PROGRESS
    reading = Reading()
    read_into(reading, message("ORM^O01", PID, "ORC|SC|P1|||??", obr), IHE)
    assert [(one.fact, one.path, one.raw) for one in reading.unusable] == [("state", "ORC-5", "??")]


def test_what_asks_for_nothing_says_why_beside_what_does() -> None:
    put, nothing = read_changes(message("ORM^O01", PID, ORC, OBR, "ORC|OK|P2", "OBR|1|P2"), IHE)
    assert isinstance(put, PutOrder)
    assert nothing == Nothing("An order control OK asks for nothing here.")


def test_an_imaging_order_of_v25() -> None:
    change = one_order(
        "OMI^O23^OMI_O23",
        PID,
        PV1,
        "ORC|NW|P1^RIS|F1^PACS||SC",
        "TQ1|1||||||20261123093000+0100||A",
        "OBR|1|P1^RIS|F1^PACS|MRKNEE^MR Knee^L",
        "NTE|1||claustrophobic",
        "NTE|2||pacemaker & stent",
        "IPC|ACC9^RIS|RP9|1.2.3.9|SPS1|MR|PK1^Knee sag^LP~PK2^Knee cor^LP|MR1|MRROOM^Room 3|MR_SCANNER",
        "IPC|ACC9^RIS|RP9|1.2.3.9|SPS2|MR|PK3^Knee KM^LP|MR1|MRROOM^Room 3|MR_SCANNER",
        mapping=mapping_from_fields({"time_zone": "Europe/London"}),
    )
    order = change.order
    assert (order.accession, order.procedure_id, order.study_instance_uid) == (
        Identifier("ACC9", "RIS", ""),
        "RP9",
        "1.2.3.9",
    )
    assert (order.priority, change.state) == ("HIGH", OrderState.SCHEDULED)
    assert order.steps is not None
    assert [
        (one.step_id, one.modality, one.station_aets, one.station_name, one.location, one.start) for one in order.steps
    ] == [
        ("SPS1", "MR", ("MR_SCANNER",), "MR1", "Room 3", "20261123083000"),
        ("SPS2", "MR", ("MR_SCANNER",), "MR1", "Room 3", "20261123083000"),
    ]
    assert [code.value for code in order.steps[0].protocol_codes or ()] == ["PK1", "PK2"]
    assert order.steps[0].comments == "claustrophobic\npacemaker & stent"


def test_one_order_placed_without_steps_leaves_them_to_the_procedure_code_table() -> None:
    change = one_order("ORM^O01", PID, "ORC|NW|P1", "OBR|1|P1||CTABD^CT Abdomen")
    assert change.order.steps is None
    assert change.order.procedure == Code("CTABD", "", "CT Abdomen")


def test_an_order_without_patient_segments_stays_with_its_patient() -> None:
    change = one_order("ORM^O01", "ORC|CA|P1^RIS")
    assert (change.patient, change.visit, change.state) == (None, None, OrderState.CANCELLED)


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        ((PID, "ORC|NW", "OBR|1|||CT"), "does not say which order: ORC-2, OBR-2, SCH-26, SCH-1, ORC-3"),
        ((PID,), "no ORC and no OBR"),
        ((PID, PID.replace("4711", "12"), ORC, OBR), "names 2 patients"),
        (("PID|1||||X^Y", ORC, OBR), "no patient identifier"),
        ((PID, "ORC|QQ|P1", OBR), "order control 'QQ'"),
        ((PID, "ORC||P1", OBR), "order control ''"),
    ],
)
def test_orders_that_cannot_be_meant_are_refused_with_the_place(segments: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        read_changes(message("ORM^O01", *segments), IHE)


def test_values_that_are_none_are_left_out_of_the_order_and_told() -> None:
    obr = OBR.replace("|CT||", "|XYZ||")
    reading = Reading()
    read_into(reading, message("ORM^O01", PID, ORC.replace("202611231000", "20261399"), obr, "ZDS|no.uid"), IHE)
    (change,) = reading.changes
    assert isinstance(change, PutOrder)
    assert change.order.study_instance_uid is None
    assert change.order.steps is not None
    assert (change.order.steps[0].modality, change.order.steps[0].start) == (None, None)
    assert [(one.fact, one.raw) for one in reading.unusable] == [
        ("study_uid", "no.uid"),
        ("modality", "XYZ"),
        ("start", "1^once^^20261399^^S"),
    ]


def test_the_same_accession_at_two_facilities_has_two_authorities() -> None:
    mapping = mapping_from_fields({"authority": {"accession": ["MSH-4.1"], "placer": ["=HIS"]}})
    found = [
        read_changes(message("ORM^O01", PID, "ORC|NW|P1", OBR.replace("P1^RIS", "P1"), sender=f"RIS|{one}"), mapping)[0]
        for one in ("NORTH", "SOUTH")
    ]
    assert [one.order.accession for one in found if isinstance(one, PutOrder)] == [
        Identifier("ACC1", "NORTH", ""),
        Identifier("ACC1", "SOUTH", ""),
    ]
    assert [one.order.placer for one in found if isinstance(one, PutOrder)] == [Identifier("P1", "HIS", "")] * 2


def test_authorities_are_renamed_by_namespace_universal_id_or_both() -> None:
    mapping = mapping_from_fields({"authorities": {"HOSP&1.2.3&ISO": "BOTH", "1.2.3": "OID", "HOSP": "NAME"}})
    numbers = ["1^^^HOSP&1.2.3&ISO^MR", "2^^^&1.2.3&ISO^MR", "3^^^HOSP^MR", "4^^^ELSE^MR"]
    for number, authority in zip(numbers, ("BOTH", "OID", "NAME", "ELSE"), strict=True):
        change = one_order("ORM^O01", f"PID|1||{number}||X", "ORC|NW|P1^HOSP^1.2.3^ISO", mapping=mapping)
        assert change.patient is not None
        assert change.patient.identifiers == (Identifier(number[0], authority, "MR"),)
        assert change.order.placer == Identifier("P1", "BOTH", "")


def test_orders_that_the_feed_does_not_take() -> None:
    mapping = mapping_from_fields({"only": [{"path": "OBR-24", "values": ["CT", "MR*"]}]})
    assert len(orders_of("ORM^O01", PID, ORC, OBR, mapping=mapping)) == 1
    (nothing,) = read_changes(message("ORM^O01", PID, ORC, OBR.replace("|CT||", "|LAB||")), mapping)
    assert nothing == Nothing("The feed takes no order with this OBR-24.")


def test_ignored_events_and_events_read_as_others() -> None:
    mapping = mapping_from_fields({"ignored": ["ADT^A31", "ORM^*"], "events": {"ADT^Z08": "A23"}})
    assert read_changes(message("ORM^O01", PID, ORC, OBR), mapping) == [Nothing("The feed ignores ORM^O01.")]
    assert read_changes(message("ADT^A31", PID), mapping) == [Nothing("The feed ignores ADT^A31.")]
    assert type(read_changes(message("ADT^Z08", PID, PV1), mapping)[0]).__name__ == "RemoveVisit"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("OUL^R21", "Results of laboratories (OUL^R21) are not read"),
        ("QBP^Q22", "asks for an answer"),
        ("ACK^A01", "is an answer"),
        ("DFT^P03", "DFT^P03 is not read"),
    ],
)
def test_what_is_not_read_says_so(kind: str, words: str) -> None:
    (nothing,) = read_changes(message(kind, PID, "OBR|1|P1"), IHE)
    assert isinstance(nothing, Nothing)
    assert words in nothing.why


def test_preset_where_the_study_uid_is_in_zds_and_the_room_in_obr() -> None:
    vue = mapping_from_fields({"preset": "vue"})
    change = one_order(
        "ORM^O01", PID, ORC, "OBR|1|P1||CTABD^CT||||||||||||||ACC5|ROOM1|RP5|CT_ONE|||CT", "ZDS|1.2.3", "ZLK|X|1", "ZEB|secret",
        mapping=vue,
    )  # fmt: skip
    assert change.order.steps is not None
    assert (change.order.steps[0].location, change.order.steps[0].station_aets) == ("ROOM1", ("CT_ONE",))
    assert change.order.study_instance_uid == "1.2.3"
    assert sorted(change.order.details) == ["ZDS", "ZLK"]


def test_preset_where_the_fillers_number_is_the_accession_and_the_code_names_the_modality() -> None:
    change = one_order(
        "ORM^O01", PID, "ORC|NW|P1|F7", "OBR|1|P1|F7|MRBRAIN^MRI Brain|2||202611240915",
        mapping=mapping_from_fields({"preset": "filler-is-accession"}),
    )  # fmt: skip
    assert change.order.accession == Identifier("F7", "", "")
    assert (change.order.priority, change.must_be) == ("HIGH", "")
    assert change.order.steps is not None
    assert (change.order.steps[0].modality, change.order.steps[0].start) == ("MR", "202611240915")


def test_preset_where_the_placers_number_is_the_accession_and_states_are_words() -> None:
    change = one_order(
        "ORM^O01", "PID|1||9^^^ENT^EPI~77^^^HOSP^MRN||X^Y", "ORC|SC|E12345^EHR|||Arrived", "OBR|1|E12345^EHR||XRCHEST^Chest",
        mapping=mapping_from_fields({"preset": "placer-is-accession"}),
    )  # fmt: skip
    assert change.order.accession == Identifier("E12345", "", "")
    assert change.state is OrderState.ARRIVED
    assert change.patient is not None
    assert change.patient.identifiers == (Identifier("77", "HOSP", "MR"), Identifier("9", "ENT", "EPI"))


def test_german_preset() -> None:
    change = one_order(
        "ORM^O01", "PID|1||55^^^KH^PI||Weiß^Jürgen||19500102|W", "ORC|NW|A1|||||^^^20261123111500^^Notfall",
        "OBR|1|A1||ROETHX^Röntgen Thorax^L", mapping=mapping_from_fields({"preset": "german"}),
    )  # fmt: skip
    assert change.patient is not None
    assert (change.patient.sex, change.patient.name) == ("F", "Weiß^Jürgen")
    assert change.order.priority == "STAT"
    assert change.order.steps is not None
    assert change.order.steps[0].modality == "DX"


# --- appointments ---


SCH = "SCH|AP1|AP2|||||||||^^60^202611241000^202611241100" + "|" * 14 + "Booked|P1^RIS|F1^PACS"


@pytest.mark.parametrize(
    ("event", "status", "state"),
    [
        ("S12", "Booked", OrderState.SCHEDULED),
        ("S13", "", OrderState.SCHEDULED),
        ("S14", "", None),
        ("S14", "Arrived", OrderState.ARRIVED),
        ("S15", "Booked", OrderState.CANCELLED),
        ("S16", "", OrderState.DISCONTINUED),
        ("S17", "", OrderState.CANCELLED),
        ("S26", "Noshow", OrderState.CANCELLED),
    ],
)
def test_an_appointment_says_the_state_of_its_order(event: str, status: str, state: OrderState | None) -> None:
    change = one_order(
        f"SIU^{event}", SCH.replace("Booked", status), PID, PV1, "RGS|1|A", "AIS|1|A|CTABD^CT|202611241000"
    )
    assert change.state is state
    assert (change.order.placer, change.order.filler) == (Identifier("P1", "RIS", ""), Identifier("F1", "PACS", ""))


def test_an_appointment_says_when_where_and_by_whom() -> None:
    change = one_order(
        "SIU^S13", SCH, PID, PV1, "RGS|1|A", "AIS|1|A|CTABD^CT Abdomen^L|202611241030|0|S|30|min",
        "AIL|1|A|RAD^CT2^^HOSP", "AIP|1|A|77^Tech^Tina",
    )  # fmt: skip
    assert change.order.steps == (
        StepFacts("", None, None, None, "RAD CT2", "202611241030", "Tech^Tina", "CT Abdomen"),
    )
    assert change.patient is not None


def test_resources_in_groups_of_their_own_are_meant_for_all_services() -> None:
    change = one_order(
        "SIU^S12", SCH, PID, "RGS|1|A", "AIS|1|A|CT1^One|202611241000", "RGS|2|A", "AIS|1|A|CT2^Two|202611241030",
        "RGS|3|A", "AIL|1|A|ROOM7",
    )  # fmt: skip
    assert change.order.steps is not None
    assert [(one.start, one.location) for one in change.order.steps] == [
        ("202611241000", "ROOM7"),
        ("202611241030", "ROOM7"),
    ]


def test_an_appointment_without_services_has_the_time_of_sch() -> None:
    change = one_order("SIU^S13", SCH, PID)
    assert change.order.steps is not None
    assert change.order.steps[0].start == "202611241000"


def test_an_appointment_for_several_orders_is_for_each_its_service_or_all_of_them() -> None:
    sch = SCH.replace("P1^RIS|F1^PACS", "P1^RIS~P2^RIS")
    services = ["RGS|1", "AIS|1||CT1|202611241000", "AIS|2||CT2|202611241030"]
    each = orders_of("SIU^S12", sch, PID, *services)
    assert [(one.order.placer, [step.start for step in one.order.steps or ()]) for one in each] == [
        (Identifier("P1", "RIS", ""), ["202611241000"]),
        (Identifier("P2", "RIS", ""), ["202611241030"]),
    ]
    both = orders_of("SIU^S12", sch, PID, *services[:2])
    assert [(one.order.placer, [step.start for step in one.order.steps or ()]) for one in both] == [
        (Identifier("P1", "RIS", ""), ["202611241000"]),
        (Identifier("P2", "RIS", ""), ["202611241000"]),
    ]


def test_an_appointment_of_no_order_is_an_order_under_its_own_number() -> None:
    [change] = read_changes(message("SIU^S12", "SCH|AP1^RIS|AP2^RIS", PID), IHE)
    assert isinstance(change, PutOrder)
    assert (change.order.placer, change.order.filler) == (Identifier("AP1", "RIS", ""), Identifier("AP2", "RIS", ""))


def test_an_appointment_without_any_number_is_refused_with_the_places() -> None:
    with pytest.raises(InvalidRequestError, match="SCH-26"):
        read_changes(message("SIU^S12", "SCH|", PID), IHE)
    with pytest.raises(InvalidRequestError, match="no SCH"):
        read_changes(message("SIU^S12", PID), IHE)
