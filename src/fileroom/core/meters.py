"""What a process counts and times for those who watch: plain numbers in memory, for `/metrics` and the dashboard.

    meters.operations.observe(("C-STORE", "in"), 0.004)

A call costs less than a microsecond and waits for nothing. `tasks.meter_files` writes the numbers down once a second, so
that any web worker can tell the sum of all processes. Names follow Prometheus' conventions: base units, `_total` for what
only grows. Labels never hold anything of a patient, and there are at most LABEL_SETS_MAX sets of them for one name: what
comes after that, from a caller that makes up AE titles, is counted together as "other".
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, Protocol

LABEL_SETS_MAX: Final = 1000
"""More than a hospital's nodes times what each of them sends; a histogram of as many is about 15,000 lines."""
OTHER: Final = "other"

Labels = tuple[str, ...]
Numbers = list[float]
State = dict[str, list[tuple[list[str], Numbers]]]
"""By name: label values with one number, or with a histogram's (count of each bucket, count above the last, sum)."""

_MODALITY: Final = re.compile(r"[A-Z0-9_ ]{1,16}")
_WORD_BEGINS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

OPERATION_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ASSOCIATION_BOUNDS_S: Final = (0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
REQUEST_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COMMIT_BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class Meter(Protocol):
    """A name, what it means, its labels, and its numbers by label values."""

    kind: str
    name: str
    help: str
    labels: Labels
    bounds: tuple[float, ...]
    values: dict[Labels, Numbers]


class Counter:
    """Only grows, over the death of its process too."""

    kind = "counter"
    bounds: tuple[float, ...] = ()

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help_text, labels
        self.values: dict[Labels, Numbers] = {}

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Count."""
        _numbers(self.values, labels, 1)[0] += amount


class Gauge(Counter):
    """Goes up and down; is gone with its process."""

    kind = "gauge"


class Histogram:
    """How long something took, in seconds, by buckets with upper `bounds`."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, labels: Labels, bounds: tuple[float, ...]) -> None:
        self.name, self.help, self.labels, self.bounds = name, help_text, labels, bounds
        self.values: dict[Labels, Numbers] = {}

    def observe(self, labels: Labels, seconds: float) -> None:
        """Count one that took so long."""
        numbers = _numbers(self.values, labels, len(self.bounds) + 2)
        numbers[bisect_left(self.bounds, seconds)] += 1
        numbers[-1] += seconds


class Meters:
    """All meters of one process. `worker` is its name below the supervisor, empty for a command."""

    def __init__(self, worker: str = "") -> None:
        self.worker = worker
        self.starts = 0
        """How often a process of this name has begun since the server was started."""
        self.received = Counter(
            "fileroom_objects_received_total",
            "Objects received and answered with success, by way, sending AE title, modality and what became of them.",
            ("protocol", "node", "modality", "outcome"),
        )
        self.received_bytes = Counter(
            "fileroom_received_bytes_total", "Bytes of files kept or already there, as received.", ("protocol", "node")
        )
        self.not_received = Counter(
            "fileroom_objects_refused_total",
            "Objects that were offered and not kept, by the cause.",
            ("protocol", "node", "cause"),
        )
        self.sent = Counter("fileroom_objects_sent_total", "Objects sent by C-STORE and accepted.", ("node",))
        self.sent_bytes = Counter(
            "fileroom_sent_bytes_total", "Bytes of files sent by C-STORE and accepted.", ("node",)
        )
        self.not_sent = Counter(
            "fileroom_objects_not_sent_total", "Objects that a peer did not accept, by the cause.", ("node", "cause")
        )
        self.delivery_tries = Counter(
            "fileroom_delivery_tries_total",
            "Attempts to deliver an object, by destination and what came of it (taken, warned, refused, try later).",
            ("destination", "outcome"),
        )
        self.delivered_bytes = Counter(
            "fileroom_delivered_bytes_total", "Bytes that destinations have taken.", ("destination",)
        )
        self.associations = Counter(
            "fileroom_associations_total",
            "Associations that ended, by who called (in: the peer), AE title of the peer and how.",
            ("direction", "node", "outcome"),
        )
        self.associations_open = Gauge("fileroom_associations_open", "Associations under way.", ("direction",))
        self.association_seconds = Histogram(
            "fileroom_association_duration_seconds",
            "From an association's request to its end.",
            ("direction",),
            ASSOCIATION_BOUNDS_S,
        )
        self.operations = Histogram(
            "fileroom_dimse_duration_seconds",
            "From a DIMSE request to its final answer (C-STORE: until the object is safe), by who asked (in: the peer).",
            ("operation", "direction"),
            OPERATION_BOUNDS_S,
        )
        self.operation_failures = Counter(
            "fileroom_dimse_failures_total",
            "DIMSE requests answered with a failure, or not at all, by who asked.",
            ("operation", "direction"),
        )
        self.commits = Histogram(
            "fileroom_index_commit_duration_seconds",
            "Transactions that file objects in the index.",
            (),
            COMMIT_BOUNDS_S,
        )
        self.requests = Histogram(
            "fileroom_http_request_duration_seconds",
            "From an HTTP request to the end of its answer, by route and status. Streams of events are left out.",
            ("method", "route", "code"),
            REQUEST_BOUNDS_S,
        )
        self.sent_by_http = Counter(
            "fileroom_http_response_bytes_total", "Bytes of HTTP answers, by route.", ("route",)
        )

    @property
    def all(self) -> list[Meter]:
        """Every meter."""
        return [value for value in vars(self).values() if isinstance(value, (Counter, Histogram))]

    def state(self) -> State:
        """The numbers as they are now."""
        return {
            meter.name: [(list(labels), list(numbers)) for labels, numbers in meter.values.items()]
            for meter in self.all
        }

    def add_state(self, state: Mapping[str, object], *, gauges: bool = True) -> None:
        """Add the numbers of another process, or of this one's predecessor. What does not fit is left out."""
        for meter in self.all:
            if meter.kind == "gauge" and not gauges:
                continue
            entries = state.get(meter.name)
            for entry in entries if isinstance(entries, list) else ():
                labels, numbers = tuple(map(str, entry[0])), entry[1]
                width = len(meter.bounds) + 2 if meter.bounds else 1
                if len(labels) == len(meter.labels) and len(numbers) == width:
                    mine = _numbers(meter.values, labels, width)
                    mine[:] = [a + b for a, b in zip(mine, numbers, strict=True)]


def total(meter: Meter, **wanted: str) -> float:
    """The sum over all label sets that have the wanted values; of a histogram the number of observations."""
    places = {meter.labels.index(name): value for name, value in wanted.items()}
    end = -1 if meter.bounds else None
    return sum(
        sum(numbers[:end])
        for labels, numbers in meter.values.items()
        if all(labels[place] == value for place, value in places.items())
    )


def cause_of(error: BaseException | type[BaseException] | str) -> str:
    """A label for an error: `storage_full` of StorageFullError."""
    name = error if isinstance(error, str) else (error if isinstance(error, type) else type(error)).__name__
    return _WORD_BEGINS.sub("_", name.removesuffix("Error")).lower() or "unknown"


def modality_label(text: str) -> str:
    """A modality as a label: what is no code string (PS3.5 6.2) is not passed on."""
    return text if _MODALITY.fullmatch(text) else OTHER if text else "none"


def _numbers(values: dict[Labels, Numbers], labels: Labels, width: int) -> Numbers:
    numbers = values.get(labels)
    if numbers is None:
        if len(values) >= LABEL_SETS_MAX:
            labels = (OTHER,) * len(labels)
        numbers = values.setdefault(labels, [0] * width)
    return numbers
