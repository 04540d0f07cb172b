"""Invented patients, their doctors and the hospital. Names are made up; nobody is meant.

Each patient's names are written in a character set of PS3.3 C.12.1.1.2 that real systems send, so that every page and
every answer shows whether names survive their way.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

HOSPITAL: Final = "Fileroom General Hospital"
CLINIC: Final = "Lindenhof Clinic"
ISSUER: Final = "FILEROOM"


@dataclass(frozen=True, slots=True)
class Person:
    """A patient: `name` in VR PN (PS3.5 6.2), `character_set` as in (0008,0005)."""

    key: str
    patient_id: str
    name: str
    character_set: tuple[str, ...]
    birth: dt.date
    sex: str
    height_m: float
    weight_kg: float
    referrer: str
    institution: str = HOSPITAL


SOERENSEN: Final = Person(
    "soerensen",
    "FR-100127",
    "Sørensen^Frøya^Ingeborg",
    ("ISO_IR 100",),
    dt.date(1958, 3, 14),
    "F",
    1.68,
    71.0,
    "Bergström^Åke^^Dr.",
)
YUKIMURA: Final = Person(
    "yukimura",
    "FR-100342",
    "Yukimura^Haruka=雪村^遥=ゆきむら^はるか",
    ("", "ISO 2022 IR 87"),
    dt.date(1987, 11, 2),
    "F",
    1.59,
    52.5,
    "Minase^Mio=水無瀬^澪=みなせ^みお",
)
SEO: Final = Person(
    "seo",
    "FR-100418",
    "Seo^Naraeul=徐^나래울=서^나래울",
    ("", "ISO 2022 IR 149"),
    dt.date(1971, 7, 25),
    "M",
    1.74,
    78.0,
    "Ma^Byeolha=馬^별하=마^별하",
    CLINIC,
)
LIN: Final = Person(
    "lin",
    "FR-100555",
    "Lin^Qiuyue=林^秋月=",
    ("GB18030",),
    dt.date(1969, 1, 30),
    "F",
    1.63,
    58.0,
    "Jiang^Wanqing=江^晚晴=",
)
LEBEDEVA: Final = Person(
    "lebedeva",
    "FR-100689",
    "Лебедянская^Тамара^Игнатьевна",
    ("ISO_IR 144",),
    dt.date(1949, 9, 8),
    "F",
    1.61,
    66.0,
    "Громовой^Савва^Лукич",
)
KALLIAS: Final = Person(
    "kallias",
    "FR-100731",
    "Καλλιάρης^Φοίβος",
    ("ISO_IR 126",),
    dt.date(1996, 5, 19),
    "M",
    1.81,
    83.0,
    "Δροσινού^Μελίνα",
    CLINIC,
)
NAJJAR: Final = Person(
    "najjar",
    "FR-100804",
    "النجاري^سليم",
    ("ISO_IR 127",),
    dt.date(1963, 12, 11),
    "M",
    1.76,
    88.0,
    "الحكيمي^ليلى",
)
ECHEVERRIA: Final = Person(
    "echeverria",
    "FR-100923",
    "Echevarrieta Muñoz^Íñigo^^Don",
    ("ISO_IR 100",),
    dt.date(1952, 2, 28),
    "M",
    1.71,
    74.0,
    "Núñez Peñalba^Begoña^^Dra.",
)
WISNIEWSKA: Final = Person(
    "wisniewska",
    "FR-101006",
    "Wiśniowiecka-Żółtowska^Łucja",
    ("ISO_IR 192",),
    dt.date(1979, 4, 4),
    "F",
    1.70,
    64.0,
    "Okonkwo^Adaeze^^Dr.",
)

PEOPLE: Final = (SOERENSEN, YUKIMURA, SEO, LIN, LEBEDEVA, KALLIAS, NAJJAR, ECHEVERRIA, WISNIEWSKA)


@dataclass(frozen=True, slots=True)
class Device:
    """A modality of the hospital."""

    manufacturer: str
    model: str
    station: str
    ae_title: str
    serial: str
    software: str
    department: str = "Radiology"


CT_SCANNER: Final = Device("Meridian Imaging", "Helix 128", "CT-EAST-1", "CT_EAST_1", "H128-20417", "VB42.1")
MR_SCANNER: Final = Device("Meridian Imaging", "Tesla Clear 3T", "MR-NORTH-2", "MR_NORTH_2", "TC3-00871", "NX 9.3")
PET_SCANNER: Final = Device(
    "Meridian Imaging", "Helix PET 4R", "PETCT-1", "PETCT_1", "HP4-00112", "VB42.1", "Nuclear Medicine"
)
GAMMA_CAMERA: Final = Device("Scintilla", "Twin Head 2", "NM-1", "NM_1", "TH2-3309", "6.0.4", "Nuclear Medicine")
ECHO: Final = Device("Sonance", "Aria 9", "US-CARD-3", "US_CARD_3", "A9-55210", "3.8", "Cardiology")
CR_READER: Final = Device("Lumen Works", "Plate Reader 5", "CR-WARD-1", "CR_WARD_1", "PR5-0093", "2.11")
DX_ROOM: Final = Device("Lumen Works", "Flatline DR", "DX-ROOM-4", "DX_ROOM_4", "FDR-1180", "5.2")
MAMMOGRAPH: Final = Device("Lumen Works", "Mira 3", "MG-1", "MG_1", "M3-0417", "4.1.7", "Breast Centre")
ANGIO: Final = Device("Meridian Imaging", "Cathlab 20", "XA-CATH-1", "XA_CATH_1", "CL20-77", "11.2", "Cardiology")
WORKSTATION: Final = Device("Fileroom", "Reporting Desk", "READ-07", "READ_07", "RD-0007", "0.1")
