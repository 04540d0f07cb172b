"""Media types and their negotiation for DICOMweb (PS3.18 8.7, RFC 9110 8.3.1 and 12.5.1).

`parse_media_type` reads a Content-Type, `parse_accept` an Accept header or the `accept` query parameter, and `choose`
picks from what the server offers. Which representations a resource offers, and in which order, is said in
`dicomweb.offers`; what each of them costs is the caller's business.

Peers write these fields loosely, so parsing is loose where the meaning is clear: `type=application/dicom` needs no
quotation marks although it holds a slash, `*` stands for `*/*`, and `q=.2` for `q=0.2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.limits import ACCEPT_CHARS_MAX, MEDIA_PARAMETERS_MAX, MEDIA_RANGES_MAX
from fileroom.dicom import uids

AS_STORED: Final = "*"
"""Transfer syntax of a representation that leaves every instance in the syntax it is stored in."""

DEFAULT_TRANSFER_SYNTAX: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application/dicom": uids.EXPLICIT_VR_LITTLE_ENDIAN,
        "application/octet-stream": uids.EXPLICIT_VR_LITTLE_ENDIAN,
        "image/jpeg": uids.JPEG_LOSSLESS_SV1,
        "image/dicom-rle": uids.RLE_LOSSLESS,
        "image/jls": uids.JPEG_LS_LOSSLESS,
        "image/jp2": uids.JPEG_2000_LOSSLESS,
        "image/jpx": uids.JPEG_2000_PART2_LOSSLESS,
        "image/jphc": uids.HTJ2K_LOSSLESS,
        "image/jxl": uids.JPEG_XL_LOSSLESS,
    }
)
"""What a media type without a transfer-syntax parameter asks for (PS3.18 tables 8.7.3-2, 8.7.3-4 and 8.7.3-5).

Video types are not in it: which of their syntaxes applies is a property of the stream, and nobody re-encodes it."""

_TEXT_TYPES: Final = frozenset({"application/dicom+json", "application/dicom+xml", "application/json"})
_ALIASES: Final = {"video/mpeg": "video/mpeg2"}  # PS3.18 has called MPEG-2 both
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "*"})

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE: Final = re.compile(rf"\s*({_NAME})(?:/({_NAME}))?\s*")
_PARAMETER: Final = re.compile(rf";\s*(?:({_NAME})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"]*))\s*)?", re.DOTALL)
_QUALITY: Final = re.compile(r"[01]|[01]?\.[0-9]{0,6}")
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_PLUS_LOST: Final = re.compile(r"\b(application/dicom) (json|xml)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MediaType:
    """`essence` is "type/subtype" in lower case; parameter names are in lower case, values without quotation marks."""

    essence: str
    parameters: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str) -> str | None:
        """The first parameter called `name` (lower case), or None."""
        return next((value for key, value in self.parameters if key == name), None)


@dataclass(frozen=True, slots=True)
class AcceptedType:
    """One member of an Accept list, with the type inside multipart/related taken out.

    `media_type` may be "*/*" or "image/*". `multipart` None means that the package does not matter ("*/*" alone).
    `transfer_syntax` is None where none was named, `AS_STORED` for "*".
    """

    media_type: str
    multipart: bool | None
    transfer_syntax: str | None = None
    charset: str | None = None
    quality: float = 1.0


@dataclass(frozen=True, slots=True)
class Representation:
    """One way in which a resource can be sent.

    `transfer_syntax` is a UID, `AS_STORED`, or None for types that have none (JSON, rendered images).
    """

    media_type: str
    multipart: bool = False
    transfer_syntax: str | None = None

    def body_content_type(self, boundary: str | None = None) -> str:
        """The Content-Type of the whole answer; a multipart one needs its `boundary`."""
        if self.multipart:
            return f'multipart/related; type="{self.media_type}"; boundary={boundary}'
        return self.part_content_type()

    def part_content_type(self, transfer_syntax: str | None = None) -> str:
        """The Content-Type of one part, or of the whole answer if there is one only.

        `transfer_syntax` tells the actual one where the representation says `AS_STORED`.
        """
        actual = transfer_syntax if self.transfer_syntax == AS_STORED else self.transfer_syntax
        return f"{self.media_type}; transfer-syntax={actual}" if actual else self.media_type


ANYTHING: Final = AcceptedType("*/*", None)


def parse_media_type(text: str) -> MediaType:
    """Read one media type, as in Content-Type.

    Raises:
        InvalidRequestError: it is not "type/subtype" with parameters.
        TooLargeError: it is longer than any real one.
    """
    _refuse_long(text)
    media_type, end = _media_type_at(text, 0)
    if end != len(text) or "*" in media_type.essence:
        raise InvalidRequestError(
            f"Content-Type {text[:200]!r} is not a media type; write type/subtype; name=value, as in application/dicom"
        )
    return media_type


def parse_accept(header: str | None, query: str | None = None) -> tuple[AcceptedType, ...]:
    """What the user agent accepts, from the Accept header and the `accept` query parameter (PS3.18 8.3.3.1).

    The query parameter, where given, stands in place of the header: links cannot choose the header that a browser
    sends. Nothing at all means that anything is accepted.

    Raises:
        InvalidRequestError: a member is not a media range, or a quality is not a number from 0 to 1.
        TooLargeError: the list has more characters or members than a real one.
    """
    text = _PLUS_LOST.sub(r"\1+\2", query) if query and query.strip() else header
    if text is None or not text.strip():
        return (ANYTHING,)
    _refuse_long(text)
    return tuple(_accepted(media_type) for media_type in _media_types(text)) or (ANYTHING,)


def choose(
    accepted: Iterable[AcceptedType], offered: Sequence[Representation], default_type: str | None = None
) -> Representation | None:
    """The offered representation that is accepted most gladly; None means 406 Not Acceptable.

    `offered` is in the order that the server likes, the stored transfer syntax first. The quality that counts for
    an offer is that of the most specific member that fits it (RFC 9110 12.5.1). Among equals, an offer whose transfer
    syntax was named or is the standard's default goes before one that merely has the right media type, which is sent
    only where the default cannot be made (PS3.18 8.7.3: only lossy or too large data are there). A full wildcard
    means `default_type` in its default transfer syntax (PS3.18 8.7.8.1, 8.7.8.2); without that, and with a part
    wildcard, the choice is the server's.
    """
    best: Representation | None = None
    best_score = (0.0, -1)
    members = tuple(accepted)
    for offer in offered:
        fits = [
            (_specificity(member), _syntax_rank(member, offer, default_type), member)
            for member in members
            if _fits(member, offer)
        ]
        if not fits:
            continue
        top = max((specificity, rank) for specificity, rank, _ in fits)
        quality = max(member.quality for specificity, rank, member in fits if (specificity, rank) == top)
        score = (quality, top[1])
        if quality > 0 and score > best_score:
            best, best_score = offer, score
    return best


def _refuse_long(text: str) -> None:
    if len(text) > ACCEPT_CHARS_MAX:
        raise TooLargeError(f"a media type list has {len(text)} characters; at most {ACCEPT_CHARS_MAX} are read")


def _media_types(text: str) -> Iterator[MediaType]:
    """The members of a comma-separated list; empty members are passed over (RFC 9110 5.6.1)."""
    pos = count = 0
    while pos < len(text):
        if text[pos] in ", \t\r\n":
            pos += 1
            continue
        media_type, pos = _media_type_at(text, pos)
        if pos < len(text) and text[pos] != ",":
            raise InvalidRequestError(f"Accept {text[:200]!r} is not a list of media types: unexpected {text[pos]!r}")
        count += 1
        if count > MEDIA_RANGES_MAX:
            raise TooLargeError(f"an Accept list has more than {MEDIA_RANGES_MAX} media types; name fewer")
        yield media_type


def _media_type_at(text: str, pos: int) -> tuple[MediaType, int]:
    """The media type that begins at `pos`, and where it ends."""
    match = _TYPE.match(text, pos)
    if match is None or (match[2] is None and match[1] != "*"):
        raise InvalidRequestError(f"{text[pos : pos + 100]!r} is not a media type; write type/subtype")
    essence = f"{match[1]}/{match[2] or '*'}".lower()
    parameters: list[tuple[str, str]] = []
    pos = match.end()
    while parameter := _PARAMETER.match(text, pos):
        pos = parameter.end()
        name, quoted, bare = parameter.groups()
        if name is None:
            continue
        if len(parameters) == MEDIA_PARAMETERS_MAX:
            raise TooLargeError(f"media type {essence!r} has more than {MEDIA_PARAMETERS_MAX} parameters")
        parameters.append((name.lower(), bare if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)))
    return MediaType(essence, tuple(parameters)), pos


def _accepted(media_type: MediaType) -> AcceptedType:
    multipart: bool | None = False
    essence = media_type.essence
    if essence == "multipart/related":
        multipart, essence = True, (media_type.parameter("type") or "*/*").strip().lower()
        if essence.count("/") != 1:
            raise InvalidRequestError(
                f'multipart/related; type="{essence[:100]}" names no media type; write type/subtype'
            )
    elif essence == "multipart/*":
        multipart, essence = True, "*/*"
    elif essence == "*/*":
        multipart = None
    charset = media_type.parameter("charset")
    essence = _ALIASES.get(essence, essence)
    return AcceptedType(
        media_type=essence,
        multipart=multipart,
        transfer_syntax=media_type.parameter("transfer-syntax") or None,
        charset=charset.lower() if charset else None,
        quality=_quality(media_type.parameter("q")),
    )


def _quality(text: str | None) -> float:
    if text is None:
        return 1.0
    if not _QUALITY.fullmatch(text) or text == ".":
        raise InvalidRequestError(f"q={text[:20]!r} in Accept is not a quality; write a number from 0 to 1")
    return min(float(text), 1.0)


def _fits(member: AcceptedType, offer: Representation) -> bool:
    if member.multipart is not None and member.multipart != offer.multipart:
        return False
    if not _type_fits(member.media_type, offer.media_type.lower()):
        return False
    if member.charset is not None and offer.media_type in _TEXT_TYPES and member.charset not in _CHARSETS:
        return False
    asked = member.transfer_syntax
    return asked is None or offer.transfer_syntax is None or asked in (AS_STORED, offer.transfer_syntax)


def _type_fits(pattern: str, media_type: str) -> bool:
    if pattern in ("*/*", media_type):
        return True
    return pattern.endswith("/*") and media_type.startswith(pattern[:-1])


def _specificity(member: AcceptedType) -> int:
    """RFC 9110 12.5.1: an exact type goes before a part wildcard before a full one; a parameter adds to it."""
    of_type = 0 if member.media_type == "*/*" else 2 if member.media_type.endswith("/*") else 4
    return of_type * 2 + (member.multipart is not None) + (member.transfer_syntax not in (None, AS_STORED)) * 2


def _syntax_rank(member: AcceptedType, offer: Representation, default_type: str | None) -> int:
    """1 where the offer's transfer syntax is what the member means, 0 where it is only the best that can be had."""
    if member.transfer_syntax is not None or offer.transfer_syntax is None:
        return 1
    if member.media_type == "*/*" and default_type is not None:
        if offer.media_type != default_type:
            return 0
    elif "*" in member.media_type:
        return 1
    return int(DEFAULT_TRANSFER_SYNTAX.get(offer.media_type) == offer.transfer_syntax)
