"""C-STORE by DCMTK's storescu into us and into others: instances a second, start and end of the association included.

Senders: storescu as it comes (Nagle's algorithm on), and with TCP_NODELAY=1; one association, and four at once. Peers:
as they come, and with TCP_NODELAY=1 in their environment. What each has made durable when it answers was seen with
strace (fsync, fdatasync, write) on Debian's DCMTK 3.6.7 and Orthanc 1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from acceptance.programs.dcmtk import Dcmqrscp, Dcmtk, StoreScp
from acceptance.programs.orthanc import Orthanc
from benchmarks.results import Goal, Row
from benchmarks.rounds import alternate, median, timed
from benchmarks.session import NEVER_STABLE_S, Session

TUNED: Final = {"TCP_NODELAY": "1"}
OURS: Final = "Fileroom"
OUR_DURABILITY: Final = "file fsynced, rows committed (WAL fsynced)"
DURABILITY: Final = {
    "storescp": "write(2) only; no index",
    "dcmqrscp": "write(2) only; index file by write(2)",
    "Orthanc": "file fdatasynced; SQLite index not",
}
ONE_AT_A_TIME: Final = "dcmqrscp"
"""Its processes share one index file per storage area: with four senders at once it refuses some objects."""
ROUND_S: Final = 3.0
"""About how long one round of one side takes."""
INSTANCES_MAX: Final = {64: 3000, 512: 500}
INSTANCES_MIN: Final = 40


@dataclass(frozen=True, slots=True)
class Receiver:
    """A running receiver: name, port and AE title."""

    name: str
    port: int
    aet: str


@dataclass(frozen=True, slots=True)
class Sending:
    """One way to send."""

    size: int
    associations: int
    tuned: bool

    @property
    def text(self) -> str:
        """For the table."""
        sender = "storescu TCP_NODELAY=1" if self.tuned else "storescu unmodified"
        count = "one association" if self.associations == 1 else f"{self.associations} associations"
        return f"C-STORE {self.size}x{self.size}, {sender}, {count}"


def store(session: Session) -> list[Row]:
    """All rows of C-STORE."""
    sendings = [Sending(size, 1, tuned=False) for size in (64, 512)]
    sendings += [Sending(size, count, tuned=True) for size in (64, 512) for count in (1, 4)]
    rows: list[Row] = []
    with _receivers(session) as receivers:
        for sending in sendings:
            able = [r for r in receivers if sending.associations == 1 or not r.name.startswith(ONE_AT_A_TIME)]
            counts = {r.name: _instances_for_a_round(session, r, sending) for r in able}
            sides = {r.name: _side(session, r, sending, counts[r.name]) for r in able}
            results = alternate(sides, session.rounds)
            rows += [_row(sending, name, results) for name in results if name != OURS]
    return rows


@contextmanager
def _receivers(session: Session) -> Iterator[list[Receiver]]:
    """Us, and every peer twice."""
    with ExitStack() as stack:
        room = stack.enter_context(session.fileroom(series_stable_s=NEVER_STABLE_S))
        receivers = [Receiver(OURS, room.dicom_port, room.aet)]
        for suffix, environment in (("", {}), (" tuned", TUNED)):
            folder = session.new_folder("peers")
            storescp = stack.enter_context(
                StoreScp(folder / "storescp", "--fork", bit_preserving=False, environment=environment)
            )
            dcmqrscp = stack.enter_context(Dcmqrscp(folder, {}, environment))
            orthanc = stack.enter_context(Orthanc(folder / "orthanc", environment=environment))
            receivers += [
                Receiver("storescp" + suffix, storescp.port, storescp.aet),
                Receiver("dcmqrscp" + suffix, dcmqrscp.port, dcmqrscp.aet),
                Receiver("Orthanc" + suffix, orthanc.port, orthanc.aet),
            ]
        yield receivers


def send_rate(session: Session, receiver: Receiver, sending: Sending, instances: int) -> float:
    """Instances a second of one round, files made before and removed afterwards."""
    each = max(1, instances // sending.associations)
    client = Dcmtk(receiver.port, receiver.aet)
    with session.ct_files(sending.associations, each, sending.size) as series:

        def send() -> None:
            folders = [files[0].parent for files in series]
            senders = [
                client.start_store([folder], "-q", "+sd", environment=TUNED if sending.tuned else None)
                for folder in folders
            ]
            outputs = [sender.communicate()[0] for sender in senders]
            failed = [output for sender, output in zip(senders, outputs, strict=True) if sender.returncode]
            assert not failed, f"storescu failed to send to {receiver.name}: {failed[0][-500:]}"

        return each * sending.associations / timed(send)


def _side(session: Session, receiver: Receiver, sending: Sending, instances: int) -> Callable[[int], float]:
    return lambda _round: send_rate(session, receiver, sending, instances)


def _instances_for_a_round(session: Session, receiver: Receiver, sending: Sending) -> int:
    """As many as take ROUND_S, found by a first try, which also warms both sides up."""
    few = INSTANCES_MIN // 2 if session.quick else INSTANCES_MIN
    rate = send_rate(session, receiver, sending, few)
    if session.quick:
        return few
    return int(min(max(rate * ROUND_S, INSTANCES_MIN), INSTANCES_MAX[sending.size]))


def _row(sending: Sending, peer: str, results: dict[str, list[float]]) -> Row:
    program = peer.removesuffix(" tuned")
    return Row(
        work=sending.text,
        unit="/s",
        ours=median(results[OURS]),
        peer=peer,
        theirs=median(results[peer]),
        goal=_goal(sending, peer),
        durable=f"{OUR_DURABILITY} / {DURABILITY[program]}",
        rounds={OURS: results[OURS], peer: results[peer]},
    )


def _goal(sending: Sending, peer: str) -> Goal | None:
    if not sending.tuned:
        goals = {
            "Orthanc": Goal("at least 10 x Orthanc", at_least=10),
            "storescp": Goal("at least 8 x storescp", at_least=8),
        }
    else:
        goals = {
            "Orthanc tuned": Goal("at least 2 x tuned Orthanc", at_least=2),
            "storescp tuned": Goal("at least 0.8 x storescp", at_least=0.8),
        }
    return goals.get(peer)
