"""Every script of PS3.5 annexes H, I, J and K, wrong sets, and text made fit for an index."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_charset_files

from fileroom.dicom import charset
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.part10 import parse_file_meta

ESC = b"\x1b"
EXAMPLES = {
    "H.3.1 Japanese, kanji by code extension": (
        rb"\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "H.3.2 Japanese, half-width katakana first": (
        rb"ISO 2022 IR 13\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "I.2 Korean": (
        rb"\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "J.1 Chinese in UTF-8": (rb"ISO_IR 192", "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
    "J.2 Chinese in GB18030": (rb"GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "J.3 Chinese in GBK": (rb"GBK", "Wang^XiaoDong=王^小东".encode("gbk"), "Wang^XiaoDong=王^小东"),
    "K.2 Chinese by code extension": (
        rb"\ISO 2022 IR 58",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
    "JIS X 0212": (rb"\ISO 2022 IR 159", b"\x1b$(D0!\x1b(B^A", "丂^A"),
    "Latin 1": (rb"ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    "Latin 2": (rb"ISO_IR 101", "Wałęsa^Łukasz".encode("iso8859_2"), "Wałęsa^Łukasz"),
    "Cyrillic": (rb"ISO_IR 144", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
    "Greek": (rb"ISO_IR 126", "Διονυσιος".encode("iso8859_7"), "Διονυσιος"),
    "Arabic": (rb"ISO_IR 127", "قباني^لنزار".encode("iso8859_6"), "قباني^لنزار"),
    "Hebrew": (rb"ISO_IR 138", "שרון^דבורה".encode("iso8859_8"), "שרון^דבורה"),
    "Turkish": (rb"ISO_IR 148", "Çavuşoğlu".encode("iso8859_9"), "Çavuşoğlu"),
    "Thai": (rb"ISO_IR 166", "นามสกุล^ชื่อ".encode("iso8859_11"), "นามสกุล^ชื่อ"),
    "Latin 9": (rb"ISO_IR 203", "Šœ€".encode("iso8859_15"), "Šœ€"),
    "Latin 1 and Cyrillic by code extension": (
        rb"ISO 2022 IR 100\ISO 2022 IR 144",
        b"J\xe9r\xf4me^" + ESC + b"-L" + "Люк".encode("iso8859_5") + b"^\xe9",
        "Jérôme^Люк^é",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_scripts_decode(name):
    terms, raw, expected = EXAMPLES[name]

    assert charset.decode_text_noted(raw, charset.character_set(terms)) == (expected, None)


@pytest.mark.parametrize("name", EXAMPLES)
def test_scripts_encode_to_what_decodes_to_the_same(name):
    terms, _, text = EXAMPLES[name]
    chosen = charset.character_set(terms)

    assert charset.decode_text(charset.encode_text(text, chosen), chosen) == text


@pytest.mark.parametrize("path", get_charset_files("*.dcm"), ids=lambda path: Path(path).stem)
def test_bundled_files_decode_as_pydicom_does(path):
    raw = Path(path).read_bytes()
    meta = parse_file_meta(raw, complete=True)
    ours = scan_header(raw[meta.data_set_offset :], meta.transfer_syntax, frozenset({0x00100010}), complete=True)
    theirs = str(pydicom.dcmread(path).get("PatientName", ""))

    assert ours.text(0x00100010).rstrip("=") == theirs.rstrip("=")


@pytest.mark.parametrize("terms", [b"ISO-IR 100", b"ISO IR 100", b"iso_ir 100 ", b"ISO 2022 IR 100", b"LATIN1"])
def test_misspelt_terms_are_understood(terms):
    assert charset.decode_text_noted(b"J\xe9r\xf4me", charset.character_set(terms)) == ("Jérôme", None)


def test_korean_as_the_only_term_starts_in_korean():
    chosen = charset.character_set(b"ISO 2022 IR 149")

    assert charset.decode_text(b"\xc8\xab^\xb1\xe6\xb5\xbf", chosen) == "홍^길동"


@pytest.mark.parametrize(
    ("terms", "raw", "expected"),
    [
        (b"KLINGON", "Müller".encode(), "Müller"),
        (b"KLINGON", b"M\xfcller", "Müller"),
        (b"", "Müller".encode(), "Müller"),
        (b"", b"M\xfcller", "Müller"),
        (b"ISO_IR 192", b"M\xfcller", "Müller"),
        (b"ISO_IR 192\\ISO 2022 IR 87", "山".encode(), "山"),
    ],
)
def test_wrong_sets_fall_back_and_say_so(terms, raw, expected):
    text, note = charset.decode_text_noted(raw, charset.character_set(terms))

    assert text == expected
    assert note is not None


def test_backslash_inside_a_character_is_not_a_separator():
    raw = "誠".encode("gbk") + b"\\" + "啊".encode("gb18030")

    assert charset.decode_text(raw, charset.character_set(b"GB18030")).split("\\") == ["誠", "啊"]


def test_text_that_does_not_fit_is_refused():
    with pytest.raises(UnicodeEncodeError):
        charset.encode_text("山田", charset.character_set(b"ISO_IR 100"))
    with pytest.raises(UnicodeEncodeError):
        charset.encode_text("ж", charset.character_set(rb"ISO 2022 IR 100\ISO 2022 IR 126"))
    with pytest.raises(UnicodeEncodeError):
        charset.encode_text("ж", charset.character_set(rb"ISO 2022 IR 100\ISO_IR 192"))


def test_index_text_has_no_nul_no_control_character_and_no_lone_surrogate():
    assert charset.clean("\0 A\x07B\x9f\ud800C \0") == "ABC".replace("C", "\ufffdC")
    assert charset.clean("山\u3000田") == "山\u3000田"
    assert charset.clean_lines("one\r\ntwo\0") == "one\r\ntwo"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([terms for terms, _, _ in EXAMPLES.values()]) | st.binary(max_size=30),
    st.binary(max_size=40) | st.lists(st.sampled_from([b"\x1b$B", b"\x1b(B", b"\x1b$)C", b"\xb0", b"A"])).map(b"".join),
)
def test_any_bytes_under_any_set_become_text_that_can_be_stored(terms, raw):
    text = charset.clean(charset.decode_text(raw, charset.character_set(terms)))

    assert "\0" not in text
    text.encode("utf-8")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["ISO_IR 192", "GB18030"]), st.text(st.characters(exclude_categories=["Cs"])))
def test_unicode_sets_round_trip_everything(term, text):
    chosen = charset.character_set(term.encode())

    assert charset.decode_text(charset.encode_text(text, chosen), chosen) == text
