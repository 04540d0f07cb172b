"""What the API answers and takes, as values. Made from the OpenAPI document by tools/client.py; change it there."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from fileroom.client.values import Model

ActorKind = Literal["person", "token", "node", "system", "nobody"]
"""What kind of somebody acts."""

Confirmation = Literal["answer", "commitment", "count"]
"""What makes a delivery proven, after the destination has taken the object."""

Direction = Literal["in", "out"]
"""Who called."""

EchoProblem = Literal[
    "",
    "no such host",
    "port closed",
    "unreachable",
    "no connection",
    "no answer",
    "knows us not",
    "called otherwise",
    "full",
    "refused",
    "no echo",
    "tls",
    "cut",
    "not asked",
]
"""Why a node did not answer."""

FieldType = Literal["text", "lines", "secret", "url", "number", "decimal", "flag", "choice", "list"]
"""What a field holds."""

FindingKind = Literal["changed", "missing", "reordered", "unsealed", "checkpoint"]
"""What is wrong with a row."""

ImportKind = Literal["add", "change", "same"]
"""What happens to a node of a file."""

NodeRole = Literal["send", "query", "retrieve", "destination", "commit", "performed", "availability"]
"""What a node may do here, or may be used for."""

Outcome = Literal[
    "open",
    "released",
    "rejected",
    "aborted by peer",
    "aborted by us",
    "connection lost",
    "timed out",
    "unreachable",
    "interrupted",
]
"""How an association ended, or the attempt at one."""

Permission = Literal[
    "study.search",
    "study.view",
    "study.export",
    "study.store",
    "study.correct",
    "study.delete",
    "study.break-glass",
    "node.read",
    "node.manage",
    "ledger.read",
    "system.read",
    "system.manage",
    "settings.read",
    "settings.manage",
    "user.manage",
    "routing.read",
    "routing.manage",
    "identity.reveal",
    "edge.link",
    "order.read",
    "order.manage",
    "message.read",
    "message.manage",
    "report.write",
    "report.sign",
    "audit.read",
]
"""One thing that a role may allow."""

SettingKind = Literal["start", "secret", "managed"]
"""Who may set it, and when it is read."""

Source = Literal["local", "ldap", "openid"]
"""Who vouches for an account."""

StudyStatus = Literal["receiving", "complete", "exception"]
"""How far a study has come."""

TlsUse = Literal["off", "on", "mutual"]
"""Whether associations with a node are encrypted."""

Use = Literal["web", "dicom", "calls"]
"""One certificate at a time is active for each."""


@dataclass(frozen=True, slots=True)
class Account(Model):
    """A person. `rows` narrows what the role shows."""

    login: str
    full_name: str
    role: str
    rows: Rows
    has_password: bool
    has_second_factor: bool
    passkeys: int
    """How many."""
    password_must_change: bool
    """At the next login."""
    source: Source
    """Who vouches for it: Fileroom itself, the directory, the provider."""
    disabled: bool
    created_at: dt.datetime
    last_login_at: dt.datetime | None
    version: int
    """Counts the changes of name, role, studies and state."""


@dataclass(frozen=True, slots=True)
class Advice(Model):
    """What went wrong, and what to do next."""

    what: str
    next: str


@dataclass(frozen=True, slots=True)
class Alert(Model):
    """Something that is, or was, as a condition says."""

    id: int
    condition_name: str
    kind: str
    subject: str
    """The destination or edge that it is about; empty for the whole."""
    state: str
    """firing, acknowledged or ended."""
    severity: str
    value: float
    sentence: str
    began_at: dt.datetime
    seen_at: dt.datetime
    """When it was last so."""
    ended_at: dt.datetime | None
    acknowledged_by: str
    acknowledged_at: dt.datetime | None
    note: str
    notices: int
    """How often people were told."""


@dataclass(frozen=True, slots=True)
class Applied(Model):
    """The version that holds now, and what came of the change. Without changes no version was made."""

    version: int
    changes: tuple[Change, ...]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class AskedAttribute(Model):
    """What one attribute shall be."""

    attribute: str
    """Keyword or tag."""
    values: tuple[str | int | float, ...] | None
    """As in DICOM JSON; [] empties it, null removes it."""


@dataclass(frozen=True, slots=True)
class AskedReportSection(Model):
    """A heading and its text."""

    heading: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class AskedStep(Model):
    """A scheduled procedure step; one without an ID is the next one that the others do not name, or a new one."""

    step_id: str = ""
    modality: str | None = None
    station_aets: tuple[str, ...] | None = None
    station_name: str | None = None
    location: str | None = None
    start: str | None = None
    performing_physician: str | None = None
    description: str | None = None
    comments: str | None = None
    pre_medication: str | None = None
    contrast_agent: str | None = None
    protocol_codes: tuple[CodedEntry, ...] | None = None


@dataclass(frozen=True, slots=True)
class AskedThrottle(Model):
    """How fast at most; 0: no limit."""

    mbit_s: float = 0
    objects_s: float = 0
    associations: int = 0


@dataclass(frozen=True, slots=True)
class Association(Model):
    """One association, or the attempt at one."""

    id: int
    began_at: dt.datetime
    ended_at: dt.datetime | None
    direction: Direction
    purpose: str
    parent: int | None
    """The association that this one was opened for."""
    calling_aet: str
    called_aet: str
    peer_host: str
    peer_port: int
    tls: bool
    implementation_version: str
    outcome: Outcome
    mark: Literal["good", "warning", "failed"]
    detail: str
    contexts_proposed: int
    contexts_accepted: int
    bytes_in: int
    bytes_out: int
    requests: int
    objects: int
    warnings: int
    failures: int
    advice: tuple[Advice, ...]


@dataclass(frozen=True, slots=True)
class AttributeName(Model):
    """A name that conditions know. What is no attribute has no tag."""

    keyword: str
    tag: str
    vr: str
    name: str
    retired: bool


@dataclass(frozen=True, slots=True)
class BacktestResult(Model):
    """What would have matched. `stopped` says why not everything was looked at."""

    days: int
    since: str
    source: str
    """index, or headers where files had to be read."""
    asked: int
    objects: int
    studies: int
    by_modality: dict[str, int]
    studies_by_modality: dict[str, int]
    by_day: dict[str, int]
    listed: tuple[FoundStudy, ...]
    unreadable: int
    stopped: str


@dataclass(frozen=True, slots=True)
class BegunReport(Model):
    """The number of the report."""

    id: int


@dataclass(frozen=True, slots=True)
class BrokenKind(Model):
    """A kind of an installed package that is left out."""

    name: str
    package: str
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate(Model):
    """An order that comes near to a study."""

    order: int
    name: str
    score: int
    state: str
    patient_differs: bool
    findings: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class CarriedStudy(Model):
    """A study that objects were carried of, as far as one may see it."""

    study_instance_uid: str
    patient_name: str
    patient_id: str
    study_date: str
    description: str


@dataclass(frozen=True, slots=True)
class Centre(Model):
    """A centre and its link; of the token only that there is one."""

    url: str
    """Address of its web port."""
    token: str
    """`secret`: as it is."""
    name: str
    version: int
    connected: bool
    since: dt.datetime | None
    seen_at: dt.datetime | None
    software: str
    cause: str
    """Why there is no link."""
    fingerprint: str
    """SHA-256 of its certificate."""
    compress: bool
    piece_kib: int
    in_flight: int
    description: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Certificate(Model):
    """One certificate, or a request that waits for its issuer's answer."""

    name: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    fingerprint: str
    key_kind: str
    not_before: dt.datetime | None
    not_after: dt.datetime | None
    uses: tuple[Use, ...]
    has_key: bool
    """False: the key lies on another machine."""
    is_request: bool
    is_self_signed: bool
    created_at: dt.datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Change(Model):
    """One entry before and after; null: it is not there, so that the default holds."""

    section: str
    name: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Checkpoint(Model):
    """An end of the chain that was noted elsewhere."""

    position: int
    chain: str


@dataclass(frozen=True, slots=True)
class Code(Model):
    """A coded entry."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class CodedEntry(Model):
    """A code with its scheme and meaning."""

    value: str
    scheme: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Condition(Model):
    """When something is an alert."""

    name: str
    kind: str
    above: float
    destinations: tuple[str, ...]
    window_min: int
    severity: str
    notify: tuple[str, ...]
    quiet: str
    repeat_min: int
    enabled: bool
    version: int


@dataclass(frozen=True, slots=True)
class ConditionCheck(Model):
    """Whether it is a condition; else what is wrong, and where."""

    valid: bool
    text: str
    """The condition in CEL."""
    problem: str
    position: int
    """Character of the text where it is wrong, from 0."""
    length: int
    attributes: tuple[str, ...]
    late: bool
    """Only known when the study is complete."""


@dataclass(frozen=True, slots=True)
class ConditionPart(Model):
    """A part of the condition."""

    text: str
    start: int
    end: int
    holds: bool
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Conflict(Model):
    """An object kept aside, as its UID has other content."""

    received_at: str
    sop_instance_uid: str
    sop_class_uid: str
    file_bytes: int
    received_by: str
    sender: str


@dataclass(frozen=True, slots=True)
class Context(Model):
    """A presentation context and the answer (PS3.8 9.3.3.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    result: int | None
    transfer_syntax: str
    role: str


@dataclass(frozen=True, slots=True)
class Corrected(Model):
    """The numbers of new corrections."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Correction(Model):
    """A correction as it was made; `revoked_at` null while it is in force."""

    id: int
    study_instance_uid: str
    series_instance_uid: str | None
    sop_instance_uid: str | None
    attribute: str
    """Keyword or tag; of nested ones the path."""
    vr: str
    values: tuple[Any, ...] | None
    """As in DICOM JSON; null: removed."""
    reason: str
    actor: str
    made_at: dt.datetime
    revoked_at: dt.datetime | None
    revoked_by: str | None


@dataclass(frozen=True, slots=True)
class Count(Model):
    """How many."""

    count: int


@dataclass(frozen=True, slots=True)
class CriticalResult(Model):
    """A critical finding."""

    id: int
    report: int
    level: str
    finding: str
    told_to: str
    due_at: dt.datetime
    noted_at: dt.datetime
    noted_by: str
    acknowledged_at: dt.datetime | None
    acknowledged_by: str
    how: str
    comment: str
    told_at: dt.datetime | None
    escalated_at: dt.datetime | None
    study_instance_uid: str
    accession_number: str
    patient_id: str
    patient_name: str


@dataclass(frozen=True, slots=True)
class Deleted(Model):
    """How many of each are gone."""

    studies: int
    series: int
    instances: int


@dataclass(frozen=True, slots=True)
class DeliveriesChanged(Model):
    """How much was changed."""

    deliveries: int
    studies: int


@dataclass(frozen=True, slots=True)
class Delivery(Model):
    """One object and one destination."""

    id: int
    destination: str
    rule: str
    """The rule that planned it; empty where somebody ordered it."""
    state: Literal["gathering", "waiting", "sent", "delivered", "failed", "held", "cancelled", "quarantined"]
    cause: str
    """Why it stands where it does, in words."""
    status: int | None
    """DIMSE status or HTTP code of the last attempt."""
    attempts: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    bytes: int
    created_at: dt.datetime
    due_at: dt.datetime
    """The next try."""
    taken_at: dt.datetime | None
    settled_at: dt.datetime | None
    delivered_as: str
    """SOP Instance UIDs with which it left, where they are others."""


@dataclass(frozen=True, slots=True)
class DeliveryCount(Model):
    """How many deliveries of a destination are in a state."""

    destination: str
    state: Literal["gathering", "waiting", "sent", "delivered", "failed", "held", "cancelled", "quarantined"]
    number: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Destination(Model):
    """A destination, without its secrets."""

    name: str
    kind: str
    target: dict[str, Any]
    leads_to: str
    """In a few words; empty where its kind is not installed."""
    state: str
    """enabled, held or disabled."""
    confirmation: Confirmation
    lanes_max: int
    attempts_max: int
    treatment: str
    schedule: str
    throttle: Throttle
    hold: bool
    corrected: Literal["usual", "always", "never"]
    description: str
    enabled: bool
    version: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class DestinationKind(Model):
    """A kind of destination; one that tells no fields takes what its package's handbook says."""

    name: str
    confirmations: tuple[Confirmation, ...]
    secrets: tuple[str, ...]
    fields: tuple[TargetField, ...]


@dataclass(frozen=True, slots=True)
class DestinationKinds(Model):
    """Fileroom's own first."""

    items: tuple[DestinationKind, ...]
    left_out: tuple[BrokenKind, ...]


@dataclass(frozen=True, slots=True)
class DestinationVersion(Model):
    """What a destination was."""

    version: int
    fields: dict[str, Any]
    enabled: bool
    changed_by: str
    changed_at: str


@dataclass(frozen=True, slots=True)
class Difference(Model):
    """An attribute that would not be the same; null: it is not there."""

    path: str
    tag: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Differences(Model):
    """What makes the second version of the first."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Document(Model):
    """Everything that a file can hold: settings and other sections, by name."""

    version: int
    document: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Echo(Model):
    """What came of a C-ECHO."""

    asked_at: dt.datetime
    answered: bool
    latency_ms: float | None
    problem: EchoProblem
    why: str
    """Why there was no answer, and what to do."""
    detail: str


@dataclass(frozen=True, slots=True)
class EchoHistory(Model):
    """How a node answered during the last day, the oldest half hour first."""

    node: str
    last: Echo | None
    answered_at: dt.datetime | None
    """When it last answered."""
    ticks: tuple[EchoTick, ...]


@dataclass(frozen=True, slots=True)
class EchoTick(Model):
    """Half an hour: how often it was asked, how many of that failed, and the slowest answer."""

    began_at: dt.datetime
    asked: int
    failed: int
    slowest_ms: float | None


@dataclass(frozen=True, slots=True)
class Edge(Model):
    """An edge as the centre knows it."""

    name: str
    description: str
    silent_after_s: int
    enabled: bool
    version: int
    state: Literal["here", "silent", "never seen", "disabled"]
    seen_at: dt.datetime | None
    since: dt.datetime | None
    address: str
    software: str
    clock_ahead_s: float
    round_trip_s: float
    waiting_here: int
    """Deliveries that wait for it at the centre."""
    waiting_there: int
    """Deliveries that wait at the edge, as it said."""
    failed_there: int
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EdgeToken(Model):
    """An edge's token, which is shown this one time."""

    name: str
    token: str


@dataclass(frozen=True, slots=True)
class End(Model):
    """The end of the chain: worth noting elsewhere."""

    position: int
    chain: str


@dataclass(frozen=True, slots=True)
class Event(Model):
    """One event as it was written."""

    id: int
    occurred_at: dt.datetime
    event: str
    """Code of EventID (PS3.15 A.5)."""
    event_type: str
    title: str
    sentence: str
    """The event in plain words."""
    what: str
    """The sentence that goes with it, or the keys of a query."""
    action: str
    outcome: int
    """0: success."""
    actor_kind: str
    actor: str
    address: str
    patient_ids: tuple[str, ...]
    study_instance_uids: tuple[str, ...]
    message: dict[str, Any]
    """The whole audit message."""


@dataclass(frozen=True, slots=True)
class Evidence(Model):
    """One thing in which study and order agree or differ."""

    evidence: str
    agrees: bool
    of_study: str
    of_order: str
    points: int


@dataclass(frozen=True, slots=True)
class Exception(Model):
    """A study that met no order."""

    id: int
    study_instance_uid: str
    state: Literal["open", "fixed", "dismissed"]
    reasons: tuple[Reason, ...]
    best_order: int | None
    """Number of the order that came nearest when it was looked at."""
    best_score: int | None
    found_at: dt.datetime
    ended_at: dt.datetime | None
    ended_by: str
    note: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    study_date: str
    study_time: str
    description: str
    modalities: tuple[str, ...]
    instances: int
    is_matched: bool


@dataclass(frozen=True, slots=True)
class ExceptionCounts(Model):
    """What waits for a person."""

    studies: int
    images: int
    orders_without_images: int


@dataclass(frozen=True, slots=True)
class Expiry(Model):
    """When a certificate ends."""

    name: str
    uses: tuple[Use, ...]
    is_trusted: bool
    not_after: dt.datetime
    days_left: int


@dataclass(frozen=True, slots=True)
class Fetch(Model):
    """An order to fetch a study, and how far it is."""

    id: int
    study_instance_uid: str
    source: str
    reason: Literal["asked", "prefetch"]
    asked_by: str
    rule: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    cause: str
    expected: int
    """Objects that the source says it has; 0: it does not say."""
    objects: int
    bytes: int
    attempts: int
    requested_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Filter(Model):
    """A search under a name."""

    id: int
    name: str
    question: str
    """A query string of the study list."""


@dataclass(frozen=True, slots=True)
class Finding(Model):
    """Something that is wrong with the trail."""

    kind: FindingKind
    position: int
    event_id: int
    occurred_at: dt.datetime | None
    detail: str


@dataclass(frozen=True, slots=True)
class Forecast(Model):
    """When the store is full, if it goes on as lately; null where too little is known, or that is far."""

    days: float
    bytes_per_day: float | None
    full_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class FoundPatient(Model):
    """A patient in a list, and how much there is of them."""

    id: int
    patient_id: str
    """The identifier that images carry."""
    authority: str
    patient_name: str
    birth_date: str
    sex: str
    others: tuple[str, ...]
    """Further identifiers."""
    orders: int
    studies: int
    merged: int
    """How many others have become part of this one."""


@dataclass(frozen=True, slots=True)
class FoundStudy(Model):
    """A study of which something matched."""

    study_instance_uid: str
    date: str
    description: str
    modalities: tuple[str, ...]
    arrived: str
    objects: int


@dataclass(frozen=True, slots=True)
class Glass(Model):
    """One time that somebody broke the glass; `reviewed_at` null: nobody has looked at it yet."""

    id: int
    login: str
    address: str
    reason: str
    began_at: dt.datetime
    ends_at: dt.datetime
    reviewed_at: dt.datetime | None
    reviewed_by: str | None
    review: str


@dataclass(frozen=True, slots=True)
class HandedOver(Model):
    """What the program of an exam gets."""

    url: str
    content: str
    media_type: str
    file_name: str


@dataclass(frozen=True, slots=True)
class HeldCaller(Model):
    """A caller that was turned away because nobody has approved it."""

    aet: str
    host: str
    calls: int
    last_at: str
    ignored: bool


@dataclass(frozen=True, slots=True)
class HistoryEntry(Model):
    """One thing that happened to a study."""

    at: dt.datetime
    kind: Literal["arrival", "correction", "revocation", "association", "event"]
    """Where it is known from: the index, corrections, the ledger, the audit trail."""
    what: str
    association: int | None
    """Its number in the ledger."""
    event: int | None
    """Its number in the audit trail."""


@dataclass(frozen=True, slots=True)
class Hl7Feed(Model):
    """A feed."""

    name: str
    fields: dict[str, Any]
    """As they were saved, with what was not said filled in."""
    enabled: bool
    version: int
    changed_by: str
    is_built_in: bool
    """Nobody made it: it takes what this machine sends."""


@dataclass(frozen=True, slots=True)
class Hl7Field(Model):
    """A field of a segment; `before` where it is another in the previous message of the same order or patient."""

    number: int
    name: str
    text: str
    is_cut: bool
    before: str | None


@dataclass(frozen=True, slots=True)
class Hl7Message(Model):
    """A message that came in."""

    id: int
    feed: str
    """Empty: no feed took it."""
    sender: str
    """MSH-3|MSH-4."""
    address: str
    control_id: str
    kind: str
    state: Literal["applied", "ignored", "failed", "rejected", "duplicate"]
    answered: str
    """AA, AE, AR, CA, CE, CR; empty where the sender wanted no answer."""
    reason: str
    effects: tuple[MessageEffect, ...]
    patient_ids: tuple[str, ...]
    accession_numbers: tuple[str, ...]
    order_numbers: tuple[str, ...]
    first: int | None
    """The message that this one repeats or mends."""
    mended_by: int | None
    received_at: dt.datetime
    received_by: str
    milliseconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Hl7MessageContent(Model):
    """A message with its segments, what was answered, and the message before it of the same order or patient."""

    message: Hl7Message
    segments: tuple[Hl7Segment, ...]
    gone: tuple[Hl7Segment, ...]
    """Segments that only the previous message has."""
    answer: tuple[Hl7Segment, ...]
    is_masked: bool
    """Who the patient is, is not shown to this account."""
    warnings: tuple[str, ...]
    previous: int | None


@dataclass(frozen=True, slots=True)
class Hl7Segment(Model):
    """A segment."""

    name: str
    title: str
    fields: tuple[Hl7Field, ...]
    state: str


@dataclass(frozen=True, slots=True)
class Identity(Model):
    """Who a pseudonym is."""

    pseudonym: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str


@dataclass(frozen=True, slots=True)
class ImportResult(Model):
    """What was done, or with `dry_run` would be."""

    dry_run: bool
    changes: tuple[PlannedChange, ...]


@dataclass(frozen=True, slots=True)
class Instance(Model):
    """An instance of a series."""

    sop_instance_uid: str
    sop_class_uid: str
    instance_number: int | None
    number_of_frames: int | None
    rows: int | None
    columns: int | None


@dataclass(frozen=True, slots=True)
class ListedStep(Model):
    """A scheduled step with its order and patient."""

    id: int
    order: int
    step_id: str
    accession_number: str
    placer_number: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    start_date: str
    start_time: str
    minutes: int
    modality: str
    station_aets: tuple[str, ...]
    station_name: str
    location: str
    what: str
    priority: str
    state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]
    order_state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]


@dataclass(frozen=True, slots=True)
class Match(Model):
    """A study that has met an order."""

    id: int
    study_instance_uid: str
    order: int
    order_name: str
    how: str
    score: int
    corrections: int
    """How many attributes were taken over."""
    matched_at: dt.datetime
    matched_by: str
    patient_id: str
    patient_name: str
    study_date: str
    modalities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matching(Model):
    """How studies of a node meet orders; `default` is for those that have no entry of their own."""

    name: str
    version: int
    changed_by: str
    attributes: tuple[str, ...]
    """What is taken over from the order, of: PatientName, PatientID, IssuerOfPatientID, PatientBirthDate, PatientSex,
    AccessionNumber, IssuerOfAccessionNumberSequence, StudyDescription, ReferringPhysicianName, RequestedProcedureID."""
    score_min: int
    """Points; 101: never by itself."""


@dataclass(frozen=True, slots=True)
class Me(Model):
    """Who asks, and what they may do."""

    kind: ActorKind
    """What kind of somebody."""
    name: str
    full_name: str
    permissions: tuple[str, ...]
    rows: Rows
    profile: Profile
    expires_at: dt.datetime | None
    form_token: str | None
    """For the header X-Form-Token of changes in a session of the console."""


@dataclass(frozen=True, slots=True)
class MeasuredWay(Model):
    """How long one way took, in minutes."""

    way: str
    """One of ordered_arrived, arrived_performed, performed_images, images_preliminary, preliminary_final, images_final,
    final_acknowledged, ordered_final."""
    studies: int
    median: float
    percentile_90: float


@dataclass(frozen=True, slots=True)
class MergePreview(Model):
    """What a merge would move. Nothing is done yet."""

    survivor: int
    retired: int
    survivor_version: int
    retired_version: int
    identifiers: tuple[MovedIdentifier, ...]
    visits: int
    orders: int
    studies: int
    instances: int
    left: int
    """Studies with the same Patient ID but another birth date or name: they stay."""
    differences: tuple[str, ...]
    """Of name, birth_date, sex."""


@dataclass(frozen=True, slots=True)
class MessageEffect(Model):
    """What became of a message, and which row it is about."""

    words: str
    subject: str
    """patient, visit, order or study; empty where it is none."""
    number: int


@dataclass(frozen=True, slots=True)
class Misfit(Model):
    """Something that does not fit."""

    kind: Literal["images_without_report", "reports_without_images", "orders_without_images", "reports_on_cancelled"]
    subject: str
    reason: str
    """One of no_report, only_draft, no_study, study_not_here, study_empty, not_matched, order_cancelled,
    order_discontinued."""
    at: dt.datetime
    study_instance_uid: str
    report: int | None
    order: int | None
    accession_number: str
    patient_id: str
    patient_name: str
    what: str
    modality: str
    dismissed_by: str
    dismissed_because: str


@dataclass(frozen=True, slots=True)
class MovedIdentifier(Model):
    """An identifier that goes along."""

    value: str
    authority: str
    kind: str
    retires: bool
    """Images that show it show the survivor's first one from then on."""


@dataclass(frozen=True, slots=True)
class Names(Model):
    """The names that they got."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewSecret(Model):
    """A secret that is told once."""

    secret: str


@dataclass(frozen=True, slots=True)
class Node(Model):
    """A system that Fileroom talks to: `name` is for people, `aet`, `host` and `port` are for the network."""

    name: str
    aet: str
    host: str
    port: int
    description: str
    location: str
    enabled: bool
    calling_from: tuple[str, ...]
    roles: tuple[NodeRole, ...]
    tls: TlsUse
    tls_subject: str
    tls_fingerprint: str
    charset: str
    charset_assumed: str
    accept_syntaxes: tuple[str, ...]
    propose_syntaxes: tuple[str, ...]
    associations_max: int
    objects_per_minute_max: int
    own_aet: str
    connect_timeout_s: int
    response_timeout_s: int
    echo_interval_s: int
    comment: str
    version: int
    """Counts its changes."""
    changed_by: str


@dataclass(frozen=True, slots=True)
class NodeDifference(Model):
    """A field before and after."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class NodeFile(Model):
    """All nodes as a file."""

    text: str


@dataclass(frozen=True, slots=True)
class NodeVersion(Model):
    """One version of a node: who made it, and what it changed; nothing of the first."""

    version: int
    changed_at: str
    changed_by: str
    changes: tuple[NodeDifference, ...]


@dataclass(frozen=True, slots=True)
class Notice(Model):
    """One notice to one node."""

    id: int
    node: str
    kind: Literal["mpps_create", "mpps_set", "availability"]
    sop_instance_uid: str
    study_instance_uid: str
    state: Literal["", "waiting", "sent", "dead", "cancelled"]
    attempts: int
    next_try_at: dt.datetime
    reason: str
    made_at: dt.datetime
    ended_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Operation(Model):
    """A request and its answer, or many that are alike."""

    n: int
    kind: str
    by_us: bool
    began_at: dt.datetime
    ended_at: dt.datetime | None
    busy_s: float
    count: int
    status: int | None
    """DIMSE status."""
    reason: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    bytes: int
    matches: int
    completed: int | None
    warned: int | None
    failed: int | None
    destination: str


@dataclass(frozen=True, slots=True)
class Order(Model):
    """An order with its requested procedure and steps."""

    id: int
    version: int
    state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]
    placer_number: str
    placer_authority: str
    filler_number: str
    filler_authority: str
    accession_number: str
    accession_authority: str
    procedure_id: str
    study_instance_uid: str
    procedure_code: str
    procedure_scheme: str
    procedure_meaning: str
    priority: str
    ordering_physician: str
    referring_physician: str
    reason: str
    clinical_information: str
    department: str
    institution: str
    body_part: str
    laterality: str
    transport: str
    danger: str
    patient: int | None
    """The patient's row; none: not told yet."""
    patient_id: str
    patient_name: str
    changed_by: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class OrderChange(Model):
    """What became of an order once."""

    message: int | None
    changed_by: str
    changed_at: dt.datetime
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrderDone(Model):
    """What was done, in words."""

    id: int
    effects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrderNumber(Model):
    """A number with who assigned it."""

    value: str
    authority: str = ""


@dataclass(frozen=True, slots=True)
class OtherArchive(Model):
    """A source as it is kept; of secrets only that there are some."""

    name: str
    version: int
    changed_by: str
    node: str
    dicomweb: str
    """Address of its DICOMweb service."""
    federate: bool
    """Searches of people and peers may reach it."""
    prefetch: bool
    """Rules may fetch priors from it."""
    worklist: bool
    """Questions for a modality worklist are passed on to it."""
    timeout_s: int
    results_max: int
    method: Literal["get", "move"]
    label: str
    """What people read beside its studies."""
    login: str
    password: str
    """`secret`: as it is."""
    token: str
    """`secret`: as it is."""
    ca: str
    """PEM file to check it by."""
    budget: OtherArchiveBudget
    enabled: bool


@dataclass(frozen=True, slots=True)
class OtherArchiveBudget(Model):
    """What may be taken from a source; 0: no limit."""

    studies_per_hour: int = 100
    gb_per_day: float = 50
    associations: int = 2


@dataclass(frozen=True, slots=True)
class OtherArchiveEcho(Model):
    """Whether a source answers."""

    answered: bool
    latency_ms: float | None
    why: str


@dataclass(frozen=True, slots=True)
class OutgoingHl7Message(Model):
    """A message that leaves."""

    id: int
    feed: str
    control_id: str
    kind: str
    state: Literal["waiting", "sent", "dead", "cancelled"]
    attempts: int
    next_try_at: dt.datetime
    reason: str
    cause: str
    made_at: dt.datetime
    made_by: str
    sent_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Part(Model):
    """A part that Fileroom needs."""

    name: str
    ready: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Patient(Model):
    """A patient with all that belongs to them."""

    id: int
    patient_name: str
    birth_date: str
    sex: str
    other_names: tuple[str, ...]
    details: dict[str, str]
    """Further attributes, by DICOM keyword."""
    merged_into: int | None
    version: int
    changed_at: dt.datetime
    changed_by: str
    identifiers: tuple[PatientIdentifier, ...]
    visits: tuple[PatientVisit, ...]
    orders: tuple[PatientOrder, ...]
    merges: tuple[PatientMerge, ...]
    links: tuple[PatientLink, ...]
    study_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PatientEffect(Model):
    """What was done."""

    words: str
    subject: str
    number: int


@dataclass(frozen=True, slots=True)
class PatientEffects(Model):
    """What was done; `merge` is the number by which a merge is taken back."""

    effects: tuple[PatientEffect, ...]
    merge: int | None


@dataclass(frozen=True, slots=True)
class PatientIdentifier(Model):
    """An identifier of a patient."""

    authority: str
    value: str
    kind: str
    is_first: bool
    """The one that images carry."""
    retired: bool
    """It came by a merge."""


@dataclass(frozen=True, slots=True)
class PatientLink(Model):
    """Another record of the same person."""

    other: int
    patient_name: str
    linked_at: dt.datetime
    linked_by: str


@dataclass(frozen=True, slots=True)
class PatientMerge(Model):
    """Two that have become one."""

    id: int
    survivor: int
    retired: int
    retired_id: str
    retired_name: str
    message: int | None
    merged_at: dt.datetime
    merged_by: str
    revoked_at: dt.datetime | None
    revoked_by: str | None
    reason: str
    revoke_reason: str


@dataclass(frozen=True, slots=True)
class PatientMove(Model):
    """A visit, or all under one identifier, that went from one patient to another."""

    id: int
    source: int
    target: int
    numbers: tuple[str, ...]
    whole: bool
    """All that was known under one identifier."""
    visits: int
    orders: int
    studies: int
    message: int | None
    moved_at: dt.datetime
    moved_by: str
    undone_at: dt.datetime | None
    undone_by: str | None


@dataclass(frozen=True, slots=True)
class PatientOrder(Model):
    """An order of a patient."""

    id: int
    accession_number: str
    placer_number: str
    what: str
    state: str
    study_instance_uid: str
    ordered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class PatientVisit(Model):
    """A visit."""

    id: int
    number: str
    authority: str
    state: str
    patient_class: str
    location: str
    institution: str
    attending: str
    referring: str
    admitted_at: str
    discharged_at: str


@dataclass(frozen=True, slots=True)
class PemText(Model):
    """Certificates or a request, as PEM."""

    pem: str


@dataclass(frozen=True, slots=True)
class PlannedChange(Model):
    """What becomes of one node of the file."""

    line: int
    kind: ImportKind
    name: str
    before: str
    """The name of the node that is changed."""
    changes: tuple[NodeDifference, ...]


@dataclass(frozen=True, slots=True)
class Point(Model):
    """A step of time: what happened in it, and how it stood; null where nothing is known of it."""

    at: dt.datetime
    values: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Prefetch(Model):
    """A rule as it is kept."""

    name: str
    version: int
    changed_by: str
    on: Literal["arrival", "order", "timer"]
    when: str
    """Condition in the language of the rules; empty: always."""
    sources: tuple[str, ...]
    """Empty: all that may be prefetched from."""
    push_to: tuple[str, ...]
    """Destinations that get the priors."""
    modalities: dict[str, tuple[str, ...]]
    """Which modalities matter for one, the best first."""
    body_parts: dict[str, tuple[str, ...]]
    """More beginnings of words that tell a region."""
    same_body_part: bool
    years_max: int
    count_max: int
    every_minutes: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class Probe(Model):
    """What a destination said when it was asked."""

    is_there: bool
    answer: str
    """What answered, or why nothing did."""
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Procedure(Model):
    """A row of the table."""

    code: str
    scheme: str
    meaning: str
    modality: str
    body_part: str
    laterality: str
    station_aets: tuple[str, ...]
    location: str
    minutes: int
    protocol_codes: tuple[Code, ...]
    version: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class ProceduresImported(Model):
    """How many rows are new, and how many changed."""

    made: int
    changed: int


@dataclass(frozen=True, slots=True)
class Profile(Model):
    """What a person has chosen; empty: as the browser or the installation has it."""

    language: str
    time_zone: str
    theme: str
    density: str
    columns: tuple[str, ...]
    layout: str
    hanging_protocol: str


@dataclass(frozen=True, slots=True)
class Project(Model):
    """A project as it is kept; a patient map is not shown."""

    name: str
    version: int
    changed_by: str
    options: tuple[str, ...]
    """Of safe_private, uids, device, institution, patient, full_dates, modified_dates, descriptors, structured_content,
    graphics, pixels, visual_features."""
    pseudonym: str
    """Pattern of pseudonyms."""
    shift_days: int
    patient_map: str
    """Lines of ID,PSEUDONYM; "secret" leaves the one that is there."""
    others: str
    """Patients that are not in the map: make or refuse."""
    overrides: tuple[dict[str, Any], ...]
    safe_private: tuple[dict[str, Any], ...]
    devices: tuple[dict[str, Any], ...]
    """Where devices write text into images."""
    description: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class ProtocolCode(Model):
    """A protocol code."""

    value: str
    scheme: str = ""
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class QueuedHl7(Model):
    """Its number in the outbox."""

    id: int


@dataclass(frozen=True, slots=True)
class Queues(Model):
    """What waits: background work by kind, what a person must look at, and callers."""

    queues: dict[str, int]
    exceptions: dict[str, int]
    arriving_studies: int
    held_callers: int
    sessions: int
    last_received_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Reason(Model):
    """Why a study waits."""

    code: str
    """One of patient_differs, close, weak, no_patient, ended, undone, accession_unknown, accession_elsewhere,
    step_unknown, patient_unknown, no_patient_id, no_order."""
    text: str


@dataclass(frozen=True, slots=True)
class Refusal(Model):
    """An object that was not kept."""

    refused_at: str
    status: str
    """DIMSE status, hexadecimal."""
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    received_by: str
    sender: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report(Model):
    """What became of a study on its way to a destination. UIDs are the new ones."""

    id: int
    project: str
    project_version: int
    destination: str
    study_instance_uid: str
    begun_at: str
    changed_at: str
    objects: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class ReportAddendum(Model):
    """What was added after signing."""

    text: str
    by: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class ReportContentShown(Model):
    """A report with its versions, the newest first."""

    report: StudyReport
    versions: tuple[ReportVersionText, ...]


@dataclass(frozen=True, slots=True)
class ReportDraft(Model):
    """A report as its editor has it: what is typed, else what the newest version says."""

    id: int
    state: Literal["draft", "preliminary", "final", "corrected", "cancelled"]
    version: int
    edits: int
    """Counts the saves; whoever saves says which one they have read."""
    is_open: bool
    """Something is typed that the newest version does not say."""
    title: str
    sections: tuple[ReportSectionText, ...]
    saved_at: dt.datetime | None
    saved_by: str


@dataclass(frozen=True, slots=True)
class ReportFileShown(Model):
    """A file."""

    name: str
    media_type: str
    content: str
    """Base64."""


@dataclass(frozen=True, slots=True)
class ReportSectionText(Model):
    """A heading and its text."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class ReportTemplate(Model):
    """A template as it is kept."""

    name: str
    sections: tuple[ReportSectionText, ...]
    enabled: bool
    version: int
    changed_by: str
    title: str
    language: str
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    procedure_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportVersionText(Model):
    """A version with its words."""

    version: int
    state: Literal["draft", "preliminary", "final", "corrected", "cancelled"]
    sections: tuple[ReportSectionText, ...]
    addenda: tuple[ReportAddendum, ...]
    document_type: str
    """Of a document that it came as; empty: the sections are all."""
    author: str
    signer: str
    reason: str
    made_at: dt.datetime | None
    made_by: str
    signed_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ReportingSystem(Model):
    """A program that dictates."""

    name: str
    version: int
    url: str
    context: Literal["none", "json", "xml", "text"]
    template: str
    extension: str
    media_type: str
    folder: str
    feed: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Role(Model):
    """What somebody with it may do, and whose studies they see."""

    name: str
    permissions: tuple[str, ...]
    rows: Rows
    description: str
    built_in: bool
    version: int
    """Counts its changes."""


@dataclass(frozen=True, slots=True)
class Row(Model):
    """One object: what was done, or why it was held back."""

    sop_instance_uid: str
    sop_class_uid: str
    quarantined: str
    actions: dict[str, int]
    regions: tuple[tuple[int, ...], ...]
    """Blanked: left, top, right, bottom."""
    proof: str


@dataclass(frozen=True, slots=True)
class Rows(Model):
    """Which studies somebody sees: those that fit every list that is given; without any, all."""

    institutions: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    referring_physicians: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    own_uploads: bool = False


@dataclass(frozen=True, slots=True)
class Rule(Model):
    """A rule. `text` is its condition in CEL, however it was written."""

    name: str
    when: str | dict[str, Any]
    text: str
    on: str
    to: tuple[str, ...]
    priority: int
    stop: bool
    urgency: str | int
    treatment: str
    hold: bool
    actions: tuple[dict[str, Any], ...]
    description: str
    enabled: bool
    version: int
    changed_by: str


@dataclass(frozen=True, slots=True)
class RuleAction(Model):
    """One thing that a rule does. send and notify have destinations."""

    do: str
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleTestResult(Model):
    """What the rule says to each object."""

    matched: int
    items: tuple[TriedObject, ...]


@dataclass(frozen=True, slots=True)
class RuleVersion(Model):
    """What a rule was."""

    version: int
    fields: dict[str, Any]
    enabled: bool
    changed_by: str
    changed_at: str


@dataclass(frozen=True, slots=True)
class Schedule(Model):
    """A schedule, and how it stands now."""

    name: str
    windows: tuple[dict[str, str], ...]
    holidays: str
    dates: tuple[str, ...]
    zone: str
    enabled: bool
    version: int
    changed_by: str
    open: bool
    """Whether it is open now; one that is not enabled always is."""
    changes_at: dt.datetime | None
    """When it opens or closes next."""


@dataclass(frozen=True, slots=True)
class SendFailure(Model):
    """An object that was not taken, or taken with a warning, and why."""

    study_instance_uid: str
    sop_instance_uid: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sending(Model):
    """One order; the counts are of its objects."""

    id: int
    node_name: str
    node_aet: str
    actor: str
    state: Literal["waiting", "running", "done", "cancelled"]
    cause: str
    """Why it does not go on, if it does not."""
    studies: int
    objects: int
    sent: int
    warned: int
    failed: int
    waiting: int
    requested_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class SentReport(Model):
    """Its number in the outbox."""

    id: int


@dataclass(frozen=True, slots=True)
class Series(Model):
    """A series of a study."""

    series_instance_uid: str
    series_number: str
    modality: str
    series_description: str
    series_date: str
    series_time: str
    body_part_examined: str
    station_name: str
    device: str
    """Manufacturer and model."""
    instances: int


@dataclass(frozen=True, slots=True)
class Session(Model):
    """A session of the console."""

    id: int
    address: str
    user_agent: str
    created_at: dt.datetime
    last_seen_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Setting(Model):
    """A setting, its value now, and where that comes from. Secrets have no value here."""

    name: str
    description: str
    kind: SettingKind
    value: bool | int | float | str
    default: bool | int | float | str
    stored: Any
    """What the versions say; null: nothing."""
    from_outside: bool
    """The environment or fileroom.toml says it."""
    refused: str
    """Why the stored value cannot be used."""
    fits: str
    """Which values it takes."""
    unit: str
    group: str
    affects: str


@dataclass(frozen=True, slots=True)
class Settings(Model):
    """All settings, and the version that holds."""

    version: int
    items: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class SignedReport(Model):
    """The version that was made."""

    version: int
    state: Literal["draft", "preliminary", "final", "corrected", "cancelled"]


@dataclass(frozen=True, slots=True)
class Standing(Model):
    """A study and the orders that come near to it now, the best first; `matched_order` is the one that it has met."""

    study_instance_uid: str
    exception: Exception | None
    matched_order: int | None
    how: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Step(Model):
    """A scheduled procedure step. Days and times are DA and TM by the hospital's clock."""

    id: int
    step_id: str
    modality: str
    station_aets: tuple[str, ...]
    station_name: str
    location: str
    start_date: str
    start_time: str
    minutes: int
    performing_physician: str
    description: str
    comments: str
    pre_medication: str
    contrast_agent: str
    protocol_codes: tuple[Code, ...]
    state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]


@dataclass(frozen=True, slots=True)
class Storage(Model):
    """Bytes; null where the store has no end."""

    objects: int
    aside: int
    database: int
    free: int | None
    total: int | None
    reserve: int
    usable: int | None
    """Free without the reserve."""
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Study(Model):
    """A study: its attributes as they stand in DICOM, and how far it has come."""

    study_instance_uid: str
    patient_name: str
    """Family^Given^Middle^Prefix^Suffix, groups with ="""
    patient_id: str
    issuer_of_patient_id: str
    patient_sex: str
    patient_birth_date: str
    """YYYYMMDD"""
    patient_age: str
    study_date: str
    """YYYYMMDD"""
    study_time: str
    """HHMMSS.FFFFFF"""
    study_description: str
    study_id: str
    accession_number: str
    modalities_in_study: tuple[str, ...]
    referring_physician_name: str
    status: StudyStatus
    series: int
    """How many series."""
    instances: int
    """How many instances."""
    stations: tuple[str, ...]
    institutions: tuple[str, ...]
    sender: str
    """Who sent its first object."""
    received_by: str
    received_at: dt.datetime
    changed_at: dt.datetime | None
    exceptions: int
    """Objects that contradict what is here, or are lost."""
    dicomweb: str
    """Its address in DICOMweb, where its images are."""


@dataclass(frozen=True, slots=True)
class StudyReport(Model):
    """A report without its words."""

    id: int
    study_instance_uid: str
    """Empty: no study is known yet."""
    order: int | None
    patient: int | None
    accession_number: str
    source: Literal["console", "hl7", "dicom"]
    source_name: str
    """The feed or node."""
    source_number: str
    """How that one calls the report."""
    title: str
    state: Literal["draft", "preliminary", "final", "corrected", "cancelled"]
    version: int
    is_critical: bool
    created_at: dt.datetime
    created_by: str
    changed_at: dt.datetime
    changed_by: str
    finished_at: dt.datetime | None
    patient_id: str
    patient_name: str


@dataclass(frozen=True, slots=True)
class System(Model):
    """The state of the system."""

    version: str
    aet: str
    dicom_port: int
    ready: bool
    parts: tuple[Part, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class TargetField(Model):
    """One field of a kind's target."""

    name: str
    label: str
    type: FieldType
    help: str
    default: Any
    required: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Throttle(Model):
    """How fast at most; 0: no limit."""

    mbit_s: float
    objects_s: float
    associations: int


@dataclass(frozen=True, slots=True)
class Token(Model):
    """A token without its secret; `login` of its person, or `role` of the program."""

    id: int
    name: str
    login: str | None
    role: str | None
    permissions: tuple[str, ...] | None
    """Null: all that the role or the person may."""
    created_at: dt.datetime
    created_by: str
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None
    fhir_scopes: tuple[str, ...] | None
    """Scopes of FHIR, for which alone it is good; null: it is not narrowed to FHIR."""
    fhir_patient: int | None
    """Whom scopes of the level patient are about."""


@dataclass(frozen=True, slots=True)
class Total(Model):
    """A number of rows; not `exact`: the database's estimate."""

    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Totals(Model):
    """What the archive holds, whoever may see it."""

    patients: Total
    studies: Total
    series: Total
    instances: Total


@dataclass(frozen=True, slots=True)
class Trace(Model):
    """Why something is not on a worklist: the answer in one sentence, and everything that was looked at."""

    accession: str
    patient: str
    caller: str
    answer: str
    is_on: bool
    view: str
    asked_at: str
    asked_keys: str
    findings: tuple[TraceFinding, ...]


@dataclass(frozen=True, slots=True)
class TraceFinding(Model):
    """One thing that was looked at. A `cause` keeps the step from the worklist."""

    stage: Literal["message", "patient", "order", "step", "view", "question", "caller"]
    mark: Literal["fine", "cause", "note"]
    words: str
    at: str
    """When, RFC 3339 in UTC; empty where that does not matter."""
    number: int
    """The row of a message or order; 0: none."""


@dataclass(frozen=True, slots=True)
class Treatment(Model):
    """A treatment as it is kept."""

    name: str
    version: int
    changed_by: str
    description: str
    deid: str
    """The de-identification project."""
    steps: tuple[dict[str, Any], ...]
    """Changes of attributes, in order. `do` is one of set, remove, empty, copy, map, replace, prefix, suffix, case,
    trim, order, new_uids; `when` is a condition in the language of the rules."""
    charset: str
    transliterate: bool
    merge: dict[str, Any]
    split: dict[str, Any]
    sop_class_fallback: dict[str, Any]
    syntax: str
    """The transfer syntax, by UID or name."""
    lossy: bool
    """Allows a syntax that loses information."""
    quality: int
    prove_pixels: bool
    enabled: bool


@dataclass(frozen=True, slots=True)
class Trial(Model):
    """What would become of the object."""

    made: int
    """How many objects would leave."""
    objects: tuple[Tried, ...]
    """The first of them, where they are not as stored."""
    unchanged: bool
    reason: str
    """Why nothing would leave."""
    quarantined: bool


@dataclass(frozen=True, slots=True)
class Tried(Model):
    """An object that would leave. `frame` counts from 1; 0: all of them."""

    sop_instance_uid: str
    sop_class: str
    transfer_syntax: str
    frame: int
    differences: tuple[Difference, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class TriedObject(Model):
    """One object."""

    sop_instance_uid: str
    series_instance_uid: str
    modality: str
    instance_number: int | None
    matched: bool
    parts: tuple[ConditionPart, ...]
    failure: str


@dataclass(frozen=True, slots=True)
class Troubles(Model):
    """The latest of each kind; at most 50."""

    refusals: tuple[Refusal, ...]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Trusted(Model):
    """A certificate that others are checked by."""

    name: str
    subject: str
    issuer: str
    fingerprint: str
    not_before: dt.datetime
    not_after: dt.datetime
    has_crl: bool
    crl_next_update: dt.datetime | None
    created_at: dt.datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Turnaround(Model):
    """The board."""

    waiting_number: int
    late_number: int
    targets: dict[str, int]
    """Minutes by priority."""
    figures: tuple[TurnaroundFigures, ...]
    waiting: tuple[WaitingForReport, ...]


@dataclass(frozen=True, slots=True)
class TurnaroundFigures(Model):
    """Of one group of studies."""

    group: Literal["all", "modality", "priority", "day", "hour"]
    key: str
    studies: int
    reported: int
    in_time: int
    ways: tuple[MeasuredWay, ...]


@dataclass(frozen=True, slots=True)
class UnmergePreview(Model):
    """What goes back when a merge is taken back. Nothing is done yet."""

    merge: int
    owner: int
    retired: int
    identifiers: tuple[MovedIdentifier, ...]
    visits: int
    orders: int
    studies: int
    instances: int
    merged_at: dt.datetime
    merged_by: str


@dataclass(frozen=True, slots=True)
class VerifyResult(Model):
    """What came of a check of the whole trail."""

    whole: bool
    events: int
    waiting: int
    kept_since: dt.datetime | None
    end: End
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Version(Model):
    """One version and how it came about."""

    number: int
    made_at: dt.datetime
    actor: str
    address: str
    comment: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class WaitingForReport(Model):
    """A study without a signed report."""

    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    description: str
    modality: str
    priority: str
    images_at: dt.datetime
    due_at: dt.datetime
    state: str
    """Of the report that is begun; empty: none."""
    report: int | None
    order: int | None


@dataclass(frozen=True, slots=True)
class WholeAssociation(Model):
    """One association with its contexts, operations and studies."""

    id: int
    began_at: dt.datetime
    ended_at: dt.datetime | None
    direction: Direction
    purpose: str
    parent: int | None
    """The association that this one was opened for."""
    calling_aet: str
    called_aet: str
    peer_host: str
    peer_port: int
    tls: bool
    implementation_version: str
    outcome: Outcome
    mark: Literal["good", "warning", "failed"]
    detail: str
    contexts_proposed: int
    contexts_accepted: int
    bytes_in: int
    bytes_out: int
    requests: int
    objects: int
    warnings: int
    failures: int
    advice: tuple[Advice, ...]
    contexts: tuple[Context, ...]
    operations: tuple[Operation, ...]
    studies: tuple[CarriedStudy, ...]


@dataclass(frozen=True, slots=True)
class WholeReport(Model):
    """A report with its objects."""

    id: int
    project: str
    project_version: int
    destination: str
    study_instance_uid: str
    begun_at: str
    changed_at: str
    objects: int
    quarantined: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class WholeSending(Model):
    """An order with its studies, and the objects that did not go through."""

    order: Sending
    study_instance_uids: tuple[str, ...]
    failures: tuple[SendFailure, ...]


@dataclass(frozen=True, slots=True)
class WorklistLine(Model):
    """A scheduled step, as a modality is answered. Dates, times and names in DICOM's forms."""

    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    procedure_id: str
    procedure: str
    step_id: str
    description: str
    modality: str
    station_aets: tuple[str, ...]
    location: str
    start_date: str
    start_time: str
    priority: str
    state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]
    study_instance_uid: str


@dataclass(frozen=True, slots=True)
class WorklistView(Model):
    """A view as it is kept."""

    name: str
    version: int
    changed_by: str
    aets: tuple[str, ...]
    """Calling AE titles; empty: everybody."""
    modalities: tuple[str, ...]
    stations: tuple[str, ...]
    """AE titles that steps are scheduled for."""
    station_names: tuple[str, ...]
    locations: tuple[str, ...]
    begins: str
    """today, today-3, -2h; empty: no limit."""
    ends: str
    """today, today+7, +12h; empty: no limit."""
    own_aet: bool
    """Only steps for the caller's own AE title."""
    unassigned: bool
    """Steps without a station are everybody's."""
    states: tuple[Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"], ...]
    results_max: int
    charset: str
    """Specific Character Set of the answers."""
    enabled: bool


@dataclass(frozen=True, slots=True)
class fileroom__web__api__orders__AskedPatient(Model):
    """Whose order it is: known by the number, made from these facts where it is not."""

    patient_id: str
    authority: str = ""
    name: str | None = None
    birth_date: str | None = None
    sex: str | None = None
