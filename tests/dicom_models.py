"""Hypothesis strategies for valid DICOM JSON objects (PS3.18 annex F), attributes of every VR, sequences nested."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

_LINE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="\\=^")
)
_WORDS = _LINE.filter(bool).map(lambda text: text[:12])
_CODE = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", min_size=1, max_size=16)
_UID = st.lists(st.integers(0, 99999), min_size=2, max_size=8).map(lambda parts: ".".join(map(str, parts)))
_F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
_F64 = st.floats(allow_nan=False, allow_infinity=False)
_NAME = st.fixed_dictionaries(
    {"Alphabetic": _WORDS}, optional={"Ideographic": _WORDS, "Phonetic": _WORDS}
) | st.fixed_dictionaries({"Ideographic": _WORDS})

_VALUES = {
    "AE": _CODE,
    "AS": st.integers(0, 999).map(lambda years: f"{years:03}Y"),
    "AT": st.integers(0, 2**32 - 1).map(lambda tag: f"{tag:08X}"),
    "CS": _CODE,
    "DA": st.dates().map(lambda day: f"{day.year:04}{day.month:02}{day.day:02}"),
    "DS": st.integers(-(10**9), 10**9) | st.decimals(-1000, 1000, places=3).map(float),
    "DT": st.datetimes().map(lambda moment: f"{moment.year:04}{moment:%m%d%H%M%S}"),
    "FL": _F32,
    "FD": _F64,
    "IS": st.integers(-(2**31), 2**31 - 1),
    "LO": _WORDS,
    "PN": _NAME,
    "SH": _WORDS,
    "SL": st.integers(-(2**31), 2**31 - 1),
    "SS": st.integers(-(2**15), 2**15 - 1),
    "SV": st.integers(-(2**63), 2**63 - 1),
    "TM": st.times().map(lambda time: f"{time:%H%M%S}"),
    "UC": _WORDS,
    "UI": _UID,
    "UL": st.integers(0, 2**32 - 1),
    "US": st.integers(0, 2**16 - 1),
    "UV": st.integers(0, 2**64 - 1),
}
_SINGLE = {"LT": _WORDS, "ST": _WORDS, "UT": _WORDS, "UR": _CODE}
_WORD_BYTES = {"OB": 2, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "UN": 2}

TAGS = {
    0x00080008: "CS",
    0x00080020: "DA",
    0x0008002A: "DT",
    0x00080030: "TM",
    0x00080050: "SH",
    0x00080054: "AE",
    0x00080119: "UC",
    0x00080120: "UR",
    0x00081030: "LO",
    0x0008041B: "OB",
    0x00089459: "FL",
    0x00100010: "PN",
    0x00101010: "AS",
    0x00104000: "LT",
    0x00181151: "IS",
    0x00186020: "SL",
    0x00189219: "SS",
    0x00189073: "FD",
    0x0020000D: "UI",
    0x00200032: "DS",
    0x00204000: "LT",
    0x00205000: "AT",
    0x00280010: "US",
    0x00281201: "OW",
    0x00287FE0: "UR",
    0x00400280: "ST",
    0x0040A160: "UT",
    0x00660016: "OF",
    0x00660040: "OL",
    0x00720076: "FL",
    0x0072007C: "SL",
    0x00720078: "UL",
    0x00720082: "SV",
    0x00720083: "UV",
    0x00720073: "OD",
    0x00720081: "OV",
}
_SEQUENCES = (0x00081140, 0x00400275, 0x0040A730)


def _attribute(vr: str) -> st.SearchStrategy[dict[str, object]]:
    if vr in _WORD_BYTES:
        size = _WORD_BYTES[vr]
        inline = st.integers(1, 4).flatmap(lambda words: st.binary(min_size=words * size, max_size=words * size))
        return inline.map(lambda raw: {"vr": vr, "InlineBinary": base64.b64encode(raw).decode()})
    values = st.lists(_SINGLE[vr], max_size=1) if vr in _SINGLE else st.lists(_VALUES[vr], max_size=3)
    return values.map(lambda found: {"vr": vr, "Value": found} if found else {"vr": vr})


_plain = st.sampled_from(sorted(TAGS)).flatmap(lambda tag: st.tuples(st.just(tag), _attribute(TAGS[tag])))


def _objects(pairs: st.SearchStrategy[tuple[int, dict[str, object]]]) -> st.SearchStrategy[dict[str, object]]:
    unique = st.lists(pairs, max_size=6, unique_by=lambda pair: pair[0])
    return unique.map(lambda found: {f"{tag:08X}": entry for tag, entry in sorted(found, key=lambda pair: pair[0])})


def _sequences(items: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[tuple[int, dict[str, object]]]:
    filled = st.lists(items, min_size=1, max_size=2).map(lambda found: {"vr": "SQ", "Value": found})
    return st.tuples(st.sampled_from(_SEQUENCES), filled)


models = st.recursive(_objects(_plain), lambda inner: _objects(_plain | _sequences(inner)), max_leaves=8)
"""DICOM JSON objects, attributes in ascending order."""
