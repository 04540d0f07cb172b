"""What rules cost each object that arrives: `python -m benchmarks.rules`. No server, no database: `RuleSet.plan` alone.

Ten kinds of conditions, among them one about each single object, on the headers of a series of 2,000 objects.
"""

from __future__ import annotations

import datetime as dt
import time

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fileroom.admin.entries import Entry
from fileroom.archive.examine import Claim
from fileroom.dicom import uids
from fileroom.dicom.header_scan import ScannedHeader, scan_header
from fileroom.index.attributes import SCANNED_TAGS
from fileroom.routing.rule_set import RuleSet

OBJECTS = 2000
CONDITIONS = (
    'Modality == "MR" && StudyDescription.contains("X{n}")',
    'StationName == "S{n}"',
    'like(StudyDescription, "*x{n}*")',
    'Rows > 1{n}00 && Modality == "CT"',
    '"P{n}" in ImageType && now.hour >= 25',
    'association.calling == "A{n}"',
    'PatientName == "A^{n}"',
    "age_in_years() < 1 && SliceThickness < 0.{n}",
    'Modality == "CT" && InstanceNumber == 99{n}',
    "present(RequestAttributesSequence)",
)


def main() -> None:
    """Print microseconds per object for 0, 1 and 100 rules."""
    claim = Claim("1.2", "1.2.3", uids.EXPLICIT_VR_LITTLE_ENDIAN, "dimse", "CT1@10.0.0.1", "CT1", "FILEROOM")
    destinations = [Entry(1, "PACS", {"kind": "folder", "target": {}})]
    now = dt.datetime.now(dt.UTC)
    for count in (0, 1, 100):
        rules = RuleSet([_rule(number) for number in range(count)], destinations)
        headers = [_header(number, rules) for number in range(OBJECTS)]
        for header in headers[:1]:
            rules.plan(header, claim, now)
        began = time.process_time()
        for header in headers:
            rules.plan(header, claim, now)
        series = (time.process_time() - began) / OBJECTS
        began = time.process_time()
        for _ in range(OBJECTS):
            rules.plan(headers[0], claim, now)
        known = (time.process_time() - began) / OBJECTS
        print(
            f"{count:>4} rules: {series * 1e6:7.1f} us for each object of a series, {known * 1e6:6.1f} us for a known one"
        )


def _rule(number: int) -> Entry:
    when = CONDITIONS[number % len(CONDITIONS)].replace("{n}", str(number)) if number else 'Modality == "CT"'
    return Entry(100 + number, f"R{number:03}", {"when": when, "to": ["PACS"]})


def _header(number: int, rules: RuleSet) -> ScannedHeader:
    dataset = Dataset()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPInstanceUID = f"1.2.{number}"
    dataset.StudyDate = "20260101"
    dataset.Modality = "CT"
    dataset.StationName = "CT1"
    dataset.StudyDescription = "CT Thorax"
    dataset.PatientName = "Doe^John"
    dataset.PatientBirthDate = "19700101"
    dataset.SliceThickness = "1.25"
    dataset.InstanceNumber = number
    dataset.Rows = 512
    out = DicomBytesIO()
    out.is_little_endian = True
    out.is_implicit_VR = False
    write_dataset(out, dataset)
    tags = SCANNED_TAGS | rules.tags
    return scan_header(out.getvalue(), uids.EXPLICIT_VR_LITTLE_ENDIAN, tags, complete=True)


if __name__ == "__main__":
    main()
