"""A day of mixed traffic to five destinations of different health, with kill -9 at random; then ledger against receivers.

Three senders (storescu, pynetdicom, STOW-RS) bring CT, MR, ultrasound, reports and letters; six rules send them

    WELL      storescp, well                                       everything, each object at once
    PICKY     pynetdicom: C000 for some, A700 twice for others     CT, reports, letters; by series, with a treatment
    BREAKS    storescp behind a line that is cut                   ultrasound by series
    LATER     storescp, down at first and for a while later        CT of one sender, each object at once
    RESEARCH  a folder                                             everything, by study, de-identified
    PAIR      a pool of LATER and BREAKS                           MR, by study

while a delivery worker, a task worker, an association worker or PostgreSQL is killed in each round. In the end every object
that was expected has one row for each destination, and each receiver holds exactly what the ledger calls delivered there.

What cannot be avoided: an object that a peer had just taken when the worker that would have written it down was killed, or
when the line broke before its answer came, is sent once more (DIMSE knows no transactions). Such a repeat must be the very
same object, and its first coming must lie right before such a moment.

FILEROOM_TEST_ROUNDS sets the number of kills (3 by default), FILEROOM_TEST_SEED who and when.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import pytest
from pydicom import dcmread

from acceptance.dicom_files import read_part10
from acceptance.programs import dicomweb, pynetdicom_peer
from acceptance.programs.breaking_proxy import BreakingProxy
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import ASSOCIATION_WORKER, TASK_WORKER, Fileroom
from acceptance.programs.mixed_traffic import (
    US_COLUMNS,
    US_REGION,
    US_ROWS,
    Sent,
    make_ct,
    make_mr,
    make_patient,
    make_pdf,
    make_report,
    make_us,
)
from acceptance.programs.processes import accepts_connections, wait_until
from acceptance.programs.receivers import (
    PickyReceiver,
    Receipt,
    dataset_of,
    fate,
    files_of,
    pixels_of,
    receipts_of,
)
from acceptance.programs.routing import Routing, node, rule, to_node

pytestmark = pytest.mark.usefixtures("dcmtk_installed")

ROUNDS: Final = int(os.environ.get("FILEROOM_TEST_ROUNDS", "3"))
SEED: Final = int(os.environ.get("FILEROOM_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
DELIVERY_WORKER: Final = "fileroom.app.delivery_worker"
VICTIMS: Final = (DELIVERY_WORKER, "postgres", TASK_WORKER, ASSOCIATION_WORKER)
CT_SENDER: Final = "CT1"
UNWRITTEN_S: Final = 2.0
"""What was taken so long before a kill is written: lanes write four times a second, here on a machine that is busy."""
PROJECT: Final = {
    "pseudonym": "DAY-{n:04}",
    "options": ["modified_dates", "descriptors", "pixels", "structured_content"],
}
EXPECTED: Final = {
    "WELL": lambda one: True,
    "PICKY": lambda one: one.modality in ("CT", "SR", "DOC"),
    "BREAKS": lambda one: one.modality == "US",
    "LATER": lambda one: one.modality == "CT" and one.by == CT_SENDER,
    "PAIR": lambda one: one.modality == "MR",
    "RESEARCH": lambda one: True,
}


@dataclass
class Day:
    """What has happened so far."""

    sent: list[Sent] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    """When something was killed or broke that may cost an answer (time.time())."""
    killed: Counter[str] = field(default_factory=Counter)


class LaterReceiver:
    """A storescp that comes and goes at one port. What it has, it keeps."""

    def __init__(self, folder: Path) -> None:
        # Not of the ports that programs are given by themselves: while it is down, nobody else must listen there.
        ports = random.SystemRandom().sample(range(20_000, 30_000), 20)
        self._folder, self.port = folder, next(port for port in ports if not accepts_connections(port))
        self._running: StoreScp | None = None
        self._stack = contextlib.ExitStack()

    def switch(self, *, on: bool) -> None:
        """Start or kill it."""
        if on and self._running is None:
            self._running = self._stack.enter_context(StoreScp(self._folder, "+uf", aet="LATER", port=self.port))
        elif not on:
            self._stack.close()
            self._running = None

    def receipts(self) -> dict[str, list[Receipt]]:
        """Everything, whether it runs or not."""
        return receipts_of(StoreScp(self._folder, aet="LATER", port=self.port))


@pytest.fixture
def later(tmp_path: Path) -> Iterator[LaterReceiver]:
    made = LaterReceiver(tmp_path / "later")
    yield made
    made.switch(on=False)


def test_after_a_day_of_kills_each_receiver_holds_what_the_ledger_says(tmp_path: Path, later: LaterReceiver) -> None:
    rng, day = random.Random(SEED), Day()
    with (
        StoreScp(tmp_path / "well", "+uf", aet="WELL") as well,
        PickyReceiver() as picky,
        StoreScp(tmp_path / "behind", "+uf", aet="BREAKS") as behind,
        BreakingProxy(behind.port, SEED, (8_000, 60_000)) as line,
        Fileroom(tmp_path / "room", workers=2, routing_stable_s=2) as room,
    ):
        routing = Routing(room)
        routing.add(
            nodes={
                "WELL": node("WELL", well.port),
                "PICKY": node("PICKY", picky.port),
                "BREAKS": node("BREAKS", line.port, response_timeout_s=5),
                "LATER": node("LATER", later.port),
            },
            projects={"DAY": PROJECT},
            treatments={
                "north": {"steps": [{"do": "prefix", "attribute": "PatientID", "value": "NORTH-"}]},
                "anonymous": {"deid": "DAY"},
            },
            destinations={
                **{name: to_node(name) for name in ("WELL", "PICKY", "BREAKS", "LATER")},
                "PAIR": {"kind": "pool", "target": {"members": [{"destination": "LATER"}, {"destination": "BREAKS"}]}},
                "RESEARCH": {
                    "kind": "folder",
                    "target": {
                        "path": "research",
                        "pattern": "{StudyDate}/{PatientID}/{PatientName}-{SOPInstanceUID}.dcm",
                    },
                },
            },
            rules={
                "everything": rule('Modality in ["CT", "MR", "US", "SR", "DOC"]', "WELL"),
                "reading": rule('Modality in ["CT", "SR", "DOC"]', "PICKY", on="series", treatment="north"),
                "ultrasound": rule('Modality == "US"', "BREAKS", on="series", urgency="stat"),
                "night": rule(f'Modality == "CT" && association.calling == "{CT_SENDER}"', "LATER"),
                "pair": rule('Modality == "MR"', "PAIR", on="study"),
                "research": rule("present(PatientID)", "RESEARCH", on="study", treatment="anonymous"),
            },
        )
        for number in range(ROUNDS):
            later.switch(on=number % 4 in (1, 2))
            day.cuts.append(time.time())  # it may have had an answer on its lips
            _round(room, day, number, tmp_path / f"round{number}", rng)
        wait_until(lambda: line.cuts, 60, "a line that breaks", room.log_tail)
        later.switch(on=True)
        line.cut_after = None  # the line is mended
        _wait_for_the_end(room, day)
        _assert_ledger(room, day)
        research = files_of(room.data / "outbox" / "research")
        received = {
            "WELL": receipts_of(well),
            "PICKY": picky.receipts,
            "BREAKS": receipts_of(behind),
            "LATER": later.receipts(),
        }
        repeats = _assert_receivers(day, received, lost_answers=line.cuts)
        _assert_deidentified(room, day, research)
        states = room.rows("SELECT state, count(*) FROM delivery GROUP BY 1 ORDER BY 1")
        print(
            f"\nseed {SEED}: {len(day.sent)} objects, {dict(states)}, killed {dict(day.killed)}, line cut {line.cuts} times, "
            f"refused {dict(picky.refusals)}, sent twice {dict(repeats)}"
        )


def test_rules_of_two_filerooms_that_send_in_a_circle_are_stopped_and_alarmed(tmp_path: Path) -> None:
    """Each changes what it sends and gives it new UIDs, so that to the other one it is always something new."""
    changes = {"steps": [{"do": "prefix", "attribute": "StationName", "value": "X"}, {"do": "new_uids"}]}
    with Fileroom(tmp_path / "a", workers=1) as a, Fileroom(tmp_path / "b", workers=1, aet="FILEROOM_B") as b:
        for room, other in ((a, b), (b, a)):
            Routing(room).add(
                treatments={"anew": changes},
                destinations={"OTHER": {"kind": "stow", "target": {"url": other.dicomweb}}},
                rules={"circle": rule('Modality == "CT"', "OTHER", treatment="anew")},
            )
        added = a.command("alerts", "add", "Loop", "--kind", "routing_loop", "--severity", "critical")
        assert added.returncode == 0, added.stderr
        files = [one.path for one in make_ct(tmp_path / "files", make_patient(777), 3, CT_SENDER)]
        assert Dcmtk(a.dicom_port).store(files).returncode == 0
        wait_until(
            lambda: a.rows("SELECT count(*) FROM delivery WHERE state = 'held'") == [(3,)], 30, "an end", a.log_tail
        )
        assert a.instance_count() == 6, "what it was given, and what came back"
        assert b.instance_count() == 3
        assert "circle" in a.rows("SELECT max(cause) FROM delivery WHERE state = 'held'")[0][0]
        alarmed = "SELECT severity, sentence FROM alert WHERE kind = 'routing_loop' AND state = 'firing'"
        wait_until(lambda: a.rows(alarmed), 30, "the alert", a.log_tail)
        assert a.rows(alarmed)[0][0] == "critical"
        assert a.instance_count() == 6, "it has gone on"


# --- the day ---


def _round(room: Fileroom, day: Day, number: int, folder: Path, rng: random.Random) -> None:
    """Three senders at the same time, one kill in the middle; then each sends again what it has no success for."""
    first, second = make_patient(SEED % 1000 * 1000 + 2 * number), make_patient(SEED % 1000 * 1000 + 2 * number + 1)
    loads = {
        CT_SENDER: [*make_ct(folder / "a", first, 8, CT_SENDER), *make_mr(folder / "a", first, 4, CT_SENDER)],
        "PYNETDICOM": [*make_us(folder / "b", first, 2, "PYNETDICOM"), *make_report(folder / "b", first, "PYNETDICOM")],
        "stow": [*make_ct(folder / "c", second, 6, "stow"), *make_pdf(folder / "c", second, "stow")],
    }
    errors: list[Exception] = []

    def bring(by: str, load: list[Sent]) -> None:
        try:
            wait_until(lambda: _is_sent(room, by, load), 90, f"{by} sends", room.log_tail)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            errors.append(error)

    senders = [threading.Thread(target=bring, args=one) for one in loads.items()]
    for sender in senders:
        sender.start()
    time.sleep(rng.uniform(0.1, 2.5))
    _kill(room, day, VICTIMS[number % len(VICTIMS)], rng)
    for sender in senders:
        sender.join()
    assert not errors, errors
    room.wait_until_ready(60)
    day.sent += [one for load in loads.values() for one in load]


def _is_sent(room: Fileroom, by: str, load: list[Sent]) -> bool:
    """Everything of it was answered with success."""
    paths = [one.path for one in load]
    if by == CT_SENDER:
        return Dcmtk(room.dicom_port, calling_aet=CT_SENDER).store(paths).returncode == 0
    try:
        if by == "stow":
            return dicomweb.store(room.dicomweb, paths).status_code == 200
        answers = pynetdicom_peer.send_exactly(room.dicom_port, paths)
    except (httpx.TransportError, AssertionError):
        return False
    return all(one.status == 0 for one in answers)


def _kill(room: Fileroom, day: Day, victim: str, rng: random.Random) -> None:
    if victim == "postgres":
        pid = room.postgres_pid()
    else:
        # One that was killed, or has lost its database, in the round before is being started again.
        wait_until(lambda: room.workers(victim), 30, f"a {victim}", room.log_tail)
        pid = rng.choice(room.workers(victim))
    day.cuts.append(time.time())
    day.killed[victim.rpartition(".")[2]] += 1
    os.kill(pid, signal.SIGKILL)


def _wait_for_the_end(room: Fileroom, day: Day) -> None:
    """Everybody is well now; an administrator orders what waits for its next try to be tried at once."""

    def is_over() -> bool:
        found = dict(room.rows("SELECT state, count(*) FROM delivery GROUP BY 1"))
        if sum(found.values()) == len(_expected_rows(day)) and not {"gathering", "waiting", "sent"} & found.keys():
            return True
        order = {"action": "retry", "states": ["waiting"], "reason": "the fault is mended"}
        httpx.post(f"{room.url}/api/v1/routing/deliveries/change", json=order, timeout=30).raise_for_status()
        time.sleep(1)
        return False

    wait_until(
        is_over,
        60 + 5 * ROUNDS,
        f"the end of the day (FILEROOM_TEST_SEED={SEED})",
        lambda: (
            f"{room.rows('SELECT destination_id, state, count(*), max(cause) FROM delivery GROUP BY 1, 2')} {room.log_tail()}"
        ),
    )


# --- ledger against receivers ---


def _expected_rows(day: Day) -> dict[tuple[str, str], str]:
    """The state that each object must have for each destination."""
    made = {}
    for one in day.sent:
        for destination, is_for in EXPECTED.items():
            if is_for(one):
                state = "delivered"
                if destination == "PICKY" and fate(one.sop_instance_uid) == "never":
                    state = "failed"
                if destination == "RESEARCH" and one.modality == "DOC":
                    state = "quarantined"
                made[one.sop_instance_uid, destination] = state
    return made


def _assert_ledger(room: Fileroom, day: Day) -> None:
    rows = room.rows(
        """SELECT d.sop_instance_uid, e.name, d.state FROM delivery d JOIN named_entry e ON e.id = d.destination_id"""
    )
    held = {(uid, name): state for uid, name, state in rows}
    assert len(held) == len(rows), "an object has two rows for one destination"
    assert held == _expected_rows(day)
    assert room.rows("SELECT count(*) FROM instance")[0][0] == len(day.sent)
    tally = room.rows("SELECT state, sum(number) FROM delivery_tally GROUP BY 1 HAVING sum(number) <> 0")
    assert {state: int(number) for state, number in tally} == Counter(held.values()), (
        "the sums are not those of the rows"
    )


def _assert_receivers(day: Day, received: dict[str, dict[str, list[Receipt]]], *, lost_answers: int) -> Counter[str]:
    """Each has exactly what was delivered there, unchanged or as treated; what came twice is the same and had a reason."""
    wanted = _expected_rows(day)
    by_uid = {one.sop_instance_uid: one for one in day.sent}
    for name in ("WELL", "PICKY"):
        assert received[name].keys() == {
            uid for (uid, to), state in wanted.items() if to == name and state == "delivered"
        }
    pair = {uid for uid, to in wanted if to == "PAIR"}
    for name in ("BREAKS", "LATER"):
        own = {uid for uid, to in wanted if to == name}
        assert own <= received[name].keys() <= own | pair, f"{name} has something else, or lacks something"
    assert pair <= received["BREAKS"].keys() | received["LATER"].keys()

    repeats: Counter[str] = Counter()
    for name, objects in received.items():
        for uid, receipts in objects.items():
            original = read_part10(by_uid[uid].path)
            for one in receipts:
                _assert_same(one, original.dataset, original.transfer_syntax_uid, treated=name == "PICKY")
            assert len({one.dataset for one in receipts}) == 1, f"{name} has different copies of {uid}"
            if len(receipts) == 1:
                continue
            repeats[name] += len(receipts) - 1
            first = receipts[0].at
            assert name == "BREAKS" or any(-0.5 <= cut - first <= UNWRITTEN_S for cut in day.cuts), (
                f"{name} was sent {uid} again without need: {[one.at for one in receipts]}, cuts at {day.cuts}"
            )
    # One member took it, and the pool asked the other one before that was known.
    repeats["PAIR"] = len(pair & received["BREAKS"].keys() & received["LATER"].keys())
    assert repeats["BREAKS"] + repeats["PAIR"] <= lost_answers + len(day.cuts), (
        "more came twice over the broken line than answers were lost on it"
    )
    return repeats


def _assert_same(receipt: Receipt, dataset: bytes, syntax: str, *, treated: bool) -> None:
    if not treated:
        assert receipt.dataset == dataset, f"{receipt.sop_instance_uid} is not bit-identical"
        return
    made, before = dataset_of(receipt), dataset_of(Receipt(receipt.sop_instance_uid, dataset, 0.0, syntax))
    assert made.PatientID == f"NORTH-{before.PatientID}"
    assert made.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientID == before.PatientID
    assert pixels_of(made) == pixels_of(before), f"{receipt.sop_instance_uid} has other pixels"


# --- what has left de-identified ---


def _assert_deidentified(room: Fileroom, day: Day, research: dict[str, list[Receipt]]) -> None:
    rows = room.rows(
        """SELECT d.sop_instance_uid, d.delivered_as FROM delivery d JOIN named_entry e ON e.id = d.destination_id
           WHERE e.name = 'RESEARCH' AND d.state = 'delivered'"""
    )
    assert {uid for _, uid in rows} == research.keys(), "the folder does not hold what the ledger says"
    by_uid = {one.sop_instance_uid: one for one in day.sent}
    root = room.data / "outbox" / "research"
    names = "\n".join(str(path.relative_to(root)) for path in root.rglob("*")).lower()
    assert not [one.name for one in root.rglob("*") if one.is_file() and one.suffix != ".dcm"], "half files"
    everybody = {word for one in day.sent for word in one.patient.words}
    uids = {one.sop_instance_uid for one in day.sent} | {one.study_instance_uid for one in day.sent}
    assert not [word for word in everybody | uids if word in names], "a name of a file tells who it is"
    pseudonyms: dict[str, set[str]] = {}
    for before_uid, after_uid in rows:
        (receipt,) = research[after_uid]
        sent = by_uid[before_uid]
        text = receipt.dataset.lower()
        told = [word for word in (*everybody, *uids, *sent.patient.dates) if word.encode() in text]
        assert not told, f"{sent.modality} {after_uid} still tells {told}"
        made, before = dcmread(root / _path_of(root, after_uid)), dcmread(sent.path)
        assert made.PatientIdentityRemoved == "YES"
        pseudonyms.setdefault(sent.patient.patient_id, set()).add(made.PatientID)
        if sent.modality in ("CT", "MR"):
            assert pixels_of(made) == pixels_of(before)
        elif sent.modality == "US":
            _assert_only_the_region_is_left(pixels_of(made), pixels_of(before))
    assert all(len(one) == 1 for one in pseudonyms.values()), "a patient has two pseudonyms"
    assert len({name for one in pseudonyms.values() for name in one}) == len(pseudonyms), (
        "two patients have one pseudonym"
    )


def _path_of(root: Path, uid: str) -> Path:
    (found,) = root.rglob(f"*{uid}.dcm")
    return found.relative_to(root)


def _assert_only_the_region_is_left(after: bytes, before: bytes) -> None:
    now, was = (np.frombuffer(one, np.uint8).reshape(US_ROWS, US_COLUMNS, 3) for one in (after, before))
    left, top, right, bottom = US_REGION
    inside = np.s_[top : bottom + 1, left : right + 1]
    assert (now[inside] == was[inside]).all()
    outside = now.copy()
    outside[inside] = 0
    assert not outside.any(), "something outside of the region is still there"
