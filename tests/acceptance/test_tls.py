"""TLS of a running Fileroom: DCMTK's programs, openssl, HTTPS; mutual authentication, reload, expired certificates."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import by_instance, study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.openssl import fingerprint, handshake
from acceptance.programs.processes import LOOPBACK, free_ports, wait_until
from acceptance.test_store_and_return import assert_same
from tls_material import Issued, authority

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Secured:
    """A Fileroom with DICOM TLS and HTTPS, whose certificate the test's root has signed and that trusts the root."""

    fileroom: Fileroom
    root: Issued
    root_file: Path
    tls_port: int

    @property
    def folder(self) -> Path:
        return self.root_file.parent

    def dcmtk(self) -> Dcmtk:
        return Dcmtk(self.tls_port, self.fileroom.aet)

    def plain(self) -> Dcmtk:
        """For those of DCMTK's programs that speak no TLS."""
        return Dcmtk(self.fileroom.dicom_port, self.fileroom.aet)

    def showing(self, issued: Issued, name: str) -> tuple[str, ...]:
        """DCMTK's options for a caller that shows a certificate and trusts the root."""
        certificate, key = issued.files(self.folder, name)
        return ("+tls", str(key), str(certificate), "+cf", str(self.root_file))


def command(fileroom: Fileroom, *arguments: str | Path) -> str:
    result = fileroom.command(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def add_certificate(fileroom: Fileroom, folder: Path, name: str, issued: Issued, *uses: str) -> None:
    file = folder / f"{name}.pem"
    file.write_text(issued.chain_pem + issued.key_pem)
    options = [part for use in uses for part in ("--use", use)]
    command(fileroom, "certificate", "add", name, file, *options)


def failures(fileroom: Fileroom) -> list[dict[str, Any]]:
    return list(json.loads(command(fileroom, "associations", "--failed", "--json")))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, dcmtk_installed: None) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    root, (port,) = authority("Hospital Root", "rsa"), free_ports(1)
    root_file = folder / "root.pem"
    root_file.write_text(root.pem)
    with Fileroom(folder / "fileroom", workers=1, web_workers=1, dicom_tls_port=port) as fileroom:
        command(fileroom, "certificate", "trust", "hospital", root_file)
        # By a request, as hospitals do it: the key never leaves Fileroom.
        request = command(
            fileroom, "certificate", "request", "pacs", "--name", "localhost", "--name", LOOPBACK, "--key", "rsa"
        )
        answer = folder / "answer.pem"
        answer.write_text(sign(x509.load_pem_x509_csr(request.encode()), root))
        command(fileroom, "certificate", "add", "pacs", answer, "--use", "dicom", "--use", "web")
        wanted = x509.load_pem_x509_certificate(answer.read_bytes()).fingerprint(hashes.SHA256()).hex()
        for one in (port, fileroom.http_port):
            wait_until(lambda one=one: fingerprint(one) == wanted, 20, f"the new certificate on port {one}", str)
        yield Secured(fileroom, root, root_file, port)


@pytest.mark.parametrize("profile", ["+py", "+px"])
def test_objects_come_and_go_over_mutual_tls_bit_by_bit(
    secured: Secured, ct_series: SeriesFactory, tmp_path: Path, profile: str
) -> None:
    files = ct_series(4, 256)
    options = (*secured.showing(secured.root.issue("scanner", kind="rsa"), "scanner"), profile)
    stored = secured.dcmtk().store(files, *options)
    assert stored.returncode == 0, stored.stdout + stored.stderr
    keys = {"StudyInstanceUID": study_uid(files[0])}
    assert len(secured.dcmtk().find(tmp_path / "found", "STUDY", keys, *options)) == 1
    back = secured.plain().get(tmp_path / "back", "STUDY", keys)  # its getscu speaks no TLS
    assert_same(by_instance(back), by_instance(files))

    def told() -> bool:
        log = json.loads(command(secured.fileroom, "associations", "--json", "--aet", "MODALITY"))
        return any(
            one["tls"] and one["objects"] == 4 and one["peer_certificate"].startswith("CN=scanner ") for one in log
        )

    wait_until(told, 15, "the ledger's entry", str)


def test_who_is_not_who_they_should_be_is_refused_and_told(secured: Secured) -> None:
    stranger = authority("Stranger Root", "rsa").issue("stranger", kind="rsa")
    expired = secured.root.issue("old scanner", kind="rsa", begins=-9 * DAY, ends=-DAY)
    lost = secured.root.issue("lost scanner", kind="rsa")
    crl = secured.folder / "root.crl"
    crl.write_text(secured.root.crl(lost))
    command(secured.fileroom, "certificate", "revoked", "hospital", crl)
    trusting = ("+tla", "+cf", str(secured.root_file))
    good = secured.showing(secured.root.issue("good", kind="rsa"), "good")
    revoked = secured.showing(lost, "lost")
    wait_until(lambda: secured.dcmtk().echo(*revoked).returncode != 0, 20, "the list of revoked ones to hold", str)
    for options in (trusting, secured.showing(stranger, "stranger"), secured.showing(expired, "expired")):
        assert secured.dcmtk().echo(*options).returncode != 0
    assert Dcmtk(secured.tls_port).echo().returncode != 0  # without TLS
    assert secured.dcmtk().echo(*good).returncode == 0
    expected = {"showed no certificate", "not trusted", "has expired", "was revoked", "is not TLS"}

    def told() -> set[str]:
        details = [one["detail"] for one in failures(secured.fileroom) if one["cause"] == "tls failed"]
        return {reason for reason in expected if any(reason in detail for detail in details)}

    wait_until(lambda: told() == expected, 15, "the ledger's reasons", lambda: str(expected - told()))
    log = secured.fileroom.log_text()
    assert "its certificate has expired; it needs a new one" in log
    events = command(secured.fileroom, "audit", "search", "--json", "--limit", "200")
    assert "Refused: it showed no certificate" in events


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "AES128-GCM-SHA256"),
        ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"),
        ("-tls1_2", "-cipher", "NULL:@SECLEVEL=0"),
    ],
    ids=["TLS 1.0", "TLS 1.1", "no ephemeral key", "CBC", "no encryption"],
)
def test_protocols_and_suites_of_old_are_refused(secured: Secured, options: tuple[str, ...]) -> None:
    for port in (secured.tls_port, secured.fileroom.http_port):
        assert handshake(port, *options) == ("", "")


def test_the_suites_of_the_profiles_are_there(secured: Secured) -> None:
    for port in (secured.tls_port, secured.fileroom.http_port):
        assert handshake(port)[0] == "TLSv1.3"
        for suite in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES128-GCM-SHA256"):
            assert handshake(port, "-tls1_2", "-cipher", suite) == ("TLSv1.2", suite)


def test_https_and_http_on_one_port(secured: Secured) -> None:
    port = secured.fileroom.http_port
    trusting = ssl.create_default_context(cafile=secured.root_file)
    with httpx.Client(base_url=f"https://localhost:{port}", verify=trusting) as client:
        page = client.get("/", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        found = client.get("/dicom-web/studies", headers={"accept": "application/dicom+json"}).json()
        assert all(one["00081190"]["Value"][0].startswith(f"https://localhost:{port}/") for one in found)
    assert httpx.get(f"{secured.fileroom.url}/healthz").status_code == 200  # this machine, without TLS
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://localhost:{port}/", verify=ssl.create_default_context())


def test_a_new_certificate_needs_no_restart_and_open_connections_stay(secured: Secured) -> None:
    fileroom, port = secured.fileroom, secured.fileroom.http_port
    trusting = ssl.create_default_context(cafile=secured.root_file)
    workers = fileroom.workers("fileroom.app.web_worker") + fileroom.workers("fileroom.app.association_worker")
    before = fingerprint(port)
    with (
        socket.create_connection((LOOPBACK, port)) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as early,
    ):
        renewed = secured.root.issue("renewed", kind="rsa")
        add_certificate(fileroom, secured.folder, "renewed", renewed, "web", "dicom")
        wanted = renewed.certificate.fingerprint(hashes.SHA256()).hex()
        for one in (port, secured.tls_port):
            wait_until(lambda one=one: fingerprint(one) == wanted, 20, "the new certificate", str)
        assert before != wanted
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert early.recv(100).startswith(b"HTTP/1.1 200")
    good = secured.showing(secured.root.issue("good", kind="rsa"), "good")
    assert secured.dcmtk().echo(*good).returncode == 0
    assert workers == fileroom.workers("fileroom.app.web_worker") + fileroom.workers("fileroom.app.association_worker")
    command(fileroom, "certificate", "activate", "pacs", "--use", "web", "--use", "dicom")
    command(fileroom, "certificate", "remove", "renewed")


def test_objects_go_out_over_tls_to_who_is_trusted_only(
    secured: Secured, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    files = ct_series(3, 128)
    scanner = secured.showing(secured.root.issue("scanner", kind="rsa"), "scanner")
    assert secured.dcmtk().store(files, *scanner).returncode == 0
    pacs = secured.root.issue("workstation", kind="rsa")
    with StoreScp(tmp_path / "good", *secured.showing(pacs, "workstation"), aet="SECURE") as receiver:
        secured.fileroom.add_node("secure", receiver.aet, receiver.port)
        command(secured.fileroom, "node", "edit", "secure", "--set", "tls=on")
        moved = secured.plain().move("SECURE", "STUDY", {"StudyInstanceUID": study_uid(files[0])})
        assert moved.returncode == 0, moved.stdout + moved.stderr
        assert_same(by_instance(receiver.received()), by_instance(files))
    expired = secured.root.issue("old workstation", kind="rsa", begins=-9 * DAY, ends=-DAY)
    with StoreScp(tmp_path / "late", *secured.showing(expired, "expired"), aet="LATE") as receiver:
        secured.fileroom.add_node("late", receiver.aet, receiver.port)
        command(secured.fileroom, "node", "edit", "late", "--set", "tls=on")
        refused = secured.fileroom.command("node", "echo", "late")
        assert refused.returncode == 1
        assert "its certificate has expired" in refused.stderr + refused.stdout
        assert receiver.received() == []


def test_an_expired_certificate_of_our_own_serves_and_is_told_everywhere(secured: Secured) -> None:
    """The last one: it restarts Fileroom."""
    fileroom = secured.fileroom
    soon = secured.root.issue("soon", ends=dt.timedelta(seconds=6))
    add_certificate(fileroom, secured.folder, "soon", soon, "web")
    wanted = soon.certificate.fingerprint(hashes.SHA256()).hex()
    wait_until(lambda: fingerprint(fileroom.http_port) == wanted, 20, "the certificate", str)
    wait_until(lambda: dt.datetime.now(dt.UTC) > soon.certificate.not_valid_after_utc, 20, "its end", str)
    fileroom.stop()
    fileroom.start()
    assert fingerprint(fileroom.http_port) == wanted
    assert '"certificate_expired"' in fileroom.log_text()
    page = httpx.get(f"https://{LOOPBACK}:{fileroom.http_port}/admin/certificates", verify=False)
    assert "soon has expired on" in page.text
    doctor = fileroom.command("doctor")
    assert doctor.returncode == 1
    assert "The certificate soon (web) has expired" in doctor.stdout


def sign(request: x509.CertificateSigningRequest, root: Issued) -> str:
    """An issuer's answer to a request."""
    now = dt.datetime.now(dt.UTC)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    builder = x509.CertificateBuilder(
        root.certificate.subject, request.subject, request.public_key(), x509.random_serial_number()
    )
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + 90 * DAY).add_extension(names, critical=False)
    return builder.sign(root.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
