"""What each DICOMweb resource offers to content negotiation, best first (PS3.18 8.7.3, 8.7.4, 10.4.4).

The lists go to `media_types.choose`. Their order is the server's liking: what is stored as it is stored, because that
costs nothing, before what must be encoded anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from fileroom.dicom import uids
from fileroom.dicomweb.media_types import AS_STORED, Representation

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
ZIP: Final = "application/zip"

METADATA_OFFERS: Final = (
    Representation(DICOM_JSON),
    Representation("application/json"),
    Representation(DICOM_XML, multipart=True),
)
"""Metadata and search results (PS3.18 table 8.7.3-3). The XML form has one part per instance or match."""

STORE_RESPONSE_OFFERS: Final = (
    Representation(DICOM_JSON),
    Representation("application/json"),
    Representation(DICOM_XML),
    Representation(DICOM_XML, multipart=True),
)
"""The answer of the Store transaction is one data set, which peers ask for with and without multipart/related."""

THUMBNAIL_OFFERS: Final = (
    Representation("image/jpeg"),
    Representation("image/png"),
    Representation("image/gif"),
)


def instance_offers(stored: Collection[str], encodable: Iterable[str], *, single: bool) -> tuple[Representation, ...]:
    """How instances can be sent.

    `stored` are the transfer syntaxes of the instances, `encodable` those into which each of them could be brought
    (Explicit VR Little Endian among them, if the pixel data can be decoded). `single` says that the resource is one
    instance, which may also travel without multipart/related.
    """
    syntaxes = [AS_STORED]
    web = {web_transfer_syntax(uid) for uid in stored}
    if len(web) == 1:
        syntaxes.extend(web)
    syntaxes.extend(uid for uid in encodable if uid not in web or len(web) > 1)
    if set(stored) == {uids.EXPLICIT_VR_BIG_ENDIAN}:
        # Not allowed in web services, but who names it wants these very bytes, and nobody else gets them by it.
        syntaxes.append(uids.EXPLICIT_VR_BIG_ENDIAN)
    packages = (True, False) if single else (True,)
    instances = [Representation(DICOM, multipart, syntax) for multipart in packages for syntax in syntaxes]
    return (*instances, *(Representation(ZIP, False, syntax) for syntax in syntaxes))


def pixel_data_offers(stored: str, encodable: Collection[str], *, frames: int) -> tuple[Representation, ...]:
    """How all frames of one instance can be sent: each a part, or uncompressed one behind the other as one value."""
    offered = frame_offers(stored, encodable, single=frames == 1)
    whole = Representation(uids.OCTET_STREAM, False, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    is_plain = not uids.transfer_syntax(stored).encapsulated or whole.transfer_syntax in encodable
    return (*offered, whole) if is_plain and frames > 1 else offered


def frame_offers(stored: str, encodable: Iterable[str], *, single: bool) -> tuple[Representation, ...]:
    """How frames of one instance can be sent. `single` says that one frame is asked for.

    A compressed frame goes out under its own media type, or as application/octet-stream for a peer that names its
    transfer syntax, or any (`transfer-syntax=*`), under that type.
    """
    packages = (True, False) if single else (True,)
    return tuple(
        Representation(media_type, multipart, uid)
        for media_type, uid in _frame_types(web_transfer_syntax(stored), encodable)
        for multipart in packages
    )


def bulk_data_offers(media_type: str = uids.OCTET_STREAM) -> tuple[Representation, ...]:
    """How one bulk data value other than pixel data can be sent; `media_type` is that of an encapsulated document."""
    syntax = uids.EXPLICIT_VR_LITTLE_ENDIAN
    kinds = dict.fromkeys((media_type.lower(), uids.OCTET_STREAM))
    return tuple(
        Representation(kind, multipart, syntax if kind == uids.OCTET_STREAM else None)
        for kind in kinds
        for multipart in (True, False)
    )


def rendered_offers(*, multi_frame: bool, several: bool) -> tuple[Representation, ...]:
    """How a rendered resource can be sent (PS3.18 table 8.7.4-1).

    `multi_frame`: more than one frame is to be shown in one image. `several`: the resource has more than one instance,
    so each is a part of multipart/related.
    """
    types = ("image/gif", "video/mp4") if multi_frame else ("image/jpeg", "image/png", "image/gif")
    return tuple(Representation(media_type, multipart=several) for media_type in types)


def web_transfer_syntax(stored: str) -> str:
    """The transfer syntax in which an instance that is `stored` so leaves "as stored".

    Implicit VR and big endian are not allowed in web services (PS3.18 8.7.3); they leave as Explicit VR Little Endian.
    """
    syntax = uids.transfer_syntax(stored)
    if syntax.explicit_vr and syntax.little_endian:
        return stored
    return uids.EXPLICIT_VR_LITTLE_ENDIAN


def _frame_types(stored: str, encodable: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Media type and transfer syntax of each form, without repeats."""
    own = uids.transfer_syntax(stored)
    # Frames of a deflated data set are inflated before they can be found; alone they are plain pixels.
    native = not own.encapsulated
    stored = uids.EXPLICIT_VR_LITTLE_ENDIAN if native else stored
    seen = {(own.media_type, stored)}
    yield own.media_type, stored
    if (uids.OCTET_STREAM, stored) not in seen:
        seen.add((uids.OCTET_STREAM, stored))
        yield uids.OCTET_STREAM, stored
    for uid in encodable:
        other = uids.transfer_syntax(uid)
        # Who asks for image/jpeg gets the lossy JPEG that there is, not the same loss wrapped in lossless JPEG.
        same_with_loss = own.lossy and own.media_type == other.media_type
        if (other.media_type, uid) not in seen and not same_with_loss:
            seen.add((other.media_type, uid))
            yield other.media_type, uid
