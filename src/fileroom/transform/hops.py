"""The hop record: an object that was changed on the way says so in its Contributing Equipment (PS3.3 C.12.1.1.5).

An item of the sequence names the installation by its Device UID (0018,1002). Whoever gets the object again can count how
often it has been through here, and stop a loop of rules.
"""

from __future__ import annotations

import struct
from typing import Final

from pydicom.dataset import Dataset

from fileroom.pixels.header_values import items, value_of

_DEVICE_UID: Final = 0x00181002


def hops_of(header: bytes | Dataset, installation_uid: str) -> int:
    """How often an object was changed by the installation on its way. Never fails.

    `header` are the encoded elements before Pixel Data (of a deflated data set: inflated), in any encoding, or the data
    set. In bytes the UID is searched for; nothing is parsed, and an object that was never here costs microseconds.
    """
    if isinstance(header, Dataset):
        found = items(header, "ContributingEquipmentSequence")
        return sum(str(value_of(item, "DeviceUID") or "") == installation_uid for item in found)
    uid = installation_uid.encode("ascii", "replace")
    if uid not in header:
        return 0
    value = uid + b"\0" * (len(uid) % 2)
    return sum(header.count(head + value) for head in _element_heads(len(value)))


def _element_heads(length: int) -> tuple[bytes, ...]:
    """The header of Device UID in implicit VR, explicit VR, and explicit VR big endian."""
    group, number = _DEVICE_UID >> 16, _DEVICE_UID & 0xFFFF
    return (
        struct.pack("<HHI", group, number, length),
        struct.pack("<HH2sH", group, number, b"UI", length),
        struct.pack(">HH2sH", group, number, b"UI", length),
    )
