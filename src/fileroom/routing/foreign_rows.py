"""Whether somebody with a row scope may see a study that another archive tells of: the same rules as for what is here.

`index.visibility` decides on rows; here there is only what the other archive says. What it does not say counts against showing
it, so that a missing attribute never opens anything.
"""

from __future__ import annotations

from typing import Final

from fileroom.core.access import RowScope
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.normal_forms import normalize_name
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.rows import folded
from fileroom.routing.source_calls import text_of

_PATIENT_ID: Final = BY_KEYWORD["PatientID"].tag
_REFERRING: Final = BY_KEYWORD["ReferringPhysicianName"].tag
_MODALITIES: Final = BY_KEYWORD["ModalitiesInStudy"].tag
_INSTITUTION: Final = BY_KEYWORD["InstitutionName"].tag
DECIDING_TAGS: Final = (_PATIENT_ID, _REFERRING, _MODALITIES, _INSTITUTION)
"""What must be asked for beside the question itself, at the level of studies."""


def may_be_seen(rows: RowScope, match: JsonObject) -> bool:
    """Whether a study, as another archive describes it, is within a row scope. Own uploads are only here."""
    if rows.is_everything:
        return True
    if rows.own_uploads:
        return False
    if rows.patient_ids and text_of(match, _PATIENT_ID) not in rows.patient_ids:
        return False
    if rows.referring_physicians:
        named = normalize_name(text_of(match, _REFERRING))
        if not named or named not in {normalize_name(name) for name in rows.referring_physicians}:
            return False
    modalities = set(filter(None, text_of(match, _MODALITIES).split("\\")))
    if rows.modalities and not modalities & set(rows.modalities):
        return False
    if rows.institutions:
        named = folded(text_of(match, _INSTITUTION))
        if not named or named not in {folded(name) for name in rows.institutions}:
            return False
        # That one and the same series has both can only be told where there is one modality.
        if rows.modalities and not modalities <= set(rows.modalities):
            return False
    return True
