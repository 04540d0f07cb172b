"""Destinations kept by name: what they name must be there, secrets are sealed and stay where they were, kinds of others."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fileroom.admin.entries import EditedMeanwhileError
from fileroom.admin.nodes import Node, add_node
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.core.settings import Settings
from fileroom.routing import destinations
from fileroom.routing.contract import DestinationContract
from fileroom.routing.destinations import put_destination
from fileroom.routing.kinds import all_kinds

HOOK = {"kind": "webhook", "target": {"url": "https://x.example/hook", "secret": "a secret of many characters"}}


@pytest.fixture
def archive(archive: Archive, tmp_path: Path) -> Archive:
    return Archive(archive.store, archive.writer, archive.pool, Settings(data=tmp_path / "data"), archive.now)


async def test_a_destination_from_beginning_to_end(archive: Archive) -> None:
    await add_node(archive.pool, Node("PACS", "PACS", "127.0.0.1", 104))
    fields = {"kind": "dicom", "target": {"node": "PACS"}, "lanes_max": 4, "throttle": {"mbit_s": 2.5}}
    made = await put_destination(archive, "A", fields, new=True)
    assert (made.lanes_max, made.throttle.mbit_s, made.state) == (4, 2.5, "enabled")
    assert (await destinations.hold_destination(archive, "A")).state == "held"
    assert (await destinations.release_destination(archive, "A")).state == "enabled"
    assert (await destinations.set_destination_enabled(archive, "A", enabled=False)).state == "disabled"
    assert [one.name for one in await destinations.list_destinations(archive)] == ["A"]
    assert [one.version for one in await destinations.destination_versions(archive, "A")] == [4, 3, 2, 1]
    with pytest.raises(EditedMeanwhileError):
        await put_destination(archive, "A", fields, version=1)
    await destinations.remove_destination(archive, "A")
    with pytest.raises(NotFoundError):
        await destinations.get_destination(archive, "A")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "dicom", "target": {"node": "NOBODY"}},
        {"kind": "nothing", "target": {}},
        {"kind": "folder", "target": {"path": "/etc"}},
        {"kind": "folder", "target": {"path": "x"}, "treatment": "none of that name"},
        {"kind": "folder", "target": {"path": "x"}, "schedule": "none of that name"},
        {"kind": "folder", "target": {"path": "x"}, "lanes_max": 17},
        {"kind": "folder", "target": {"path": "x"}, "confirmation": "commitment"},
        {"kind": "folder", "target": {"path": "x"}, "throttle": {"mbit": 1}},
        {"kind": "folder", "target": "x"},
        {"kind": "folder", "target": {"path": "x"}, "colour": "red"},
        {"kind": "pool", "target": {"members": ["NOBODY"]}},
    ],
)
async def test_what_cannot_work_is_not_kept(archive: Archive, wrong: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await put_destination(archive, "A", wrong)
    assert await destinations.list_destinations(archive) == []


async def test_a_secret_is_sealed_and_not_shown(archive: Archive) -> None:
    await put_destination(archive, "H", HOOK)
    shown = await destinations.get_destination(archive, "H")
    assert shown.target["secret"] == "secret"
    assert (await destinations.read_destinations(archive))["H"].target["secret"] == HOOK["target"]["secret"]
    async with archive.pool.connection() as connection:
        rows = await (await connection.execute(b"SELECT r::text FROM named_entry r")).fetchall()
        versions = await (await connection.execute(b"SELECT r::text FROM named_entry_version r")).fetchall()
        events = await (await connection.execute(b"SELECT e::text FROM audit_event e")).fetchall()
    assert events
    assert "many characters" not in str([rows, versions, events])
    assert "many characters" not in repr((await destinations.read_destinations(archive))["H"])


async def test_a_kept_secret_goes_nowhere_else(archive: Archive) -> None:
    await put_destination(archive, "H", HOOK)
    kept = {"url": "https://x.example/hook", "secret": "secret", "attributes": ["Modality"]}
    await put_destination(archive, "H", {"kind": "webhook", "target": kept})
    assert (await destinations.read_destinations(archive))["H"].target["secret"] == HOOK["target"]["secret"]
    with pytest.raises(InvalidRequestError, match="again"):
        await put_destination(archive, "H", {"kind": "webhook", "target": {**kept, "url": "https://evil.example/"}})
    with pytest.raises(InvalidRequestError, match="again"):
        await put_destination(archive, "NEW", {"kind": "webhook", "target": kept})


async def test_what_a_rule_names_is_not_removed(archive: Archive) -> None:
    from fileroom.routing.rules import put_rule

    await put_destination(archive, "F", {"kind": "folder", "target": {"path": "x"}})
    await put_rule(archive, "all", {"when": "true", "to": ["F"]})
    with pytest.raises(ConflictError, match="rule all"):
        await destinations.remove_destination(archive, "F")


async def test_a_probe_tells_what_answered(archive: Archive) -> None:
    await put_destination(archive, "F", {"kind": "folder", "target": {"path": "x"}})
    await put_destination(archive, "H", {"kind": "webhook", "target": {"url": "http://127.0.0.1:9/"}})
    assert (await destinations.probe_destination(archive, "F")).is_there
    found = await destinations.probe_destination(archive, "H")
    assert not found.is_there
    assert "cannot be reached" in found.answer


async def test_who_may(archive: Archive) -> None:
    await put_destination(archive, "F", {"kind": "folder", "target": {"path": "x"}})
    everything_else = frozenset(Permission) - {Permission.ROUTING_MANAGE}
    with acting_as(Access(ActorKind.PERSON, "ada", everything_else, account_id=1)):
        await destinations.get_destination(archive, "F")
        await destinations.probe_destination(archive, "F")
        for work in (
            put_destination(archive, "G", HOOK),
            destinations.hold_destination(archive, "F"),
            destinations.set_destination_enabled(archive, "F", enabled=False),
            destinations.remove_destination(archive, "F"),
        ):
            with pytest.raises(NotAllowedError):
                await work
    with acting_as(Access(ActorKind.PERSON, "bob", frozenset(), account_id=2)), pytest.raises(NotAllowedError):
        await destinations.list_destinations(archive)


# --- kinds of third parties ---

PACKAGE = """
import contextlib
from fileroom.core.errors import InvalidRequestError, PeerRefusedError
from fileroom.routing.destination_kind import Confirmation, Outcome, OutcomeKind
from fileroom.routing.opening import open_file

SHELVES = {}

class Shelf:
    name = "shelf"
    secrets = frozenset({"key"})
    confirmations = frozenset({Confirmation.ANSWER, Confirmation.COUNT})

    def check(self, target):
        if set(target) - {"shelf", "key"} or not all(isinstance(one, str) for one in target.values()):
            raise InvalidRequestError("A shelf has the fields shelf and key, both texts.")
        if not target.get("shelf"):
            raise InvalidRequestError("A shelf needs the field shelf, for example A7.")
        return dict(target)

    def describe(self, target):
        return f"shelf {target['shelf']}"

    @contextlib.asynccontextmanager
    async def open(self, context):
        if context.target["shelf"] == "burnt":
            raise PeerRefusedError("The shelf has burnt down.")
        yield Session(SHELVES.setdefault(context.target["shelf"], {}))

    async def probe(self, context):
        async with self.open(context):
            return "It stands."

class Session:
    def __init__(self, shelf):
        self.shelf = shelf

    async def send(self, batch, settle):
        for one in batch:
            found = await open_file(one)
            if isinstance(found, Outcome):
                settle(one, found)
                continue
            try:
                data = b"".join([piece async for piece in found.chunks])
            except Exception as error:
                settle(one, Outcome(OutcomeKind.REFUSED, str(error)))
                continue
            self.shelf[one.sop_instance_uid] = data
            settle(one, Outcome(OutcomeKind.TAKEN, sent_bytes=len(data)))

    async def confirm(self, batch):
        return {one.delivery_id: Outcome(OutcomeKind.TAKEN) for one in batch if one.sop_instance_uid in self.shelf}

SHELF = Shelf()
UNNAMED = object()
"""
POINTS = """[fileroom.destinations]
shelf = hospital_shelf:SHELF
dicom = hospital_shelf:SHELF
unnamed = hospital_shelf:UNNAMED
missing = no_such_module_of_anybody:KIND
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a kind that works and three that do not, as pip would leave it."""
    site = tmp_path / "site"
    (site / "hospital_shelf-1.0.dist-info").mkdir(parents=True)
    (site / "hospital_shelf.py").write_text(PACKAGE)
    (site / "hospital_shelf-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: hospital-shelf\nVersion: 1.0\n"
    )
    (site / "hospital_shelf-1.0.dist-info" / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(site))
    all_kinds.cache_clear()
    yield
    all_kinds.cache_clear()
    sys.modules.pop("hospital_shelf", None)


def test_a_kind_that_is_broken_hurts_no_other(installed: None) -> None:
    found = all_kinds()
    assert "shelf" in found.usable
    assert {"dicom", "stow", "folder", "bucket", "mail", "webhook", "pool"} <= set(found.usable)
    assert found.usable["dicom"].name == "dicom"
    assert type(found.usable["dicom"]).__module__ == "fileroom.routing.dicom_destination"
    assert {one.name for one in found.broken} == {"dicom", "unnamed", "missing"}
    assert all(one.package == "hospital-shelf" and one.reason for one in found.broken)


async def test_a_kind_of_a_third_party_is_used_like_ours(installed: None, archive: Archive) -> None:
    await put_destination(archive, "S", {"kind": "shelf", "target": {"shelf": "A7", "key": "very secret"}})
    (shown,) = await destinations.list_destinations(archive)
    assert (shown.leads_to, shown.target["key"]) == ("shelf A7", "secret")
    assert (await destinations.probe_destination(archive, "S")).answer == "It stands."
    all_kinds.cache_clear()
    sys.path[:] = [one for one in sys.path if not one.endswith("/site")]
    assert (await destinations.get_destination(archive, "S")).leads_to == ""  # Its package was removed: still listed.
    assert not (await destinations.probe_destination(archive, "S")).is_there


class TestShelf(DestinationContract):
    """The contract, as the package's own tests would run it."""

    @pytest.fixture(autouse=True)
    def _kind(self, installed: None) -> None:
        type(self).kind = all_kinds().usable["shelf"]

    @pytest.fixture
    def target(self, _kind: None) -> Mapping[str, Any]:
        return {"shelf": "A7", "key": "very secret"}

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        return list(sys.modules["hospital_shelf"].SHELVES.get(target["shelf"], {}))

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "shelf": "burnt"}
