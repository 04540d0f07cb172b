"""Our server and client against other implementations: pynetdicom in threads, DCMTK as programs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt

from fileroom.dimse.status import Status
from unit.net.handlers import (
    COMMITMENT,
    CT,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    VERIFICATION,
    RecordingHandler,
    RecordingSink,
)
from unit.net.test_association_client import CONTEXTS, open_to


def ct_image(number: int = 1, size: int = 0) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CT
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"1.2.3.{number}"
    image.PatientID, image.PatientName = "P1", "Test^Patient"
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.0"
    image.PixelData = bytes(size)
    image["PixelData"].VR = "OW"
    return image


def encoded(dataset: Dataset, transfer_syntax: str) -> bytes:
    from pynetdicom.dsutils import encode

    raw = encode(dataset, transfer_syntax == IMPLICIT, True)
    assert raw is not None
    return raw


def study_keys() -> Dataset:
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", "1.2.3"
    return keys


class FindingHandler(RecordingHandler):
    """Finds three studies, or goes on until it is cancelled."""

    matches = 3

    async def find(self, operation) -> None:
        for number in range(self.matches):
            if self.port.cancelled(operation.command.message_id):
                self.answer(operation, Status.CANCEL)
                return
            match = Dataset()
            match.QueryRetrieveLevel, match.StudyInstanceUID = "STUDY", f"1.2.{number}"
            self.answer(operation, Status.PENDING, encoded(match, operation.context.transfer_syntax))
            await self.port.drain()
            await asyncio.sleep(0)
        self.answer(operation, Status.SUCCESS)


class EndlessHandler(FindingHandler):
    matches = 10**9


# --- pynetdicom asks, we answer ---


def requestor() -> AE:
    ae = AE("PYNETDICOM")
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    for uid in (VERIFICATION, STUDY_FIND, STUDY_GET):
        ae.add_requested_context(uid)
    ae.add_requested_context(CT, EXPLICIT)
    return ae


async def test_pynetdicom_echoes_stores_and_finds(served) -> None:
    port = await served.start(FindingHandler)

    def run():
        association = requestor().associate("127.0.0.1", port, ae_title="THEM")
        assert association.is_established
        echo = association.send_c_echo().Status
        stored = [association.send_c_store(ct_image(number, 300_000)).Status for number in range(3)]
        found = [
            (status.Status, keys and keys.StudyInstanceUID)
            for status, keys in association.send_c_find(study_keys(), STUDY_FIND)
        ]
        association.release()
        return echo, stored, found

    echo, stored, found = await asyncio.to_thread(run)
    assert (echo, stored) == (0, [0, 0, 0])
    assert found == [(0xFF00, "1.2.0"), (0xFF00, "1.2.1"), (0xFF00, "1.2.2"), (0, None)]
    assert [uid for uid, _ in served.handlers[0].stored] == ["1.2.3.0", "1.2.3.1", "1.2.3.2"]


async def test_pynetdicom_cancels_a_find(served) -> None:
    port = await served.start(EndlessHandler)

    def run():
        association = requestor().associate("127.0.0.1", port)
        statuses = []
        for status, _ in association.send_c_find(study_keys(), STUDY_FIND, msg_id=9):
            statuses.append(status.Status)
            if len(statuses) == 5:
                association.send_c_cancel(9, query_model=STUDY_FIND)
        association.release()
        return statuses

    assert (await asyncio.to_thread(run))[-1] == 0xFE00


async def test_pynetdicom_gets(served) -> None:
    class Handler(RecordingHandler):
        async def get(self, operation) -> None:
            from fileroom.dimse.command_set import CommandField, CommandSet

            context = self.port.find_context(CT)
            command = CommandSet(
                CommandField.C_STORE_RQ, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1", priority=0
            )
            response = await self.port.send_request(context.id, command, encoded(ct_image(1, 50_000), EXPLICIT))
            self.answer(operation, response.status, completed_suboperations=1, failed_suboperations=0)

    port = await served.start(Handler)
    received = []

    def store(event):
        received.append((event.request.AffectedSOPInstanceUID, len(event.dataset.PixelData)))
        return 0

    def run():
        association = requestor().associate(
            "127.0.0.1", port, ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, store)]
        )
        statuses = [status.Status for status, _ in association.send_c_get(study_keys(), STUDY_GET)]
        association.release()
        return statuses

    assert await asyncio.to_thread(run) == [0]
    assert received == [("1.2.3.1", 50_000)]


# --- we ask, pynetdicom answers ---


@pytest.fixture
def acceptor():
    """A pynetdicom server with what it stored."""
    stored: list[tuple[str, int]] = []

    def on_store(event):
        stored.append((event.request.AffectedSOPInstanceUID, len(event.dataset.PixelData)))
        return 0

    def on_find(_event):
        for number in range(50):
            match = Dataset()
            match.QueryRetrieveLevel, match.StudyInstanceUID = "STUDY", f"1.2.{number}"
            yield (0xFE00, None) if _event.is_cancelled else (0xFF00, match)

    def on_get(_event):
        yield 2
        for number in (1, 2):
            yield 0xFF00, ct_image(number, 100_000)

    ae = AE("THEM")
    for uid in (VERIFICATION, STUDY_FIND, STUDY_GET):
        ae.add_supported_context(uid)
    ae.add_supported_context(CT, EXPLICIT, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_C_STORE, on_store), (evt.EVT_C_FIND, on_find), (evt.EVT_C_GET, on_get)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    yield server.socket.getsockname()[1], stored
    server.shutdown()


ACCEPTED = [context for context in CONTEXTS if context.abstract_syntax in (VERIFICATION, CT, STUDY_FIND, STUDY_GET)]


async def test_pynetdicom_answers_our_echo_store_and_find(acceptor) -> None:
    port, stored = acceptor
    async with open_to(port, contexts=CONTEXTS) as association:
        assert [refused.abstract_syntax for refused in association.refused] == [
            context.abstract_syntax for context in CONTEXTS if context not in ACCEPTED
        ]
        assert COMMITMENT in {refused.abstract_syntax for refused in association.refused}
        assert (await association.echo()).status == 0
        image = encoded(ct_image(7, 400_000), EXPLICIT)
        chunks = [image[at : at + 99_999] for at in range(0, len(image), 99_999)]
        assert (await association.store(CT, "1.2.3.7", EXPLICIT, chunks)).status == 0
        found = [response.status async for response in association.find(STUDY_FIND, encoded(study_keys(), IMPLICIT))]
        assert found == [0xFF00] * 50 + [0]
    assert stored == [("1.2.3.7", 400_000)]


async def test_pynetdicom_sends_what_we_get(acceptor) -> None:
    class Receiver:
        store_status = 0

        def __init__(self, port) -> None:
            self.port, self.stored = port, []

    async with open_to(acceptor[0], contexts=ACCEPTED) as association:
        receiver = Receiver(association.port)

        def open_sink(_port, context, command):
            return RecordingSink(receiver, context, command)

        keys = encoded(study_keys(), IMPLICIT)
        responses = [response async for response in association.get(STUDY_GET, keys, open_sink)]
    assert [uid for uid, _ in receiver.stored] == ["1.2.3.1", "1.2.3.2"]
    assert (responses[-1].status, responses[-1].command.completed_suboperations) == (0, 2)


# --- DCMTK asks, we answer ---


async def run_program(name: str, *arguments: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} of DCMTK is not installed")
    process = await asyncio.create_subprocess_exec(
        name, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_echoscu_is_answered(served) -> None:
    port = await served.start()
    output = await run_program("echoscu", "-v", "127.0.0.1", str(port))
    assert "Received Echo Response (Success)" in output


async def test_storescu_stores(served, tmp_path: Path) -> None:
    port = await served.start()
    for number in range(3):
        ct_image(number, 200_000).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    await run_program("storescu", "+sd", "127.0.0.1", str(port), str(tmp_path))
    stored = dict(served.handlers[0].stored)
    assert sorted(stored) == ["1.2.3.0", "1.2.3.1", "1.2.3.2"]
    assert all(len(data) > 200_000 for data in stored.values())


async def test_findscu_finds_and_cancels(served) -> None:
    port = await served.start(EndlessHandler)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
    output = await run_program("findscu", "-v", "-S", "--cancel", "3", *keys, "127.0.0.1", str(port))
    assert output.count("(Pending)") >= 3
    assert "Cancel" in output


async def test_getscu_gets(served, tmp_path: Path) -> None:
    class Handler(RecordingHandler):
        async def get(self, operation) -> None:
            from fileroom.dimse.command_set import CommandField, CommandSet

            context = self.port.find_context(CT)
            command = CommandSet(
                CommandField.C_STORE_RQ, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1", priority=0
            )
            image = encoded(ct_image(1, 300_000), context.transfer_syntax)
            response = await self.port.send_request(context.id, command, image)
            self.answer(operation, response.status, completed_suboperations=1, failed_suboperations=0)

    port = await served.start(Handler)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3"]
    await run_program("getscu", "-S", "-od", str(tmp_path), *keys, "127.0.0.1", str(port))
    assert [path.stat().st_size > 300_000 for path in tmp_path.iterdir()] == [True]
