"""Which deliveries are meant: what somebody asks the ledger for, and as conditions of a statement."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries: those that fit everything that is given. `since` and `until` are of when they were made."""

    ids: tuple[int, ...] = ()
    states: tuple[str, ...] = ()
    destination: str = ""
    rule: str = ""
    study_instance_uid: str = ""
    sop_instance_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    cause: str = ""
    """A part of the cause."""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    parcels: tuple[int, ...] = ()
    """What a destination gets of a study, by number."""

    @property
    def is_everything(self) -> bool:
        """Nothing is given."""
        return self == DeliveryFilter()

    @property
    def is_narrow(self) -> bool:
        """It names objects, studies or a patient: few deliveries, found by an index."""
        return bool(
            self.ids
            or self.parcels
            or self.study_instance_uid
            or self.sop_instance_uid
            or self.patient_id
            or self.accession_number
        )


def conditions_of(wanted: DeliveryFilter) -> tuple[list[str], list[Any]]:
    """SQL conditions over d (delivery), and their values."""
    found: list[str] = []
    values: list[Any] = []

    def add(condition: str, value: Any) -> None:
        found.append(condition)
        values.append(value)

    if wanted.ids:
        add("d.id = ANY(%s)", list(wanted.ids))
    if wanted.parcels:
        add("d.parcel_id = ANY(%s)", list(wanted.parcels))
    if wanted.states:
        add("d.state = ANY(%s)", list(wanted.states))
    if wanted.destination:
        add(
            "d.destination_id = ANY(ARRAY(SELECT id FROM named_entry WHERE section = 'destinations' AND name = %s))",
            wanted.destination,
        )
    if wanted.rule:
        add("d.rule_id = ANY(ARRAY(SELECT id FROM named_entry WHERE section = 'rules' AND name = %s))", wanted.rule)
    if wanted.study_instance_uid:
        add("d.study_instance_uid = %s", wanted.study_instance_uid)
    if wanted.sop_instance_uid:
        add("d.sop_instance_uid = %s", wanted.sop_instance_uid)
    for column, value in (("patient_id", wanted.patient_id), ("accession_number", wanted.accession_number)):
        if value:
            add(f"d.study_instance_uid = ANY(ARRAY(SELECT study_instance_uid FROM study WHERE {column} = %s))", value)  # noqa: S608
    if wanted.cause:
        add("position(lower(%s) IN lower(d.cause)) > 0", wanted.cause)
    if wanted.since is not None:
        add("d.created_at >= %s", wanted.since)
    if wanted.until is not None:
        add("d.created_at < %s", wanted.until)
    return found, values
