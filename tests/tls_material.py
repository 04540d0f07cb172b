"""A small certificate authority for tests: keys, chains, expired and revoked certificates, as files and as PEM."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fileroom.net.tls import KeyPair, Trust

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
YEAR = dt.timedelta(days=365)


def new_key(kind: str = "ec") -> Key:
    """EC P-256 is quick to make; `rsa` has 2048 bits."""
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and who signed it."""

    certificate: x509.Certificate
    key: Key
    issuer: Issued | None = None

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def chain_pem(self) -> str:
        """Without the root."""
        return self.pem + (self.issuer.chain_pem if self.issuer is not None and self.issuer.issuer is not None else "")

    def pair(self, folder: Path) -> KeyPair:
        """As a port takes it."""
        path = folder / f"{self.certificate.serial_number:x}.pem"
        path.write_text(self.key_pem)
        return KeyPair(self.chain_pem, path)

    def files(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Certificate and key as DCMTK takes them."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_text(self.pem)
        key.write_text(self.key_pem)
        return certificate, key

    @property
    def trust(self) -> Trust:
        return Trust(self.pem)

    def issue(
        self,
        name: str,
        *,
        names: Sequence[str] = ("127.0.0.1", "localhost"),
        kind: str = "ec",
        is_issuer: bool = False,
        begins: dt.timedelta = -YEAR,
        ends: dt.timedelta = YEAR,
        key: Key | None = None,
    ) -> Issued:
        """A certificate that this one signs."""
        return _issue(name, self, names, key or new_key(kind), is_issuer, begins, ends)

    def crl(self, *revoked: Issued) -> str:
        """The list of what it has revoked."""
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - dt.timedelta(days=1))
            .next_update(now + dt.timedelta(days=30))
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(one.certificate.serial_number)
                .revocation_date(now - dt.timedelta(hours=1))
                .build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def authority(name: str = "Test Root", kind: str = "ec") -> Issued:
    """A root."""
    return _issue(name, None, (), new_key(kind), is_issuer=True, begins=-YEAR, ends=YEAR)


def alone(name: str, **options: object) -> Issued:
    """A certificate that signs itself, as devices come with."""
    values = {"names": ("127.0.0.1", "localhost"), "begins": -YEAR, "ends": YEAR} | options
    return _issue(name, None, values["names"], new_key(), False, values["begins"], values["ends"])  # type: ignore[arg-type]


def _issue(
    name: str,
    issuer: Issued | None,
    names: Sequence[str],
    key: Key,
    is_issuer: bool,
    begins: dt.timedelta,
    ends: dt.timedelta,
) -> Issued:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder(
            issuer.certificate.subject if issuer else subject, subject, key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(is_issuer, None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key, issuer)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
