"""Workitems against the real processes: pynetdicom as Push, Pull, Watch and Event peer, `websockets` and httpx beside it,
everything killed in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepWatch,
)
from websockets.sync.client import ClientConnection, connect

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import LOOPBACK
from fileroom.worklist.workitem_rules import GLOBAL_SUBSCRIPTION
from workitem_models import TRANSACTION, UID, json_of, performed, progress, workitem

WAIT_S = 90
PUSH, PULL, WATCH = UnifiedProcedureStepPush, UnifiedProcedureStepPull, UnifiedProcedureStepWatch


class Watcher:
    """A node that is told of events."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str]] = []
        self._came = threading.Condition()
        entity = AE(ae_title="ALGO1")
        entity.add_supported_context(UnifiedProcedureStepEvent, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._hear)]
        self.server = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def _hear(self, event: evt.Event) -> tuple[int, None]:
        text = str(event.event_information.get("ProcedureStepState", ""))
        with self._came:
            self.told.append((str(event.request.AffectedSOPInstanceUID), int(event.event_type), text))
            self._came.notify_all()
        return 0, None

    def until(self, wanted: tuple[str, int, str]) -> None:
        with self._came:
            assert self._came.wait_for(lambda: wanted in self.told, WAIT_S), self.told


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Fileroom]:
    """A Fileroom of its own: it is killed."""
    with Fileroom(tmp_path / "room", workers=1, web_workers=1, delivery_workers=0) as running:
        yield running


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    found = Watcher()
    yield found
    found.server.shutdown()


def talk(port: int, *requests: tuple[str, Any]) -> list[int]:
    """Requests on one association: create, set, state and watch; their statuses."""
    entity = AE(ae_title="ALGO1")
    for sop_class in (PUSH, PULL, WATCH):
        entity.add_requested_context(sop_class)
    association = entity.associate(LOOPBACK, port, ae_title="FILEROOM")
    assert association.is_established
    found = []
    for kind, said in requests:
        information = Dataset()
        if kind == "create":
            status, _ = association.send_n_create(said, PUSH, UID)
        elif kind == "set":
            said.TransactionUID = TRANSACTION
            status, _ = association.send_n_set(said, PUSH, UID, meta_uid=PULL)
        elif kind == "state":
            information.ProcedureStepState, information.TransactionUID = said, TRANSACTION
            status, _ = association.send_n_action(information, 1, PUSH, UID, meta_uid=PULL)
        else:
            information.ReceivingAE, information.DeletionLock = "ALGO1", "FALSE"
            status, _ = association.send_n_action(information, 3, PUSH, said, meta_uid=WATCH)
        found.append(int(status.Status))
    association.release()
    return found


def heard(connection: ClientConnection) -> tuple[str, int, str]:
    report = orjson.loads(connection.recv(timeout=WAIT_S))
    state = report.get("00741000", {"Value": [""]})["Value"][0]
    return report["00001000"]["Value"][0], report["00001002"]["Value"][0], state


def until(connection: ClientConnection, wanted: tuple[str, int, str]) -> None:
    """Events of a restart may come between."""
    for _ in range(20):
        if heard(connection) == wanted:
            return
    raise AssertionError(f"{wanted} was not told")


def test_events_reach_a_node_and_a_socket_whatever_is_killed(room: Fileroom, watcher: Watcher) -> None:
    node = ("algo", "--aet", "ALGO1", "--host", LOOPBACK, "--port", str(watcher.port))
    assert room.command("node", "add", *node).returncode == 0
    workitems = f"{room.url}/dicom-web/workitems"
    socket_url = f"ws{room.url.removeprefix('http')}/dicom-web/subscribers/CONSOLE"
    answer = httpx.post(f"{workitems}/{GLOBAL_SUBSCRIPTION}/subscribers/CONSOLE", timeout=WAIT_S)
    assert (answer.status_code, answer.headers["content-location"]) == (201, socket_url)
    with connect(socket_url, proxy=None, open_timeout=WAIT_S) as connection:
        assert talk(room.dicom_port, ("watch", GLOBAL_SUBSCRIPTION), ("create", workitem())) == [0, 0]
        until(connection, (UID, 1, "SCHEDULED"))
    watcher.until((UID, 1, "SCHEDULED"))

    # Begun and at once everything dies: the event was written with the change.
    assert talk(room.dicom_port, ("state", "IN PROGRESS"), ("set", progress("50", "halfway"))) == [0, 0]
    room.kill()
    room.wait_until_nothing_runs()
    room.start()
    watcher.until((UID, 1, "IN PROGRESS"))
    watcher.until((UID, 3, ""))
    watcher.until((GLOBAL_SUBSCRIPTION, 4, ""))
    with connect(socket_url, proxy=None, open_timeout=WAIT_S) as connection:
        until(connection, (UID, 1, "IN PROGRESS"))
        change = json_of(performed())
        headers = {"content-type": "application/dicom+json"}
        done = httpx.post(
            f"{workitems}/{UID}?{TRANSACTION}", content=orjson.dumps(change), headers=headers, timeout=WAIT_S
        )
        assert done.status_code == 200
        assert talk(room.dicom_port, ("state", "COMPLETED")) == [0]
        until(connection, (UID, 1, "COMPLETED"))
    watcher.until((UID, 1, "COMPLETED"))
    shown = httpx.get(f"{workitems}/{UID}", timeout=WAIT_S).json()[0]
    assert shown["00741000"]["Value"] == ["COMPLETED"]
    assert "00081195" not in shown
