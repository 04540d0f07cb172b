"""Keys, self-signed certificates and requests (PKCS #10, RFC 2986), made here. Nothing is stored here."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fileroom.admin.certificate_files import OwnKey
from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.limits import CERTIFICATE_DAYS_MAX, CERTIFICATE_NAMES_MAX

KeyKind = Literal["rsa", "ec"]
"""RSA with 3072 bits, which every device takes, or EC on P-256, which is quicker."""

_RSA_BITS: Final = 3072
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}$)(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
_ORGANIZATION_CHARS_MAX: Final = 64
"""X.520, ub-organization-name."""
_COMMON_NAME_CHARS_MAX: Final = 64
_BACKDATED: Final = dt.timedelta(minutes=5)
"""Clocks of devices lag."""


def make_key(kind: KeyKind) -> OwnKey:
    """A new key. RSA takes a few tenths of a second."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def make_self_signed(
    key: OwnKey, names: Sequence[str], organization: str, now: dt.datetime, days: int
) -> x509.Certificate:
    """A certificate that vouches for itself. Raises InvalidRequestError for names that are none."""
    if not 1 <= days <= CERTIFICATE_DAYS_MAX:
        raise InvalidRequestError(told("A certificate is good for 1 to {most} days.", most=CERTIFICATE_DAYS_MAX))
    subject = _subject(names, organization)
    builder = (
        x509.CertificateBuilder(subject, subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(alternative_names(names), critical=False)
        # Not an issuer: whoever trusts it trusts this one certificate.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(_PURPOSES, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def make_request(key: OwnKey, names: Sequence[str], organization: str) -> str:
    """A request for an issuer, as PEM. Raises InvalidRequestError for names that are none."""
    builder = (
        x509.CertificateSigningRequestBuilder(_subject(names, organization))
        .add_extension(alternative_names(names), critical=False)
        .add_extension(_USAGE, critical=True)
        .add_extension(_PURPOSES, critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """Host names and addresses (RFC 5280 4.2.1.6). Raises InvalidRequestError."""
    if not 1 <= len(names) <= CERTIFICATE_NAMES_MAX:
        raise InvalidRequestError(
            told(
                "A certificate needs 1 to {most} names: the host names and addresses it is called by.",
                most=CERTIFICATE_NAMES_MAX,
            )
        )
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(map(normal_name, names)):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def normal_name(name: str) -> str:
    """A host name in ASCII and lower case, or an address. Raises InvalidRequestError."""
    plain = name.strip().strip("[]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        pass
    try:
        plain = plain.encode("idna").decode() if not plain.isascii() else plain
    except UnicodeError:
        plain = ""
    if not _HOST_NAME.fullmatch(plain):
        raise InvalidRequestError(
            told("{name} is no host name or address, for example pacs.example.org or 10.1.2.3.", name=repr(name[:60]))
        )
    return plain


def _subject(names: Sequence[str], organization: str) -> x509.Name:
    if len(organization) > _ORGANIZATION_CHARS_MAX or not (organization.isprintable() or not organization):
        raise InvalidRequestError(
            told("The organization has at most {most} printable characters.", most=_ORGANIZATION_CHARS_MAX)
        )
    common = normal_name(names[0])[:_COMMON_NAME_CHARS_MAX] if names else ""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
    if organization.strip():
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization.strip()))
    return x509.Name(parts)


_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
# A node answers and calls with the same certificate.
_PURPOSES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
