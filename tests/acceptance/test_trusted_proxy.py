"""nginx with TLS in front: what it says of clients is believed, what they say of themselves is not."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from acceptance.conftest import SeriesFactory
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.nginx import Nginx
from acceptance.programs.processes import LOOPBACK, free_ports

PASSWORD = "tin-roof-under-rain"
WARD, THIEF, OTHER_WARD = "127.0.0.5", "127.0.0.6", "127.0.0.7"
"""Clients: every address of 127.0.0.0/8 is this machine's, and only 127.0.0.1 is nginx."""
FORGED = {
    "x-forwarded-for": "198.51.100.1, 127.0.0.1",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "http",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    folder = tmp_path_factory.mktemp("proxied")
    with Fileroom(
        folder, workers=1, web_workers=1, web_login="always", admin_password=PASSWORD, trusted_proxies=LOOPBACK
    ) as running:
        yield running


@pytest.fixture(scope="module")
def front(house: Fileroom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The https address of nginx in front of it."""
    folder = tmp_path_factory.mktemp("nginx")
    _write_certificate(folder)
    port = free_ports(1)[0]
    more = (
        f"listen {LOOPBACK}:{port} ssl; ssl_certificate {folder}/front.pem; ssl_certificate_key {folder}/front.key; "
        f"location / {{ proxy_pass http://{LOOPBACK}:{house.http_port}; proxy_http_version 1.1; "
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; "
        "proxy_set_header X-Forwarded-Host $http_host; }"
    )
    with Nginx(folder / "run", folder, 1, more):
        yield f"https://localhost:{port}"


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "front.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "front.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _from(address: str, root: str) -> httpx.Client:
    """A client at an address of its own."""
    transport = httpx.HTTPTransport(local_address=address, verify=False)
    return httpx.Client(base_url=root, transport=transport, timeout=30)


def _log_in(client: httpx.Client, password: str, **headers: str) -> httpx.Response:
    return client.post("/login", data={"username": "admin", "password": password}, headers=headers)


def test_the_client_is_whom_the_proxy_saw(house: Fileroom, front: str, ct_series: SeriesFactory) -> None:
    result = house.command("import", ct_series(1)[0].parent)
    assert result.returncode == 0, result.stderr
    with _from(WARD, front) as client:
        began = _log_in(client, PASSWORD, origin=front, **FORGED)
        assert began.status_code == 303
        assert began.headers["set-cookie"].startswith("__Host-fileroom_session=")
        assert "; Secure" in began.headers["set-cookie"]
        account = client.get("/account", headers=FORGED).text
        assert f"<td>{WARD}</td>" in account  # the session list
        assert "198.51.100.1" not in account
        studies = client.get("/dicom-web/studies", headers=FORGED).json()
        retrieve = studies[0]["00081190"]["Value"][0]
        assert retrieve.startswith(f"{front}/dicom-web/studies/")
    trail = house.command("audit", "search", "--user", "admin", "--json").stdout
    assert WARD in trail
    assert "198.51.100.1" not in trail


def test_each_client_of_the_proxy_waits_for_itself(front: str) -> None:
    with _from(THIEF, front) as thief:
        for number in range(40):  # more than one address may
            guess = thief.post(
                "/login",
                data={"username": f"guess{number}", "password": "wrong"},
                headers={"x-forwarded-for": f"203.0.113.{number}"},
            )
        assert guess.status_code == 429
        assert int(guess.headers["retry-after"]) >= 1
    with _from(OTHER_WARD, front) as person:
        assert _log_in(person, PASSWORD).status_code == 303


def test_who_comes_past_the_proxy_is_not_believed(house: Fileroom) -> None:
    with _from("127.0.0.8", house.url) as client:
        began = _log_in(client, PASSWORD, **{**FORGED, "x-forwarded-proto": "https"})
        assert began.headers["set-cookie"].startswith("fileroom_session=")
        account = client.get("/account").text
        assert "<td>127.0.0.8</td>" in account
        assert re.search(r"198\.51\.100\.1|evil\.example", account) is None
