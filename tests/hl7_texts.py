"""Messages of our own making, as senders write them."""

from __future__ import annotations

from fileroom.hl7.message import Message, parse_message

PID = "PID|1||4711^^^HOSP^MR~123456789^^^SSA^SS||Muster^Anna^Maria^jun.^Dr.||19700301|F"
PV1 = "PV1|1|I|W1^101^A^HOSP||||1^Boss^Bea^^^Prof.|2^Ruf^Rolf|||||||||||V100|||||||||||||||||||||||||202611220800"


def header(kind: str, sender: str = "RIS|HOSP", version: str = "2.5") -> str:
    """An MSH, in UTF-8."""
    return f"MSH|^~\\&|{sender}|FILEROOM|PACS|20261122101500||{kind}|MSG1|P|{version}||||||UNICODE UTF-8"


def message(kind: str, *segments: str, sender: str = "RIS|HOSP", version: str = "2.5") -> Message:
    """A message of that kind."""
    return parse_message("\r".join([header(kind, sender, version), *segments, ""]).encode())
