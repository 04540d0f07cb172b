"""The contract of a kind of destination, as tests that every kind must pass; for packages of third parties too.

    from fileroom.routing.contract import DestinationContract

    class TestFax(DestinationContract):
        kind = FAX

        @pytest.fixture
        def target(self, fax_server): ...      a target that works, with a secret in it where the kind has one
        async def received(self, target) -> list[str]: ...      SOP Instance UIDs that are there now, in their order

and, where they can be brought about, `gone(target)` (a target whose other end does not answer) and `refusing(target)` (one that
takes nothing for good). It needs pytest and pytest-asyncio (asyncio_mode = auto), no database, and stores nothing itself.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from fileroom.archive.retrieve import OpenedObject
from fileroom.archive.services import Archive
from fileroom.core.clock import system_now
from fileroom.core.errors import FileroomError, InvalidObjectError, InvalidRequestError, PeerError, ServiceError
from fileroom.core.settings import Settings
from fileroom.routing.destination_kind import (
    Confirmation,
    DestinationKind,
    KindContext,
    Outcome,
    OutcomeKind,
)
from fileroom.routing.kinds import describe_target
from fileroom.routing.outgoing import OutgoingObject

CT: str = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE: str = "1.2.840.10008.1.2.1"
TIMEOUT_S: float = 20.0
_GOOD = (OutcomeKind.TAKEN, OutcomeKind.WARNED)


@dataclass(frozen=True, slots=True)
class SampleObject:
    """An object that leaves, made in memory. `broken`: it cannot be opened; `cut`: it breaks in the middle of its bytes."""

    delivery_id: int
    data: bytes = field(repr=False)
    broken: bool = False
    cut: bool = False
    dataset: Dataset = field(default_factory=Dataset, repr=False)

    @property
    def study_instance_uid(self) -> str:
        """As in its attributes."""
        return str(self.dataset.StudyInstanceUID)

    @property
    def series_instance_uid(self) -> str:
        """As in its attributes."""
        return str(self.dataset.SeriesInstanceUID)

    @property
    def sop_instance_uid(self) -> str:
        """As in its attributes."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def sop_class_uid(self) -> str:
        """As in its attributes."""
        return str(self.dataset.SOPClassUID)

    @property
    def transfer_syntax_uid(self) -> str:
        """As in its file meta information."""
        return EXPLICIT_LITTLE

    @property
    def file_bytes(self) -> int:
        """Of the file."""
        return len(self.data)

    async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> OpenedObject:
        """A file; a bare data set is not needed by any kind but C-STORE."""
        del transfer_syntax, part10
        if self.broken:
            raise InvalidObjectError(f"{self.sop_instance_uid} cannot be decoded")
        return OpenedObject(EXPLICIT_LITTLE, len(self.data), None, self._pieces())

    async def header(self) -> Dataset:
        """Without pixels."""
        return self.dataset

    async def _pieces(self) -> AsyncIterator[bytes]:
        half = len(self.data) // 2
        yield self.data[:half]
        if self.cut:
            raise InvalidObjectError(f"{self.sop_instance_uid} is truncated")
        yield self.data[half:]


def sample_objects(
    number: int = 3, *, study: str = "1.2.826.0.1.3680043.2.1143.77", **attributes: Any
) -> list[SampleObject]:
    """Objects of one study, small, in their order."""
    return [sample_object(index, study, **attributes) for index in range(1, number + 1)]


def sample_object(
    index: int, study: str, *, broken: bool = False, cut: bool = False, **attributes: Any
) -> SampleObject:
    """One CT image of 8 x 8 pixels; `attributes` by keyword."""
    dataset = Dataset()
    usual: dict[str, Any] = {
        "SOPClassUID": CT,
        "SOPInstanceUID": f"{study}.1.{index}",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "PatientName": "CONTRACT^TEST",
        "PatientID": "CONTRACT-1",
        "PatientBirthDate": "19700101",
        "StudyDate": "20260101",
        "StudyTime": "120000",
        "AccessionNumber": "A-1",
        "StudyID": "1",
        "ReferringPhysicianName": "",
        "PatientSex": "O",
        "Modality": "CT",
        "SeriesNumber": 1,
        "InstanceNumber": index,
        "Rows": 8,
        "Columns": 8,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }
    for keyword, value in (usual | attributes).items():
        setattr(dataset, keyword, value)
    dataset.add_new(0x7FE00010, "OW", bytes(128))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    header: Dataset = dcmread(io.BytesIO(out.getvalue()), stop_before_pixels=True)
    return SampleObject(index, out.getvalue(), broken, cut, header)


class Settled:
    """Takes down what was settled, in its order."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Outcome]] = []

    def __call__(self, outgoing: OutgoingObject, outcome: Outcome) -> None:
        """As a lane gives it to a session."""
        self.calls.append((outgoing.delivery_id, outcome))

    @property
    def by_id(self) -> dict[int, Outcome]:
        """Outcomes by delivery."""
        return dict(self.calls)

    @property
    def kinds(self) -> list[OutcomeKind]:
        """In the order of the objects' deliveries."""
        return [outcome.kind for _, outcome in sorted(self.calls, key=lambda one: one[0])]


class DestinationContract:
    """Subclass it as `class TestNAME(DestinationContract)`, set `kind`, and give a fixture `target` and `received`."""

    kind: ClassVar[DestinationKind]
    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings of the archive that the kind is given."""
    keeps_objects: ClassVar[bool] = True
    """False for kinds that only tell of objects (mail, webhook): they need not open them."""

    # --- what a subclass gives ---

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        """SOP Instance UIDs that are at the destination now, in the order in which they came, each as often as it is there."""
        raise NotImplementedError

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The target with another end that does not answer; None where there is no such thing."""
        del target
        return None

    def refusing(self, target: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The target of something that takes nothing, for good; None where there is no such thing."""
        del target
        return None

    def archive(self, folder: Path) -> Archive:
        """What the kind stands on: settings with a data folder of the test's own; a kind that needs more makes it here."""
        settings = Settings(data=folder / "data", **dict(self.settings))
        nothing: Any = None
        return Archive(nothing, nothing, nothing, settings, system_now)

    def context(self, target: Mapping[str, Any], tmp_path: Path) -> KindContext:
        """As a lane gives it."""
        return KindContext(self.archive(tmp_path), "contract", self.kind.check(target))

    async def send(self, target: Mapping[str, Any], tmp_path: Path, objects: Sequence[OutgoingObject]) -> Settled:
        """Send in a session of its own."""
        settled = Settled()
        async with asyncio.timeout(TIMEOUT_S), self.kind.open(self.context(target, tmp_path)) as session:
            await session.send(objects, settled)
        return settled

    # --- fields ---

    def test_it_has_a_name_a_way_of_proof_and_names_its_secrets(self) -> None:
        """A kind without these cannot be configured."""
        assert self.kind.name.isidentifier()
        assert self.kind.name == self.kind.name.lower()
        assert self.kind.confirmations <= set(Confirmation)
        assert self.kind.confirmations
        assert all(isinstance(one, str) for one in self.kind.secrets)

    def test_the_normal_form_stays_as_it_is(self, target: Mapping[str, Any]) -> None:
        """What is stored is checked again each time it is read from a file of the configuration."""
        checked = self.kind.check(target)
        assert self.kind.check(checked) == checked
        assert json.loads(json.dumps(checked)) == checked

    def test_unknown_fields_are_refused(self, target: Mapping[str, Any]) -> None:
        """A misspelt field must not be taken silently."""
        for wrong in ({**target, "no_such_field": 1}, {}):
            error = _refusal(self.kind, wrong)
            assert str(error), "say which field, and what would be right"

    def test_fields_of_a_wrong_type_are_refused(self, target: Mapping[str, Any]) -> None:
        """With a sentence, not with a traceback."""
        for name in target:
            _refusal(self.kind, {**target, name: {"a": ["table"]}})

    def test_its_description_holds_no_secret(self, target: Mapping[str, Any]) -> None:
        """Descriptions stand on pages and in logs."""
        checked = self.kind.check(target)
        described = describe_target(self.kind, checked)
        assert described
        assert len(described) <= 2000
        for name in self.kind.secrets:
            if checked.get(name):
                assert str(checked[name]) not in described

    def test_the_context_does_not_show_the_target(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """Nor does the session that is made of it."""
        shown = repr(self.context(target, tmp_path))
        for name in self.kind.secrets:
            if target.get(name):
                assert str(target[name]) not in shown

    # --- sending ---

    async def test_each_object_is_settled_once_and_their_order_is_kept(
        self, target: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """What is said to be taken is there, once."""
        objects = sample_objects(5)
        settled = await self.send(target, tmp_path, objects)
        assert sorted(one for one, _ in settled.calls) == [1, 2, 3, 4, 5]
        assert all(outcome.kind in _GOOD for _, outcome in settled.calls), settled.calls
        assert await self.received(target) == [one.sop_instance_uid for one in objects]

    async def test_a_session_is_used_for_many_batches(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """Lanes keep sessions open; an empty batch is none."""
        objects, settled = sample_objects(4), Settled()
        async with asyncio.timeout(TIMEOUT_S), self.kind.open(self.context(target, tmp_path)) as session:
            await session.send(objects[:2], settled)
            await session.send([], settled)
            await session.send(objects[2:], settled)
        assert [one for one, _ in settled.calls] == [1, 2, 3, 4]
        assert await self.received(target) == [one.sop_instance_uid for one in objects]

    async def test_sending_again_leaves_one_copy(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """After a crash between the answer and the commit an object is sent a second time."""
        objects = sample_objects(2)
        for _ in range(2):
            settled = await self.send(target, tmp_path, objects)
            assert all(kind in _GOOD for kind in settled.kinds)
        if self.keeps_objects:
            assert sorted(set(await self.received(target))) == sorted(one.sop_instance_uid for one in objects)
            assert len(await self.received(target)) == len(objects)

    async def test_an_object_that_cannot_be_opened_does_not_stop_the_others(
        self, target: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """It is refused with the reason; in the middle of its bytes too, and nothing half stays behind."""
        if not self.keeps_objects:
            return
        study = "1.2.826.0.1.3680043.2.1143.78"
        for bad in (sample_object(2, study, broken=True), sample_object(2, study, cut=True)):
            objects = [sample_object(1, study), bad, sample_object(3, study)]
            settled = await self.send(target, tmp_path, objects)
            by_id = settled.by_id
            assert by_id[1].kind in _GOOD
            assert by_id[2].kind is OutcomeKind.REFUSED
            assert by_id[2].cause
            assert by_id[3].kind in _GOOD
            assert len(settled.calls) == 3
            assert bad.sop_instance_uid not in await self.received(target)

    async def test_a_session_that_is_thrown_away_harms_nobody(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """A worker that is stopped cancels its lanes; the next one sends again."""
        objects = sample_objects(3)

        async def work() -> None:
            await self.send(target, tmp_path, objects)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        settled = await self.send(target, tmp_path, objects)
        assert all(kind in _GOOD for kind in settled.kinds)
        if self.keeps_objects:
            assert await self.received(target) == [one.sop_instance_uid for one in objects]

    async def test_two_sessions_side_by_side_do_not_disturb_each_other(
        self, target: Mapping[str, Any], tmp_path: Path
    ) -> None:
        """A destination has several lanes, each with a study of its own."""
        one, other = sample_objects(3), sample_objects(3, study="1.2.826.0.1.3680043.2.1143.79")
        both = await asyncio.gather(self.send(target, tmp_path, one), self.send(target, tmp_path, other))
        assert all(kind in _GOOD for settled in both for kind in settled.kinds)
        assert sorted(await self.received(target)) == sorted(x.sop_instance_uid for x in (*one, *other))

    async def test_values_of_an_object_do_no_harm(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """Attributes come from the network."""
        for value in ("../../../../etc/x", "a\r\nBcc: b@c", "\x00\x1b[2J", "{PatientID}", "x" * 64, ".", "CON"):
            attributes = {"PatientID": value, "AccessionNumber": value, "StudyDescription": value}
            settled = await self.send(target, tmp_path, sample_objects(1, **attributes))
            assert settled.kinds[0] in _GOOD

    # --- failures ---

    async def test_what_is_gone_is_tried_later(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """By an error of the tree, or by TRY_LATER for each; never by REFUSED and never by silence."""
        gone = self.gone(target)
        if gone is None:
            return
        settled = Settled()
        raised: FileroomError | None = None
        try:
            async with asyncio.timeout(TIMEOUT_S), self.kind.open(self.context(gone, tmp_path)) as session:
                await session.send(sample_objects(2), settled)
        except (PeerError, ServiceError) as error:
            raised = error
        assert all(kind is OutcomeKind.TRY_LATER for kind in settled.kinds)
        assert raised is not None or len(settled.calls) == 2
        self._require_no_secret(gone, str(raised or ""), *(outcome.cause for _, outcome in settled.calls))

    async def test_what_is_refused_for_good_says_why(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """With a sentence for people."""
        refusing = self.refusing(target)
        if refusing is None:
            return
        settled = await self.send(refusing, tmp_path, sample_objects(2))
        assert settled.kinds == [OutcomeKind.REFUSED, OutcomeKind.REFUSED]
        assert all(outcome.cause for _, outcome in settled.calls)
        self._require_no_secret(refusing, *(outcome.cause for _, outcome in settled.calls))

    # --- proof and probe ---

    async def test_it_confirms_what_is_there_and_only_that(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """Where the kind can count."""
        if Confirmation.COUNT not in self.kind.confirmations:
            return
        objects = sample_objects(3)
        await self.send(target, tmp_path, objects[:2])
        async with asyncio.timeout(TIMEOUT_S), self.kind.open(self.context(target, tmp_path)) as session:
            found = await session.confirm(objects)
        assert found[1].kind is OutcomeKind.TAKEN
        assert found[2].kind is OutcomeKind.TAKEN
        assert 3 not in found or found[3].kind not in _GOOD

    async def test_a_probe_leaves_nothing(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """And says what answered."""
        async with asyncio.timeout(TIMEOUT_S):
            answer = await self.kind.probe(self.context(target, tmp_path))
        assert answer
        self._require_no_secret(target, answer)
        assert await self.received(target) == []

    async def test_a_probe_of_what_is_gone_raises(self, target: Mapping[str, Any], tmp_path: Path) -> None:
        """With a sentence, from the tree of errors."""
        gone = self.gone(target)
        if gone is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self.kind.probe(self.context(gone, tmp_path))
        except (PeerError, ServiceError) as error:
            sentence = str(error)
        else:
            raise AssertionError("the probe said that it is there")
        assert sentence
        self._require_no_secret(gone, sentence)

    def _require_no_secret(self, target: Mapping[str, Any], *texts: str) -> None:
        for name in self.kind.secrets:
            secret = str(target.get(name, ""))
            assert not secret or not any(secret in text for text in texts), f"{name} is shown"


def _refusal(kind: DestinationKind, target: Mapping[str, Any]) -> InvalidRequestError:
    try:
        kind.check(target)
    except InvalidRequestError as error:
        return error
    raise AssertionError(f"{kind.name} takes {sorted(target)}, which it cannot work with")
