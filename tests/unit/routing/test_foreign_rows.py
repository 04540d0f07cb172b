"""A row scope decides on what another archive tells as it does on what is here; what is not told is not shown."""

from __future__ import annotations

from typing import Any

import pytest

from fileroom.core.access import RowScope
from fileroom.routing.foreign_rows import may_be_seen
from fileroom.routing.worklist_proxy import may_be_shown

STUDY: dict[str, Any] = {
    "00100020": {"vr": "LO", "Value": ["P1"]},
    "00080090": {"vr": "PN", "Value": [{"Alphabetic": "House^Gregory"}]},
    "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
    "00080080": {"vr": "LO", "Value": ["St.  Elsewhere"]},
}


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        (RowScope(), True),
        (RowScope(patient_ids=("P1", "P2")), True),
        (RowScope(patient_ids=("P2",)), False),
        (RowScope(referring_physicians=("HOUSE^GREGORY",)), True),
        (RowScope(referring_physicians=("Wilson^James",)), False),
        (RowScope(modalities=("CT",)), True),
        (RowScope(modalities=("MR",)), False),
        (RowScope(institutions=("st. elsewhere",)), True),
        (RowScope(institutions=("Mercy",)), False),
        (RowScope(institutions=("st. elsewhere",), modalities=("CT",)), False),
        (RowScope(institutions=("st. elsewhere",), modalities=("CT", "SR")), True),
        (RowScope(own_uploads=True), False),
        (RowScope(patient_ids=("P1",), modalities=("MR",)), False),
    ],
)
def test_every_list_must_fit(rows: RowScope, *, seen: bool) -> None:
    assert may_be_seen(rows, STUDY) is seen


@pytest.mark.parametrize("tag", ["00100020", "00080090", "00080061", "00080080"])
def test_what_is_not_told_is_not_shown(tag: str) -> None:
    scopes = {
        "00100020": RowScope(patient_ids=("P1",)),
        "00080090": RowScope(referring_physicians=("House^Gregory",)),
        "00080061": RowScope(modalities=("CT",)),
        "00080080": RowScope(institutions=("St. Elsewhere",)),
    }
    assert may_be_seen(scopes[tag], STUDY)
    for told in ({key: one for key, one in STUDY.items() if key != tag}, {**STUDY, tag: {"vr": "LO"}}):
        assert not may_be_seen(scopes[tag], told)


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (RowScope(), True),
        (RowScope(patient_ids=("P1",)), True),
        (RowScope(patient_ids=("P2",)), False),
        (RowScope(modalities=("CT",)), True),
        (RowScope(modalities=("MR",)), False),
        (RowScope(institutions=("St. Elsewhere",)), False),
        (RowScope(own_uploads=True), False),
    ],
)
def test_worklist_entries_keep_to_the_row_scope(rows: RowScope, *, shown: bool) -> None:
    entry = {**STUDY, "00400100": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]}}
    assert may_be_shown(rows, entry) is shown
