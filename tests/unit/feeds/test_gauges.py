"""What waits on the RIS side, as numbers on the System page and in metrics."""

from __future__ import annotations

from fileroom.archive.services import Archive
from fileroom.feeds.gauges import read_ris_gauges

ROWS = b"""
INSERT INTO study_exception (study_instance_uid, reasons, state) VALUES
    ('1.2.1', '[{"code": "accession_unknown", "values": {}}, {"code": "patient_unknown", "values": {}}]', 'open'),
    ('1.2.2', '[{"code": "patient_unknown", "values": {}}]', 'open'),
    ('1.2.3', '[{"code": "patient_unknown", "values": {}}]', 'dismissed');
INSERT INTO hl7_outgoing (feed, control_id, kind, raw, made_at, state) VALUES
    ('ward', '1', 'ADT^A08', 'x', now() - interval '90 seconds', 'waiting'), ('ward', '2', 'ADT^A08', 'x', now(), 'waiting'),
    ('ward', '3', 'ADT^A08', 'x', now(), 'dead'), ('ris', '4', 'ADT^A08', 'x', now(), 'sent')"""


async def test_what_waits_is_counted(archive: Archive) -> None:
    nothing = await read_ris_gauges(archive)
    assert (nothing.exceptions, nothing.unmatched, nothing.waiting) == ({}, 0, {})
    async with archive.pool.connection() as connection:
        for statement in ROWS.split(b";"):
            await connection.execute(statement)
    now = await read_ris_gauges(archive)
    assert now.exceptions == {"accession_unknown": 1, "patient_unknown": 2}
    assert now.unmatched == 2
    assert (now.waiting, now.dead, now.failed) == ({"ward": 2}, {"ward": 1}, {})
    assert 90 <= now.oldest_s["ward"] < 3600
