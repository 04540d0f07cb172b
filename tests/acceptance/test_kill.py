"""kill -9 of any process, at random moments, under four senders: what was answered 0000 is there, bit by bit.

FILEROOM_TEST_ROUNDS sets the number of kills (6 by default), FILEROOM_TEST_SEED their moments.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from acceptance.dicom_files import by_instance, read_part10
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import ASSOCIATION_WORKER, TASK_WORKER, WEB_WORKER, Fileroom
from acceptance.programs.processes import wait_until
from corpus.ct import make_ct_series

ROUNDS = int(os.environ.get("FILEROOM_TEST_ROUNDS", "6"))
SEED = int(os.environ.get("FILEROOM_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
SENDERS = 4
FILES_PER_SENDER = 150
VICTIMS = ("association worker", "supervisor", "postgres", "web worker", "postgres backend", "task worker")
RECOVERY_TIMEOUT_S = 60.0
_SENT = re.compile(r"^I: Sending file: (.+)$")
_SUCCESS = "I: Received Store Response (Success)"


def _victim(room: Fileroom, name: str, rng: random.Random) -> int:
    if name == "supervisor":
        return room.pid
    if name == "postgres":
        return room.postgres_pid()
    if name == "postgres backend":
        return int(rng.choice(room.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"))[0])
    module = {"association worker": ASSOCIATION_WORKER, "web worker": WEB_WORKER, "task worker": TASK_WORKER}[name]
    return rng.choice(room.workers(module))


def _confirmed(output: str) -> list[Path]:
    """The files that storescu says were answered with success."""
    confirmed, current = [], None
    for line in output.splitlines():
        if match := _SENT.match(line):
            current = Path(match.group(1))
        elif line.startswith(_SUCCESS) and current is not None:
            confirmed.append(current)
    return confirmed


def _start_senders(room: Fileroom, folder: Path, seed: int) -> list[subprocess.Popen[str]]:
    client = Dcmtk(room.dicom_port)
    series = [make_ct_series(folder / str(n), FILES_PER_SENDER, 128, seed + n) for n in range(SENDERS)]
    # Their output goes through pipes of 64 KiB; 150 files take 20.
    return [client.start_store(files) for files in series]


def _assert_all_there(room: Fileroom, confirmed: list[Path]) -> None:
    rows = dict(room.rows("SELECT sop_instance_uid, storage_key FROM instance"))
    for uid, part in by_instance(confirmed).items():
        assert uid in rows, f"{uid} was answered with success, and the index does not have it"
        stored = read_part10(room.data / "store" / rows[uid])
        assert stored.dataset == part.dataset, f"{uid} was answered with success and is damaged"


@pytest.mark.usefixtures("dcmtk_installed")
def test_what_was_confirmed_survives_kill_9_of_any_process(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    room = Fileroom(tmp_path / "room", workers=2)
    confirmed: list[Path] = []
    room.start()
    try:
        for number in range(ROUNDS):
            victim = VICTIMS[number % len(VICTIMS)]
            senders = _start_senders(room, tmp_path / f"round{number}", 1_000_000 + number * SENDERS)
            time.sleep(rng.uniform(0.05, 0.6))
            if victim == "supervisor":
                room.kill()
            else:
                os.kill(_victim(room, victim, rng), signal.SIGKILL)
            for sender in senders:
                confirmed += _confirmed(sender.communicate()[0])
            if victim == "supervisor":
                room.wait_until_nothing_runs()
                room.start()  # as systemd would: the same command again, no repair by hand
            try:
                room.wait_until_ready(RECOVERY_TIMEOUT_S)
                _assert_stores_again(room, tmp_path / f"again{number}", 2_000_000 + number)
                _assert_all_there(room, confirmed)
            except AssertionError as error:
                raise AssertionError(f"round {number}, {victim} killed, FILEROOM_TEST_SEED={SEED}: {error}") from error
        assert confirmed, "no object was confirmed before any kill: the test has tested nothing"
        room.stop()
        room.age_files(days=1)  # Young files may still be on their way in, on another machine; nobody waits for these.
        room.start()
        _assert_all_there(room, confirmed)
        _assert_nothing_is_left_over(room)
    finally:
        room.stop()


def _assert_stores_again(room: Fileroom, folder: Path, seed: int) -> None:
    """Soon after a kill everything works again; senders retry as modalities do."""
    files = make_ct_series(folder, 3, 64, seed)
    client = Dcmtk(room.dicom_port)
    wait_until(lambda: client.store(files).returncode == 0, RECOVERY_TIMEOUT_S, "a store after the kill", room.log_tail)


def _assert_nothing_is_left_over(room: Fileroom) -> None:
    """No half file, no file without a row, no row without a file."""

    def leftovers() -> dict[str, set[str]]:
        rows = room.rows("SELECT storage_key FROM instance UNION SELECT storage_key FROM conflict")
        keys = {row[0] for row in rows}
        files = {str(path.relative_to(room.data / "store")) for path in room.stored_files()}
        return {"files without a row": files - keys, "rows without a file": keys - files}

    wait_until(lambda: not any(leftovers().values()), RECOVERY_TIMEOUT_S, "the sweep", lambda: str(leftovers()))
