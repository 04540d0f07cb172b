"""In which transfer syntax an object leaves: without loss, unless loss was allowed in so many words."""

from __future__ import annotations

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.archive.outgoing import SAME_VALUES
from fileroom.core.errors import UnsupportedError
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.pixels.encoders import targets
from fileroom.pixels.header_values import value_of
from fileroom.pixels.transcode import can_transcode
from fileroom.routing.made_object import MadeObject
from fileroom.transform.changes import record_changes, shallow
from fileroom.transform.charset import text_fits
from fileroom.transform.derived_uids import derived_uid
from fileroom.transform.steps import Context

_PREDECESSOR = ("121320", "DCM", "Uncompressed predecessor")


def is_lossy(syntax: str) -> bool:
    """Whether it is written with loss."""
    target = targets().get(syntax)
    return target is not None and bool(target.method)


def target_syntax(made: MadeObject, wanted: str, *, lossy: bool) -> str:
    """The wanted transfer syntax; the one that the object has where it cannot be had in that (films, objects without pixels).

    Raises UnsupportedError where a lossy one is wanted that was not allowed.
    """
    plain = made.plain_syntax
    if not wanted or wanted == plain:
        return plain
    if is_lossy(wanted) and not lossy:
        raise UnsupportedError("Loss of information was not allowed; nothing is sent with loss.")
    if {wanted, plain} <= SAME_VALUES:
        return wanted
    if made.parts.pixels is None:
        return plain
    keyword = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}.get(made.parts.pixels.tag, "PixelData")
    may = can_transcode(plain, wanted, made.dataset, pixel_keyword=keyword, lossy=lossy)
    return wanted if may else plain


def as_lossy_copy(dataset: Dataset, context: Context, *, anonymous: bool) -> Dataset:
    """A copy with loss is another image (PS3.3 C.7.6.1.1.5): a new UID, DERIVED, and what it was made of."""
    made = shallow(dataset)
    sop = str(value_of(dataset, "SOPInstanceUID") or "")
    image_type = value_of(dataset, "ImageType")
    kinds = (
        [str(one) for one in image_type]
        if image_type is not None and not isinstance(image_type, str)
        else ["", "PRIMARY"]
    )
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = _PREDECESSOR
    source = Dataset()
    source.ReferencedSOPClassUID = str(value_of(dataset, "SOPClassUID") or "")
    source.ReferencedSOPInstanceUID = sop
    source.PurposeOfReferenceCodeSequence = [purpose]
    for keyword, value in (
        ("SOPInstanceUID", derived_uid(context.installation_uid, context.scope, "lossy", sop)),
        ("ImageType", ["DERIVED", *kinds[1:]]),
        ("DerivationDescription", "Compressed with loss on the way"),
        ("SourceImageSequence", Sequence([source])),
    ):
        tag = tag_of(keyword) or 0
        made[tag] = DataElement(tag, vr_of(tag), value)
    if not anonymous:
        record_changes(dataset, made, context)
    return text_fits(made)
