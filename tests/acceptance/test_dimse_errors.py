"""Peers that misbehave: each is answered or dropped as PS3.8 says, and the server lives on."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import ASSOCIATION_WORKER, Fileroom
from acceptance.programs.processes import LOOPBACK
from acceptance.programs.raw_scu import (
    A_ABORT,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    P_DATA_TF,
    AssociationEndedError,
    RawAssociation,
    associate_request,
    echo_request,
    pdata,
    pdu,
    store_request,
)

VERIFICATION = ("1.2.840.10008.1.1", "1.2.840.10008.1.2")
CT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
ARTIM_TIMEOUT_S = 30.0
ASSOCIATIONS_PER_WORKER_MAX = 200


@pytest.fixture(autouse=True)
def _lives_on(fileroom: Fileroom) -> Iterator[None]:
    """After each of these tests the same workers still answer."""
    before = fileroom.workers(ASSOCIATION_WORKER)
    yield
    assert fileroom.workers(ASSOCIATION_WORKER) == before, "a worker died"
    with RawAssociation(fileroom.dicom_port, [VERIFICATION]) as assoc:
        assoc.send_bytes(pdata(1, echo_request(1), command=True, last=True))
        assert assoc.read_pdu()[0] == P_DATA_TF


def _connect(fileroom: Fileroom) -> socket.socket:
    return socket.create_connection((LOOPBACK, fileroom.dicom_port), timeout=ARTIM_TIMEOUT_S + 30)


def _read_answer(connection: socket.socket) -> bytes:
    """What comes first: all of A-ASSOCIATE-RJ and A-ABORT have 10 bytes. Nothing when the connection ends.

    After them the acceptor waits until the peer closes the connection (PS3.8 9.2.3, Sta13), so there is no end to read.
    """
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(10)
    return b""


def test_wrong_called_ae_title_is_rejected_with_its_reason(fileroom: Fileroom) -> None:
    with _connect(fileroom) as connection:
        connection.sendall(associate_request([VERIFICATION], called_aet="SOMEBODY"))
        answer = _read_answer(connection)
    # rejected-permanent, service-user, called-AE-title-not-recognized (PS3.8 9.3.4)
    assert answer == pdu(A_ASSOCIATE_RJ, bytes([0, 1, 1, 7]))


def test_echoscu_sees_the_rejection(fileroom: Fileroom, dcmtk: Dcmtk) -> None:
    result = Dcmtk(fileroom.dicom_port, "SOMEBODY").echo("-v")
    assert result.returncode != 0
    assert "Called AE Title Not Recognized" in result.stdout + result.stderr
    assert dcmtk.echo().returncode == 0


def test_unknown_service_of_the_standard_is_refused_in_its_context_only(fileroom: Fileroom) -> None:
    unknown = ("1.2.840.10008.5.1.4.99.99", "1.2.840.10008.1.2")
    with RawAssociation(fileroom.dicom_port, [unknown, VERIFICATION]) as assoc:
        assert assoc.accepted == {3}


def test_unknown_sop_class_by_setting(fileroom_factory: FileroomFactory) -> None:
    private = ("1.2.3.4.5.6.7.8", "1.2.840.10008.1.2")
    strict = fileroom_factory(accept_unknown_sop_classes="false", workers=1)
    with RawAssociation(strict.dicom_port, [private, VERIFICATION]) as assoc:
        assert assoc.accepted == {3}


def test_associations_past_the_limit_are_rejected_as_transient(
    fileroom_factory: FileroomFactory, fileroom: Fileroom
) -> None:
    one_worker = fileroom_factory(workers=1)
    with contextlib.ExitStack() as stack:
        for _ in range(ASSOCIATIONS_PER_WORKER_MAX):
            stack.enter_context(RawAssociation(one_worker.dicom_port, [VERIFICATION]))
        with pytest.raises(AssociationEndedError, match="PDU 03 0002"):
            RawAssociation(one_worker.dicom_port, [VERIFICATION])
    with RawAssociation(one_worker.dicom_port, [VERIFICATION]) as assoc:
        assert assoc.accepted == {1}


def test_silent_connection_is_closed_by_artim(fileroom: Fileroom) -> None:
    began = time.monotonic()
    with _connect(fileroom) as connection:
        assert _read_answer(connection) == b""
    assert ARTIM_TIMEOUT_S - 2 < time.monotonic() - began < ARTIM_TIMEOUT_S + 10


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        bytes(10_000),
        os.urandom(100_000),
        b"\xff" * 6,
        pdu(0x09, b"unknown type"),
        pdu(0x01, b""),
        struct.pack(">BBI", 0x01, 0, 0xFFFFFFFF) + bytes(1000),
        pdata(1, echo_request(1), command=True, last=True),
        pdu(0x05, bytes(4)),
    ],
    ids=[
        "http",
        "tls",
        "zeros",
        "random",
        "ones",
        "unknown-pdu",
        "empty-request",
        "4-gb-pdu",
        "data-first",
        "release-first",
    ],
)
def test_garbage_on_the_port_ends_the_connection(fileroom: Fileroom, garbage: bytes) -> None:
    with _connect(fileroom) as connection:
        connection.settimeout(10)
        with contextlib.suppress(ConnectionError):
            connection.sendall(garbage)
        answer = _read_answer(connection)
    assert answer == b"" or answer[0] in (A_ABORT, A_ASSOCIATE_RJ)


def test_half_a_pdu_and_gone(fileroom: Fileroom) -> None:
    request = associate_request([VERIFICATION])
    for cut in (1, 5, 6, 7, 74, len(request) - 1):
        with _connect(fileroom) as connection:
            connection.sendall(request[:cut])


def test_a_byte_at_a_time_is_served(fileroom: Fileroom) -> None:
    with _connect(fileroom) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in associate_request([VERIFICATION]):
            connection.sendall(bytes([byte]))
        assert connection.recv(1)[0] == A_ASSOCIATE_AC


def test_death_in_the_middle_of_an_object_leaves_nothing(fileroom: Fileroom) -> None:
    files_before, rows_before = fileroom.stored_files(), fileroom.instance_count()
    assoc = RawAssociation(fileroom.dicom_port, [CT])
    assoc.send_bytes(pdata(1, store_request(1, CT[0], "2.25.987654321"), command=True, last=True))
    for _ in range(200):
        assoc.send_bytes(pdata(1, bytes(16_000), command=False, last=False))
    assoc.close()
    deadline = time.monotonic() + 20
    while fileroom.stored_files() != files_before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert fileroom.stored_files() == files_before
    assert fileroom.instance_count() == rows_before


def test_data_for_a_context_that_was_not_accepted_aborts(fileroom: Fileroom) -> None:
    assoc = RawAssociation(fileroom.dicom_port, [VERIFICATION])
    assoc.send_bytes(pdata(99, echo_request(1), command=True, last=True))
    assert assoc.read_pdu()[0] == A_ABORT
    assoc.close()


def test_thousands_of_presentation_contexts_are_refused(fileroom: Fileroom) -> None:
    item = b"\x20\x00\x00\x2e" + b"\x01\0\0\0" + b"\x30\x00\x00\x11" + b"1.2.840.10008.1.1" + b"\x40\x00\x00\x11"
    item += b"1.2.840.10008.1.2"
    fields = struct.pack(">HH", 1, 0) + b"FILEROOM".ljust(16) + b"RAW".ljust(16) + bytes(32)
    with _connect(fileroom) as connection:
        connection.settimeout(10)
        with contextlib.suppress(ConnectionError):
            connection.sendall(pdu(0x01, fields + item * 5000))
        answer = _read_answer(connection)
    assert answer == b"" or answer[0] in (A_ABORT, A_ASSOCIATE_RJ)


def test_storing_goes_on_after_all_that(fileroom: Fileroom, dcmtk: Dcmtk, ct_series: SeriesFactory) -> None:
    assert dcmtk.store(ct_series(2)).returncode == 0
