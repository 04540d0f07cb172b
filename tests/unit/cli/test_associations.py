"""`fileroom associations`: the list, one association, and questions that make no sense."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_rows import Cause, Direction
from fileroom.core.clock import system_now
from fileroom.db.pool import open_pool
from fileroom.net.association_handler import AssociationEnd, EndKind, PeerAddress
from fileroom.ul.items import PresentationContextProposal
from fileroom.ul.pdu import CALLED_AET_NOT_RECOGNIZED, AssociateRQ
from unit.cli.conftest import Run

REQUEST = AssociateRQ("OTHER", "CT1", (PresentationContextProposal(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),))


@pytest.fixture
def rejected(empty_archive: Path, empty_database: str) -> None:
    """A caller that gave a wrong called AE title."""

    async def write() -> None:
        pool = await open_pool(empty_database)
        ledger = Ledger(pool, system_now)
        journal = ledger.begin(Direction.IN, PeerAddress("10.0.0.1", 40000))
        journal.requested(REQUEST)
        journal.answered(REQUEST, CALLED_AET_NOT_RECOGNIZED, Cause.NONE)
        journal.ended(AssociationEnd(EndKind.REJECTED, "rejected", REQUEST, bytes_received=200))
        await ledger.flush()
        await pool.close()

    asyncio.run(write())


def test_what_failed_is_listed_with_the_reason_and_shown_with_the_next_step(rejected: None, run: Run) -> None:
    listed = run("associations", "--failed", "--since", "1h", "--json")
    assert listed.code == 0, listed.err
    [entry] = json.loads(listed.out)
    assert (entry["calling_aet"], entry["outcome"], entry["mark"]) == ("CT1", "rejected", "failed")
    assert entry["advice"][0]["what"] == "CT1 called OTHER, but this archive is called FILEROOM."
    shown = run("associations", "show", entry["id"])
    assert shown.code == 0, shown.err
    assert "Correct the called AE title at the device" in shown.out
    assert "Verification SOP Class: no answer" in shown.out
    whole = json.loads(run("associations", "show", entry["id"], "--json").out)
    assert whole["contexts"][0]["abstract_syntax"] == "1.2.840.10008.1.1"


def test_the_list_is_narrowed(rejected: None, run: Run) -> None:
    assert len(json.loads(run("associations", "--aet", "CT1", "--json").out)) == 1
    for options in (("--aet", "MR1"), ("--patient", "NOBODY"), ("--until", "1h")):
        assert json.loads(run("associations", *options, "--json").out) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--since", "yesterday"), "no day or moment"),
        (("--after", "x"), "no place"),
        (("--node", "CT9"), "no node named CT9"),
        (("show", "4711"), "no association 4711"),
    ],
)
def test_what_makes_no_sense_is_refused(empty_archive: Path, run: Run, arguments: tuple[str, ...], word: str) -> None:
    outcome = run("associations", *arguments)
    assert outcome.code == 2
    assert word in outcome.err
