"""Every operation of the API as a method. Made from the OpenAPI document by tools/client.py; change it there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from fileroom.client.connection import Connection, segment
from fileroom.client.models import (
    Account,
    Applied,
    AskedAttribute,
    Association,
    AttributeName,
    BacktestResult,
    Certificate,
    Checkpoint,
    ConditionCheck,
    Corrected,
    Correction,
    Count,
    Deleted,
    Differences,
    Direction,
    Document,
    Echo,
    EchoHistory,
    Event,
    Expiry,
    Filter,
    Glass,
    HeldCaller,
    HistoryEntry,
    ImportResult,
    Instance,
    Me,
    Names,
    NewSecret,
    Node,
    NodeFile,
    NodeRole,
    NodeVersion,
    Outcome,
    PemText,
    Permission,
    Point,
    Profile,
    Queues,
    Role,
    Rows,
    Rule,
    RuleAction,
    RuleTestResult,
    RuleVersion,
    Schedule,
    Sending,
    Series,
    Session,
    Settings,
    Storage,
    Study,
    System,
    TlsUse,
    Token,
    Treatment,
    Trial,
    Troubles,
    Trusted,
    VerifyResult,
    Version,
    WholeAssociation,
    WholeSending,
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
        self, *, name: str, permissions: Sequence[Permission] | None = None, days: int | None = None
    ) -> NewSecret:
        """Make a token; its secret is told this once. A token cannot make tokens. Needs an own account.

        - `permissions`: Null: all that you may.
        - `days`: Null: without an end.
        """
        return cast(
            "NewSecret",
            self._connection.call(
                "POST", "/me/tokens", NewSecret, body={"name": name, "permissions": permissions, "days": days}
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

    def test(self, *, when: str | Mapping[str, Any], study: str) -> RuleTestResult:
        """What a condition says to each object of a study. Nothing is sent. Needs `routing.read`.

        - `when`: A condition in CEL, or a tree of all, any, not and {attribute, operator, value}
          (docs/routing.md).
        """
        return cast(
            "RuleTestResult",
            self._connection.call("POST", "/routing/rule-tests", RuleTestResult, body={"when": when, "study": study}),
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

    def test(self, name: str, *, sop_instance_uid: str, treatment: AskedTreatment) -> Trial:
        """What a treatment would make of a stored object, attribute by attribute; nothing is written and nothing
        leaves. Needs `routing.read`."""
        return cast(
            "Trial",
            self._connection.call(
                "POST",
                f"/routing/treatments/{segment(name)}/trial",
                Trial,
                body={"sop_instance_uid": sop_instance_uid, "treatment": treatment},
            ),
        )


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
        self, *, name: str, role: str, permissions: Sequence[Permission] | None = None, days: int | None = None
    ) -> NewSecret:
        """Make a program's token; its secret is told this once. A token cannot make tokens. Needs `user.manage`.

        - `permissions`: Only these of the role's; null: all of them.
        - `days`: Null: without an end.
        """
        return cast(
            "NewSecret",
            self._connection.call(
                "POST",
                "/tokens",
                NewSecret,
                body={"name": name, "role": role, "permissions": permissions, "days": days},
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
        self.nodes = NodesResource(connection)
        self.rules = RulesResource(connection)
        self.schedules = SchedulesResource(connection)
        self.treatments = TreatmentsResource(connection)
        self.associations = AssociationsResource(connection)
        self.audit = AuditResource(connection)
        self.accounts = AccountsResource(connection)
        self.roles = RolesResource(connection)
        self.tokens = TokensResource(connection)
        self.break_glass = BreakGlassResource(connection)
        self.settings = SettingsResource(connection)
        self.certificates = CertificatesResource(connection)
        self.system = SystemResource(connection)
