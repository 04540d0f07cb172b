"""`/corrections`: attributes that studies are shown and sent with, while the received bytes stay."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from fileroom.archive import correct, study_contents
from fileroom.archive.correct import CorrectionRecord, Corrections
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import InvalidRequestError
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.dicom.correction import AttributeCorrection
from fileroom.dicom.dictionary import keyword_of, tag_of, vr_of
from fileroom.web.api.models import INTEGRAL, NUMBER_MAX, Asked, Moment, NumberInPath, Shown, Text, Uid
from fileroom.web.api.operations import Api

_CORRECTIONS_MAX = 100
_TAG_DIGITS = 8
UidInBody = Annotated[str, Field(strict=True, pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]
Value = (
    Annotated[str, Field(strict=True, max_length=10_000, pattern=r"^[^\x00]*$")]
    | Annotated[int, Field(strict=True, ge=-NUMBER_MAX, le=NUMBER_MAX), INTEGRAL]
    | Annotated[float, Field(strict=True)]
)


class ShownCorrection(Shown):
    """A correction as it was made; `revoked_at` null while it is in force."""

    id: int
    study_instance_uid: str
    series_instance_uid: str | None
    sop_instance_uid: str | None
    attribute: Annotated[str, Field(description="Keyword or tag; of nested ones the path.")]
    vr: str
    values: Annotated[list[Any] | None, Field(description="As in DICOM JSON; null: removed.")]
    reason: str
    actor: str
    made_at: Moment
    revoked_at: Moment | None
    revoked_by: str | None


class CorrectionList(Shown):
    """Corrections of a study, the oldest first."""

    items: list[ShownCorrection]


class AskedAttribute(Asked):
    """What one attribute shall be."""

    attribute: Annotated[
        str,
        Field(strict=True, pattern=r"^[A-Za-z0-9]{1,64}$", description="Keyword or tag.", examples=["PatientName"]),
    ]
    values: Annotated[
        list[Value] | None,
        Field(
            max_length=1000, description="As in DICOM JSON; [] empties it, null removes it.", examples=[["DOE^JANE"]]
        ),
    ]


class NewCorrections(Asked):
    """What shall be corrected, where, and why: in the whole study, a series or an instance."""

    attributes: Annotated[list[AskedAttribute], Field(min_length=1, max_length=_CORRECTIONS_MAX)]
    reason: Annotated[Text, Field(min_length=1, examples=["wrong patient chosen at the modality"])]
    series_instance_uid: UidInBody | None = None
    sop_instance_uid: UidInBody | None = None


class Corrected(Shown):
    """The numbers of new corrections."""

    ids: list[int]


def add_corrections(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource(
        "corrections", "Corrections of studies: laid over what is shown and sent, while the received bytes stay."
    )

    @resource.get("/studies/{study}/corrections", "of_study", Permission.STUDY_VIEW)
    async def of_study(
        study: Uid, revoked: Annotated[bool, Query(description="Revoked ones too.")] = False
    ) -> CorrectionList:
        """The corrections of a study, its series and instances, the oldest first."""
        await study_contents.get_study(archive, study)
        found = await correct.list_corrections(archive, study, revoked_too=revoked)
        return CorrectionList(items=[_shown(one) for one in found])

    @resource.add("/studies/{study}/corrections", "add", Permission.STUDY_CORRECT)
    async def add_corrections_(study: Uid, asked: NewCorrections) -> Corrected:
        """Correct attributes in one step. What identifies objects and what pixels depend on stays."""
        attributes = tuple(_attribute(one) for one in asked.attributes)
        wanted = Corrections(
            study,
            attributes,
            asked.reason,
            current_access().name,
            series_uid=asked.series_instance_uid,
            sop_uid=asked.sop_instance_uid,
        )
        return Corrected(ids=list(await correct.add_corrections(archive, wanted)))

    @resource.delete("/corrections/{correction_id}", "revoke", Permission.STUDY_CORRECT)
    async def revoke(correction_id: NumberInPath) -> None:
        """Take a correction back: what was received shows again."""
        await correct.revoke_corrections(archive, [correction_id], actor=current_access().name)


def _attribute(asked: AskedAttribute) -> AttributeCorrection:
    """Raises InvalidRequestError."""
    text = asked.attribute
    try:
        tag = int(text, 16) if len(text) == _TAG_DIGITS else tag_of(text)
    except ValueError:
        tag = tag_of(text)
    vr = vr_of(tag) if tag is not None else ""
    if tag is None or not vr or vr in ("SQ", "UN"):
        raise InvalidRequestError(
            f"{text} is no attribute that can be corrected here; write a keyword such as PatientName."
        )
    return AttributeCorrection((tag,), vr, None if asked.values is None else tuple(asked.values))


def _shown(record: CorrectionRecord) -> ShownCorrection:
    attribute = record.attribute
    tag = attribute.path[0]
    name = keyword_of(tag) or f"{tag:08X}"
    nested = "".join(
        f".{part:08X}" if index % 2 == 0 else f"[{part}]" for index, part in enumerate(attribute.path[1:], 1)
    )
    values = attribute.value
    return ShownCorrection(
        id=record.id,
        study_instance_uid=record.study_uid,
        series_instance_uid=record.series_uid,
        sop_instance_uid=record.sop_uid,
        attribute=name + nested,
        vr=attribute.vr,
        values=None if values is None else [] if isinstance(values, bytes) else list(values),
        reason=record.reason,
        actor=record.actor,
        made_at=record.made_at,
        revoked_at=record.revoked_at,
        revoked_by=record.revoked_by,
    )
