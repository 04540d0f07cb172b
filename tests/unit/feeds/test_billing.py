"""Charges: once an order is performed or reported, taken back when that is; accounts; read by others than us."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hl7apy.parser import parse_message as parse_by_hl7apy

import hl7
from fileroom.archive.services import Archive
from fileroom.feeds.billing import tell_charges
from fileroom.feeds.feeds import FeedSet, put_feed, read_feeds
from fileroom.feeds.inbox import receive_message
from fileroom.hl7.message import Message, parse_message


def message(kind: str, control_id: str, *segments: str) -> bytes:
    head = f"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||{kind}|{control_id}|P|2.5.1||||||UNICODE UTF-8"
    return "\r".join((head, *segments, "")).encode()


def order(
    control: str, state: str = "", *, number: str = "1", name: str = "Müller^Anna", control_id: str = ""
) -> bytes:
    return message(
        "OMI^O23^OMI_O23",
        control_id or f"{control}{state}{number}",
        f"PID|1||P1^^^HOSP^MR||{name}||19700203|F",
        "PV1|1|I|W1^1^A||||7^Boss^Bea||||||||||||V1^^^HOSP",
        f"ORC|{control}|PL{number}^RIS|FL{number}^RIS||{state}|||||||D1^Amsel^Ruth",
        f"OBR|1|PL{number}^RIS|FL{number}^RIS|CTHEAD^CT head^L|||||||||||||||||||||||||||^Headache",
        f"IPC|ACC{number}|RP{number}|2.25.7{number}|ST{number}|CT",
    )


@dataclass
class Billing:
    """A feed that bills, and what it was told."""

    archive: Archive

    async def tell(self, raw: bytes) -> None:
        feeds = await read_feeds(self.archive.pool)
        assert feeds.built_in is not None
        answer = parse_message(await receive_message(self.archive, feeds.built_in, raw, address="127.0.0.1"))
        assert answer.get("MSA-1") == "AA", answer.text

    async def told(self, feed: str = "money") -> list[Message]:
        """All that was queued, oldest first, after a round."""
        await tell_charges(self.archive, await read_feeds(self.archive.pool))
        async with self.archive.pool.connection() as connection:
            cursor = await connection.execute(b"SELECT raw FROM hl7_outgoing WHERE feed = %s ORDER BY id", (feed,))
            return [parse_message(bytes(row[0])) for row in await cursor.fetchall()]

    async def run(self, statement: str) -> None:
        async with self.archive.pool.connection() as connection:
            await connection.execute(statement.encode())

    async def feed(self, billing: str, accounts: str = "no", name: str = "money") -> FeedSet:
        fields = {"direction": "out", "host": "127.0.0.1", "port": 9, "billing": billing, "billing_accounts": accounts}
        await put_feed(self.archive, name, fields)
        feeds = await read_feeds(self.archive.pool)
        assert await tell_charges(self.archive, feeds) == 0
        return feeds

    async def complete(self, number: str = "1", state: str = "completed") -> None:
        await self.run(
            f"UPDATE imaging_order SET state = '{state}', changed_at = now() WHERE placer_number = 'PL{number}'"
        )


@pytest.fixture
async def billing(archive: Archive) -> Billing:
    return Billing(archive)


def summary(told: list[Message]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.get("FT1-6"), one.get("FT1-2").partition(".")[2]) for one in told]


async def test_an_order_that_is_performed_is_charged_once(billing: Billing) -> None:
    await billing.feed("performed")
    await billing.tell(order("NW"))
    assert await billing.told() == []
    await billing.complete()
    [charge] = await billing.told()
    assert len(await billing.told()) == 1
    assert (charge.kind, charge.get("FT1-6"), charge.get("FT1-10")) == ("DFT^P03", "CG", "1")
    assert (charge.get("FT1-7.1"), charge.get("FT1-25.2")) == ("CTHEAD", "CT head")
    assert (charge.get("ORC-2"), charge.get("FT1-23"), charge.get("OBR-18")) == ("PL1", "FL1", "ACC1")
    assert (charge.get("FT1-21.2"), charge.get("FT1-19.2")) == ("Amsel", "Headache")
    assert (charge.get("PID-3.1"), charge.get("PV1-19"), charge.get("PID-18")) == ("P1", "V1", "V1")
    assert len(charge.get("FT1-4")) >= 8
    assert parse_by_hl7apy(charge.raw.decode(), find_groups=True).validate()
    read = hl7.parse(charge.raw.decode())
    assert str(read.segment("PID")[5]) == "Müller^Anna^^^^^L"
    assert str(read.segment("FT1")[7]) == "CTHEAD^CT head^L"


async def test_what_is_taken_back_is_credited_and_may_be_charged_anew(billing: Billing) -> None:
    await billing.feed("performed")
    await billing.tell(order("NW"))
    await billing.complete()
    await billing.told()
    await billing.complete(state="scheduled")
    await billing.told()
    await billing.complete()
    await billing.complete(state="completed")
    told = await billing.told()
    assert summary(told) == [("DFT^P03", "CG", "1"), ("DFT^P03", "CR", "1"), ("DFT^P03", "CG", "2")]
    assert len({one.control_id for one in told}) == 3


async def test_a_charge_waits_for_the_final_report_where_the_feed_says_so(billing: Billing) -> None:
    await billing.feed("reported")
    await billing.tell(order("NW"))
    await billing.complete()
    await billing.run(
        """INSERT INTO report (imaging_order, source, state, created_by, changed_by)
           SELECT id, 'hl7', 'preliminary', 'x', 'x' FROM imaging_order"""
    )
    assert await billing.told() == []
    await billing.run("UPDATE report SET state = 'final', changed_at = now()")
    await billing.told()
    await billing.run("UPDATE report SET state = 'corrected', changed_at = now()")
    assert summary(await billing.told()) == [("DFT^P03", "CG", "1")]
    await billing.run("UPDATE report SET state = 'cancelled', changed_at = now()")
    assert summary(await billing.told())[1:] == [("DFT^P03", "CR", "1")]


async def test_what_was_due_before_the_feed_billed_is_not_its_own(billing: Billing) -> None:
    await billing.tell(order("NW"))
    await billing.complete()
    await billing.feed("performed")
    await billing.complete(state="completed")
    assert await billing.told() == []
    await billing.complete(state="scheduled")
    assert await billing.told() == []
    await billing.complete()
    assert summary(await billing.told()) == [("DFT^P03", "CG", "1")]


async def test_the_account_is_told_before_its_charges_and_when_it_has_changed(billing: Billing) -> None:
    await billing.feed("performed", "yes")
    await billing.tell(order("NW"))
    await billing.complete()
    await billing.told()
    await billing.tell(order("NW", number="2"))
    await billing.complete("2")
    await billing.told()
    await billing.tell(order("NW", number="3", name="Meier^Anna"))
    await billing.complete("3")
    told = await billing.told()
    assert [one.kind for one in told] == ["BAR^P01", "DFT^P03", "DFT^P03", "BAR^P05", "DFT^P03"]
    assert told[3].get("PID-5.1") == "Meier"
    for one in (told[0], told[3]):
        assert parse_by_hl7apy(one.raw.decode(), find_groups=True).validate()
    assert len({one.control_id for one in told}) == 5


async def test_two_visits_are_two_accounts(billing: Billing) -> None:
    await billing.feed("performed", "yes")
    for number, visit in (("1", b"V20260000001^"), ("2", b"V20260000002^")):
        await billing.tell(order("NW", number=number).replace(b"V1^", visit))
        await billing.complete(number)
    told = await billing.told()
    assert [one.kind for one in told] == ["BAR^P01", "DFT^P03", "BAR^P01", "DFT^P03"]
    assert [one.get("PID-18") for one in told[::2]] == ["V20260000001", "V20260000002"]
    assert len({one.control_id for one in told}) == 4


async def test_each_feed_is_told_by_itself(billing: Billing) -> None:
    await billing.feed("performed")
    await billing.feed("reported", name="later")
    await billing.tell(order("NW"))
    await billing.complete()
    assert len(await billing.told()) == 1
    assert await billing.told("later") == []
