"""`/metrics`: what all processes of this server have counted and how it stands, for Prometheus.

Text in the formats of Prometheus 0.0.4 or OpenMetrics 1.0, as the caller wants. The counters come from the files of
`tasks.meter_files`, so they are there when the database is not; then the numbers that only it knows are left out, and
`fileroom_ready` says why.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request

from fileroom import __version__
from fileroom.admin.certificate_expiry import list_expiries
from fileroom.archive import gauges, overview
from fileroom.archive.processes import ProcessState, list_processes
from fileroom.archive.services import Archive
from fileroom.core.errors import FileroomError
from fileroom.core.meters import Meter
from fileroom.feeds.gauges import read_ris_gauges
from fileroom.routing.alert_rules import SEVERITIES
from fileroom.routing.alert_sums import read_queues
from fileroom.routing.alerts import count_alerts
from fileroom.routing.delivery_rows import DeliveryState
from fileroom.tasks.meter_files import SUPERVISOR, meters_folder, read_workers, sum_of_workers
from fileroom.web.answers import NO_STORE, Answer, compressed
from fileroom.web.endpoint import Handler

_log = structlog.get_logger(__name__)
_OTHER_ACCEPT: Final = ""
_ALERT_STATES: Final = ("firing", "acknowledged")


def metrics_handler(archive: Archive) -> Handler:
    """The handler of the page. Whoever asks needs system.read."""

    async def handle(request: Request) -> Answer:
        families = await collect(archive)
        encode, content_type = choose_encoder(request.headers.get("accept", _OTHER_ACCEPT))
        headers = {"content-type": content_type, "cache-control": NO_STORE}
        return compressed(Answer(200, headers, encode(_Collected(families))), request.headers.get("accept-encoding"))

    return handle


async def collect(archive: Archive) -> list[Metric]:
    """All metrics. Raises NotAllowedError; without a database those are left out that need it."""
    parts = await overview.readiness(archive)
    workers = await asyncio.to_thread(read_workers, meters_folder(archive.settings.data))
    processes = await asyncio.to_thread(list_processes, archive, workers)
    families = [
        *_build(),
        _gauge(
            "fileroom_ready",
            "Whether a part is ready (1) or not (0).",
            ("part",),
            [((p.name,), p.ready) for p in parts],
        ),
        *_processes(processes, archive.now().timestamp()),
        *(_family(meter) for meter in sum_of_workers(workers, archive.meters).all),
    ]
    for read in (_totals, _state, _storage, _certificates, _nodes, _routing, _ris):
        try:
            families += await read(archive)
        except FileroomError as error:
            _log.info("metrics_without_database", part=read.__name__.strip("_"), reason=str(error))
    return families


class _Collected:
    """What the encoders of prometheus-client ask."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._families


def _family(meter: Meter) -> Metric:
    if meter.bounds:
        histogram = HistogramMetricFamily(meter.name, meter.help, labels=meter.labels)
        edges = [*(f"{bound:g}" for bound in meter.bounds), "+Inf"]
        for labels, numbers in meter.values.items():
            # In the file: how many fell between two bounds. Prometheus wants how many were below each.
            histogram.add_metric(labels, list(zip(edges, accumulate(numbers[:-1]), strict=True)), numbers[-1])
        return histogram
    kind = CounterMetricFamily if meter.kind == "counter" else GaugeMetricFamily
    family = kind(meter.name, meter.help, labels=meter.labels)
    for labels, numbers in meter.values.items():
        family.add_metric(labels, numbers[0])
    return family


def _gauge(
    name: str, help_text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, float(value))
    return family


def _one(name: str, help_text: str, value: float | None) -> GaugeMetricFamily:
    """A number without labels; of None only the name is told."""
    return _gauge(name, help_text, (), [] if value is None else [((), value)])


def _build() -> list[Metric]:
    labels = (__version__, platform.python_version())
    return [_gauge("fileroom_build_info", "Version of Fileroom and of Python.", ("version", "python"), [(labels, 1)])]


def _processes(processes: list[ProcessState], now_s: float) -> list[Metric]:
    label = ("process",)
    starts = CounterMetricFamily(
        "fileroom_process_starts_total", "How often a process was begun since the server was started.", labels=label
    )
    cpu = CounterMetricFamily(
        "fileroom_process_cpu_seconds_total", "Processor time that a process has used.", labels=label
    )
    for one in processes:
        starts.add_metric([one.name], one.starts)
        if one.cpu_s is not None:
            cpu.add_metric([one.name], one.cpu_s)
    begun = next((one.started_at for one in processes if one.name == SUPERVISOR), None)
    running_s = None if begun is None else now_s - begun
    memory = [((one.name,), one.memory_bytes) for one in processes if one.memory_bytes is not None]
    return [
        _one("fileroom_start_time_seconds", "When the server was started, since 1970.", begun),
        _one("fileroom_uptime_seconds", "For how long the server has been running.", running_s),
        _gauge(
            "fileroom_process_up",
            "Whether a process gives signs of life.",
            label,
            [((p.name,), p.is_alive) for p in processes],
        ),
        _gauge("fileroom_process_resident_memory_bytes", "Memory that a process holds.", label, memory),
        starts,
        cpu,
    ]


async def _totals(archive: Archive) -> list[Metric]:
    held = await overview.system_totals(archive)
    counts = {
        "patients": held.patients,
        "studies": held.studies,
        "series": held.series,
        "instances": held.instances,
    }
    return [
        _one(f"fileroom_{name}", f"Number of {name} in the archive.", total.count) for name, total in counts.items()
    ]


async def _state(archive: Archive) -> list[Metric]:
    now = await gauges.read_gauges(archive)
    last, lag = now.last_received_at, now.audit_forwarding
    return [
        _gauge(
            "fileroom_queue_length",
            "What background work waits for.",
            ("queue",),
            [((k,), v) for k, v in now.queues.items()],
        ),
        _gauge(
            "fileroom_exceptions",
            "What needs a person: conflicts and lost objects, refusals and failed associations of the last day.",
            ("kind",),
            [((kind,), count) for kind, count in now.exceptions.items()],
        ),
        _one("fileroom_arriving_studies", "Studies that have not come to rest yet.", now.arriving_studies),
        _one("fileroom_held_callers", "Callers that wait for approval.", now.held_callers),
        _one("fileroom_sessions", "Sessions of people that are logged in.", now.sessions),
        _one(
            "fileroom_last_received_timestamp_seconds",
            "When the latest object was received, since 1970.",
            None if last is None else last.timestamp(),
        ),
        _one(
            "fileroom_audit_forward_waiting",
            "Audit events that the syslog server does not have yet.",
            None if lag is None else lag.waiting,
        ),
        _one("fileroom_audit_forward_lag_seconds", "Age of the oldest of them.", None if lag is None else lag.lag_s),
    ]


async def _certificates(archive: Archive) -> list[Metric]:
    expiries = await list_expiries(archive.pool, archive.settings, archive.now())
    values = [
        ((one.name, "trusted" if one.is_trusted else " ".join(one.uses)), one.not_after.timestamp()) for one in expiries
    ]
    help_text = "When a certificate in use, or one that we trust, ends, since 1970."
    name = "fileroom_certificate_expiry_timestamp_seconds"
    return [_gauge(name, help_text, ("certificate", "use"), values)]


async def _nodes(archive: Archive) -> list[Metric]:
    states = await gauges.read_node_states(archive)
    label = ("node",)
    up = [((one.name,), one.is_answering) for one in states]
    seconds = [((one.name,), one.latency_s) for one in states if one.latency_s is not None]
    return [
        _gauge("fileroom_node_up", "Whether a node answered the last echo (1) or not (0).", label, up),
        _gauge("fileroom_node_echo_seconds", "How long its answer took.", label, seconds),
    ]


async def _ris(archive: Archive) -> list[Metric]:
    now = await read_ris_gauges(archive)
    label = ("feed",)
    messages = [((feed, "failed"), count) for feed, count in now.failed.items()]
    messages += [((feed, "dead"), count) for feed, count in now.dead.items()]
    return [
        _gauge(
            "fileroom_open_exceptions",
            "Studies that met no order or one that says otherwise, by reason; a study may have several reasons.",
            ("reason",),
            [((code,), count) for code, count in now.exceptions.items()],
        ),
        _one("fileroom_unmatched_studies", "Studies that wait for a person to say their order.", now.unmatched),
        _gauge(
            "fileroom_hl7_failed_messages",
            "HL7 messages that wait for a mend (failed), or were given up on their way out (dead).",
            ("feed", "state"),
            messages,
        ),
        _gauge(
            "fileroom_hl7_outbox_waiting",
            "HL7 messages that are not sent yet.",
            label,
            [((feed,), count) for feed, count in now.waiting.items()],
        ),
        _gauge(
            "fileroom_hl7_outbox_oldest_seconds",
            "Age of the oldest of them.",
            label,
            [((feed,), age) for feed, age in now.oldest_s.items()],
        ),
    ]


async def _routing(archive: Archive) -> list[Metric]:
    queues = await read_queues(archive)
    now = archive.now()
    label = ("destination",)
    waits = [((one.name,), max((now - one.oldest_at).total_seconds(), 0) if one.oldest_at else 0) for one in queues]
    states = [((one.name, state), one.states.get(state.value, 0)) for one in queues for state in DeliveryState]
    up = [((one.name,), one.down_since is None) for one in queues]
    alerts = await count_alerts(archive)
    levels = [
        ((severity, state), alerts.get((severity, state), 0)) for severity in SEVERITIES for state in _ALERT_STATES
    ]
    return [
        _gauge("fileroom_deliveries", "Deliveries of the ledger by state.", ("destination", "state"), states),
        _gauge(
            "fileroom_delivery_oldest_seconds",
            "Age of the oldest delivery that waits, 0 where none does.",
            label,
            waits,
        ),
        _gauge("fileroom_destination_up", "Whether a destination is not down (1) or is (0).", label, up),
        _gauge("fileroom_alerts", "Alerts that are.", ("severity", "state"), levels),
    ]


async def _storage(archive: Archive) -> list[Metric]:
    held = await gauges.read_storage(archive)
    return [
        _one("fileroom_storage_used_bytes", "Bytes of all objects in the store.", held.objects + held.aside),
        _one("fileroom_storage_reserve_bytes", "Free space below which objects are refused.", held.reserve),
        _one("fileroom_storage_free_bytes", "Free space on the store's file system.", held.free),
        _one("fileroom_storage_size_bytes", "Size of the store's file system.", held.total),
        _one("fileroom_database_size_bytes", "Size of the database on its disk.", held.database),
    ]
