"""Notices by mail, against aiosmtpd: the contract, logins, encryption, hostile values, refused addresses."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from fileroom.core.errors import InvalidRequestError, PeerError, PeerRefusedError
from fileroom.routing import mail_destination
from fileroom.routing.contract import DestinationContract, Settled, sample_objects
from fileroom.routing.destination_kind import OutcomeKind
from fileroom.routing.mail_destination import MAIL
from tls_material import authority

PASSWORD = "a password of the mailer"


def free_port() -> int:
    """aiosmtpd calls itself at the port it was given, so that must be one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Sink:
    """Takes mails in, or refuses addresses."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refuse: Callable[[str], str | None] = lambda _: None

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if refusal := self.refuse(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail.recipients = list(envelope.rcpt_tos)  # type: ignore[attr-defined]
        self.mails.append(mail)
        return "250 taken"


def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(handled=False, success=(data.login, data.password) == (b"fileroom", PASSWORD.encode()))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def server(sink: Sink) -> Iterator[Controller]:
    controller = Controller(
        sink,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=authenticate,
        auth_require_tls=False,
        ready_timeout=10,
    )
    yield from running(controller)


@pytest.fixture
def tls_server(sink: Sink, tmp_path: Path) -> Iterator[Controller]:
    root = authority()
    certificate, key = root.issue("localhost", names=("localhost",)).files(tmp_path / "tls", "mail")
    (tmp_path / "root.pem").write_text(root.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    controller = Controller(
        sink,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        authenticator=authenticate,
        ready_timeout=10,
    )
    yield from running(controller)


def running(controller: Controller) -> Iterator[Controller]:
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()


def target_at(controller: Controller, **more: Any) -> dict[str, Any]:
    return {
        "to": ["desk@hospital.example"],
        "sender": "fileroom@hospital.example",
        "host": "127.0.0.1",
        "port": controller.port,
        "security": "none",
        **more,
    }


class TestMail(DestinationContract):
    kind = MAIL
    keeps_objects = False

    @pytest.fixture
    def target(self, server: Controller, sink: Sink) -> Mapping[str, Any]:
        self.sink = sink
        return target_at(server, user="fileroom", password=PASSWORD, plain_login=True)

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        """A mail tells a number, not which objects: those of the contract's first study, and then of its other."""
        found: list[str] = []
        for study in ("77", "79"):
            mails = [one for one in self.sink.mails if f"1143.{study}" in one["Subject"]]
            known = sample_objects(9, study=f"1.2.826.0.1.3680043.2.1143.{study}")
            count = sum(int(one["Subject"].split()[1]) for one in mails)
            found += [one.sop_instance_uid for one in known[:count]]
        return found

    async def send(self, target: Mapping[str, Any], tmp_path: Path, objects: Any) -> Settled:
        return await super().send(telling_the_study(target), tmp_path, objects)

    def context(self, target: Mapping[str, Any], tmp_path: Path) -> Any:
        return super().context(telling_the_study(target), tmp_path)

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "port": 9}

    def refusing(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        self.sink.refuse = lambda _: "550 nobody of that name"
        return target


class Plain(DestinationContract):
    """The contract's way to send, without its tests."""

    __test__ = False
    kind = MAIL


def telling_the_study(target: Mapping[str, Any]) -> dict[str, Any]:
    return {**target, "subject": "objects {objects} {StudyInstanceUID}", "attributes": ["StudyInstanceUID"]}


async def mail(tmp_path: Path, target: Mapping[str, Any], **attributes: Any) -> Settled:
    return await Plain().send(target, tmp_path, sample_objects(3, **attributes))


async def test_one_mail_without_patient_data(server: Controller, sink: Sink, tmp_path: Path) -> None:
    settled = await mail(tmp_path, target_at(server, to=["a@x.example", "b@x.example"]))
    assert settled.kinds == [OutcomeKind.TAKEN] * 3
    (one,) = sink.mails
    assert one["Subject"] == "Fileroom: 3 objects for contract"
    assert one.recipients == ["a@x.example", "b@x.example"]
    assert "3 objects of 1 series" in one.get_content()
    assert "CONTRACT" not in one.as_string()
    assert one["Auto-Submitted"] == "auto-generated"


async def test_values_do_not_become_headers(server: Controller, sink: Sink, tmp_path: Path) -> None:
    target = target_at(server, subject="{PatientID} {objects}", attributes=["PatientID"])
    await mail(tmp_path, target, PatientID="x\r\nBcc: evil@x.example\r\n\r\nbody")
    (one,) = sink.mails
    assert one["Bcc"] is None
    assert one.recipients == ["desk@hospital.example"]
    assert one["Subject"] == "x Bcc: evil@x.example body 3"


async def test_letters_of_all_languages(server: Controller, sink: Sink, tmp_path: Path) -> None:
    target = target_at(server, subject="Für {PatientName}", text="Größe: {mib}\n", attributes=["PatientName"])
    await mail(tmp_path, target, PatientName="山田^太郎", SpecificCharacterSet="ISO_IR 192")
    assert sink.mails[0]["Subject"] == "Für 山田^太郎"
    assert sink.mails[0].get_content().startswith("Größe: 0.0")


async def test_a_repeated_mail_has_the_same_number(server: Controller, sink: Sink, tmp_path: Path) -> None:
    for _ in range(2):
        await mail(tmp_path, target_at(server))
    assert len({one["Message-ID"] for one in sink.mails}) == 1


@pytest.mark.parametrize(("code", "kind"), [("450 later", "try later"), ("550 no", "refused")])
async def test_refused_addresses(server: Controller, sink: Sink, tmp_path: Path, code: str, kind: str) -> None:
    sink.refuse = lambda _: code
    settled = await mail(tmp_path, target_at(server))
    assert settled.kinds == [OutcomeKind(kind)] * 3
    assert code[:3] in settled.calls[0][1].cause
    sink.refuse = lambda address: code if address.startswith("a@") else None
    settled = await mail(tmp_path, target_at(server, to=["a@x.example", "b@x.example"]))
    assert settled.kinds == [OutcomeKind.WARNED] * 3
    assert "a@x.example" in settled.calls[0][1].cause


async def test_a_wrong_password_says_so_and_is_not_shown(server: Controller, tmp_path: Path) -> None:
    target = target_at(server, user="fileroom", password="wrong one", plain_login=True)
    with pytest.raises(PeerRefusedError, match="does not take the login") as raised:
        await mail(tmp_path, target)
    assert "wrong one" not in str(raised.value)


async def test_starttls_with_a_login(
    tls_server: Controller, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_at(tls_server, host="localhost", security="starttls", user="fileroom", password=PASSWORD)
    with pytest.raises(PeerError, match="trusted"):
        await mail(tmp_path, target)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))

    async def context(archive: Any, target: Any) -> ssl.SSLContext:
        return trusting

    monkeypatch.setattr(mail_destination, "_context", context)
    assert (await mail(tmp_path, target)).kinds == [OutcomeKind.TAKEN] * 3
    assert len(sink.mails) == 1


async def test_a_server_without_starttls_gets_no_login(server: Controller, sink: Sink, tmp_path: Path) -> None:
    target = target_at(server, security="starttls", user="fileroom", password=PASSWORD)
    with pytest.raises(PeerError):
        await mail(tmp_path, target)
    assert sink.mails == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": []},
        {"to": ["not an address"]},
        {"to": ["a@b\r\nBcc: c@d"]},
        {"sender": "x"},
        {"host": "a b"},
        {"user": "u"},
        {"user": "u", "password": "p", "security": "none"},
        {"subject": "{PatientName}"},
        {"text": "{PatientID}"},
        {"attributes": ["PixelData"]},
    ],
)
def test_what_cannot_work_is_refused(wrong: Mapping[str, Any]) -> None:
    good = {"to": ["a@b.example"], "sender": "c@d.example", "host": "mail.example"}
    MAIL.check(good)
    with pytest.raises(InvalidRequestError):
        MAIL.check({**good, **wrong})
