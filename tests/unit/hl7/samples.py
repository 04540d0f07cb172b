"""Messages as senders write them, made up for these tests."""

from __future__ import annotations

ORM = (
    b"MSH|^~\\&|RIS|STJOHN|FILEROOM|STJOHN|20261122101500||ORM^O01^ORM_O01|4711|P|2.5.1|||AL|NE|DEU|8859/1\r"
    b"PID|1||10006579^^^STJOHN&1.2.276.0.76.3.1.1&ISO^MR~K7781^^^KV^SS||M\xfcller^Hans J\xfcrgen^^^Dr.||19650312|M|||"
    b"Hauptstra\xdfe 1^^K\xf6ln^^50667^DE||^PRN^PH^^49^221^1234567|||||V1||||||||||||||||||||\r"
    b"PV1|1|I|3A^312^1^STJOHN||||0815^Schmidt^Anna^^^Dr.|0816^Weber^Karl||RAD|||||||||V1|||||||||||||||||||||||||20261121080000\r"
    b"ORC|NW|P100^RIS|F100^FILEROOM|G1|SC||1^once^^20261122140000^^R||20261122101400|MTA1^Kurz^Eva||0815^Schmidt^Anna\r"
    b"OBR|1|P100^RIS|F100^FILEROOM|CTABD^CT Abdomen \\T\\ Becken^LOCAL|||20261122140000||||||"
    b"V.a. Divertikulitis\\.br\\CRP 120|||0815^Schmidt^Anna||A100|RP100|SPS100||||CT"
    b"|||1^once^^20261122140000^^R|||WHLC|Schmerzen||||20261122140000\r"
    b"ZDS|1.2.276.0.7230010.3.1.2.8323329.1000^Application^DICOM\r"
    b"ZXY|1|a^b&c~d|\xe4\r"
)
HEAD = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A08|7|P|2.5.1"


def adt(*segments: bytes, charset: bytes = b"", line_end: bytes = b"\r") -> bytes:
    """A message with these segments behind its header."""
    return line_end.join([HEAD + (b"||||||" + charset if charset else b""), *segments, b""])
