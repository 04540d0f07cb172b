"""Every managed setting takes effect in what runs: nothing has copied its value away at the start.

A new managed setting needs a line in EFFECTS: a value, and how what runs shows the value before and after.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from fileroom.admin import directory
from fileroom.admin.accounts import NewAccount, add_account
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_chain import seal_waiting
from fileroom.admin.audit_events import application_started
from fileroom.admin.audit_forward import CurrentForwarder
from fileroom.admin.configuration import change_settings
from fileroom.admin.configuration_sections import Configuration
from fileroom.admin.entries import put_entry
from fileroom.admin.openid import OpenIdProvider
from fileroom.admin.people import People
from fileroom.admin.sessions import begin_session, idle_since
from fileroom.app import task_worker
from fileroom.app.services import open_archive
from fileroom.archive.render import Renderer
from fileroom.archive.services import Archive
from fileroom.archive.study_list import arriving_studies
from fileroom.core import logs
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.errors import ConfigurationError, FileroomError
from fileroom.core.live_settings import managed_settings
from fileroom.core.settings import Settings
from fileroom.fhir.elements import Words
from fileroom.fhir.subscriptions import put_subscription
from fileroom.index.patient_columns import COLUMNS_OF, PatientStudy
from fileroom.net.syslog import SyslogServer
from fileroom.reports.facts import ReportSource, ReportState
from fileroom.reports.outputs import kinds_wanted
from fileroom.reports.print_words import words_in
from fileroom.routing.completeness import is_complete
from fileroom.routing.deliveries import forget_old_deliveries
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.folder_destination import allowed_root
from fileroom.routing.planner import Planner
from fileroom.routing.rule_set import RuleSet
from fileroom.scp import offer
from fileroom.web.answers import Answer
from fileroom.web.endpoint import Handler
from fileroom.web.viewer import viewer_handlers
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, PutPatient
from fileroom.worklist.facts import Identifier, PatientFacts
from fileroom.worklist.patient_images import shown_by
from fileroom.worklist.patient_rows import IdentifierRow
from people_of_tests import add, quick_hashing
from stored_objects import make_file, store_file

TIMEOUT_S = 10.0


@dataclass
class Running:
    """What a process holds from its start on."""

    archive: Archive
    people: People
    forwarder: CurrentForwarder
    viewer: dict[str, Handler]
    folder: Path
    monkeypatch: pytest.MonkeyPatch


@pytest.fixture
async def running(empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    viewer = tmp_path / "viewer"
    viewer.mkdir()
    listed = {"build": "b", "version": "1", "scripts": ["app.js"], "styles": [], "files": {}}
    (viewer / "viewer.json").write_text(json.dumps(listed))
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    (tmp_path / "own.json").write_text('{"showStudyList": true}')
    given = Settings(data=tmp_path, database_url=SecretStr(empty_database), viewer_folder=str(viewer))
    level = logs._level
    with acting_as(SYSTEM):
        async with open_archive(given) as archive:
            people = People(archive.pool, archive.settings, archive.now, quick_hashing())
            forwarder = CurrentForwarder(archive.pool, archive.settings)
            handlers = viewer_handlers(archive, Renderer(archive))
            yield Running(archive, people, forwarder, handlers, tmp_path, monkeypatch)
            await forwarder.close()
    logs._level = level


# --- what shows the value ---


async def can_have_password_of_16(running: Running) -> bool:
    try:
        await add_account(running.people, NewAccount("ada", "auditor", "violet-kettle-42"))
    except FileroomError:
        return False
    return True


async def idle_time(running: Running) -> float:
    now = running.people.now()
    return round((now - idle_since(running.people)).total_seconds() / 60)


async def session_length(running: Running) -> float:
    account = await add(running.people, f"user{running.people.settings.session_hours}")
    session = await begin_session(running.people, account.id, "10.0.0.1", "x")
    return round((session.expires_at - running.people.now()).total_seconds() / 3600)


async def takes_unknown_classes(running: Running) -> tuple[bool, bool]:
    """On an association, and when an object comes in."""
    policy = offer.policy(running.archive.settings, caller_is_known=True)
    try:
        await store_file(running.archive, make_file(SOPClassUID="1.2.3.4"))
    except FileroomError:
        return policy.rule_of("1.2.3.4") is not None, False
    return policy.rule_of("1.2.3.4") is not None, True


async def called_titles(running: Running) -> Any:
    return offer.policy(running.archive.settings, caller_is_known=True).called_aets


def answers_to(title: str) -> Callable[[Running], Awaitable[bool]]:
    async def shown(running: Running) -> bool:
        titles = offer.policy(running.archive.settings, caller_is_known=True).called_aets
        return titles is not None and title in titles

    return shown


def planner_value(name: str) -> Callable[[Running], Awaitable[Any]]:
    async def shown(running: Running) -> Any:
        return getattr(await _rules(running), name)

    return shown


async def planner_zone(running: Running) -> str:
    return str((await _rules(running))._zone)


async def _rules(running: Running) -> RuleSet:
    """The rules in force, after the look that every process has once a second."""
    planner = running.archive.arrivals
    assert isinstance(planner, Planner)
    await planner.look()
    return planner.rules


async def is_complete_after_5_s(running: Running) -> bool:
    return is_complete(5, {}, 1, running.archive.settings.routing_stable_s)


def made_of_a_report(
    source: ReportSource = ReportSource.CONSOLE, state: ReportState = ReportState.FINAL
) -> Callable[[Running], Awaitable[str]]:
    async def observe(running: Running) -> str:
        return " ".join(kinds_wanted(running.archive.settings, source, state))

    return observe


async def word_on_a_report(running: Running) -> str:
    return words_in(running.archive.settings.report_language)["report"]


def issuers_taken_for(issuer: str) -> Callable[[Running], Awaitable[bool]]:
    """Whether the number of no authority is that of images with this issuer."""

    async def observe(running: Running) -> bool:
        columns = dict.fromkeys((name for names in COLUMNS_OF.values() for name in names), None)
        study = PatientStudy(1, "1.2", columns | {"patient_id": "1", "issuer_of_patient_id": issuer}, [], True)
        number = IdentifierRow(1, 1, 1, "", "1", "MR", True)
        return shown_by(study, [number], frozenset(), running.archive.settings.default_patient_issuer) is not None

    return observe


async def updates_images(running: Running) -> bool:
    """Whether a new name reaches an image that is there."""
    await store_file(running.archive, make_file())
    pool = running.archive.pool
    async with pool.connection() as connection, connection.transaction(force_rollback=True):
        for name in ("DOE^JANE", "ROE^JANE"):
            facts = PatientFacts((Identifier("P1"),), name=name)
            await apply_change(running.archive, connection, PutPatient(facts), Cause("test"))
        cursor = await connection.execute(b"SELECT patient_name FROM study")
        return await cursor.fetchone() == ("ROE^JANE",)


async def deliveries_left(running: Running) -> int:
    """Of one delivery that was over ten days ago."""
    entry = await put_entry(
        running.archive.pool,
        running.archive.settings,
        DESTINATIONS,
        "OUT",
        {"kind": "folder", "target": {"path": "outbox"}},
    )
    async with running.archive.pool.connection() as connection:
        await connection.execute(
            b"""WITH p AS (INSERT INTO parcel (destination_id, study_instance_uid) VALUES (%s, '1.2')
                    ON CONFLICT (destination_id, study_instance_uid) DO UPDATE SET state = 'idle' RETURNING id)
                INSERT INTO delivery (destination_id, parcel_id, instance_id, study_instance_uid, series_instance_uid,
                    sop_instance_uid, sop_class_uid, state, settled_at)
                SELECT %s, id, 1, '1.2', '1.2.1', '1.2.1.1', '1.2.3', 'delivered', now() - interval '10 days' FROM p
                ON CONFLICT DO NOTHING""",
            (entry.id, entry.id),
        )
    await forget_old_deliveries(running.archive)
    async with running.archive.pool.connection() as connection:
        row = await (await connection.execute(b"SELECT count(*) FROM delivery")).fetchone()
    return int(row[0]) if row else -1


async def has_room(running: Running) -> bool:
    try:
        await store_file(running.archive, make_file())
    except FileroomError:
        return False
    return True


async def is_arriving(running: Running) -> bool:
    await store_file(running.archive, make_file())
    return bool(await arriving_studies(running.archive))


async def viewer_script(running: Running) -> str:
    answer = await answered(running, "/viewer/app-config.js")
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


async def viewer_title(running: Running) -> tuple[bool, bool]:
    """Of the page and in its script."""
    page = await answered(running, "/viewer")
    assert isinstance(page.body, bytes)
    return b"North" in page.body, '"North"' in await viewer_script(running)


async def has_logo(running: Running) -> bool:
    try:
        return (await answered(running, "/viewer/logo")).body == b"\x89PNG"
    except FileroomError:
        return False


async def answered(running: Running, path: str) -> Answer:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "path_params": {}}
    return await running.viewer[path](Request(scope))


async def says(running: Running, text: str) -> bool:
    return text in await viewer_script(running)


async def days_kept(running: Running) -> int:
    kept: list[int] = []

    async def keep(_pool: object, _now: object, days: int) -> int:
        kept.append(days)
        return 0

    running.monkeypatch.setattr(task_worker, "keep_ledger", keep)
    await task_worker._keep_ledger_days(running.archive)
    return kept[0]


async def months_kept(running: Running) -> int:
    kept: list[int] = []

    async def keep(_pool: object, months: int, _now: object) -> None:
        kept.append(months)

    running.monkeypatch.setattr(task_worker, "keep_months", keep)
    await task_worker._keep_audit_months(running.archive)
    return kept[0]


async def is_forwarded(running: Running) -> bool:
    """To a syslog server on the port that the value names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(TIMEOUT_S)
        await record_alone(running.archive.pool, application_started("FILEROOM"))
        await seal_waiting(running.archive.pool)
        url = running.archive.settings.audit_syslog_url
        if url:
            url = f"udp://127.0.0.1:{server.getsockname()[1]}"
            await change_settings(Configuration(running.people, ()), {"audit_syslog_url": url})
            await until(lambda: running.archive.settings.audit_syslog_url == url)
        sent = await running.forwarder.step()
        return sent > 0 and b"<AuditMessage" in server.recv(65536)


async def syslog_server(running: Running) -> SyslogServer | None:
    """With a server named, so that there is one."""
    url = "tls://127.0.0.1:1"
    await change_settings(Configuration(running.people, ()), {"audit_syslog_url": url})
    await until(lambda: running.archive.settings.audit_syslog_url == url)
    await running.forwarder.step()
    forwarder = running.forwarder._forwarder
    return forwarder._server if forwarder else None


async def message_source(running: Running) -> tuple[str, str]:
    await syslog_server(running)
    assert running.forwarder._forwarder is not None
    source = running.forwarder._forwarder._source
    return source.source_id, source.site


def syslog_file(name: str) -> Callable[[Running], Awaitable[object]]:
    async def observe(running: Running) -> object:
        server = await syslog_server(running)
        return getattr(server, name) == Path("/some/file.pem")

    return observe


async def log_level(_running: Running) -> int:
    return logs._level


def seen_by_directory(name: str) -> Callable[[Running], Awaitable[object]]:
    """The value that is asked with when somebody logs in by the directory; there is a server, else nobody is asked."""

    async def observe(running: Running) -> object:
        seen: list[object] = []

        def ask(asked: Any) -> None:
            seen.append(getattr(asked.settings, name))

        running.monkeypatch.setattr(directory, "_ask", ask)
        if name != "ldap_url":
            await change_settings(Configuration(running.people, ()), {"ldap_url": "ldaps://directory.invalid"})
            await until(lambda: running.people.settings.ldap_url != "")
        with contextlib.suppress(FileroomError):
            await running.people.directory.find_person(running.people.settings, "ada", "x")
        return seen[0] if seen else None

    return observe


def seen_by_provider(name: str) -> Callable[[Running], Awaitable[object]]:
    """The value that is asked with when somebody is sent to the OpenID provider."""

    async def observe(running: Running) -> object:
        seen: list[object] = []

        async def get(_provider: object, settings: Settings, _url: str) -> dict[str, str]:
            seen.append(getattr(settings, name))
            raise ConfigurationError("enough")

        running.monkeypatch.setattr(OpenIdProvider, "_get", get)
        if name != "oidc_issuer":
            await change_settings(Configuration(running.people, ()), {"oidc_issuer": "https://provider.invalid"})
            await until(lambda: running.people.settings.oidc_issuer != "")
        with contextlib.suppress(FileroomError):
            await OpenIdProvider().addresses(running.people.settings)
        return seen[0] if seen else None

    return observe


async def may_write_below_usr(running: Running) -> object:
    try:
        return allowed_root(running.archive.settings, "/usr/share") is not None
    except ConfigurationError:
        return False


def in_script(text: str) -> Callable[[Running], Awaitable[object]]:
    return functools.partial(says, text=text)


@dataclass(frozen=True)
class Effect:
    """A value, how it shows, and what that is before and after. `{folder}` is the test's own."""

    value: object
    observe: Callable[[Running], Awaitable[object]]
    before: object
    after: object


async def may_be_told_without_tls(running: Running) -> bool:
    channel = {"type": "rest-hook", "endpoint": "http://192.0.2.1/", "payload": "application/fhir+json"}
    asked = {"status": "requested", "criteria": "Patient?", "channel": channel}
    try:
        await put_subscription(running.archive, asked, Words("http://localhost/fhir"))
    except FileroomError:
        return False
    return True


EFFECTS = {
    "password_chars_min": Effect(20, can_have_password_of_16, None, False),
    "session_idle_minutes": Effect(5, idle_time, 60, 5),
    "session_hours": Effect(3, session_length, 12, 3),
    "accept_unknown_sop_classes": Effect(False, takes_unknown_classes, (True, True), (False, False)),
    "called_aet_check": Effect(False, called_titles, frozenset({"FILEROOM"}), None),
    "storage_reserve_mib": Effect(2**40, has_room, True, False),
    "fhir_plain_http": Effect(True, may_be_told_without_tls, False, True),
    "routing_folders": Effect("/usr", may_write_below_usr, False, True),
    "routing_holidays": Effect("DE", planner_value("_holidays"), "", "DE"),
    "routing_zone": Effect("Europe/Berlin", planner_zone, "None", "Europe/Berlin"),
    "routing_stable_s": Effect(1, is_complete_after_5_s, False, True),
    "default_patient_issuer": Effect("HOSP", issuers_taken_for("HOSP"), False, True),
    "ris_updates_images": Effect(False, updates_images, True, False),
    "delivery_days": Effect(5, deliveries_left, 1, 0),
    "federated_aet": Effect("ELSEWHERE", answers_to("ELSEWHERE"), False, True),
    "series_stable_s": Effect(1e-9, is_arriving, True, False),
    "report_objects": Effect("pdf", made_of_a_report(), "sr pdf", "pdf"),
    "report_objects_of": Effect("all", made_of_a_report(ReportSource.HL7), "", "sr pdf"),
    "report_objects_preliminary": Effect(True, made_of_a_report(state=ReportState.PRELIMINARY), "", "sr pdf"),
    "report_language": Effect("de", word_on_a_report, "Report", "Befund"),
    "viewer_name": Effect("North", viewer_title, (False, False), (True, True)),
    "viewer_logo": Effect("{folder}/logo.png", has_logo, False, True),
    "viewer_hanging_protocol": Effect("mpr", in_script('"$set": "mpr"'), False, True),
    "viewer_priors": Effect("recent", in_script('"$set": "recent"'), False, True),
    "viewer_config": Effect("{folder}/own.json", in_script('"showStudyList": true'), False, True),
    "ledger_days": Effect(30, days_kept, 90, 30),
    "audit_source_id": Effect("pacs-7", message_source, ("FILEROOM", ""), ("pacs-7", "")),
    "audit_site": Effect("North", message_source, ("FILEROOM", ""), ("FILEROOM", "North")),
    "audit_keep_months": Effect(6, months_kept, 0, 6),
    "audit_syslog_url": Effect("udp://127.0.0.1:9", is_forwarded, False, True),
    "audit_syslog_ca": Effect("/some/file.pem", syslog_file("ca"), False, True),
    "audit_syslog_certificate": Effect("/some/file.pem", syslog_file("certificate"), False, True),
    "audit_syslog_key": Effect("/some/file.pem", syslog_file("key"), False, True),
    "ldap_url": Effect("ldaps://one.invalid", seen_by_directory("ldap_url"), None, "ldaps://one.invalid"),
    "ldap_plain": Effect(True, seen_by_directory("ldap_plain"), False, True),
    "ldap_nested_groups": Effect("rule", seen_by_directory("ldap_nested_groups"), "steps", "rule"),
    **{
        name: Effect("a changed value", seen_by_directory(name), managed_settings()[name].default, "a changed value")
        for name in ("ldap_base", "ldap_bind_dn", "ldap_user_filter", "ldap_group_filter", "ldap_ca")
    },
    "ldap_roles": Effect('{"a": "auditor"}', seen_by_directory("ldap_roles"), "", '{"a": "auditor"}'),
    "oidc_roles": Effect('{"a": "auditor"}', seen_by_provider("oidc_roles"), "", '{"a": "auditor"}'),
    "oidc_issuer": Effect("https://one.invalid", seen_by_provider("oidc_issuer"), None, "https://one.invalid"),
    **{
        name: Effect("changed", seen_by_provider(name), managed_settings()[name].default, "changed")
        for name in (
            "oidc_client_id",
            "oidc_name",
            "oidc_scope",
            "oidc_claim",
            "oidc_login_claim",
            "oidc_ca",
        )
    },
    "log_level": Effect("DEBUG", log_level, logs.LOG_LEVELS["INFO"], logs.LOG_LEVELS["DEBUG"]),
}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


def test_every_managed_setting_has_an_effect_here() -> None:
    assert set(EFFECTS) == set(managed_settings())


@pytest.mark.parametrize("name", EFFECTS)
async def test_a_change_takes_effect_in_what_runs(running: Running, name: str) -> None:
    effect = EFFECTS[name]
    if effect.before is not None:
        logs.set_log_level("INFO")
        assert await effect.observe(running) == effect.before
    value = str(effect.value).replace("{folder}", str(running.folder))
    await change_settings(Configuration(running.people, ()), {name: value})
    await until(lambda: str(getattr(running.archive.settings, name)) == value)
    assert await effect.observe(running) == effect.after


async def test_a_slip_of_the_pen_takes_nothing_away_that_runs(running: Running) -> None:
    configuration = Configuration(running.people, ())
    await change_settings(configuration, {"viewer_logo": f"{running.folder}/logo.png"})
    await until(lambda: running.archive.settings.viewer_logo != "")
    assert await has_logo(running)
    wrong = {"viewer_logo": "/nowhere.png", "viewer_config": "/nowhere.json", "audit_syslog_url": "tls://h:99999999"}
    await change_settings(configuration, wrong)
    await until(lambda: running.archive.settings.viewer_logo == "/nowhere.png")
    assert await has_logo(running), "what there was goes on"
    assert "showStudyList" in await viewer_script(running)
    assert await running.forwarder.step() == 0, "it says so in the log, and the other work goes on"
