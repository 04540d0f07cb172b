"""The database stops, hangs or dies: senders get A700 or a refusal, readiness turns red, all recovers by itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.dicom_files import by_instance, study_uid
from acceptance.programs.dicomweb import retrieve
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.postgres import Postgres15
from acceptance.programs.processes import children, wait_until
from acceptance.programs.raw_scu import StoreAnswer, send_exactly

OUT_OF_RESOURCES = 0xA700
RED_TIMEOUT_S = 30.0
RECOVERY_TIMEOUT_S = 60.0


def _assert_refused(answers: list[StoreAnswer]) -> None:
    for answer in answers:
        assert answer.status is None or answer.status & 0xFF00 == OUT_OF_RESOURCES, answer


def _assert_works(room: Fileroom, files: list[Path]) -> None:
    wait_until(
        lambda: {answer.status for answer in send_exactly(room.dicom_port, files)} == {0},
        RECOVERY_TIMEOUT_S,
        "a store",
        room.log_tail,
    )
    sent = by_instance(files)
    received = retrieve(room.dicomweb, f"studies/{study_uid(files[0])}")
    assert {uid: part.dataset for uid, part in received.items()} == {uid: part.dataset for uid, part in sent.items()}


def test_a_stopped_database_turns_readiness_red_and_comes_back(
    fileroom_factory: FileroomFactory, postgres15: Postgres15, ct_series: SeriesFactory
) -> None:
    room = fileroom_factory(database_url=postgres15.url, workers=1)
    first, second = ct_series(2), ct_series(2)
    _assert_works(room, first)
    postgres15.stop()
    wait_until(lambda: not room.is_ready(), RED_TIMEOUT_S, "a red /readyz", room.log_tail)
    assert httpx.get(f"{room.url}/healthz", timeout=10).status_code == 200, "alive all the same"
    _assert_refused(send_exactly(room.dicom_port, second))
    answer = httpx.get(f"{room.dicomweb}/studies", timeout=60)
    assert answer.status_code == 503, answer.text[:300]

    postgres15.start()
    room.wait_until_ready(RECOVERY_TIMEOUT_S)
    _assert_works(room, second)
    _assert_works(room, first)


def test_a_hanging_database_does_not_confirm_and_comes_back(
    fileroom_factory: FileroomFactory, ct_series: SeriesFactory
) -> None:
    room = fileroom_factory(workers=1)
    first, second = ct_series(2), ct_series(2)
    _assert_works(room, first)
    server = room.postgres_pid()
    frozen = [server, *children(server)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: not room.is_ready(), RED_TIMEOUT_S, "a red /readyz", room.log_tail)
        _assert_refused(send_exactly(room.dicom_port, second))
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    room.wait_until_ready(RECOVERY_TIMEOUT_S)
    _assert_works(room, second)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_the_embedded_database_is_started_again(
    fileroom_factory: FileroomFactory, ct_series: SeriesFactory, signal_number: signal.Signals
) -> None:
    room = fileroom_factory(workers=1)
    _assert_works(room, ct_series(2))
    os.kill(room.postgres_pid(), signal_number)
    _assert_works(room, ct_series(2))
    room.wait_until_ready(RECOVERY_TIMEOUT_S)


def test_objects_of_a_gone_database_are_filed_or_gone_afterwards(
    fileroom_factory: FileroomFactory, postgres15: Postgres15, ct_series: SeriesFactory
) -> None:
    room = fileroom_factory(database_url=postgres15.url, workers=1)
    _assert_works(room, ct_series(1))
    postgres15.stop()
    wait_until(lambda: not room.is_ready(), RED_TIMEOUT_S, "a red /readyz", room.log_tail)
    _assert_refused(send_exactly(room.dicom_port, ct_series(5)))
    postgres15.start()
    room.stop()
    room.age_files(days=1)  # Young files may still be on their way in; nobody waits for these.
    room.start()
    wait_until(
        lambda: len(room.stored_files()) == room.instance_count(),
        RECOVERY_TIMEOUT_S,
        "as many files as rows",
        lambda: f"{room.instance_count()} rows, {room.stored_files()}",
    )
