from __future__ import annotations

from fileroom.feeds.mapping_fields import mapping_from_fields
from fileroom.feeds.mapping_trial import try_mapping
from hl7_texts import PID, PV1, message

IHE = mapping_from_fields({})


def test_a_trial_says_where_each_fact_came_from_and_what_is_asked_for() -> None:
    orc = "ORC|XO|P1^RIS|||IP||^^^202611231000^^S"
    trial = try_mapping(message("ORM^O01", PID, orc, "OBR|1|||CT^CT Abdomen||||||||||||||ACC1||||||XR"), IHE)
    lines = {(one.fact, one.path): one for one in trial.facts}
    accession = lines["accession", "OBR-18"]
    assert (accession.words, accession.raw, accession.used) == ("Accession number", "ACC1", "ACC1")
    assert accession.places == ("IPC-1", "OBR-18", "ORC-3.1", "OBR-3.1")
    assert (lines["modality", "OBR-24"].raw, lines["modality", "OBR-24"].used) == ("XR", "DX")
    assert lines["priority", "ORC-7.6"].used == "STAT"
    assert lines["patient_id", "PID-3[5=MR]"].used == "4711 (HOSP)"
    assert lines["study_uid", ""].places == ("IPC-3.1", "ZDS-1.1")
    assert ("prior_patient_id", "") not in lines
    assert trial.changes == (
        "Order ACC1 of patient 4711 (HOSP) is made or brought up to date.",
        "It is in progress.",
        "A step: DX 202611231000 CT Abdomen.",
    )
    assert (trial.error, trial.warnings) == ("", ())


def test_a_wrong_date_is_a_warning_that_names_the_field() -> None:
    trial = try_mapping(message("ADT^A08", "PID|1||4711||Muster^Anna||20261399", PV1), IHE)
    (warning,) = trial.warnings
    assert (warning.words, warning.path, warning.raw) == ("Birth date", "PID-7", "20261399")
    assert "no month 13" in warning.why
    assert trial.changes == ("Patient 4711 is made or brought up to date.", "Visit V100 is brought up to date.")


def test_a_message_without_a_patient_identifier_fails_and_still_shows_what_there_is() -> None:
    trial = try_mapping(message("ORM^O01", "PID|1||||Muster^Anna", "ORC|NW|P1"), IHE)
    assert "no patient identifier: PID-3" in trial.error
    assert trial.changes == ()
    assert [one.path for one in trial.facts if one.fact == "patient_id"] == [""]


def test_merges_moves_and_links_in_words() -> None:
    other = "MRG|4712^^^HOSP^MR||A66||V9"
    said = {
        event: " ".join(try_mapping(message(f"ADT^{event}", f"{PID}||||||||||A77", *more), IHE).changes)
        for event, more in {
            "A40": (other,),
            "A24": ("PID|2||4712^^^HOSP",),
            "A37": ("PID|2||4712^^^HOSP",),
            "A43": (other,),
            "A44": (other,),
            "A45": (other,),
            "A47": (other,),
            "A23": (PV1,),
            "A03": (PV1,),
            "A99": (),
        }.items()
    }
    assert said == {
        "A40": "Patient 4712 (HOSP) becomes part of patient 4711 (HOSP).",
        "A24": "Patients 4711 (HOSP) and 4712 (HOSP) are one person.",
        "A37": "Patients 4711 (HOSP) and 4712 (HOSP) are two again.",
        "A43": "All that patient 4712 (HOSP) has becomes patient 4711 (HOSP)'s.",
        "A44": "Visit A66 of 4712 (HOSP) becomes patient 4711 (HOSP)'s, as A77.",
        "A45": "Visit V9 of 4712 (HOSP) becomes patient 4711 (HOSP)'s.",
        "A47": "Patient ID 4712 (HOSP) is 4711 (HOSP) now.",
        "A23": "Visit V100 of patient 4711 (HOSP) is removed.",
        "A03": "Patient 4711 (HOSP) is made or brought up to date. Visit V100 is discharged.",
        "A99": "ADT A99 asks for nothing here.",
    }


def test_what_is_not_kept_of_a_visit_without_a_number_is_told() -> None:
    trial = try_mapping(message("ADT^A01", PID, "PV1|1|I"), IHE)
    assert trial.notes == ("There is no visit number, so nothing is kept of the visit.",)
