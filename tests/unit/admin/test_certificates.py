"""Certificates: what may be added and what not, where keys lie, requests and their answers, what is shown where, expiry."""

from __future__ import annotations

import datetime as dt
import ssl
import stat
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, pkcs12

from fileroom.admin.certificate_expiry import ExpiryLevel, describe_expiry, level_of, list_expiries, pressing_expiries
from fileroom.admin.certificate_uses import Use
from fileroom.admin.certificates import (
    Certificates,
    CertificateWish,
    activate,
    add_certificate,
    deactivate,
    list_certificates,
    make_self_signed_certificate,
    public_part,
    remove_certificate,
    request_certificate,
)
from fileroom.admin.tls_in_use import client_tls_for, read_tls, tls_version
from fileroom.admin.trusted_certificates import distrust, list_trusted, set_revoked, trust, trusted_part
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.clock import system_now
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError
from fileroom.core.settings import Settings
from fileroom.net.tls import PeerTls
from tls_material import Issued, alone, authority

DAY = dt.timedelta(days=1)
EC = CertificateWish(("pacs.example.org", "10.1.2.3"), "Hospital", "ec")


@pytest.fixture(scope="module")
def root() -> Issued:
    return authority()


@pytest.fixture
def certificates(archive: Archive, tmp_path: Path):
    with acting_as(SYSTEM):
        yield Certificates(archive.pool, tmp_path / "data", system_now)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


def key_files(certificates: Certificates) -> list[Path]:
    return sorted((certificates.data / "keys").glob("*"))


async def test_a_self_signed_one_has_the_names_and_its_key_is_nobodys(
    certificates: Certificates, empty_database: str
) -> None:
    made = await make_self_signed_certificate(certificates, "pacs", EC)
    assert made.names == ("pacs.example.org", "10.1.2.3")
    assert made.subject == made.issuer == "CN=pacs.example.org,O=Hospital"
    assert made.is_self_signed
    (key,) = key_files(certificates)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    stored = rows_of(empty_database, "certificate", "audit_event")
    assert "BEGIN CERTIFICATE" in stored
    assert "PRIVATE" not in stored
    secret = "".join(key.read_text().splitlines()[1:-1])
    assert secret[:40] not in stored.replace("\\n", "")


async def test_the_default_key_suits_every_device(certificates: Certificates) -> None:
    made = await make_self_signed_certificate(certificates, "pacs", CertificateWish(("localhost",)))
    assert made.key_kind == "RSA 3072"


async def test_what_is_active_is_what_a_port_shows(
    certificates: Certificates, settings: Settings, archive: Archive
) -> None:
    before = await tls_version(archive.pool)
    await make_self_signed_certificate(certificates, "pacs", EC)
    await activate(certificates, "pacs", Use.WEB)
    found = await read_tls(archive.pool, settings)
    assert found.version > before
    assert found.server(Use.WEB, "off") is not None
    assert found.server(Use.DICOM, "off") is None
    assert [one.uses for one in await list_certificates(certificates)] == [(Use.WEB,)]
    await deactivate(certificates, Use.WEB)
    assert (await read_tls(archive.pool, settings)).server(Use.WEB, "off") is None
    with pytest.raises(NotFoundError):
        await deactivate(certificates, Use.WEB)


async def test_another_machine_without_the_key_shows_none(
    certificates: Certificates, archive: Archive, tmp_path: Path
) -> None:
    await make_self_signed_certificate(certificates, "pacs", EC)
    await activate(certificates, "pacs", Use.WEB)
    elsewhere = Certificates(archive.pool, tmp_path / "elsewhere", system_now)
    assert [one.has_key for one in await list_certificates(elsewhere)] == [False]
    assert (await read_tls(archive.pool, Settings(data=elsewhere.data))).own == {}
    with pytest.raises(ConflictError, match="not on this machine"):
        await activate(elsewhere, "pacs", Use.DICOM)


async def test_a_request_is_completed_by_its_answer(certificates: Certificates, root: Issued) -> None:
    pem = await request_certificate(certificates, "pacs", EC)
    request = x509.load_pem_x509_csr(pem.encode())
    assert request.is_signature_valid
    assert (await list_certificates(certificates))[0].is_request
    assert await public_part(certificates, "pacs") == pem
    with pytest.raises(ConflictError, match="answer must come first"):
        await activate(certificates, "pacs", Use.WEB)
    answer = signed(request, root)
    done = await add_certificate(certificates, "", (root.pem + answer).encode())
    assert done.name == "pacs"
    assert not done.is_request
    assert await public_part(certificates, "pacs") == answer  # the root is left out
    await activate(certificates, "pacs", Use.WEB)


async def test_a_chain_in_any_order_is_put_in_order(certificates: Certificates, root: Issued) -> None:
    between = root.issue("Intermediate", names=(), is_issuer=True)
    leaf = between.issue("pacs", kind="rsa")
    await add_certificate(certificates, "pacs", (root.pem + between.pem + leaf.pem + leaf.key_pem).encode())
    assert await public_part(certificates, "pacs") == leaf.pem + between.pem


@pytest.mark.parametrize("kind", ["pkcs12", "pem with password", "two files"])
async def test_the_forms_that_people_have(certificates: Certificates, root: Issued, kind: str) -> None:
    leaf = root.issue("pacs")
    locked = BestAvailableEncryption(b"secret")
    if kind == "pkcs12":
        file, key, password = (
            pkcs12.serialize_key_and_certificates(b"x", leaf.key, leaf.certificate, None, locked),
            b"",
            "secret",
        )
    elif kind == "two files":
        file, key, password = leaf.pem.encode(), leaf.key_pem.encode(), ""
    else:
        file, password = leaf.pem.encode(), "secret"
        key = leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    added = await add_certificate(certificates, "pacs", file, key, password)
    assert added.subject == "CN=pacs"
    assert b"ENCRYPTED" not in key_files(certificates)[0].read_bytes()
    if password:
        with pytest.raises(InvalidRequestError, match="password"):
            await add_certificate(certificates, "pacs2", file, key, "wrong")


async def test_what_does_not_fit_is_refused_and_leaves_nothing(certificates: Certificates, root: Issued) -> None:
    leaf, other = root.issue("pacs"), root.issue("other")
    weak = rsa.generate_private_key(65537, 1024)
    small = root.issue("small", key=weak)
    cases = [
        (leaf.pem + other.key_pem, "None of the certificates belongs to the key"),
        (leaf.key_pem, "no certificate in the file"),
        (leaf.pem, "no request of this machine"),
        (leaf.pem + other.pem + leaf.key_pem, "does not belong to the chain"),
        ((late := root.issue("late", ends=-DAY)).pem + late.key_pem, "has expired"),
        (small.pem + small.key_pem, "2048 bits"),
        ((ca := root.issue("ca", is_issuer=True)).pem + ca.key_pem, "issuer's certificate"),
        (leaf.pem + leaf.key_pem + other.key_pem, "more than one key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
        ("x" * 300_000, "256"),
        ("nothing", "neither PEM nor PKCS #12"),
    ]
    for text, reason in cases:
        with pytest.raises(InvalidRequestError, match=reason):
            await add_certificate(certificates, "pacs", text.encode())
    for name in ("", "a/b", "x" * 61, "a\nb"):
        with pytest.raises(InvalidRequestError, match="name"):
            await add_certificate(certificates, name, (leaf.pem + leaf.key_pem).encode())
    for names in ((), ("bad name",), ("-x.example",), ("a" * 300,), ("<script>",)):
        with pytest.raises(InvalidRequestError):
            await make_self_signed_certificate(certificates, "pacs", CertificateWish(names, key_kind="ec"))
    assert await list_certificates(certificates) == []
    assert key_files(certificates) == []


async def test_removing_takes_the_key_away_but_not_while_it_is_shown(certificates: Certificates) -> None:
    await make_self_signed_certificate(certificates, "pacs", EC)
    with pytest.raises(ConflictError, match="named pacs already"):
        await make_self_signed_certificate(certificates, "pacs", EC)
    assert len(key_files(certificates)) == 1
    await activate(certificates, "pacs", Use.DICOM)
    with pytest.raises(ConflictError, match="is active"):
        await remove_certificate(certificates, "pacs")
    await deactivate(certificates, Use.DICOM)
    await remove_certificate(certificates, "pacs")
    assert key_files(certificates) == []


async def test_trust_with_a_list_of_revoked_ones(
    certificates: Certificates, settings: Settings, archive: Archive, root: Issued
) -> None:
    assert await trust(certificates, "root", root.pem.encode()) == ["root"]
    with pytest.raises(ConflictError, match="trusted already"):
        await trust(certificates, "again", root.pem.encode())
    with pytest.raises(InvalidRequestError, match="key in the file"):
        await trust(certificates, "keyed", (alone("x").pem + alone("x").key_pem).encode())
    lost = root.issue("lost")
    assert await set_revoked(certificates, "root", root.crl(lost).encode()) == 1
    with pytest.raises(InvalidRequestError, match="not signed by"):
        await set_revoked(certificates, "root", authority().crl(lost).encode())
    found = await read_tls(archive.pool, settings)
    assert list(found.trust.revoked.values()) == [frozenset({lost.certificate.serial_number})]
    assert await trusted_part(certificates, "root") == root.pem
    context = (await client_tls_for(archive.pool, settings, PeerTls())).context
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.get_ca_certs()[0]["subject"] == ((("commonName", "Test Root"),),)
    await distrust(certificates, "root")
    assert await list_trusted(certificates) == []


async def test_expiry_is_told_in_time(
    certificates: Certificates, settings: Settings, archive: Archive, root: Issued, tmp_path: Path
) -> None:
    soon = root.issue("pacs", ends=6 * DAY)
    await add_certificate(certificates, "pacs", (soon.pem + soon.key_pem).encode())
    await activate(certificates, "pacs", Use.WEB)
    await activate(certificates, "pacs", Use.DICOM)
    await trust(certificates, "root", root.pem.encode())
    now = system_now()
    first, second = await list_expiries(archive.pool, settings, now)
    assert (first.name, first.uses, first.level, first.days_left) == ("pacs", (Use.DICOM, Use.WEB), ExpiryLevel.WEEK, 5)
    assert (second.name, second.is_trusted, second.level) == ("root", True, ExpiryLevel.FINE)
    assert [one.name for one in await pressing_expiries(archive.pool, settings, now)] == ["pacs"]
    (late, *_) = await pressing_expiries(archive.pool, settings, now + 7 * DAY)
    assert late.level is ExpiryLevel.EXPIRED
    assert late.seconds_left < 0
    assert "pacs (dicom, web) has expired" in describe_expiry(late)
    file, key = root.issue("file", ends=3 * DAY).files(tmp_path, "web")
    named = settings.model_copy(update={"http_certificate": str(file), "http_key": str(key)})
    found = {one.name: one.uses for one in await list_expiries(archive.pool, named, now)}
    assert found == {"web.crt": (Use.WEB,), "pacs": (Use.DICOM,), "root": ()}


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (31, ExpiryLevel.FINE),
        (30, ExpiryLevel.MONTH),
        (14, ExpiryLevel.FORTNIGHT),
        (7, ExpiryLevel.WEEK),
        (0, ExpiryLevel.EXPIRED),
    ],
)
def test_levels(days: int, level: ExpiryLevel) -> None:
    assert level_of(days * 86_400.0) is level


async def test_every_change_is_a_security_event(certificates: Certificates, empty_database: str, root: Issued) -> None:
    await make_self_signed_certificate(certificates, "pacs", EC)
    await activate(certificates, "pacs", Use.WEB)
    await trust(certificates, "root", root.pem.encode())
    found = rows_of(empty_database, "audit_event")
    for sentence in ("Made, self-signed", "Active for web", "Trusted: CN=Test Root"):
        assert sentence in found
    assert "PRIVATE" not in found


def rows_of(database_url: str, *tables: str) -> str:
    with psycopg.connect(database_url) as connection:
        return "\n".join(
            str(row)
            for table in tables
            for row in connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
        )


def signed(request: x509.CertificateSigningRequest, root: Issued) -> str:
    """An issuer's answer."""
    now = dt.datetime.now(dt.UTC)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    answer = (
        x509.CertificateBuilder(
            root.certificate.subject, request.subject, request.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now - DAY)
        .not_valid_after(now + 90 * DAY)
        .add_extension(names, critical=False)
        .sign(root.key, hashes.SHA256())
    )
    return answer.public_bytes(Encoding.PEM).decode()
