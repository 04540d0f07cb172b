"""Text: right and wrong character sets (PS3.3 C.12.1.1.2), control characters, bad dates and numbers, wrong VRs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from corpus.elements import CHARACTER_SET, EXPLICIT, IMPLICIT, PATIENT_ID, PATIENT_NAME, SIDE, SOP_INSTANCE, STUDY, Body
from corpus.odd import OddObject, from_body, kept, refused

_ESC: Final = b"\x1b"
_SINGLE_BYTE: Final = (
    # name, term, Python codec, a name in it
    ("latin-1", "ISO_IR 100", "latin-1", "Buñuel^Þórður Ærø"),
    ("latin-2", "ISO_IR 101", "iso8859-2", "Łukaszewicz^Břetislav"),
    ("latin-3", "ISO_IR 109", "iso8859-3", "Ĉiuĵaŭda^Ħal"),
    ("latin-4", "ISO_IR 110", "iso8859-4", "Ģēbelis^Ņina"),
    ("latin-5", "ISO_IR 148", "iso8859-9", "Çavuşoğlu^İnci"),
    ("latin-9", "ISO_IR 203", "iso8859-15", "Œuvrard^Žofie"),
    ("greek", "ISO_IR 126", "iso8859-7", "Διονυσίου^Ηλέκτρα"),
    ("cyrillic", "ISO_IR 144", "iso8859-5", "Люксембургская^Юлия"),
    ("arabic", "ISO_IR 127", "iso8859-6", "قباني^نزار"),
    ("hebrew", "ISO_IR 138", "iso8859-8", "שרון^דבורה"),
    ("thai", "ISO_IR 166", "tis-620", "สมหญิง^จันทร์เพ็ญ"),
    ("utf-8", "ISO_IR 192", "utf-8", "Wáng^小東=王^小東=Ωμέγα^🙂"),
    ("gb18030", "GB18030", "gb18030", "Wang^XiaoDong=王^小东=𠀀^㐀"),
    ("gbk", "GBK", "gbk", "Wang^XiaoDong=王^小东="),
    ("katakana", "ISO_IR 13", "shift_jis", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
)
_ASCII_ESC: Final = _ESC + b"(B"


def _ir87(text: str) -> bytes:
    """Kanji, with the escapes of PS3.5 6.1.2.5: to JIS X 0208 and back to ASCII."""
    return _ESC + b"$B" + bytes(b & 0x7F for b in text.encode("euc_jp")) + _ASCII_ESC


def _ir159(text: str) -> bytes:
    """JIS X 0212: three bytes in EUC, of which the first is a shift."""
    return _ESC + b"$(D" + bytes(b & 0x7F for b in text.encode("euc_jp") if b != 0x8F) + _ASCII_ESC


def _ir149(text: str) -> bytes:
    return _ESC + b"$)C" + text.encode("euc_kr")


def _ir58(text: str) -> bytes:
    return _ESC + b"$)A" + text.encode("gb2312")


_CODE_EXTENSIONS: Final = (
    ("japanese-ir87", "\\ISO 2022 IR 87",
     b"Yamada^Tarou=" + _ir87("山田") + b"^" + _ir87("太郎") + b"=" + _ir87("やまだ") + b"^" + _ir87("たろう"),
     "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    # Inside an escape the bytes of そ are "$=", those of 昇 are ">:": no delimiters.
    ("japanese-equals-inside", "\\ISO 2022 IR 87",
     b"Minase^Sora=" + _ir87("水無瀬") + b"^" + _ir87("空") + b"=" + _ir87("みなせ") + b"^" + _ir87("そら"),
     "Minase^Sora=水無瀬^空=みなせ^そら"),
    ("japanese-ir13-ir87", "ISO 2022 IR 13\\ISO 2022 IR 87",
     "ﾔﾏﾀﾞ^ﾀﾛｳ=".encode("shift_jis") + _ESC + b"$B" + bytes(b & 0x7F for b in "山田".encode("euc_jp")) + _ESC + b"(J^"
     + _ESC + b"$B" + bytes(b & 0x7F for b in "太郎".encode("euc_jp")) + _ESC + b"(J",
     "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
    ("japanese-ir159", "\\ISO 2022 IR 87\\ISO 2022 IR 159",
     b"Marumo^Ichi=" + _ir159("丂丄") + b"^" + _ir87("一"), "Marumo^Ichi=丂丄^一"),
    ("korean-ir149", "\\ISO 2022 IR 149",
     b"Hong^Gildong=" + _ir149("洪") + b"^" + _ir149("吉洞") + b"=" + _ir149("홍") + b"^" + _ir149("길동"),
     "Hong^Gildong=洪^吉洞=홍^길동"),
    ("chinese-ir58", "\\ISO 2022 IR 58",
     b"Zhang^XiaoDong=" + _ir58("张") + b"^" + _ir58("小东") + b"=", "Zhang^XiaoDong=张^小东="),
    ("latin-and-cyrillic", "ISO 2022 IR 100\\ISO 2022 IR 144",
     "Müller^".encode("latin-1") + _ESC + b"-L" + "Юрий".encode("iso8859-5"), "Müller^Юрий"),
    ("latin-and-greek", "ISO 2022 IR 100\\ISO 2022 IR 126",
     "Né=".encode("latin-1") + _ESC + b"-F" + "Φοίβη".encode("iso8859-7"), "Né=Φοίβη"),
    ("ascii-and-arabic", "\\ISO 2022 IR 127", b"Nizar=" + _ESC + b"-G" + "نزار".encode("iso8859-6"), "Nizar=نزار"),
    ("ascii-and-hebrew", "\\ISO 2022 IR 138", b"Dvora=" + _ESC + b"-H" + "דבורה".encode("iso8859-8"), "Dvora=דבורה"),
    ("ascii-and-thai", "\\ISO 2022 IR 166", b"Som=" + _ESC + b"-T" + "สม".encode("tis-620"), "Som=สม"),
    ("ascii-and-latin-5", "\\ISO 2022 IR 148", b"Can=" + _ESC + b"-M" + "Işık".encode("iso8859-9"), "Can=Işık"),
    ("japanese-and-korean", "\\ISO 2022 IR 87\\ISO 2022 IR 149",
     b"Mixed^Name=" + _ir87("山") + b"^" + _ir149("길"), "Mixed^Name=山^길"),
)  # fmt: skip


def objects() -> Iterator[OddObject]:
    """About 190 objects."""
    yield from _right_sets()
    yield from _wrong_sets()
    yield from _control_characters()
    yield from _overlong()
    yield from _bad_values()
    yield from _wrong_vrs()


def _right_sets() -> Iterator[OddObject]:
    why = "a right character set: the name must read as it was meant"
    for coder_name, coder in (("explicit", EXPLICIT), ("implicit", IMPLICIT)):
        for name, term, codec, text in _SINGLE_BYTE:
            body = Body(f"charset/{name}-{coder_name}", coder).put(CHARACTER_SET, "CS", term)
            body.put(PATIENT_NAME, "PN", text.encode(codec))
            yield from_body(body, kept(why, firm=name not in ("latin-9", "gbk"), patient_name=text))
        for name, term, raw, text in _CODE_EXTENSIONS:
            body = (
                Body(f"charset/{name}-{coder_name}", coder).put(CHARACTER_SET, "CS", term).put(PATIENT_NAME, "PN", raw)
            )
            yield from_body(body, kept(why, patient_name=text))
    # In these sets the second byte of a character may be a backslash, a caret or an equals sign.
    for name, term, raw, text in (
        ("gb18030-5c", "GB18030", "乗^俓".encode("gb18030"), "乗^俓"),
        ("gbk-5c", "GBK", "乗^俓".encode("gbk"), "乗^俓"),
    ):
        body = Body(f"charset/{name}").put(CHARACTER_SET, "CS", term).put(PATIENT_NAME, "PN", raw)
        yield from_body(body, kept("bytes inside a character are no delimiters", firm=False, patient_name=text))


def _wrong_sets() -> Iterator[OddObject]:
    why = "a wrong character set spoils the display, never the object"
    latin = "Müller^Jörg".encode("latin-1")
    for name, term in (
        ("unknown", "ISO_IR 999"), ("misspelt-no-blank", "ISO_IR100"), ("lower-case", "iso_ir 100"),
        ("dash", "ISO-IR 100"), ("windows-1252", "WINDOWS-1252"), ("python-name", "latin_1"), ("ir-6", "ISO_IR 6"),
        ("ir-6-2022", "ISO 2022 IR 6"), ("empty", ""), ("only-backslash", "\\"), ("ten-values", "\\".join(["ISO_IR 100"] * 10)),
        ("utf-8-misnamed", "UTF-8"), ("utf-8-and-more", "ISO_IR 192\\ISO 2022 IR 87"), ("utf-16", "ISO_IR 1000"),
        ("with-nul", "ISO_IR 100\0"), ("trailing-blanks", "ISO_IR 100   "), ("path", "../../codec"),
        ("utf-8-declared-latin-sent", "ISO_IR 192"), ("ascii-declared-latin-sent", "ISO_IR 6"),
    ):  # fmt: skip
        body = Body(f"charset/wrong-{name}").put(CHARACTER_SET, "CS", term).put(PATIENT_NAME, "PN", latin)
        yield from_body(body, kept(why))
    yield from_body(Body("charset/missing-but-latin").put(PATIENT_NAME, "PN", latin), kept(why))
    yield from_body(Body("charset/missing-but-utf-8").put(PATIENT_NAME, "PN", "Müller^🙂".encode()), kept(why))
    for name, term, raw in (
        ("cut-utf-8", "ISO_IR 192", "Müller^李".encode()[:-1]),
        ("overlong-utf-8", "ISO_IR 192", b"A\xc0\xaf\xc0\xaeB"),
        ("surrogate-utf-8", "ISO_IR 192", b"A\xed\xa0\x80B"),
        ("bom-utf-8", "ISO_IR 192", b"\xef\xbb\xbfOdd^Bom"),
        ("cut-gb18030", "GB18030", "王^小东".encode("gb18030")[:-1]),
        ("cut-escape", "\\ISO 2022 IR 87", b"Yamada=" + _ESC),
        ("cut-escape-2", "\\ISO 2022 IR 87", b"Yamada=" + _ESC + b"$"),
        ("unknown-escape", "\\ISO 2022 IR 87", b"Yamada=" + _ESC + b"%Gabc"),
        ("undeclared-escape", "\\ISO 2022 IR 87", b"Hong=" + _ir149("홍")),
        ("no-escape-back", "\\ISO 2022 IR 87", b"Yamada=" + _ir87("山田")[:-3] + b"^"),
        ("half-kanji", "\\ISO 2022 IR 87", b"Yamada=" + _ESC + b"$B\x3b" + _ASCII_ESC),
        ("escape-in-single-byte", "ISO_IR 100", b"M\xfcller" + _ESC + b"-LX"),
        ("all-bytes", "ISO_IR 100", bytes(range(256))),
        ("all-high-bytes-utf-8", "ISO_IR 192", bytes(range(128, 256))),
    ):
        body = Body(f"charset/broken-{name}").put(CHARACTER_SET, "CS", term).put(PATIENT_NAME, "PN", raw)
        yield from_body(body, kept(why))


def _control_characters() -> Iterator[OddObject]:
    why = "control characters are kept in the object and shown as nothing"
    fields = (("name", PATIENT_NAME, "PN"), ("patient-id", PATIENT_ID, "LO"), ("accession", 0x00080050, "SH"))
    for name, character in (
        ("nul", b"\0"), ("bell", b"\a"), ("backspace", b"\b"), ("tab", b"\t"), ("newline", b"\r\n"),
        ("form-feed", b"\f"), ("escape", _ESC), ("delete", b"\x7f"), ("c1", b"\x85\x9b"),
    ):  # fmt: skip
        for field, tag, vr in fields:
            yield from_body(Body(f"control/{name}-in-{field}").put(tag, vr, b"Od" + character + b"d"), kept(why))
    for field, tag, vr in fields:
        yield from_body(Body(f"control/padded-with-nul-{field}").put(tag, vr, b"Odd\0\0\0"), kept(why))
        yield from_body(Body(f"control/only-nul-{field}").put(tag, vr, b"\0\0\0\0"), kept(why))


def _overlong() -> Iterator[OddObject]:
    why = "too long for its VR (PS3.5 6.2), cut only in the index"
    for vr, tag, value in (
        ("AE", 0x00080054, "A" * 40), ("AS", 0x00101010, "0123Y456"), ("CS", 0x00080060, "C" * 80),
        ("DA", 0x00080020, "2024022912345"), ("DS", 0x00180050, "1." + "3" * 60), ("IS", 0x00200013, "1" * 40),
        ("LO", 0x00081030, "L" * 4000), ("PN", PATIENT_NAME, "P" * 900 + "^" + "G" * 900), ("SH", 0x00080050, "S" * 500),
        ("TM", 0x00080030, "112233.123456789"), ("ST", 0x00080081, "T" * 9000), ("LT", 0x00104000, "L" * 20000),
        ("SH", 0x00200010, "I" * 64), ("LO", 0x0008103E, "D" * 60000),
    ):  # fmt: skip
        yield from_body(Body(f"overlong/{vr.lower()}-{tag:08x}").put(tag, vr, value), kept(why))
    yield from_body(
        Body("overlong/2000-values").put(0x00080008, "CS", "\\".join(f"V{n}" for n in range(2000))), kept(why)
    )
    yield from_body(Body("overlong/text-with-percent-s").put(0x00081030, "LO", "%s%s%n%x {0} ${jndi:x}"), kept(why))


def _bad_values() -> Iterator[OddObject]:
    for kind, tag, vr, values in (
        ("date", 0x00080020, "DA", (
            "20240230", "20241301", "20240000", "00000000", "99999999", "2024.02.29", "2024-02-29", "29022024", "202402",
            "2024", "20230229", "today", "20240101-20240131", "-20240101", "20240229\\20240301", " 20240229", "", "1",
        )),
        ("time", 0x00080030, "TM", (
            "250000", "246000", "115960", "235960", "11:22:33", "1122", "11", "112233.", "112233.1234567", "112233+0100",
            "noon", "-112233", "112233,5", "1 1 2 ", "", "00", "112233.0000000000",
        )),
        ("birth-date", 0x00100030, "DA", ("18000101", "20991231", "1970", "19700231", "01/02/1970", "?")),
        ("decimal", 0x00180050, "DS", ("1,5", "NaN", "Infinity", "1e999", "-", "1.0mm", "0x10", "", "+1", "1.5E+2", "1 2")),
        ("integer", 0x00200013, "IS", ("1.0", "1.5", "99999999999999", "-99999999999", "one", "0x1F", "", "+7", "007", "1\\2")),
        ("series-number", 0x00200011, "IS", ("A", "1e3", "-1", "2147483648", " 12 ")),
        ("age", 0x00101010, "AS", ("42", "42Y", "999Z", "-01Y", "")),
        ("sex", 0x00100040, "CS", ("male", "X", "FM", "1")),
    ):  # fmt: skip
        for index, value in enumerate(values):
            body = Body(f"value/{kind}-{index:02d}").put(tag, vr, value)
            yield from_body(body, kept(f"{kind} {value!r} is not right, but only an attribute"))


def _wrong_vrs() -> Iterator[OddObject]:
    why = "the VR is not that of the dictionary; the element is still where its length says"
    two, four = EXPLICIT.number(SIDE), EXPLICIT.number(SIDE, "I")
    for name, tag, vr, value in (
        ("rows-as-ul", 0x00280010, "UL", four), ("rows-as-ss", 0x00280010, "SS", two), ("rows-as-is", 0x00280010, "IS", b"16"),
        ("rows-as-un", 0x00280010, "UN", two), ("name-as-lo", PATIENT_NAME, "LO", b"Odd^Object"),
        ("name-as-un", PATIENT_NAME, "UN", b"Odd^Object"), ("name-as-ob", PATIENT_NAME, "OB", b"Odd^Object"),
        ("id-as-is", PATIENT_ID, "IS", b"ODD-7"), ("id-as-un", PATIENT_ID, "UN", b"ODD-UN-1"),
        ("date-as-lo", 0x00080020, "LO", b"20240229"), ("date-as-dt", 0x00080020, "DT", b"20240229112233"),
        ("time-as-un", 0x00080030, "UN", b"112233"), ("modality-as-sh", 0x00080060, "SH", b"CT"),
        ("number-as-us", 0x00200013, "US", EXPLICIT.number(1)), ("number-as-ds", 0x00200013, "DS", b"1.0"),
        ("charset-as-lo", CHARACTER_SET, "LO", b"ISO_IR 100"), ("spacing-as-fd", 0x00280030, "FD", b"\0" * 16),
        ("unknown-zz", 0x00081030, "ZZ", b"Unknown VR in short form"),
    ):  # fmt: skip
        yield from_body(Body(f"vr/{name}").put(tag, vr, value), kept(why))
    for name, vr in (("lower-case", "lo"), ("blank", "  "), ("question", "??"), ("nul", "\0\0"), ("dash", "--")):
        body = Body(f"vr/{name}").put(0x00081030, vr, "Which length is mine?")
        yield from_body(body, refused("what is no VR does not tell where its length stands", "C000", firm=False))
    body = Body("vr/instance-uid-as-un")
    yield from_body(body.put(SOP_INSTANCE, "UN", body.sop_instance), kept(why))
    body = Body("vr/instance-uid-as-lo")
    yield from_body(body.put(SOP_INSTANCE, "LO", body.sop_instance), kept(why))
    yield from_body(Body("vr/study-uid-as-sh").put(STUDY, "SH", "2.25.4711"), kept(why))
    pixels = bytes(SIDE * SIDE * 2)
    yield from_body(Body("vr/pixels-as-ob").put(0x7FE00010, "OB", pixels), kept(why))
    yield from_body(Body("vr/pixels-as-un").put(0x7FE00010, "UN", pixels), kept(why))
    yield from_body(Body("vr/sequence-as-un").raw(0x00081140, EXPLICIT.element(0x00081140, "UN", b"")), kept(why))
