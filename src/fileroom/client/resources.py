"""Every operation of the API as a method. Made from the OpenAPI document by tools/client.py; change it there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from fileroom.client.connection import Connection, segment
from fileroom.client.models import (
    Account,
    Alert,
    Applied,
    AskedAttribute,
    AskedReportSection,
    AskedStep,
    AskedThrottle,
    Association,
    AttributeName,
    BacktestResult,
    BegunReport,
    Centre,
    Certificate,
    Checkpoint,
    CodedEntry,
    Condition,
    ConditionCheck,
    Confirmation,
    Corrected,
    Correction,
    Count,
    CriticalResult,
    Deleted,
    DeliveriesChanged,
    Delivery,
    DeliveryCount,
    Destination,
    DestinationKinds,
    DestinationVersion,
    Differences,
    Direction,
    Document,
    Echo,
    EchoHistory,
    Edge,
    EdgeToken,
    Event,
    Exception,
    ExceptionCounts,
    Expiry,
    Fetch,
    Filter,
    FoundPatient,
    Glass,
    HandedOver,
    HeldCaller,
    HistoryEntry,
    Hl7Feed,
    Hl7Message,
    Hl7MessageContent,
    Identity,
    ImportResult,
    Instance,
    ListedStep,
    Match,
    Matching,
    Me,
    MergePreview,
    Misfit,
    Names,
    NewSecret,
    Node,
    NodeFile,
    NodeRole,
    NodeVersion,
    Notice,
    Order,
    OrderChange,
    OrderDone,
    OrderNumber,
    OtherArchive,
    OtherArchiveBudget,
    OtherArchiveEcho,
    Outcome,
    OutgoingHl7Message,
    Patient,
    PatientEffects,
    PatientMove,
    PemText,
    Permission,
    Point,
    Prefetch,
    Probe,
    Procedure,
    ProceduresImported,
    Profile,
    Project,
    ProtocolCode,
    QueuedHl7,
    Queues,
    Report,
    ReportContentShown,
    ReportDraft,
    ReportFileShown,
    ReportingSystem,
    ReportTemplate,
    Role,
    Rows,
    Rule,
    RuleAction,
    RuleTestResult,
    RuleVersion,
    Schedule,
    Sending,
    SentReport,
    Series,
    Session,
    Settings,
    SignedReport,
    Standing,
    Storage,
    Study,
    StudyReport,
    System,
    TlsUse,
    Token,
    Trace,
    Treatment,
    Trial,
    Troubles,
    Trusted,
    Turnaround,
    UnmergePreview,
    VerifyResult,
    Version,
    WholeAssociation,
    WholeReport,
    WholeSending,
    WorklistLine,
    WorklistView,
    fileroom__web__api__orders__AskedPatient,
)


class MeResource:
    """Who asks: permissions, profile, own sessions and tokens, breaking the glass."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self) -> Me:
        """Who asks, and what they may do."""
        return cast("Me", self._connection.call("GET", "/me", Me))

    def get_profile(self) -> Profile:
        """One's own profile. Needs an own account."""
        return cast("Profile", self._connection.call("GET", "/me/profile", Profile))

    def set_profile(
        self,
        *,
        language: Literal["", "en", "de"] | None = None,
        time_zone: str | None = None,
        theme: Literal["", "dark", "light"] | None = None,
        density: Literal["", "compact", "normal", "roomy"] | None = None,
        columns: Sequence[str] | None = None,
        layout: Literal["", "images", "series", "panels"] | None = None,
        hanging_protocol: str | None = None,
        if_match: str | None = None,
    ) -> Profile:
        """Choose language, time zone, columns and looks. Needs an own account."""
        return cast(
            "Profile",
            self._connection.call(
                "PUT",
                "/me/profile",
                Profile,
                body={
                    "language": language,
                    "time_zone": time_zone,
                    "theme": theme,
                    "density": density,
                    "columns": columns,
                    "layout": layout,
                    "hanging_protocol": hanging_protocol,
                },
                if_match=if_match,
            ),
        )

    def sessions(self) -> tuple[Session, ...]:
        """One's own living sessions. Needs an own account."""
        return cast("tuple[Session, ...]", self._connection.items("GET", "/me/sessions", Session))

    def end_session(self, session_id: int) -> None:
        """End a session of one's own. Needs an own account."""
        self._connection.call("DELETE", f"/me/sessions/{segment(session_id)}")

    def tokens(self) -> tuple[Token, ...]:
        """One's own tokens, without their secrets. Needs an own account."""
        return cast("tuple[Token, ...]", self._connection.items("GET", "/me/tokens", Token))

    def add_token(
        self,
        *,
        name: str,
        permissions: Sequence[Permission] | None = None,
        days: int | None = None,
        fhir_scopes: Sequence[str] | None = None,
        fhir_patient: int | None = None,
    ) -> NewSecret:
        """Make a token; its secret is told this once. A token cannot make tokens. Needs an own account.

        - `permissions`: Null: all that you may.
        - `days`: Null: without an end.
        - `fhir_scopes`: Scopes in the manner of SMART on FHIR: good for these resources alone.
        - `fhir_patient`: The patient (its number) of scopes of the level patient.
        """
        return cast(
            "NewSecret",
            self._connection.call(
                "POST",
                "/me/tokens",
                NewSecret,
                body={
                    "name": name,
                    "permissions": permissions,
                    "days": days,
                    "fhir_scopes": fhir_scopes,
                    "fhir_patient": fhir_patient,
                },
            ),
        )

    def revoke_token(self, token_id: int) -> None:
        """End a token of one's own; it is refused within seconds. Needs an own account."""
        self._connection.call("DELETE", f"/me/tokens/{segment(token_id)}")

    def break_glass(self, *, reason: str, minutes: int | None = None) -> Glass:
        """See for a time what the row scope hides, with a reason. An auditor reviews it afterwards. Needs
        `study.break-glass, as a person`."""
        return cast(
            "Glass",
            self._connection.call("POST", "/me/break-glass", Glass, body={"reason": reason, "minutes": minutes}),
        )

    def end_break_glass(self) -> Glass:
        """End it before its time. Needs `study.break-glass, as a person`."""
        return cast("Glass", self._connection.call("DELETE", "/me/break-glass", Glass))


class StudiesResource:
    """Studies, their series and instances, with the state of the study list. Images come by DICOMweb."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search(
        self,
        *,
        patient_name: str | None = None,
        patient_id: str | None = None,
        patient_birth_date: str | None = None,
        patient_sex: str | None = None,
        modalities_in_study: str | None = None,
        study_description: str | None = None,
        study_date: str | None = None,
        accession_number: str | None = None,
        station_name: str | None = None,
        referring_physician_name: str | None = None,
        institution_name: str | None = None,
        study_id: str | None = None,
        sender: str | None = None,
        status: Literal["receiving", "exception"] | None = None,
        limit: int | None = None,
    ) -> Iterator[Study]:
        """Find studies, the newest first. The fields are those of the study list and take what people type there.
        Needs `study.search`.

        - `patient_name`: Beginnings of names, or `Family^Given` with `*` and `?`; without regard to case and
          accents.
        - `patient_id`: How it begins, or with `*` and `?`; in quotation marks: exactly.
        - `patient_birth_date`: `today`, `yesterday`, `7d`, `2026-11-20` or `2026-11-01..2026-11-20`.
        - `patient_sex`: F, M or O.
        - `modalities_in_study`: CT, or several: CT, MR.
        - `study_description`: Any part of the description.
        - `study_date`: `today`, `yesterday`, `7d`, `2026-11-20` or `2026-11-01..2026-11-20`.
        - `accession_number`: How it begins, or with `*` and `?`; in quotation marks: exactly.
        - `station_name`: How it begins, or with `*` and `?`; in quotation marks: exactly.
        - `referring_physician_name`: Beginnings of names, or `Family^Given` with `*` and `?`; without regard to
          case and accents.
        - `institution_name`: How it begins, or with `*` and `?`; in quotation marks: exactly.
        - `study_id`: How it begins, or with `*` and `?`; in quotation marks: exactly.
        - `sender`: How it begins, or with `*` and `?`; in quotation marks: exactly.
        - `status`: Only those that arrive, or need a look.
        """
        return self._connection.pages(
            "/studies",
            Study,
            limit=limit,
            query={
                "patient_name": patient_name,
                "patient_id": patient_id,
                "patient_birth_date": patient_birth_date,
                "patient_sex": patient_sex,
                "modalities_in_study": modalities_in_study,
                "study_description": study_description,
                "study_date": study_date,
                "accession_number": accession_number,
                "station_name": station_name,
                "referring_physician_name": referring_physician_name,
                "institution_name": institution_name,
                "study_id": study_id,
                "sender": sender,
                "status": status,
            },
        )

    def get(self, study: str) -> Study:
        """One study. Needs `study.search`."""
        return cast("Study", self._connection.call("GET", f"/studies/{segment(study)}", Study))

    def delete(self, study: str, *, reason: str) -> Deleted:
        """Delete a study with its corrections. It cannot be taken back. Needs `study.delete`.

        - `reason`: Why, for the audit trail. Addresses stand in logs of proxies: name no patient.
        """
        return cast(
            "Deleted", self._connection.call("DELETE", f"/studies/{segment(study)}", Deleted, query={"reason": reason})
        )

    def of_patient(self, study: str) -> tuple[Study, ...]:
        """All studies of the same patient that one may see, that one included, the newest first; at most 200. Needs
        `study.search`."""
        return cast(
            "tuple[Study, ...]", self._connection.items("GET", f"/studies/{segment(study)}/patient-studies", Study)
        )

    def history(self, study: str, *, limit: int | None = None) -> Iterator[HistoryEntry]:
        """What happened to a study, the latest first: who sent, viewed, exported or changed it, as far as one may
        know. Needs `study.search`."""
        return self._connection.pages(f"/studies/{segment(study)}/history", HistoryEntry, limit=limit, query={})

    def series(self, study: str, *, limit: int | None = None) -> Iterator[Series]:
        """The series of a study. Needs `study.search`."""
        return self._connection.pages(f"/studies/{segment(study)}/series", Series, limit=limit, query={})

    def instances(self, study: str, series: str, *, limit: int | None = None) -> Iterator[Instance]:
        """The instances of a series. Needs `study.search`."""
        return self._connection.pages(
            f"/studies/{segment(study)}/series/{segment(series)}/instances", Instance, limit=limit, query={}
        )

    def delete_series(self, study: str, series: str, *, reason: str) -> Deleted:
        """Delete a series, and the study if it was its last. Needs `study.delete`.

        - `reason`: Why, for the audit trail. Addresses stand in logs of proxies: name no patient.
        """
        return cast(
            "Deleted",
            self._connection.call(
                "DELETE", f"/studies/{segment(study)}/series/{segment(series)}", Deleted, query={"reason": reason}
            ),
        )

    def delete_instance(self, study: str, series: str, instance: str, *, reason: str) -> Deleted:
        """Delete an instance, and series and study if it was their last. Needs `study.delete`.

        - `reason`: Why, for the audit trail. Addresses stand in logs of proxies: name no patient.
        """
        return cast(
            "Deleted",
            self._connection.call(
                "DELETE",
                f"/studies/{segment(study)}/series/{segment(series)}/instances/{segment(instance)}",
                Deleted,
                query={"reason": reason},
            ),
        )


class CorrectionsResource:
    """Corrections of studies: laid over what is shown and sent, while the received bytes stay."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of_study(self, study: str, *, revoked: bool | None = None) -> tuple[Correction, ...]:
        """The corrections of a study, its series and instances, the oldest first. Needs `study.view`.

        - `revoked`: Revoked ones too.
        """
        return cast(
            "tuple[Correction, ...]",
            self._connection.items(
                "GET", f"/studies/{segment(study)}/corrections", Correction, query={"revoked": revoked}
            ),
        )

    def add(
        self,
        study: str,
        *,
        attributes: Sequence[AskedAttribute],
        reason: str,
        series_instance_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> Corrected:
        """Correct attributes in one step. What identifies objects and what pixels depend on stays. Needs
        `study.correct`."""
        return cast(
            "Corrected",
            self._connection.call(
                "POST",
                f"/studies/{segment(study)}/corrections",
                Corrected,
                body={
                    "attributes": attributes,
                    "reason": reason,
                    "series_instance_uid": series_instance_uid,
                    "sop_instance_uid": sop_instance_uid,
                },
            ),
        )

    def revoke(self, correction_id: int) -> None:
        """Take a correction back: what was received shows again. Needs `study.correct`."""
        self._connection.call("DELETE", f"/corrections/{segment(correction_id)}")


class SendingsResource:
    """Studies sent to nodes. One sees one's own orders, or with `ledger.read` all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Sending]:
        """Orders to send, the latest first. Needs `study.export`."""
        return self._connection.pages("/sendings", Sending, limit=limit, query={})

    def add(self, *, node: str, studies: Sequence[str]) -> WholeSending:
        """Order that studies be sent to a node; the task worker begins at once. Needs `study.export`.

        - `node`: A node's name.
        - `studies`: Study Instance UIDs.
        """
        return cast(
            "WholeSending",
            self._connection.call("POST", "/sendings", WholeSending, body={"node": node, "studies": studies}),
        )

    def get(self, number: int) -> WholeSending:
        """One order, with what did not go through and why. Needs `study.export`."""
        return cast("WholeSending", self._connection.call("GET", f"/sendings/{segment(number)}", WholeSending))

    def cancel(self, number: int) -> WholeSending:
        """End an order early; what was sent stays there. Needs `study.export`."""
        return cast("WholeSending", self._connection.call("POST", f"/sendings/{segment(number)}/cancel", WholeSending))

    def retry(self, number: int) -> WholeSending:
        """Send again what failed, or what was not sent any more. Needs `study.export`."""
        return cast("WholeSending", self._connection.call("POST", f"/sendings/{segment(number)}/retry", WholeSending))


class FiltersResource:
    """Searches of the study list that one keeps under a name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[Filter, ...]:
        """One's own filters, by name. Needs `study.search`."""
        return cast("tuple[Filter, ...]", self._connection.items("GET", "/filters", Filter))

    def save(self, *, name: str, question: str) -> tuple[Filter, ...]:
        """Keep a search under a name; the answer is all there are then. Needs `study.search`."""
        return cast(
            "tuple[Filter, ...]",
            self._connection.items("PUT", "/filters", Filter, body={"name": name, "question": question}),
        )

    def remove(self, filter_id: int) -> None:
        """Forget a filter; one that is gone already is no mistake. Needs `study.search`."""
        self._connection.call("DELETE", f"/filters/{segment(filter_id)}")


class PatientsResource:
    """Patients as the RIS tells them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, text: str | None = None, limit: int | None = None) -> Iterator[FoundPatient]:
        """Patients that are found by a text; without one, all. Needs `order.read`.

        - `text`: A name, an ID or a birth date.
        """
        return self._connection.pages("/patients", FoundPatient, limit=limit, query={"text": text})

    def get(self, number: int) -> Patient:
        """One patient by their row's number. Needs `order.read`."""
        return cast("Patient", self._connection.call("GET", f"/patients/{segment(number)}", Patient))

    def change(
        self,
        number: int,
        *,
        name: str | None = None,
        birth_date: str | None = None,
        sex: str | None = None,
        other_names: Sequence[str] | None = None,
        details: Mapping[str, Any] | None = None,
        version: int | None = None,
        correct_images: bool | None = None,
    ) -> Patient:
        """Change what is known of a patient. Identifiers are changed by merging; a later message changes it again.
        Needs `order.manage`.

        - `version`: As it was seen; one that has changed since is refused (409).
        - `correct_images`: The patient's studies show it from now on.
        """
        return cast(
            "Patient",
            self._connection.call(
                "PATCH",
                f"/patients/{segment(number)}",
                Patient,
                body={
                    "name": name,
                    "birth_date": birth_date,
                    "sex": sex,
                    "other_names": other_names,
                    "details": details,
                    "version": version,
                    "correct_images": correct_images,
                },
            ),
        )

    def preview_merge(self, number: int, retired: int) -> MergePreview:
        """What a merge would move from the second patient to the first. Needs `order.manage`."""
        return cast(
            "MergePreview",
            self._connection.call("GET", f"/patients/{segment(number)}/merge/{segment(retired)}", MergePreview),
        )

    def merge(
        self,
        number: int,
        *,
        retired: int,
        survivor_version: int | None = None,
        retired_version: int | None = None,
        reason: str | None = None,
    ) -> PatientEffects:
        """Make one patient of two: all that the other one has becomes this one's, in one transaction. Needs
        `order.manage`.

        - `survivor_version`: As it was seen; one that has changed since is refused (409).
        - `retired_version`: As it was seen; one that has changed since is refused (409).
        """
        return cast(
            "PatientEffects",
            self._connection.call(
                "POST",
                f"/patients/{segment(number)}/merge",
                PatientEffects,
                body={
                    "retired": retired,
                    "survivor_version": survivor_version,
                    "retired_version": retired_version,
                    "reason": reason,
                },
            ),
        )

    def preview_unmerge(self, merge: int) -> UnmergePreview:
        """What would go back if a merge was taken back. Needs `order.manage`."""
        return cast(
            "UnmergePreview", self._connection.call("GET", f"/patients/merges/{segment(merge)}", UnmergePreview)
        )

    def unmerge(self, merge: int, *, reason: str | None = None) -> PatientEffects:
        """Take a merge back: exactly what it moved goes back. Needs `order.manage`."""
        return cast(
            "PatientEffects",
            self._connection.call(
                "POST", f"/patients/merges/{segment(merge)}/undo", PatientEffects, body={"reason": reason}
            ),
        )

    def link(self, number: int, other: int) -> None:
        """Say that two records are of one person, and keep both. Needs `order.manage`."""
        self._connection.call("PUT", f"/patients/{segment(number)}/links/{segment(other)}")

    def unlink(self, number: int, other: int) -> None:
        """Take a link back. Needs `order.manage`."""
        self._connection.call("DELETE", f"/patients/{segment(number)}/links/{segment(other)}")

    def moves(self, number: int) -> tuple[PatientMove, ...]:
        """Visits that went from or to a patient. Needs `order.read`."""
        return cast(
            "tuple[PatientMove, ...]", self._connection.items("GET", f"/patients/{segment(number)}/moves", PatientMove)
        )

    def move_visit(self, visit: int, *, target: int) -> PatientEffects:
        """Let a visit with its orders and their images be another patient's. Needs `order.manage`."""
        return cast(
            "PatientEffects",
            self._connection.call(
                "POST", f"/patients/visits/{segment(visit)}/move", PatientEffects, body={"target": target}
            ),
        )

    def undo_move(self, move: int) -> PatientEffects:
        """Bring back what a move has taken. Needs `order.manage`."""
        return cast(
            "PatientEffects", self._connection.call("POST", f"/patients/moves/{segment(move)}/undo", PatientEffects)
        )


class OrdersResource:
    """Orders of the RIS or entered here, and what is scheduled."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(
        self,
        *,
        text: str | None = None,
        state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"] | None = None,
        patient_id: str | None = None,
        study: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Order]:
        """Orders, the newest first. Needs `order.read`.

        - `text`: Begins a number, a Patient ID or a name.
        - `state`: Only those in this state.
        """
        return self._connection.pages(
            "/orders",
            Order,
            limit=limit,
            query={"text": text, "state": state, "patient_id": patient_id, "study": study},
        )

    def add(
        self,
        *,
        placer: OrderNumber | None = None,
        filler: OrderNumber | None = None,
        accession: OrderNumber | None = None,
        procedure_id: str | None = None,
        study_instance_uid: str | None = None,
        procedure: CodedEntry | None = None,
        priority: Literal["STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"] | None = None,
        ordering_physician: str | None = None,
        referring_physician: str | None = None,
        reason: str | None = None,
        clinical_information: str | None = None,
        department: str | None = None,
        institution: str | None = None,
        body_part: str | None = None,
        laterality: str | None = None,
        transport: str | None = None,
        danger: str | None = None,
        steps: Sequence[AskedStep] | None = None,
        patient: fileroom__web__api__orders__AskedPatient | None = None,
    ) -> OrderDone:
        """Enter an order by hand. Without any number it gets an accession number. Needs `order.manage`."""
        return cast(
            "OrderDone",
            self._connection.call(
                "POST",
                "/orders",
                OrderDone,
                body={
                    "placer": placer,
                    "filler": filler,
                    "accession": accession,
                    "procedure_id": procedure_id,
                    "study_instance_uid": study_instance_uid,
                    "procedure": procedure,
                    "priority": priority,
                    "ordering_physician": ordering_physician,
                    "referring_physician": referring_physician,
                    "reason": reason,
                    "clinical_information": clinical_information,
                    "department": department,
                    "institution": institution,
                    "body_part": body_part,
                    "laterality": laterality,
                    "transport": transport,
                    "danger": danger,
                    "steps": steps,
                    "patient": patient,
                },
            ),
        )

    def get(self, number: int) -> Order:
        """One order. Needs `order.read`."""
        return cast("Order", self._connection.call("GET", f"/orders/{segment(number)}", Order))

    def change(
        self,
        number: int,
        *,
        placer: OrderNumber | None = None,
        filler: OrderNumber | None = None,
        accession: OrderNumber | None = None,
        procedure_id: str | None = None,
        study_instance_uid: str | None = None,
        procedure: CodedEntry | None = None,
        priority: Literal["STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"] | None = None,
        ordering_physician: str | None = None,
        referring_physician: str | None = None,
        reason: str | None = None,
        clinical_information: str | None = None,
        department: str | None = None,
        institution: str | None = None,
        body_part: str | None = None,
        laterality: str | None = None,
        transport: str | None = None,
        danger: str | None = None,
        steps: Sequence[AskedStep] | None = None,
        patient: fileroom__web__api__orders__AskedPatient | None = None,
        version: int | None = None,
    ) -> OrderDone:
        """Change what is named of an order. Needs `order.manage`."""
        return cast(
            "OrderDone",
            self._connection.call(
                "PATCH",
                f"/orders/{segment(number)}",
                OrderDone,
                body={
                    "placer": placer,
                    "filler": filler,
                    "accession": accession,
                    "procedure_id": procedure_id,
                    "study_instance_uid": study_instance_uid,
                    "procedure": procedure,
                    "priority": priority,
                    "ordering_physician": ordering_physician,
                    "referring_physician": referring_physician,
                    "reason": reason,
                    "clinical_information": clinical_information,
                    "department": department,
                    "institution": institution,
                    "body_part": body_part,
                    "laterality": laterality,
                    "transport": transport,
                    "danger": danger,
                    "steps": steps,
                    "patient": patient,
                    "version": version,
                },
            ),
        )

    def set_step_state(
        self,
        number: int,
        step: int,
        *,
        state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"],
        reason: str | None = None,
        version: int | None = None,
    ) -> OrderDone:
        """Say what one step of an order is now; the order follows its steps. Needs `order.manage`."""
        return cast(
            "OrderDone",
            self._connection.call(
                "POST",
                f"/orders/{segment(number)}/steps/{segment(step)}/state",
                OrderDone,
                body={"state": state, "reason": reason, "version": version},
            ),
        )

    def set_state(
        self,
        number: int,
        *,
        state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"],
        reason: str | None = None,
        version: int | None = None,
    ) -> OrderDone:
        """Say that an order has arrived, is in progress, completed, cancelled; or reopen it. Needs `order.manage`."""
        return cast(
            "OrderDone",
            self._connection.call(
                "POST",
                f"/orders/{segment(number)}/state",
                OrderDone,
                body={"state": state, "reason": reason, "version": version},
            ),
        )

    def history(self, number: int) -> tuple[OrderChange, ...]:
        """What became of an order, the latest first. Needs `order.read`."""
        return cast(
            "tuple[OrderChange, ...]", self._connection.items("GET", f"/orders/{segment(number)}/history", OrderChange)
        )

    def steps(
        self,
        *,
        from_day: str | None = None,
        to_day: str | None = None,
        modality: str | None = None,
        station: str | None = None,
        text: str | None = None,
        state: Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"] | None = None,
        limit: int | None = None,
    ) -> Iterator[ListedStep]:
        """Scheduled procedure steps in the order of their start. Needs `order.read`.

        - `station`: An AE title, a station's name or a room.
        """
        return self._connection.pages(
            "/scheduled-steps",
            ListedStep,
            limit=limit,
            query={
                "from_day": from_day,
                "to_day": to_day,
                "modality": modality,
                "station": station,
                "text": text,
                "state": state,
            },
        )


class ProceduresResource:
    """What a procedure code means for modalities, stations, rooms and protocols."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, text: str | None = None) -> tuple[Procedure, ...]:
        """The table, by code. Needs `order.read`.

        - `text`: Begins a code, or stands in its meaning.
        """
        return cast(
            "tuple[Procedure, ...]", self._connection.items("GET", "/procedures", Procedure, query={"text": text})
        )

    def import_table(self, *, csv: str) -> ProceduresImported:
        """Add and replace codes from CSV, all or none. Needs `order.manage`."""
        return cast(
            "ProceduresImported", self._connection.call("POST", "/procedures", ProceduresImported, body={"csv": csv})
        )

    def get(self, code: str, *, scheme: str | None = None) -> Procedure:
        """One row. Needs `order.read`."""
        return cast(
            "Procedure",
            self._connection.call("GET", f"/procedures/{segment(code)}", Procedure, query={"scheme": scheme}),
        )

    def save(
        self,
        code: str,
        *,
        scheme: str | None = None,
        meaning: str | None = None,
        modality: str | None = None,
        body_part: str | None = None,
        laterality: str | None = None,
        station_aets: Sequence[str] | None = None,
        location: str | None = None,
        minutes: int | None = None,
        protocol_codes: Sequence[ProtocolCode] | None = None,
    ) -> Procedure:
        """Add a code, or replace it. Needs `order.manage`.

        - `scheme`: Empty: for every scheme without a row of its own.
        - `minutes`: 0: not known.
        """
        return cast(
            "Procedure",
            self._connection.call(
                "PUT",
                f"/procedures/{segment(code)}",
                Procedure,
                body={
                    "scheme": scheme,
                    "meaning": meaning,
                    "modality": modality,
                    "body_part": body_part,
                    "laterality": laterality,
                    "station_aets": station_aets,
                    "location": location,
                    "minutes": minutes,
                    "protocol_codes": protocol_codes,
                },
            ),
        )

    def remove(self, code: str, *, scheme: str | None = None) -> None:
        """Remove a code; orders keep what it gave them. Needs `order.manage`."""
        self._connection.call("DELETE", f"/procedures/{segment(code)}", query={"scheme": scheme})


class WorklistResource:
    """What modalities see of what is scheduled, and why something is not on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(
        self, *, aet: str | None = None, modality: str | None = None, date: str | None = None, limit: int | None = None
    ) -> tuple[WorklistLine, ...]:
        """The worklist, as it would be answered now. Needs `order.read`.

        - `aet`: What this AE title sees; empty: everything that waits.
        - `date`: A day or a range: 20261122-20261129.
        """
        return cast(
            "tuple[WorklistLine, ...]",
            self._connection.items(
                "GET", "/worklist", WorklistLine, query={"aet": aet, "modality": modality, "date": date, "limit": limit}
            ),
        )

    def why(self, *, aet: str, accession: str | None = None, patient: str | None = None) -> Trace:
        """Why an order, or a patient, is not on the worklist of a modality. Needs `order.read`."""
        return cast(
            "Trace",
            self._connection.call(
                "GET", "/worklist/why", Trace, query={"aet": aet, "accession": accession, "patient": patient}
            ),
        )

    def views(self) -> tuple[WorklistView, ...]:
        """All views, by name. Needs `order.read`."""
        return cast("tuple[WorklistView, ...]", self._connection.items("GET", "/worklist/views", WorklistView))

    def view(self, name: str) -> WorklistView:
        """One view. Needs `order.read`."""
        return cast("WorklistView", self._connection.call("GET", f"/worklist/views/{segment(name)}", WorklistView))

    def save_view(
        self,
        name: str,
        *,
        aets: Sequence[str] | None = None,
        modalities: Sequence[str] | None = None,
        stations: Sequence[str] | None = None,
        station_names: Sequence[str] | None = None,
        locations: Sequence[str] | None = None,
        begins: str | None = None,
        ends: str | None = None,
        own_aet: bool | None = None,
        unassigned: bool | None = None,
        states: Sequence[Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]]
        | None = None,
        results_max: int | None = None,
        charset: str | None = None,
        enabled: bool | None = None,
    ) -> WorklistView:
        """Add a view, or replace it. Needs `order.manage`.

        - `aets`: Calling AE titles; empty: everybody.
        - `stations`: AE titles that steps are scheduled for.
        - `begins`: today, today-3, -2h; empty: no limit.
        - `ends`: today, today+7, +12h; empty: no limit.
        - `own_aet`: Only steps for the caller's own AE title.
        - `unassigned`: Steps without a station are everybody's.
        - `charset`: Specific Character Set of the answers.
        """
        return cast(
            "WorklistView",
            self._connection.call(
                "PUT",
                f"/worklist/views/{segment(name)}",
                WorklistView,
                body={
                    "aets": aets,
                    "modalities": modalities,
                    "stations": stations,
                    "station_names": station_names,
                    "locations": locations,
                    "begins": begins,
                    "ends": ends,
                    "own_aet": own_aet,
                    "unassigned": unassigned,
                    "states": states,
                    "results_max": results_max,
                    "charset": charset,
                    "enabled": enabled,
                },
            ),
        )

    def remove_view(self, name: str) -> None:
        """Remove a view; its callers see what the next that fits them shows. Needs `order.manage`."""
        self._connection.call("DELETE", f"/worklist/views/{segment(name)}")


class ReportsResource:
    """Reports of studies, in versions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        q: str | None = None,
        state: Literal["draft", "preliminary", "final", "corrected", "cancelled"] | None = None,
        source: Literal["console", "hl7", "dicom"] | None = None,
        study: str | None = None,
        accession: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[StudyReport]:
        """Reports that may be seen, the newest first. Needs `study.view`.

        - `q`: Words of it, its title, a number or a name.
        - `study`: Study Instance UID.
        """
        return self._connection.pages(
            "/reports",
            StudyReport,
            limit=limit,
            query={
                "q": q,
                "state": state,
                "source": source,
                "study": study,
                "accession": accession,
                "since": since,
                "until": until,
            },
        )

    def begin(
        self, *, study: str, template: str | None = None, language: Literal["en", "de"] | None = None
    ) -> BegunReport:
        """Begin a report about a study, as a draft. Needs `report.write`.

        - `template`: Its name; empty: headings alone; null: the one that fits best.
        - `language`: Of headings without a template.
        """
        return cast(
            "BegunReport",
            self._connection.call(
                "POST", "/reports", BegunReport, body={"study": study, "template": template, "language": language}
            ),
        )

    def get(self, number: int) -> ReportContentShown:
        """A report with all versions. Needs `study.view`."""
        return cast(
            "ReportContentShown", self._connection.call("GET", f"/reports/{segment(number)}", ReportContentShown)
        )

    def pdf(self, number: int, *, version: int | None = None) -> ReportFileShown:
        """A version as PDF: as it was received, or printed. A CDA document without text is given as it is. Needs
        `study.view`.

        - `version`: Which version; none: the newest.
        """
        return cast(
            "ReportFileShown",
            self._connection.call(
                "GET", f"/reports/{segment(number)}/pdf", ReportFileShown, query={"version": version}
            ),
        )

    def sr(self, number: int, *, version: int | None = None) -> ReportFileShown:
        """A version as structured report (DICOM). Needs `study.export`.

        - `version`: Which version; none: the newest.
        """
        return cast(
            "ReportFileShown",
            self._connection.call("GET", f"/reports/{segment(number)}/sr", ReportFileShown, query={"version": version}),
        )

    def send(self, number: int, *, feed: str) -> SentReport:
        """Tell a feed the newest version once more, behind what waits. Needs `message.manage`.

        - `feed`: A feed out.
        """
        return cast(
            "SentReport",
            self._connection.call("POST", f"/reports/{segment(number)}/send", SentReport, body={"feed": feed}),
        )

    def draft(self, number: int) -> ReportDraft:
        """What is written so far, to go on with. Needs `report.write`."""
        return cast("ReportDraft", self._connection.call("GET", f"/reports/{segment(number)}/draft", ReportDraft))

    def save(
        self, number: int, *, edits: int, sections: Sequence[AskedReportSection], title: str | None = None
    ) -> ReportDraft:
        """Keep what is written; no version is made of it. Needs `report.write`.

        - `edits`: The `edits` of the draft as it was read; it has changed meanwhile: 409.
        """
        return cast(
            "ReportDraft",
            self._connection.call(
                "PUT",
                f"/reports/{segment(number)}/draft",
                ReportDraft,
                body={"edits": edits, "title": title, "sections": sections},
            ),
        )

    def discard(self, number: int, *, edits: int) -> None:
        """Take back what was written since the newest version. Needs `report.write`."""
        self._connection.call("DELETE", f"/reports/{segment(number)}/draft", query={"edits": edits})

    def sign(self, number: int, *, edits: int, state: Literal["preliminary", "final"] | None = None) -> SignedReport:
        """Sign what is written as preliminary, or as final, which needs report.sign. Needs `report.write`.

        - `edits`: The `edits` of the draft as it was read; it has changed meanwhile: 409.
        """
        return cast(
            "SignedReport",
            self._connection.call(
                "POST", f"/reports/{segment(number)}/signature", SignedReport, body={"edits": edits, "state": state}
            ),
        )

    def correct(self, number: int, *, edits: int, reason: str) -> SignedReport:
        """Let what is written take the place of what was signed. Needs `report.sign`.

        - `edits`: The `edits` of the draft as it was read; it has changed meanwhile: 409.
        """
        return cast(
            "SignedReport",
            self._connection.call(
                "POST", f"/reports/{segment(number)}/correction", SignedReport, body={"edits": edits, "reason": reason}
            ),
        )

    def add_addendum(self, number: int, *, version: int, text: str) -> SignedReport:
        """Add to what was signed. Needs `report.sign`."""
        return cast(
            "SignedReport",
            self._connection.call(
                "POST", f"/reports/{segment(number)}/addenda", SignedReport, body={"version": version, "text": text}
            ),
        )

    def cancel(self, number: int, *, reason: str | None = None) -> SignedReport:
        """Say that a report no longer stands; of a signed one this needs report.sign. Needs `report.write`."""
        return cast(
            "SignedReport",
            self._connection.call(
                "POST", f"/reports/{segment(number)}/cancellation", SignedReport, body={"reason": reason}
            ),
        )


class ReportTemplatesResource:
    """What reports begin with: headings, text and what they fit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[ReportTemplate, ...]:
        """All templates, by name. Needs `report.write`."""
        return cast("tuple[ReportTemplate, ...]", self._connection.items("GET", "/report-templates", ReportTemplate))

    def get(self, name: str) -> ReportTemplate:
        """One template. Needs `report.write`."""
        return cast(
            "ReportTemplate", self._connection.call("GET", f"/report-templates/{segment(name)}", ReportTemplate)
        )

    def save(
        self,
        name: str,
        *,
        sections: Sequence[AskedReportSection],
        title: str | None = None,
        language: Literal["en", "de"] | None = None,
        modalities: Sequence[str] | None = None,
        body_parts: Sequence[str] | None = None,
        procedure_codes: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> ReportTemplate:
        """Add a template, or replace it. Needs `report.sign`."""
        return cast(
            "ReportTemplate",
            self._connection.call(
                "PUT",
                f"/report-templates/{segment(name)}",
                ReportTemplate,
                body={
                    "title": title,
                    "language": language,
                    "modalities": modalities,
                    "body_parts": body_parts,
                    "procedure_codes": procedure_codes,
                    "sections": sections,
                    "enabled": enabled,
                },
            ),
        )

    def remove(self, name: str) -> None:
        """Remove a template; reports that were begun with it stay. Needs `report.sign`."""
        self._connection.call("DELETE", f"/report-templates/{segment(name)}")


class ReportUpkeepResource:
    """Critical findings, turnaround times, reconciliation, dictation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def critical_results(
        self, *, acknowledged: bool | None = None, limit: int | None = None
    ) -> tuple[CriticalResult, ...]:
        """Open findings, those that are due first; or those acknowledged. Needs `study.view`.

        - `limit`: Entries of one page.
        """
        return cast(
            "tuple[CriticalResult, ...]",
            self._connection.items(
                "GET", "/critical-results", CriticalResult, query={"acknowledged": acknowledged, "limit": limit}
            ),
        )

    def note_critical(
        self, *, report: int, finding: str, level: str | None = None, told_to: str | None = None
    ) -> CriticalResult:
        """Note a finding on a report; whom its level names is told. Needs `report.write`.

        - `told_to`: Who must hear of it.
        """
        return cast(
            "CriticalResult",
            self._connection.call(
                "POST",
                "/critical-results",
                CriticalResult,
                body={"report": report, "finding": finding, "level": level, "told_to": told_to},
            ),
        )

    def acknowledge_critical(
        self,
        number: int,
        *,
        how: Literal["fileroom", "phone", "person", "other"] | None = None,
        by: str | None = None,
        comment: str | None = None,
    ) -> CriticalResult:
        """Somebody has heard of it. Needs `study.view`.

        - `how`: fileroom: whoever asks.
        - `by`: Who was told, where it is not whoever asks.
        """
        return cast(
            "CriticalResult",
            self._connection.call(
                "POST",
                f"/critical-results/{segment(number)}/acknowledgement",
                CriticalResult,
                body={"how": how, "by": by, "comment": comment},
            ),
        )

    def turnaround(
        self,
        *,
        days: Literal[1, 7, 30, 90, 365] | None = None,
        modality: str | None = None,
        priority: Literal["", "STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"] | None = None,
        limit: int | None = None,
    ) -> Turnaround:
        """How long reports took, and which studies wait for theirs. Needs `study.view`.

        - `limit`: Entries of one page.
        """
        return cast(
            "Turnaround",
            self._connection.call(
                "GET",
                "/turnaround",
                Turnaround,
                query={"days": days, "modality": modality, "priority": priority, "limit": limit},
            ),
        )

    def misfits(
        self, kind: str, *, hours: int | None = None, dismissed: bool | None = None, limit: int | None = None
    ) -> tuple[Misfit, ...]:
        """What does not fit, or what was dismissed of it. Needs `study.view`.

        - `limit`: Entries of one page.
        """
        return cast(
            "tuple[Misfit, ...]",
            self._connection.items(
                "GET",
                f"/reconciliation/{segment(kind)}",
                Misfit,
                query={"hours": hours, "dismissed": dismissed, "limit": limit},
            ),
        )

    def dismiss_misfits(self, kind: str, *, subjects: Sequence[str], reason: str) -> Count:
        """Take them off their list; how many left it. Needs `order.manage`."""
        return cast(
            "Count",
            self._connection.call(
                "POST",
                f"/reconciliation/{segment(kind)}/dismissal",
                Count,
                body={"subjects": subjects, "reason": reason},
            ),
        )

    def assign_report(
        self,
        number: int,
        *,
        study: str | None = None,
        order: int | None = None,
        reason: str | None = None,
        other_patient: bool | None = None,
    ) -> None:
        """Say which study or order a report is of. Needs `order.manage`.

        - `other_patient`: Also where the patient is another one.
        """
        self._connection.call(
            "POST",
            f"/report-assignments/{segment(number)}",
            body={"study": study, "order": order, "reason": reason, "other_patient": other_patient},
        )

    def undo_assignment(self, number: int) -> None:
        """Take back what was said last of a report. Needs `order.manage`."""
        self._connection.call("DELETE", f"/report-assignments/{segment(number)}")

    def reporting_systems(self) -> tuple[ReportingSystem, ...]:
        """Programs that dictate. Needs `study.view`."""
        return cast("tuple[ReportingSystem, ...]", self._connection.items("GET", "/reporting-systems", ReportingSystem))

    def put_reporting_system(
        self,
        name: str,
        *,
        url: str | None = None,
        context: Literal["none", "json", "xml", "text"] | None = None,
        template: str | None = None,
        extension: str | None = None,
        media_type: str | None = None,
        folder: str | None = None,
        feed: str | None = None,
        enabled: bool | None = None,
    ) -> ReportingSystem:
        """Add one or change it. Needs `routing.manage`."""
        return cast(
            "ReportingSystem",
            self._connection.call(
                "PUT",
                f"/reporting-systems/{segment(name)}",
                ReportingSystem,
                body={
                    "url": url,
                    "context": context,
                    "template": template,
                    "extension": extension,
                    "media_type": media_type,
                    "folder": folder,
                    "feed": feed,
                    "enabled": enabled,
                },
            ),
        )

    def remove_reporting_system(self, name: str) -> None:
        """Remove it. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/reporting-systems/{segment(name)}")

    def hand_over(self, name: str, study: str) -> HandedOver:
        """URL and file of an exam for a program; it is put down who took them. Needs `report.write`."""
        return cast(
            "HandedOver",
            self._connection.call("POST", f"/reporting-systems/{segment(name)}/exams/{segment(study)}", HandedOver),
        )

    def send_exam(self, name: str, study: str) -> None:
        """Send the order of a study to the feed of a program. Needs `report.write`."""
        self._connection.call("POST", f"/reporting-systems/{segment(name)}/orders/{segment(study)}")


class NodesResource:
    """The systems that Fileroom talks to, and callers that wait for approval."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Node]:
        """All nodes by name. Needs `node.read`."""
        return self._connection.pages("/nodes", Node, limit=limit, query={})

    def add(
        self,
        *,
        name: str,
        aet: str,
        host: str,
        port: int,
        description: str | None = None,
        location: str | None = None,
        enabled: bool | None = None,
        calling_from: Sequence[str] | None = None,
        roles: Sequence[NodeRole] | None = None,
        tls: TlsUse | None = None,
        tls_subject: str | None = None,
        tls_fingerprint: str | None = None,
        charset: str | None = None,
        charset_assumed: str | None = None,
        accept_syntaxes: Sequence[str] | None = None,
        propose_syntaxes: Sequence[str] | None = None,
        associations_max: int | None = None,
        objects_per_minute_max: int | None = None,
        own_aet: str | None = None,
        connect_timeout_s: int | None = None,
        response_timeout_s: int | None = None,
        echo_interval_s: int | None = None,
        comment: str | None = None,
    ) -> Node:
        """Add a node; it may call from then on. Needs `node.manage`.

        - `calling_from`: Addresses and networks that it may call from; empty: its host's.
        - `roles`: What it may do here, or be used for.
        - `tls_fingerprint`: SHA-256 of its certificate.
        - `accept_syntaxes`: UIDs of transfer syntaxes, by preference; empty: all.
        - `propose_syntaxes`: UIDs of transfer syntaxes, by preference; empty: all.
        - `associations_max`: Open at a time; 0: no limit of its own.
        - `objects_per_minute_max`: Pace of its objects, 10 or more; 0: as they come.
        - `own_aet`: What we call ourselves to it; empty: our own.
        - `connect_timeout_s`: Seconds to connect.
        - `response_timeout_s`: Seconds to answer.
        - `echo_interval_s`: Seconds between echoes, 10 or more; 0: never.
        """
        return cast(
            "Node",
            self._connection.call(
                "POST",
                "/nodes",
                Node,
                body={
                    "name": name,
                    "aet": aet,
                    "host": host,
                    "port": port,
                    "description": description,
                    "location": location,
                    "enabled": enabled,
                    "calling_from": calling_from,
                    "roles": roles,
                    "tls": tls,
                    "tls_subject": tls_subject,
                    "tls_fingerprint": tls_fingerprint,
                    "charset": charset,
                    "charset_assumed": charset_assumed,
                    "accept_syntaxes": accept_syntaxes,
                    "propose_syntaxes": propose_syntaxes,
                    "associations_max": associations_max,
                    "objects_per_minute_max": objects_per_minute_max,
                    "own_aet": own_aet,
                    "connect_timeout_s": connect_timeout_s,
                    "response_timeout_s": response_timeout_s,
                    "echo_interval_s": echo_interval_s,
                    "comment": comment,
                },
            ),
        )

    def get(self, node: str) -> Node:
        """One node. Needs `node.read`."""
        return cast("Node", self._connection.call("GET", f"/nodes/{segment(node)}", Node))

    def change(
        self,
        node: str,
        *,
        name: str | None = None,
        aet: str | None = None,
        host: str | None = None,
        port: int | None = None,
        description: str | None = None,
        location: str | None = None,
        enabled: bool | None = None,
        calling_from: Sequence[str] | None = None,
        roles: Sequence[NodeRole] | None = None,
        tls: TlsUse | None = None,
        tls_subject: str | None = None,
        tls_fingerprint: str | None = None,
        charset: str | None = None,
        charset_assumed: str | None = None,
        accept_syntaxes: Sequence[str] | None = None,
        propose_syntaxes: Sequence[str] | None = None,
        associations_max: int | None = None,
        objects_per_minute_max: int | None = None,
        own_aet: str | None = None,
        connect_timeout_s: int | None = None,
        response_timeout_s: int | None = None,
        echo_interval_s: int | None = None,
        comment: str | None = None,
        if_match: str | None = None,
    ) -> Node:
        """Change some fields of a node; open associations hear of it. Needs `node.manage`."""
        return cast(
            "Node",
            self._connection.call(
                "PATCH",
                f"/nodes/{segment(node)}",
                Node,
                body={
                    "name": name,
                    "aet": aet,
                    "host": host,
                    "port": port,
                    "description": description,
                    "location": location,
                    "enabled": enabled,
                    "calling_from": calling_from,
                    "roles": roles,
                    "tls": tls,
                    "tls_subject": tls_subject,
                    "tls_fingerprint": tls_fingerprint,
                    "charset": charset,
                    "charset_assumed": charset_assumed,
                    "accept_syntaxes": accept_syntaxes,
                    "propose_syntaxes": propose_syntaxes,
                    "associations_max": associations_max,
                    "objects_per_minute_max": objects_per_minute_max,
                    "own_aet": own_aet,
                    "connect_timeout_s": connect_timeout_s,
                    "response_timeout_s": response_timeout_s,
                    "echo_interval_s": echo_interval_s,
                    "comment": comment,
                },
                if_match=if_match,
            ),
        )

    def remove(self, node: str, *, if_match: str | None = None) -> None:
        """Remove a node; it may no longer call. Needs `node.manage`."""
        self._connection.call("DELETE", f"/nodes/{segment(node)}", if_match=if_match)

    def history(self, node: str) -> tuple[NodeVersion, ...]:
        """What was done to a node, the latest first. Needs `node.read`."""
        return cast(
            "tuple[NodeVersion, ...]", self._connection.items("GET", f"/nodes/{segment(node)}/versions", NodeVersion)
        )

    def echo(self, node: str) -> Echo:
        """Ask a node whether it is there (C-ECHO), and keep the result. Needs `node.read`."""
        return cast("Echo", self._connection.call("POST", f"/nodes/{segment(node)}/echo", Echo))

    def echoes(self) -> tuple[EchoHistory, ...]:
        """How the nodes answered during the last day. Needs `node.read`."""
        return cast("tuple[EchoHistory, ...]", self._connection.items("GET", "/node-echoes", EchoHistory))

    def export_file(self, *, form: Literal["json", "csv"] | None = None) -> NodeFile:
        """All nodes as a file, to be kept or imported elsewhere. Needs `node.read`.

        - `form`: Kind of file.
        """
        return cast("NodeFile", self._connection.call("GET", "/node-file", NodeFile, query={"form": form}))

    def import_file(self, *, text: str, dry_run: bool | None = None) -> ImportResult:
        """Add and change nodes by a file, all or nothing. Needs `node.manage`.

        - `dry_run`: Only tell what it would change.
        """
        return cast(
            "ImportResult",
            self._connection.call("POST", "/node-file", ImportResult, body={"text": text, "dry_run": dry_run}),
        )

    def held(self, *, ignored: bool | None = None) -> tuple[HeldCaller, ...]:
        """Callers that were turned away, or those of them that are ignored. Needs `node.read`."""
        return cast(
            "tuple[HeldCaller, ...]",
            self._connection.items("GET", "/held-callers", HeldCaller, query={"ignored": ignored}),
        )

    def approve(self, *, aet: str, host: str, name: str | None = None, port: int | None = None) -> Node:
        """Make a node of a held caller, or let the node with its AE title call from this address too. Needs
        `node.manage`."""
        return cast(
            "Node",
            self._connection.call(
                "POST", "/held-callers/approve", Node, body={"aet": aet, "host": host, "name": name, "port": port}
            ),
        )

    def ignore(self, *, aet: str, host: str, ignored: bool | None = None) -> None:
        """List a held caller no more, or again. Needs `node.manage`."""
        self._connection.call("PUT", "/held-callers/ignored", body={"aet": aet, "host": host, "ignored": ignored})


class NoticesResource:
    """What nodes are told of performed steps and of available instances."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(
        self,
        *,
        node: str | None = None,
        state: Literal["", "waiting", "sent", "dead", "cancelled"] | None = None,
        limit: int | None = None,
    ) -> tuple[Notice, ...]:
        """The latest notices, of one node or of all. Needs `ledger.read`.

        - `limit`: Entries of one page.
        """
        return cast(
            "tuple[Notice, ...]",
            self._connection.items("GET", "/notices", Notice, query={"node": node, "state": state, "limit": limit}),
        )

    def resend(self, number: int) -> None:
        """Send a notice that was given up or cancelled. Needs `routing.manage`."""
        self._connection.call("POST", f"/notices/{segment(number)}/resend")

    def cancel(self, number: int) -> None:
        """Do not send a notice that waits. Needs `routing.manage`."""
        self._connection.call("POST", f"/notices/{segment(number)}/cancel")


class RulesResource:
    """Rules: which objects are sent where."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Rule]:
        """All rules in the order in which they are asked. Needs `routing.read`."""
        return self._connection.pages("/routing/rules", Rule, limit=limit, query={})

    def get(self, name: str) -> Rule:
        """One rule. Needs `routing.read`."""
        return cast("Rule", self._connection.call("GET", f"/routing/rules/{segment(name)}", Rule))

    def save(
        self,
        name: str,
        *,
        when: str | Mapping[str, Any],
        on: str | None = None,
        to: Sequence[str] | None = None,
        priority: int | None = None,
        stop: bool | None = None,
        urgency: str | int | None = None,
        treatment: str | None = None,
        hold: bool | None = None,
        actions: Sequence[RuleAction] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        if_match: str | None = None,
    ) -> Rule:
        """Add a rule, or replace it. A rule that is wrong is refused, and the version in force stays. Needs
        `routing.manage`.

        - `when`: A condition in CEL, or a tree of all, any, not and {attribute, operator, value}
          (docs/routing.md).
        - `on`: What must be complete.
        - `priority`: Lower ones are asked first.
        - `urgency`: stat, routine, bulk, or by how many seconds it stands before what arrives with it.
        """
        return cast(
            "Rule",
            self._connection.call(
                "PUT",
                f"/routing/rules/{segment(name)}",
                Rule,
                body={
                    "when": when,
                    "on": on,
                    "to": to,
                    "priority": priority,
                    "stop": stop,
                    "urgency": urgency,
                    "treatment": treatment,
                    "hold": hold,
                    "actions": actions,
                    "description": description,
                    "enabled": enabled,
                },
                if_match=if_match,
            ),
        )

    def remove(self, name: str) -> None:
        """Remove a rule; what it has planned is still sent. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/rules/{segment(name)}")

    def history(self, name: str) -> tuple[RuleVersion, ...]:
        """What a rule was, the latest first. Needs `routing.read`."""
        return cast(
            "tuple[RuleVersion, ...]",
            self._connection.items("GET", f"/routing/rules/{segment(name)}/versions", RuleVersion),
        )

    def restore(self, name: str, *, version: int) -> Rule:
        """Make a rule what it was; that is a new version. Needs `routing.manage`."""
        return cast(
            "Rule",
            self._connection.call("POST", f"/routing/rules/{segment(name)}/restore", Rule, body={"version": version}),
        )

    def move(self, name: str, *, earlier: bool) -> tuple[Rule, ...]:
        """Let a rule be asked one place earlier or later; priorities change as they must. Needs `routing.manage`."""
        return cast(
            "tuple[Rule, ...]",
            self._connection.items("POST", f"/routing/rules/{segment(name)}/move", Rule, body={"earlier": earlier}),
        )

    def check(self, *, when: str | Mapping[str, Any]) -> ConditionCheck:
        """Whether a condition is one, and where it is wrong. Needs `routing.read`.

        - `when`: A condition in CEL, or a tree of all, any, not and {attribute, operator, value}
          (docs/routing.md).
        """
        return cast(
            "ConditionCheck",
            self._connection.call("POST", "/routing/condition-checks", ConditionCheck, body={"when": when}),
        )

    def test(self, *, when: str | Mapping[str, Any], study: str, called: str | None = None) -> RuleTestResult:
        """What a condition says to each object of a study. Nothing is sent. Needs `routing.read`.

        - `when`: A condition in CEL, or a tree of all, any, not and {attribute, operator, value}
          (docs/routing.md).
        - `called`: The AE title that the sender called, as `association.called`; empty: ours.
        """
        return cast(
            "RuleTestResult",
            self._connection.call(
                "POST", "/routing/rule-tests", RuleTestResult, body={"when": when, "study": study, "called": called}
            ),
        )

    def backtest(self, *, when: str | Mapping[str, Any], days: int | None = None) -> BacktestResult:
        """What a condition would have matched of all that arrived in the last days. Nothing is sent. Needs
        `study.search`.

        - `when`: A condition in CEL, or a tree of all, any, not and {attribute, operator, value}
          (docs/routing.md).
        """
        return cast(
            "BacktestResult",
            self._connection.call("POST", "/routing/rule-backtests", BacktestResult, body={"when": when, "days": days}),
        )

    def attribute_names(self, *, text: str, limit: int | None = None) -> tuple[AttributeName, ...]:
        """Names that begin with a text: attributes, and what else conditions know. Needs `routing.read`."""
        return cast(
            "tuple[AttributeName, ...]",
            self._connection.items(
                "GET", "/routing/attribute-names", AttributeName, query={"text": text, "limit": limit}
            ),
        )


class DestinationsResource:
    """Destinations: where objects are sent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Destination]:
        """All destinations by name. Needs `routing.read`."""
        return self._connection.pages("/routing/destinations", Destination, limit=limit, query={})

    def get(self, name: str) -> Destination:
        """One destination. Needs `routing.read`."""
        return cast("Destination", self._connection.call("GET", f"/routing/destinations/{segment(name)}", Destination))

    def save(
        self,
        name: str,
        *,
        kind: str,
        target: Mapping[str, Any],
        confirmation: Confirmation | None = None,
        lanes_max: int | None = None,
        attempts_max: int | None = None,
        treatment: str | None = None,
        schedule: str | None = None,
        throttle: AskedThrottle | None = None,
        hold: bool | None = None,
        corrected: Literal["usual", "always", "never"] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        if_match: str | None = None,
    ) -> Destination:
        """Add a destination, or replace it. Needs `routing.manage`.

        - `target`: The fields of its kind. A secret is given as itself, and shown as the word `secret`; that word
          keeps the one that is there.
        - `confirmation`: What makes a delivery proven.
        - `lanes_max`: Studies that go there side by side.
        - `attempts_max`: Then an object counts as failed; 0: never.
        - `hold`: Nothing is sent; deliveries wait.
        - `corrected`: Whether what was corrected after its delivery is sent again; usual: to other archives.
        """
        return cast(
            "Destination",
            self._connection.call(
                "PUT",
                f"/routing/destinations/{segment(name)}",
                Destination,
                body={
                    "kind": kind,
                    "target": target,
                    "confirmation": confirmation,
                    "lanes_max": lanes_max,
                    "attempts_max": attempts_max,
                    "treatment": treatment,
                    "schedule": schedule,
                    "throttle": throttle,
                    "hold": hold,
                    "corrected": corrected,
                    "description": description,
                    "enabled": enabled,
                },
                if_match=if_match,
            ),
        )

    def remove(self, name: str) -> None:
        """Remove a destination that no rule names and nothing waits for. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/destinations/{segment(name)}")

    def history(self, name: str) -> tuple[DestinationVersion, ...]:
        """What a destination was, the latest first. Needs `routing.read`."""
        return cast(
            "tuple[DestinationVersion, ...]",
            self._connection.items("GET", f"/routing/destinations/{segment(name)}/versions", DestinationVersion),
        )

    def hold(self, name: str) -> Destination:
        """Send nothing there; deliveries wait. Needs `routing.manage`."""
        return cast(
            "Destination", self._connection.call("POST", f"/routing/destinations/{segment(name)}/hold", Destination)
        )

    def release(self, name: str) -> Destination:
        """Send what waits. Needs `routing.manage`."""
        return cast(
            "Destination", self._connection.call("POST", f"/routing/destinations/{segment(name)}/release", Destination)
        )

    def probe(self, name: str) -> Probe:
        """Ask a destination whether it is there; nothing stays there. Needs `routing.read`."""
        return cast("Probe", self._connection.call("POST", f"/routing/destinations/{segment(name)}/probe", Probe))

    def kinds(self) -> DestinationKinds:
        """Which kinds of destinations there are, and those that are left out. Needs `routing.read`."""
        return cast("DestinationKinds", self._connection.call("GET", "/routing/destination-kinds", DestinationKinds))


class DeliveriesResource:
    """The delivery ledger: every object on its way to a destination."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(
        self,
        *,
        state: Literal["gathering", "waiting", "sent", "delivered", "failed", "held", "cancelled", "quarantined"]
        | None = None,
        destination: str | None = None,
        rule: str | None = None,
        study: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Delivery]:
        """Deliveries, the newest first. Needs `routing.read`.

        - `state`: Only those in this state.
        """
        return self._connection.pages(
            "/routing/deliveries",
            Delivery,
            limit=limit,
            query={"state": state, "destination": destination, "rule": rule, "study": study},
        )

    def sums(self) -> tuple[DeliveryCount, ...]:
        """How many deliveries stand where, by destination and state. Needs `routing.read`."""
        return cast(
            "tuple[DeliveryCount, ...]", self._connection.items("GET", "/routing/deliveries/sums", DeliveryCount)
        )

    def change(
        self,
        *,
        action: Literal["retry", "hold", "release", "cancel", "redirect"],
        reason: str,
        ids: Sequence[int] | None = None,
        states: Sequence[
            Literal["gathering", "waiting", "sent", "delivered", "failed", "held", "cancelled", "quarantined"]
        ]
        | None = None,
        destination: str | None = None,
        study_instance_uid: str | None = None,
        to: str | None = None,
    ) -> DeliveriesChanged:
        """Retry, hold, release, cancel or redirect deliveries. Needs `routing.manage`.

        - `reason`: It stands in the audit trail.
        - `to`: For `redirect`: the other destination.
        """
        return cast(
            "DeliveriesChanged",
            self._connection.call(
                "POST",
                "/routing/deliveries/change",
                DeliveriesChanged,
                body={
                    "action": action,
                    "reason": reason,
                    "ids": ids,
                    "states": states,
                    "destination": destination,
                    "study_instance_uid": study_instance_uid,
                    "to": to,
                },
            ),
        )

    def order(self, *, destination: str, studies: Sequence[str], reason: str | None = None) -> DeliveriesChanged:
        """Deliver studies to a destination. Needs `study.export`.

        - `studies`: Study Instance UIDs.
        """
        return cast(
            "DeliveriesChanged",
            self._connection.call(
                "POST",
                "/routing/deliveries/order",
                DeliveriesChanged,
                body={"destination": destination, "studies": studies, "reason": reason},
            ),
        )


class SchedulesResource:
    """When destinations are sent to, and when alerts keep quiet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[Schedule, ...]:
        """All schedules, by name. Needs `routing.read`."""
        return cast("tuple[Schedule, ...]", self._connection.items("GET", "/schedules", Schedule))

    def get(self, name: str) -> Schedule:
        """One schedule. Needs `routing.read`."""
        return cast("Schedule", self._connection.call("GET", f"/schedules/{segment(name)}", Schedule))

    def save(
        self,
        name: str,
        *,
        windows: Sequence[Mapping[str, str]] | None = None,
        holidays: str | None = None,
        dates: Sequence[str] | None = None,
        zone: str | None = None,
        enabled: bool | None = None,
    ) -> Schedule:
        """Add a schedule, or replace it. Needs `routing.manage`.

        - `windows`: Open hours: `days` (mon-fri, sat,sun, holiday, daily), `from` and `to` as times of day. An
          end that is not later than the beginning is on the next day.
        - `holidays`: Country, or a part of one.
        """
        return cast(
            "Schedule",
            self._connection.call(
                "PUT",
                f"/schedules/{segment(name)}",
                Schedule,
                body={"windows": windows, "holidays": holidays, "dates": dates, "zone": zone, "enabled": enabled},
            ),
        )

    def remove(self, name: str) -> None:
        """Remove a schedule that nothing keeps to. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/schedules/{segment(name)}")


class AlertsResource:
    """What is alarming about routing and the disk, and when it is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, ended: bool | None = None) -> tuple[Alert, ...]:
        """What is alarming now; or what was. Needs `routing.read`.

        - `ended`: Those that have ended instead of those that are.
        """
        return cast("tuple[Alert, ...]", self._connection.items("GET", "/alerts", Alert, query={"ended": ended}))

    def acknowledge(self, number: int, *, note: str | None = None) -> Alert:
        """Say that somebody takes care of it: people are not told again. Needs `routing.manage`."""
        return cast(
            "Alert", self._connection.call("POST", f"/alerts/{segment(number)}/acknowledge", Alert, body={"note": note})
        )

    def conditions(self) -> tuple[Condition, ...]:
        """When something is an alert. Needs `routing.read`."""
        return cast("tuple[Condition, ...]", self._connection.items("GET", "/alert-conditions", Condition))

    def add_usual_conditions(self) -> tuple[Condition, ...]:
        """Add the usual conditions that are not there yet; the answer is what was added. Needs `routing.manage`."""
        return cast("tuple[Condition, ...]", self._connection.items("POST", "/alert-conditions", Condition))

    def save_condition(
        self,
        name: str,
        *,
        kind: str,
        above: float | None = None,
        destinations: Sequence[str] | None = None,
        window_min: int | None = None,
        severity: str | None = None,
        notify: Sequence[str] | None = None,
        quiet: str | None = None,
        repeat_min: int | None = None,
        enabled: bool | None = None,
    ) -> Condition:
        """Add a condition, or replace it. Needs `routing.manage`.

        - `kind`: One of, with the usual limit: queue_age (60), failure_rate (20), dead_letters (0), quarantined
          (0), destination_down (5), disk (90), rule_error (0), routing_loop (0), edge_silent (0), feed_silent
          (0), messages_failed (0), critical_overdue (0).
        - `above`: The limit: minutes, percent or a number. Null: the usual one.
        - `destinations`: Empty: all.
        - `severity`: critical or warning.
        - `notify`: Destinations of the kinds mail and webhook.
        - `quiet`: A schedule: while it is open, nobody is told.
        """
        return cast(
            "Condition",
            self._connection.call(
                "PUT",
                f"/alert-conditions/{segment(name)}",
                Condition,
                body={
                    "kind": kind,
                    "above": above,
                    "destinations": destinations,
                    "window_min": window_min,
                    "severity": severity,
                    "notify": notify,
                    "quiet": quiet,
                    "repeat_min": repeat_min,
                    "enabled": enabled,
                },
            ),
        )

    def remove_condition(self, name: str) -> None:
        """Remove a condition; what fires because of it ends. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/alert-conditions/{segment(name)}")


class TreatmentsResource:
    """How objects are changed on the way to a destination."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[Treatment, ...]:
        """All treatments, by name. Needs `routing.read`."""
        return cast("tuple[Treatment, ...]", self._connection.items("GET", "/routing/treatments", Treatment))

    def get(self, name: str) -> Treatment:
        """One treatment. Needs `routing.read`."""
        return cast("Treatment", self._connection.call("GET", f"/routing/treatments/{segment(name)}", Treatment))

    def save(
        self,
        name: str,
        *,
        description: str | None = None,
        deid: str | None = None,
        steps: Sequence[Mapping[str, Any]] | None = None,
        charset: str | None = None,
        transliterate: bool | None = None,
        merge: Mapping[str, Any] | None = None,
        split: Mapping[str, Any] | None = None,
        sop_class_fallback: Mapping[str, Any] | None = None,
        syntax: str | None = None,
        lossy: bool | None = None,
        quality: int | None = None,
        prove_pixels: bool | None = None,
        enabled: bool | None = None,
    ) -> Treatment:
        """Add a treatment, or replace it. Deliveries that wait are made by the new one. Needs `routing.manage`.

        - `deid`: The de-identification project.
        - `steps`: Changes of attributes, in order. `do` is one of set, remove, empty, copy, map, replace, prefix,
          suffix, case, trim, order, new_uids; `when` is a condition in the language of the rules.
        - `syntax`: The transfer syntax, by UID or name.
        - `lossy`: Allows a syntax that loses information.
        """
        return cast(
            "Treatment",
            self._connection.call(
                "PUT",
                f"/routing/treatments/{segment(name)}",
                Treatment,
                body={
                    "description": description,
                    "deid": deid,
                    "steps": steps,
                    "charset": charset,
                    "transliterate": transliterate,
                    "merge": merge,
                    "split": split,
                    "sop_class_fallback": sop_class_fallback,
                    "syntax": syntax,
                    "lossy": lossy,
                    "quality": quality,
                    "prove_pixels": prove_pixels,
                    "enabled": enabled,
                },
            ),
        )

    def remove(self, name: str) -> None:
        """Remove a treatment that no rule and no destination names. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/treatments/{segment(name)}")

    def test(self, name: str, *, sop_instance_uid: str, treatment: Mapping[str, Any]) -> Trial:
        """What a treatment would make of a stored object, attribute by attribute; nothing is written and nothing
        leaves. Needs `routing.read`.

        - `treatment`: The fields of the treatment, as they are saved.
        """
        return cast(
            "Trial",
            self._connection.call(
                "POST",
                f"/routing/treatments/{segment(name)}/trial",
                Trial,
                body={"sop_instance_uid": sop_instance_uid, "treatment": treatment},
            ),
        )


class ProjectsResource:
    """How objects are de-identified on the way to a destination."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[Project, ...]:
        """All projects, by name. Needs `routing.read`."""
        return cast("tuple[Project, ...]", self._connection.items("GET", "/routing/projects", Project))

    def get(self, name: str) -> Project:
        """One project. Needs `routing.read`."""
        return cast("Project", self._connection.call("GET", f"/routing/projects/{segment(name)}", Project))

    def save(
        self,
        name: str,
        *,
        options: Sequence[str] | None = None,
        pseudonym: str | None = None,
        shift_days: int | None = None,
        patient_map: str | None = None,
        others: str | None = None,
        overrides: Sequence[Mapping[str, Any]] | None = None,
        safe_private: Sequence[Mapping[str, Any]] | None = None,
        devices: Sequence[Mapping[str, Any]] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Project:
        """Add a project, or replace it. Its pseudonyms stay what they are. Needs `routing.manage`.

        - `options`: Of safe_private, uids, device, institution, patient, full_dates, modified_dates, descriptors,
          structured_content, graphics, pixels, visual_features.
        - `pseudonym`: Pattern of pseudonyms.
        - `patient_map`: Lines of ID,PSEUDONYM; "secret" leaves the one that is there.
        - `others`: Patients that are not in the map: make or refuse.
        - `devices`: Where devices write text into images.
        """
        return cast(
            "Project",
            self._connection.call(
                "PUT",
                f"/routing/projects/{segment(name)}",
                Project,
                body={
                    "options": options,
                    "pseudonym": pseudonym,
                    "shift_days": shift_days,
                    "patient_map": patient_map,
                    "others": others,
                    "overrides": overrides,
                    "safe_private": safe_private,
                    "devices": devices,
                    "description": description,
                    "enabled": enabled,
                },
            ),
        )

    def remove(self, name: str) -> None:
        """Remove a project that no treatment names. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/projects/{segment(name)}")

    def reveal(self, name: str, *, pseudonym: str, reason: str) -> Identity:
        """Who a pseudonym is. Written to the audit trail with the reason, found or not. Needs `identity.reveal`."""
        return cast(
            "Identity",
            self._connection.call(
                "POST",
                f"/routing/projects/{segment(name)}/reveal",
                Identity,
                body={"pseudonym": pseudonym, "reason": reason},
            ),
        )


class DeidReportsResource:
    """What became of objects that were de-identified."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(
        self, *, project: str | None = None, before: int | None = None, limit: int | None = None
    ) -> tuple[Report, ...]:
        """Reports, the latest first. `before` is the number of the last one of the page before. Needs
        `routing.read`."""
        return cast(
            "tuple[Report, ...]",
            self._connection.items(
                "GET", "/routing/deid-reports", Report, query={"project": project, "before": before, "limit": limit}
            ),
        )

    def get(self, number: int) -> WholeReport:
        """One report with its objects. Needs `routing.read`."""
        return cast(
            "WholeReport", self._connection.call("GET", f"/routing/deid-reports/{segment(number)}", WholeReport)
        )


class SourcesResource:
    """Other archives that may be asked, what is fetched from them, and prefetching."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[OtherArchive, ...]:
        """All sources, by name. Needs `routing.read`."""
        return cast("tuple[OtherArchive, ...]", self._connection.items("GET", "/routing/sources", OtherArchive))

    def get(self, name: str) -> OtherArchive:
        """One source. Needs `routing.read`."""
        return cast("OtherArchive", self._connection.call("GET", f"/routing/sources/{segment(name)}", OtherArchive))

    def save(
        self,
        name: str,
        *,
        node: str | None = None,
        dicomweb: str | None = None,
        federate: bool | None = None,
        prefetch: bool | None = None,
        worklist: bool | None = None,
        timeout_s: int | None = None,
        results_max: int | None = None,
        method: Literal["get", "move"] | None = None,
        label: str | None = None,
        login: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca: str | None = None,
        budget: OtherArchiveBudget | None = None,
        enabled: bool | None = None,
    ) -> OtherArchive:
        """Add a source, or replace it. Needs `routing.manage`.

        - `dicomweb`: Address of its DICOMweb service.
        - `federate`: Searches of people and peers may reach it.
        - `prefetch`: Rules may fetch priors from it.
        - `worklist`: Questions for a modality worklist are passed on to it.
        - `label`: What people read beside its studies.
        - `password`: `secret`: as it is.
        - `token`: `secret`: as it is.
        - `ca`: PEM file to check it by.
        """
        return cast(
            "OtherArchive",
            self._connection.call(
                "PUT",
                f"/routing/sources/{segment(name)}",
                OtherArchive,
                body={
                    "node": node,
                    "dicomweb": dicomweb,
                    "federate": federate,
                    "prefetch": prefetch,
                    "worklist": worklist,
                    "timeout_s": timeout_s,
                    "results_max": results_max,
                    "method": method,
                    "label": label,
                    "login": login,
                    "password": password,
                    "token": token,
                    "ca": ca,
                    "budget": budget,
                    "enabled": enabled,
                },
            ),
        )

    def remove(self, name: str) -> None:
        """Ask a source no more. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/sources/{segment(name)}")

    def echo(self, name: str) -> OtherArchiveEcho:
        """Ask a source whether it is there. Needs `routing.read`."""
        return cast(
            "OtherArchiveEcho",
            self._connection.call("POST", f"/routing/sources/{segment(name)}/echo", OtherArchiveEcho),
        )

    def fetches(self) -> tuple[Fetch, ...]:
        """The latest orders to fetch studies. Needs `routing.read`."""
        return cast("tuple[Fetch, ...]", self._connection.items("GET", "/routing/fetches", Fetch))

    def fetch(self, *, study_instance_uid: str) -> Fetch:
        """Order a study that another archive has; an order that is open already is answered as it is. Needs
        `study.view`."""
        return cast(
            "Fetch",
            self._connection.call("POST", "/routing/fetches", Fetch, body={"study_instance_uid": study_instance_uid}),
        )

    def cancel_fetch(self, number: int) -> tuple[Fetch, ...]:
        """End an order; what has come stays. Needs `routing.manage`."""
        return cast(
            "tuple[Fetch, ...]", self._connection.items("POST", f"/routing/fetches/{segment(number)}/cancel", Fetch)
        )

    def retry_fetch(self, number: int) -> tuple[Fetch, ...]:
        """Carry out again an order that failed or was cancelled. Needs `routing.manage`."""
        return cast(
            "tuple[Fetch, ...]", self._connection.items("POST", f"/routing/fetches/{segment(number)}/retry", Fetch)
        )

    def prefetch_rules(self) -> tuple[Prefetch, ...]:
        """The rules that fetch priors, by name. Needs `routing.read`."""
        return cast("tuple[Prefetch, ...]", self._connection.items("GET", "/routing/prefetch", Prefetch))

    def save_prefetch_rule(
        self,
        name: str,
        *,
        on: Literal["arrival", "order", "timer"] | None = None,
        when: str | None = None,
        sources: Sequence[str] | None = None,
        push_to: Sequence[str] | None = None,
        modalities: Mapping[str, Sequence[str]] | None = None,
        body_parts: Mapping[str, Sequence[str]] | None = None,
        same_body_part: bool | None = None,
        years_max: int | None = None,
        count_max: int | None = None,
        every_minutes: int | None = None,
        enabled: bool | None = None,
    ) -> Prefetch:
        """Add a rule, or replace it. Needs `routing.manage`.

        - `when`: Condition in the language of the rules; empty: always.
        - `sources`: Empty: all that may be prefetched from.
        - `push_to`: Destinations that get the priors.
        - `modalities`: Which modalities matter for one, the best first.
        - `body_parts`: More beginnings of words that tell a region.
        """
        return cast(
            "Prefetch",
            self._connection.call(
                "PUT",
                f"/routing/prefetch/{segment(name)}",
                Prefetch,
                body={
                    "on": on,
                    "when": when,
                    "sources": sources,
                    "push_to": push_to,
                    "modalities": modalities,
                    "body_parts": body_parts,
                    "same_body_part": same_body_part,
                    "years_max": years_max,
                    "count_max": count_max,
                    "every_minutes": every_minutes,
                    "enabled": enabled,
                },
            ),
        )

    def remove_prefetch_rule(self, name: str) -> None:
        """Remove a rule; what it has ordered is still fetched. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/prefetch/{segment(name)}")


class ExceptionsResource:
    """Studies that met no order, what may be done about it, and matching."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search(
        self, *, state: Literal["open", "fixed", "dismissed"] | None = None, limit: int | None = None
    ) -> Iterator[Exception]:
        """The queue, or what has left it. Needs `order.read`."""
        return self._connection.pages("/exceptions", Exception, limit=limit, query={"state": state})

    def get(self, study: str) -> Standing:
        """A study, in the queue or not, with the orders that come near to it now. Needs `order.read`."""
        return cast("Standing", self._connection.call("GET", f"/exceptions/{segment(study)}", Standing))

    def fix(self, study: str, *, order: int) -> Standing:
        """Say which order a study is of: it takes over what the order says, and is sent again where it was
        delivered. Needs `order.manage`."""
        return cast(
            "Standing",
            self._connection.call("POST", f"/exceptions/{segment(study)}/fix", Standing, body={"order": order}),
        )

    def undo(self, study: str) -> Standing:
        """Take back what was said last of a study: its match with all that was taken over, or that it was dismissed.
        Needs `order.manage`."""
        return cast("Standing", self._connection.call("POST", f"/exceptions/{segment(study)}/undo", Standing))

    def dismiss(self, *, studies: Sequence[str], note: str) -> Count:
        """No order will come for these studies; how many left the queue. Needs `order.manage`."""
        return cast(
            "Count",
            self._connection.call("POST", "/exceptions/dismiss", Count, body={"studies": studies, "note": note}),
        )

    def counts(self) -> ExceptionCounts:
        """What waits for a person, and orders whose images have not come. Needs `order.read`."""
        return cast("ExceptionCounts", self._connection.call("GET", "/matching/counts", ExceptionCounts))

    def matches(self, *, limit: int | None = None) -> Iterator[Match]:
        """Studies that have met an order. Needs `order.read`."""
        return self._connection.pages("/matching/matches", Match, limit=limit, query={})

    def matching(self) -> tuple[Matching, ...]:
        """How studies meet orders, by AE title of the node that sends. Needs `order.read`."""
        return cast("tuple[Matching, ...]", self._connection.items("GET", "/matching/nodes", Matching))

    def save_matching(
        self, name: str, *, attributes: Sequence[str] | None = None, score_min: int | None = None
    ) -> Matching:
        """Say how studies of a node (`default`: of all others) meet orders. Needs `order.manage`.

        - `attributes`: What is taken over from the order, of: PatientName, PatientID, IssuerOfPatientID,
          PatientBirthDate, PatientSex, AccessionNumber, IssuerOfAccessionNumberSequence, StudyDescription,
          ReferringPhysicianName, RequestedProcedureID.
        - `score_min`: Points; 101: never by itself.
        """
        return cast(
            "Matching",
            self._connection.call(
                "PUT",
                f"/matching/nodes/{segment(name)}",
                Matching,
                body={"attributes": attributes, "score_min": score_min},
            ),
        )

    def remove_matching(self, name: str) -> None:
        """A node is as all others again. Needs `order.manage`."""
        self._connection.call("DELETE", f"/matching/nodes/{segment(name)}")


class EdgesResource:
    """The edge link: Filerooms behind NAT that dial in, and the centres that are dialled."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[Edge, ...]:
        """All edges: when each was here, what waits both ways. Needs `routing.read`."""
        return cast("tuple[Edge, ...]", self._connection.items("GET", "/routing/edges", Edge))

    def get(self, name: str) -> Edge:
        """One edge. Needs `routing.read`."""
        return cast("Edge", self._connection.call("GET", f"/routing/edges/{segment(name)}", Edge))

    def add(self, name: str, *, description: str | None = None, silent_after_s: int | None = None) -> EdgeToken:
        """Let an edge dial in; its token is in the answer, this one time. Whoever adds one needs user.manage
        besides. Needs `routing.manage`."""
        return cast(
            "EdgeToken",
            self._connection.call(
                "POST",
                f"/routing/edges/{segment(name)}",
                EdgeToken,
                body={"description": description, "silent_after_s": silent_after_s},
            ),
        )

    def save(self, name: str, *, description: str | None = None, silent_after_s: int | None = None) -> Edge:
        """Change an edge. Needs `routing.manage`."""
        return cast(
            "Edge",
            self._connection.call(
                "PUT",
                f"/routing/edges/{segment(name)}",
                Edge,
                body={"description": description, "silent_after_s": silent_after_s},
            ),
        )

    def remove(self, name: str) -> None:
        """Remove an edge and its token. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/edges/{segment(name)}")

    def renew_token(self, name: str) -> EdgeToken:
        """Give an edge another token. The old one is good no more. Needs `routing.manage`."""
        return cast("EdgeToken", self._connection.call("POST", f"/routing/edges/{segment(name)}/token", EdgeToken))

    def centres(self) -> tuple[Centre, ...]:
        """The centres that this Fileroom dials, and how the links are. Needs `routing.read`."""
        return cast("tuple[Centre, ...]", self._connection.items("GET", "/routing/centres", Centre))

    def save_centre(
        self,
        name: str,
        *,
        url: str,
        token: str,
        fingerprint: str | None = None,
        compress: bool | None = None,
        piece_kib: int | None = None,
        in_flight: int | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> tuple[Centre, ...]:
        """Dial a centre, or otherwise than before. Needs `routing.manage`.

        - `url`: Address of its web port.
        - `token`: `secret`: as it is.
        - `fingerprint`: SHA-256 of its certificate.
        """
        return cast(
            "tuple[Centre, ...]",
            self._connection.items(
                "PUT",
                f"/routing/centres/{segment(name)}",
                Centre,
                body={
                    "url": url,
                    "token": token,
                    "fingerprint": fingerprint,
                    "compress": compress,
                    "piece_kib": piece_kib,
                    "in_flight": in_flight,
                    "description": description,
                    "enabled": enabled,
                },
            ),
        )

    def remove_centre(self, name: str) -> None:
        """Dial a centre no more. Needs `routing.manage`."""
        self._connection.call("DELETE", f"/routing/centres/{segment(name)}")


class Hl7Resource:
    """HL7 messages in and out, and the feeds that they come and go by."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def messages(
        self,
        *,
        q: str | None = None,
        feed: str | None = None,
        state: Literal["applied", "ignored", "failed", "rejected", "duplicate"] | None = None,
        troubled: bool | None = None,
        kind: str | None = None,
        patient: str | None = None,
        accession: str | None = None,
        order: str | None = None,
        control_id: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Hl7Message]:
        """Messages that came in, the newest first. Needs `message.read`.

        - `q`: Words, or their beginnings, in the message.
        - `troubled`: Failed or rejected, and not mended.
        - `kind`: ADT^A08, or ADT for all of them.
        """
        return self._connection.pages(
            "/hl7/messages",
            Hl7Message,
            limit=limit,
            query={
                "q": q,
                "feed": feed,
                "state": state,
                "troubled": troubled,
                "kind": kind,
                "patient": patient,
                "accession": accession,
                "order": order,
                "control_id": control_id,
                "since": since,
                "until": until,
            },
        )

    def message(self, number: int) -> Hl7MessageContent:
        """One message, field by field. Needs `message.read`."""
        return cast(
            "Hl7MessageContent", self._connection.call("GET", f"/hl7/messages/{segment(number)}", Hl7MessageContent)
        )

    def replay(
        self, number: int, *, text: str | None = None, feed: str | None = None, reason: str | None = None
    ) -> Hl7Message:
        """Apply a message again, as it came or mended; answers the row that it became, which says what came of it.
        Needs `message.manage`.

        - `text`: The mended message, one segment a line.
        - `feed`: By whose mapping; else that of the feed that took it.
        """
        return cast(
            "Hl7Message",
            self._connection.call(
                "POST",
                f"/hl7/messages/{segment(number)}/replay",
                Hl7Message,
                body={"text": text, "feed": feed, "reason": reason},
            ),
        )

    def outbox(
        self,
        *,
        feed: str | None = None,
        state: Literal["waiting", "sent", "dead", "cancelled"] | None = None,
        limit: int | None = None,
    ) -> Iterator[OutgoingHl7Message]:
        """Messages that leave, the newest first. Needs `message.read`."""
        return self._connection.pages(
            "/hl7/outbox", OutgoingHl7Message, limit=limit, query={"feed": feed, "state": state}
        )

    def send(self, *, feed: str, text: str) -> QueuedHl7:
        """Put a message into the outbox of a feed. Needs `message.manage`."""
        return cast(
            "QueuedHl7", self._connection.call("POST", "/hl7/outbox", QueuedHl7, body={"feed": feed, "text": text})
        )

    def resend(self, number: int) -> QueuedHl7:
        """Send a message once more, behind what waits. Needs `message.manage`."""
        return cast("QueuedHl7", self._connection.call("POST", f"/hl7/outbox/{segment(number)}/resend", QueuedHl7))

    def cancel(self, number: int, *, reason: str) -> QueuedHl7:
        """Take a message that waits out of the way of those behind it. Needs `message.manage`."""
        return cast(
            "QueuedHl7",
            self._connection.call("POST", f"/hl7/outbox/{segment(number)}/cancel", QueuedHl7, body={"reason": reason}),
        )

    def feeds(self) -> tuple[Hl7Feed, ...]:
        """All feeds, by name. Needs `message.read`."""
        return cast("tuple[Hl7Feed, ...]", self._connection.items("GET", "/hl7/feeds", Hl7Feed))

    def feed(self, name: str) -> Hl7Feed:
        """One feed. Needs `message.read`."""
        return cast("Hl7Feed", self._connection.call("GET", f"/hl7/feeds/{segment(name)}", Hl7Feed))

    def save_feed(
        self,
        name: str,
        *,
        direction: Literal["in", "out"] | None = None,
        port: int | None = None,
        tls: Literal["off", "on", "mutual"] | None = None,
        keep_days: int | None = None,
        note: str | None = None,
        senders: Sequence[str] | None = None,
        on_failure: Literal["refuse", "accept"] | None = None,
        silent_minutes: int | None = None,
        queries: Literal["refuse", "answer"] | None = None,
        order_answer: Literal["ack", "order"] | None = None,
        assumed_charset: str | None = None,
        mapping: Mapping[str, Any] | None = None,
        host: str | None = None,
        kinds: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        attempts_max: int | None = None,
        give_up_hours: int | None = None,
        timeout_s: int | None = None,
        billing: Literal["none", "performed", "reported"] | None = None,
        billing_accounts: Literal["no", "yes"] | None = None,
        identifier_domains: Sequence[str] | None = None,
        reports: Literal["none", "oru", "mdm"] | None = None,
        report_document: Literal["text", "pdf", "both"] | None = None,
        report_preliminary: Literal["no", "yes"] | None = None,
        report_sources: Sequence[str] | None = None,
        orders: Literal["none", "complete", "all"] | None = None,
        rewrite: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> Hl7Feed:
        """Add a feed, or replace it. Needs `message.manage`.

        - `port`: In: 0 for the default port.
        - `senders`: In: APPLICATION|FACILITY@NETWORK.
        - `on_failure`: In: AE, or AA and mended here.
        - `silent_minutes`: In: the alarm on silence.
        - `queries`: In: may it ask for patients?
        - `order_answer`: In: orders are answered by ACK, or by ORR, ORG, ORI.
        - `assumed_charset`: In: of messages whose MSH-18 is empty (HL7 table 0211).
        - `mapping`: In: how its messages are read (docs/hl7.md).
        - `host`: Out: where it sends to.
        - `kinds`: Out: what is forwarded.
        - `sources`: Out: from which feeds.
        - `attempts_max`: Out.
        - `give_up_hours`: Out.
        - `timeout_s`: Out.
        - `billing`: Out: which orders are charged (DFT^P03).
        - `billing_accounts`: Out: accounts are told before charges (BAR).
        - `identifier_domains`: Out: whose changed numbers are told (ADT^A31); * for all.
        - `reports`: Out: how reports are told (ORU^R01, MDM^T02 ...).
        - `report_document`: Out: what goes with a report.
        - `report_preliminary`: Out: preliminary reports are told, too.
        - `report_sources`: Out: whose reports are told: console, dicom, feeds in; none: console.
        - `orders`: Out: which orders are told (ORM^O01).
        - `rewrite`: Out: lines that change each message as it leaves.
        """
        return cast(
            "Hl7Feed",
            self._connection.call(
                "PUT",
                f"/hl7/feeds/{segment(name)}",
                Hl7Feed,
                body={
                    "direction": direction,
                    "port": port,
                    "tls": tls,
                    "keep_days": keep_days,
                    "note": note,
                    "senders": senders,
                    "on_failure": on_failure,
                    "silent_minutes": silent_minutes,
                    "queries": queries,
                    "order_answer": order_answer,
                    "assumed_charset": assumed_charset,
                    "mapping": mapping,
                    "host": host,
                    "kinds": kinds,
                    "sources": sources,
                    "attempts_max": attempts_max,
                    "give_up_hours": give_up_hours,
                    "timeout_s": timeout_s,
                    "billing": billing,
                    "billing_accounts": billing_accounts,
                    "identifier_domains": identifier_domains,
                    "reports": reports,
                    "report_document": report_document,
                    "report_preliminary": report_preliminary,
                    "report_sources": report_sources,
                    "orders": orders,
                    "rewrite": rewrite,
                    "enabled": enabled,
                },
            ),
        )

    def remove_feed(self, name: str) -> None:
        """Remove a feed; its messages stay. Needs `message.manage`."""
        self._connection.call("DELETE", f"/hl7/feeds/{segment(name)}")


class AssociationsResource:
    """The association ledger: every association with its outcome, and for failures the next step."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search(
        self,
        *,
        aet: str | None = None,
        node: str | None = None,
        host: str | None = None,
        patient: str | None = None,
        direction: Direction | None = None,
        outcome: Outcome | None = None,
        failed: bool | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        sop_instance_uid: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Association]:
        """Search the ledger, the newest first. Needs `ledger.read`.

        - `aet`: The peer's AE title, as written.
        - `node`: A node's name.
        - `host`: The peer's address.
        - `patient`: A Patient ID or a name, with the wildcards of DICOM.
        - `direction`: Who called: in, the peer.
        - `outcome`: How it ended.
        - `failed`: Only those that went wrong.
        - `since`: Begun then or later.
        - `until`: Begun before.
        - `sop_instance_uid`: Those on which this object failed.
        """
        return self._connection.pages(
            "/associations",
            Association,
            limit=limit,
            query={
                "aet": aet,
                "node": node,
                "host": host,
                "patient": patient,
                "direction": direction,
                "outcome": outcome,
                "failed": failed,
                "since": since,
                "until": until,
                "sop_instance_uid": sop_instance_uid,
            },
        )

    def get(self, number: int) -> WholeAssociation:
        """One association: what was agreed, every operation, what failed and what to do. Needs `ledger.read`."""
        return cast(
            "WholeAssociation", self._connection.call("GET", f"/associations/{segment(number)}", WholeAssociation)
        )


class AuditResource:
    """The audit trail: who did what, when and from where."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search(
        self,
        *,
        patient: str | None = None,
        user: str | None = None,
        study: str | None = None,
        event: str | None = None,
        event_type: str | None = None,
        failures: bool | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Search the trail, the latest first: who looked at this patient?. Needs `audit.read`.

        - `patient`: Patient ID.
        - `user`: Login, token, AE title or AET@address.
        - `study`: Study Instance UID.
        - `event`: Code of EventID, for example 110114 for logins.
        - `event_type`: Code of EventTypeCode.
        - `failures`: Only what failed or was refused.
        - `since`: Then or later.
        - `until`: Before.
        """
        return self._connection.pages(
            "/audit/events",
            Event,
            limit=limit,
            query={
                "patient": patient,
                "user": user,
                "study": study,
                "event": event,
                "event_type": event_type,
                "failures": failures,
                "since": since,
                "until": until,
            },
        )

    def verify(self, *, checkpoint: Checkpoint | None = None) -> VerifyResult:
        """Check every event against its seal and the chain of seals. It reads the whole trail. Needs `audit.read`."""
        return cast(
            "VerifyResult",
            self._connection.call("POST", "/audit/verification", VerifyResult, body={"checkpoint": checkpoint}),
        )


class AccountsResource:
    """People: who may log in, and as what. Accounts are disabled, never removed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Account]:
        """All accounts, by login. Needs `user.manage`."""
        return self._connection.pages("/accounts", Account, limit=limit, query={})

    def add(
        self,
        *,
        login: str,
        role: str,
        full_name: str | None = None,
        password: str | None = None,
        rows: Rows | None = None,
    ) -> Account:
        """Make an account. Nobody can give rights that they do not have. Needs `user.manage`.

        - `password`: Null: nobody can log in by password.
        """
        return cast(
            "Account",
            self._connection.call(
                "POST",
                "/accounts",
                Account,
                body={"login": login, "role": role, "full_name": full_name, "password": password, "rows": rows},
            ),
        )

    def get(self, login: str) -> Account:
        """One account. Needs `user.manage`."""
        return cast("Account", self._connection.call("GET", f"/accounts/{segment(login)}", Account))

    def change(
        self,
        login: str,
        *,
        full_name: str | None = None,
        role: str | None = None,
        rows: Rows | None = None,
        disabled: bool | None = None,
        if_match: str | None = None,
    ) -> Account:
        """Change name, role or studies; disable or enable. It holds within seconds, and disabling ends the sessions.
        Needs `user.manage`."""
        return cast(
            "Account",
            self._connection.call(
                "PATCH",
                f"/accounts/{segment(login)}",
                Account,
                body={"full_name": full_name, "role": role, "rows": rows, "disabled": disabled},
                if_match=if_match,
            ),
        )

    def unlock(self, login: str) -> None:
        """Lift the wait after failed logins. Needs `user.manage`."""
        self._connection.call("DELETE", f"/accounts/{segment(login)}/wait")

    def remove_second_factor(self, login: str) -> None:
        """Help somebody who has lost telephone and recovery codes. Needs `user.manage`."""
        self._connection.call("DELETE", f"/accounts/{segment(login)}/second-factor")

    def sessions(self, login: str) -> tuple[Session, ...]:
        """The living sessions of an account. Needs `user.manage`."""
        return cast(
            "tuple[Session, ...]", self._connection.items("GET", f"/accounts/{segment(login)}/sessions", Session)
        )

    def end_sessions(self, login: str) -> Count:
        """End all sessions of an account, and tell how many there were. Needs `user.manage`."""
        return cast("Count", self._connection.call("DELETE", f"/accounts/{segment(login)}/sessions", Count))

    def set_password(self, login: str, *, password: str, must_change: bool | None = None) -> None:
        """Give an account a new password; its sessions end and it need not wait any longer. Needs `user.manage`.

        - `must_change`: At the next login; null: unless it is one's own.
        """
        self._connection.call(
            "PUT", f"/accounts/{segment(login)}/password", body={"password": password, "must_change": must_change}
        )

    def reset_password(self, login: str) -> NewSecret:
        """Give an account a random password, told this once, which must be changed at the next login. Needs
        `user.manage`."""
        return cast("NewSecret", self._connection.call("POST", f"/accounts/{segment(login)}/password/reset", NewSecret))

    def rename(self, login: str, *, new_login: str) -> Account:
        """Give an account another login, so that somebody else can have the old one. Needs `user.manage`."""
        return cast(
            "Account",
            self._connection.call("PUT", f"/accounts/{segment(login)}/login", Account, body={"new_login": new_login}),
        )


class RolesResource:
    """Roles: sets of permissions, and whose studies they show."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Role]:
        """Built-in roles and own ones, by name. Needs `user.manage`."""
        return self._connection.pages("/roles", Role, limit=limit, query={})

    def add(
        self, *, permissions: Sequence[Permission], name: str, rows: Rows | None = None, description: str | None = None
    ) -> Role:
        """Make a role. Nobody can give rights that they do not have. Needs `user.manage`."""
        return cast(
            "Role",
            self._connection.call(
                "POST",
                "/roles",
                Role,
                body={"permissions": permissions, "rows": rows, "description": description, "name": name},
            ),
        )

    def get(self, role: str) -> Role:
        """One role. Needs `user.manage`."""
        return cast("Role", self._connection.call("GET", f"/roles/{segment(role)}", Role))

    def change(
        self,
        role: str,
        *,
        permissions: Sequence[Permission],
        rows: Rows | None = None,
        description: str | None = None,
        if_match: str | None = None,
    ) -> Role:
        """Give a role of one's own other permissions or studies; they hold within seconds. Needs `user.manage`."""
        return cast(
            "Role",
            self._connection.call(
                "PUT",
                f"/roles/{segment(role)}",
                Role,
                body={"permissions": permissions, "rows": rows, "description": description},
                if_match=if_match,
            ),
        )

    def remove(self, role: str, *, if_match: str | None = None) -> None:
        """Remove a role that nobody has. Needs `user.manage`."""
        self._connection.call("DELETE", f"/roles/{segment(role)}", if_match=if_match)


class TokensResource:
    """API tokens, by which programs log in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Token]:
        """All tokens, of programs and persons, without their secrets. Needs `user.manage`."""
        return self._connection.pages("/tokens", Token, limit=limit, query={})

    def add(
        self,
        *,
        name: str,
        role: str,
        permissions: Sequence[Permission] | None = None,
        days: int | None = None,
        fhir_scopes: Sequence[str] | None = None,
        fhir_patient: int | None = None,
    ) -> NewSecret:
        """Make a program's token; its secret is told this once. A token cannot make tokens. Needs `user.manage`.

        - `permissions`: Only these of the role's; null: all of them.
        - `days`: Null: without an end.
        - `fhir_scopes`: Scopes in the manner of SMART on FHIR: good for these resources alone.
        - `fhir_patient`: The patient (its number) of scopes of the level patient.
        """
        return cast(
            "NewSecret",
            self._connection.call(
                "POST",
                "/tokens",
                NewSecret,
                body={
                    "name": name,
                    "role": role,
                    "permissions": permissions,
                    "days": days,
                    "fhir_scopes": fhir_scopes,
                    "fhir_patient": fhir_patient,
                },
            ),
        )

    def revoke(self, token_id: int) -> None:
        """End a token; it is refused within seconds. Needs `user.manage`."""
        self._connection.call("DELETE", f"/tokens/{segment(token_id)}")


class BreakGlassResource:
    """Who broke the glass, and the reviews. One's own is broken under `me`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, unreviewed: bool | None = None, limit: int | None = None) -> Iterator[Glass]:
        """Who broke the glass, when and why, the latest first. Needs `audit.read`.

        - `unreviewed`: Only those that nobody has reviewed.
        """
        return self._connection.pages("/break-glass", Glass, limit=limit, query={"unreviewed": unreviewed})

    def review(self, glass_id: int, *, remark: str) -> Glass:
        """Note that one has looked at it, and what one found. Not one's own, and not while it is open. Needs
        `audit.read`."""
        return cast(
            "Glass",
            self._connection.call("POST", f"/break-glass/{segment(glass_id)}/review", Glass, body={"remark": remark}),
        )


class SettingsResource:
    """The configuration as versions: read, change, compare, take back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self) -> Settings:
        """Every setting with its value, its default, and where the value comes from. Needs `settings.read`."""
        return cast("Settings", self._connection.call("GET", "/settings", Settings))

    def change(
        self,
        *,
        settings: Mapping[str, bool | int | float | str | None],
        comment: str | None = None,
        expected: int | None = None,
        dry_run: bool | None = None,
    ) -> Applied:
        """Change some settings as a new version; every process takes it within a moment. Needs `settings.manage`.

        - `expected`: The version that was seen; where there is a newer one: 409.
        - `dry_run`: Check and compare, and change nothing.
        """
        return cast(
            "Applied",
            self._connection.call(
                "PATCH",
                "/settings",
                Applied,
                body={"comment": comment, "expected": expected, "dry_run": dry_run, "settings": settings},
            ),
        )

    def export(self) -> Document:
        """The whole configuration as a document, to be kept or applied elsewhere. Needs `settings.read`."""
        return cast("Document", self._connection.call("GET", "/settings/document", Document))

    def apply(
        self,
        *,
        document: Mapping[str, Mapping[str, Any]],
        comment: str | None = None,
        expected: int | None = None,
        dry_run: bool | None = None,
    ) -> Applied:
        """Make the configuration what a document says, in the sections that it has. Needs `settings.manage`.

        - `expected`: The version that was seen; where there is a newer one: 409.
        - `dry_run`: Check and compare, and change nothing.
        """
        return cast(
            "Applied",
            self._connection.call(
                "PUT",
                "/settings/document",
                Applied,
                body={"comment": comment, "expected": expected, "dry_run": dry_run, "document": document},
            ),
        )

    def history(self, *, limit: int | None = None) -> Iterator[Version]:
        """Versions, the newest first: who changed what, when and why. Needs `settings.read`."""
        return self._connection.pages("/settings/versions", Version, limit=limit, query={})

    def compare(self, *, first: int, second: int) -> Differences:
        """What makes one version of another. Needs `settings.read`.

        - `first`: 0: nothing is set.
        - `second`: 0: nothing is set.
        """
        return cast(
            "Differences",
            self._connection.call(
                "GET", "/settings/differences", Differences, query={"first": first, "second": second}
            ),
        )

    def roll_back(
        self, *, to: int, comment: str | None = None, expected: int | None = None, dry_run: bool | None = None
    ) -> Applied:
        """Take back what the versions after one changed; that is a new version too. Needs `settings.manage`.

        - `expected`: The version that was seen; where there is a newer one: 409.
        - `dry_run`: Check and compare, and change nothing.
        """
        return cast(
            "Applied",
            self._connection.call(
                "POST",
                "/settings/rollback",
                Applied,
                body={"comment": comment, "expected": expected, "dry_run": dry_run, "to": to},
            ),
        )


class CertificatesResource:
    """Certificates for TLS: our own, and those that others are checked by."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> tuple[Certificate, ...]:
        """Our own certificates, by name. Needs `settings.read`."""
        return cast("tuple[Certificate, ...]", self._connection.items("GET", "/certificates", Certificate))

    def add(self, *, name: str, certificates: str, key: str | None = None, password: str | None = None) -> Certificate:
        """Keep a certificate with its key, or the answer to a request of ours. Needs `settings.manage`.

        - `key`: The private key, as PEM.
        - `password`: Of the key.
        """
        return cast(
            "Certificate",
            self._connection.call(
                "POST",
                "/certificates",
                Certificate,
                body={"name": name, "certificates": certificates, "key": key, "password": password},
            ),
        )

    def make_self_signed(
        self,
        *,
        name: str,
        names: Sequence[str],
        organization: str | None = None,
        key_kind: Literal["rsa", "ec"] | None = None,
        days: int | None = None,
    ) -> Certificate:
        """Make key and certificate. Needs `settings.manage`."""
        return cast(
            "Certificate",
            self._connection.call(
                "POST",
                "/certificates/self-signed",
                Certificate,
                body={"name": name, "names": names, "organization": organization, "key_kind": key_kind, "days": days},
            ),
        )

    def request(
        self,
        *,
        name: str,
        names: Sequence[str],
        organization: str | None = None,
        key_kind: Literal["rsa", "ec"] | None = None,
    ) -> PemText:
        """Make a key and a request for an issuer; the key stays on the server. Needs `settings.manage`."""
        return cast(
            "PemText",
            self._connection.call(
                "POST",
                "/certificates/requests",
                PemText,
                body={"name": name, "names": names, "organization": organization, "key_kind": key_kind},
            ),
        )

    def expiries(self) -> tuple[Expiry, ...]:
        """When certificates end. Needs `system.read`."""
        return cast("tuple[Expiry, ...]", self._connection.items("GET", "/certificates/expiries", Expiry))

    def activate(self, use: str, *, name: str) -> None:
        """Show a certificate to everybody who connects from now on. Needs `settings.manage`."""
        self._connection.call("PUT", f"/certificates/active/{segment(use)}", body={"name": name})

    def deactivate(self, use: str) -> None:
        """Show none for this use any more. Needs `settings.manage`."""
        self._connection.call("DELETE", f"/certificates/active/{segment(use)}")

    def pem(self, certificate: str) -> PemText:
        """The chain of a certificate, or a request. Needs `settings.read`."""
        return cast("PemText", self._connection.call("GET", f"/certificates/own/{segment(certificate)}", PemText))

    def remove(self, certificate: str) -> None:
        """Remove certificate and key for good; not while it is active. Needs `settings.manage`."""
        self._connection.call("DELETE", f"/certificates/own/{segment(certificate)}")

    def trusted(self) -> tuple[Trusted, ...]:
        """Certificates that others are checked by. Needs `settings.read`."""
        return cast("tuple[Trusted, ...]", self._connection.items("GET", "/certificates/trusted", Trusted))

    def trust(self, *, name: str, certificates: str) -> Names:
        """Trust certificates. Needs `settings.manage`."""
        return cast(
            "Names",
            self._connection.call(
                "POST", "/certificates/trusted", Names, body={"name": name, "certificates": certificates}
            ),
        )

    def distrust(self, certificate: str) -> None:
        """Trust a certificate no longer; associations that are open go on. Needs `settings.manage`."""
        self._connection.call("DELETE", f"/certificates/trusted/{segment(certificate)}")

    def set_revoked(self, certificate: str, *, crl: str | None) -> Count:
        """Take over an issuer's list of revoked certificates, and tell how many it names. Needs `settings.manage`."""
        return cast(
            "Count",
            self._connection.call(
                "PUT", f"/certificates/trusted/{segment(certificate)}/revoked", Count, body={"crl": crl}
            ),
        )


class SystemResource:
    """The system: readiness, totals, queues, storage, figures, troubles."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self) -> System:
        """Whether database, storage and DICOM port are ready, and what the archive holds. Needs `system.read`."""
        return cast("System", self._connection.call("GET", "/system", System))

    def queues(self) -> Queues:
        """What waits to be done, and what a person must look at. Needs `system.read`."""
        return cast("Queues", self._connection.call("GET", "/system/queues", Queues))

    def storage(self) -> Storage:
        """How full the store is, and when it will be. Needs `system.read`."""
        return cast("Storage", self._connection.call("GET", "/system/storage", Storage))

    def figures(self, *, span: Literal["1h", "24h", "7d", "90d"] | None = None) -> tuple[Point, ...]:
        """What came, went and failed, step by step, as the dashboard draws it. Needs `system.read`.

        - `span`: How far back.
        """
        return cast("tuple[Point, ...]", self._connection.items("GET", "/system/figures", Point, query={"span": span}))

    def troubles(self) -> Troubles:
        """Objects that were refused, and objects kept aside. Needs `system.read`."""
        return cast("Troubles", self._connection.call("GET", "/system/troubles", Troubles))


class Resources:
    """All of them over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.me = MeResource(connection)
        self.studies = StudiesResource(connection)
        self.corrections = CorrectionsResource(connection)
        self.sendings = SendingsResource(connection)
        self.filters = FiltersResource(connection)
        self.patients = PatientsResource(connection)
        self.orders = OrdersResource(connection)
        self.procedures = ProceduresResource(connection)
        self.worklist = WorklistResource(connection)
        self.reports = ReportsResource(connection)
        self.report_templates = ReportTemplatesResource(connection)
        self.report_upkeep = ReportUpkeepResource(connection)
        self.nodes = NodesResource(connection)
        self.notices = NoticesResource(connection)
        self.rules = RulesResource(connection)
        self.destinations = DestinationsResource(connection)
        self.deliveries = DeliveriesResource(connection)
        self.schedules = SchedulesResource(connection)
        self.alerts = AlertsResource(connection)
        self.treatments = TreatmentsResource(connection)
        self.projects = ProjectsResource(connection)
        self.deid_reports = DeidReportsResource(connection)
        self.sources = SourcesResource(connection)
        self.exceptions = ExceptionsResource(connection)
        self.edges = EdgesResource(connection)
        self.hl7 = Hl7Resource(connection)
        self.associations = AssociationsResource(connection)
        self.audit = AuditResource(connection)
        self.accounts = AccountsResource(connection)
        self.roles = RolesResource(connection)
        self.tokens = TokensResource(connection)
        self.break_glass = BreakGlassResource(connection)
        self.settings = SettingsResource(connection)
        self.certificates = CertificatesResource(connection)
        self.system = SystemResource(connection)
