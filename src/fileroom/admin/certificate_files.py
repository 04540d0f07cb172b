"""Certificates, keys and lists of revoked ones as files: reading and judging what was uploaded. Nothing is stored here.

What comes may be PEM in any order, or PKCS #12 (RFC 7292), its key perhaps behind a password. What goes on is PEM: the chain
with the leaf first (RFC 8446 4.4.2), the key as unencrypted PKCS #8. Each refusal says what is wrong with which part.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.limits import CERTIFICATE_CHAIN_MAX, CERTIFICATE_FILE_BYTES_MAX, REVOKED_MAX

OwnKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""The kinds that every TLS implementation takes."""

_RSA_BITS_MIN: Final = 2048
"""PS3.15 B.12 by RFC 9325 4.5."""
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY: Final = re.compile(rb"-----BEGIN ((?:RSA |EC |ENCRYPTED )?PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What people want to know of a certificate. Times are aware, in UTC; `fingerprint` is SHA-256 in hex."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    fingerprint: str
    key_kind: str
    not_before: dt.datetime
    not_after: dt.datetime


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Certificates as they came, and a key where one was with them."""

    certificates: tuple[x509.Certificate, ...]
    key: OwnKey | None


def read_upload(data: bytes, password: str = "") -> Uploaded:
    """Certificates and key of PEM, DER or PKCS #12. Raises InvalidRequestError."""
    if len(data) > CERTIFICATE_FILE_BYTES_MAX:
        raise InvalidRequestError(told("A file of certificates has a few KiB; this one has more than 256."))
    try:
        uploaded = _read_pem(data, password) if b"-----BEGIN " in data else _read_binary(data, password)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidRequestError(
            told("The file cannot be read as PEM or PKCS #12: {why}", why=str(error)[:200] or type(error).__name__)
        ) from error
    if len(uploaded.certificates) > CERTIFICATE_CHAIN_MAX:
        raise InvalidRequestError(
            told("A chain has a few certificates; these are more than {most}.", most=CERTIFICATE_CHAIN_MAX)
        )
    return uploaded


def order_chain(certificates: Sequence[x509.Certificate], public_key: PublicKeyTypes) -> list[x509.Certificate]:
    """The chain of a key: its leaf, then each one's issuer, a root of itself left out. Raises InvalidRequestError."""
    wanted = key_id_of(public_key)
    leaf = next((one for one in certificates if key_id_of(one.public_key()) == wanted), None)
    if leaf is None:
        raise InvalidRequestError(
            told("None of the certificates belongs to the key. Choose the pair that was made together.")
        )
    chain, left = [leaf], [one for one in certificates if one != leaf]
    while not is_self_signed(chain[-1]):
        issuer = next((one for one in left if _issued(one, chain[-1])), None)
        if issuer is None:
            break
        left.remove(issuer)
        chain.append(issuer)
    if left and any(not is_self_signed(one) for one in left):
        stray = left[0].subject.rfc4514_string()[:100]
        raise InvalidRequestError(told("{name} does not belong to the chain. Leave it out.", name=stray))
    return chain[:-1] if len(chain) > 1 and is_self_signed(chain[-1]) else chain


def judge_leaf(leaf: x509.Certificate, now: dt.datetime) -> None:
    """Whether a port could show it. Raises InvalidRequestError; one that has expired is refused too."""
    facts = facts_of(leaf)
    if leaf.not_valid_after_utc <= now:
        raise InvalidRequestError(
            told(
                "The certificate of {name} has expired on {day}. Have a new one made.",
                name=facts.subject,
                day=_day(leaf),
            )
        )
    _judge_key(leaf.public_key())
    try:
        if leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca and not is_self_signed(leaf):
            raise InvalidRequestError(
                told("{name} is an issuer's certificate, not one for a server.", name=facts.subject)
            )
    except x509.ExtensionNotFound:
        pass
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & set(usages):
        raise InvalidRequestError(told("The certificate of {name} is not meant for TLS.", name=facts.subject))


def judge_own_key(key: object) -> OwnKey:
    """A key of a kind and strength that TLS of today takes. Raises InvalidRequestError."""
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise InvalidRequestError(told("Only RSA and EC keys can be used."))
    _judge_key(key.public_key())
    return key


def judge_anchor(certificate: x509.Certificate, now: dt.datetime) -> None:
    """Whether others can be checked by it. Raises InvalidRequestError."""
    if certificate.not_valid_after_utc <= now:
        name = facts_of(certificate).subject
        raise InvalidRequestError(
            told("{name} has expired on {day}. Have a new one made.", name=name, day=_day(certificate))
        )
    _judge_key(certificate.public_key())


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """What is to be shown of it."""
    return CertificateFacts(
        certificate.subject.rfc4514_string()[:500],
        certificate.issuer.rfc4514_string()[:500],
        names_of(certificate),
        hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        kind_of(certificate.public_key()),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def names_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The host names and addresses that it is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return (*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress)))


def kind_of(key: PublicKeyTypes) -> str:
    """`RSA 3072`, `EC P-256`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return (
        f"EC P-{key.key_size}"
        if isinstance(key, ec.EllipticCurvePublicKey)
        else type(key).__name__.removesuffix("PublicKey")
    )


def key_id_of(key: PublicKeyTypes) -> str:
    """SHA-256 of the public key, in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def key_pem(key: OwnKey) -> bytes:
    """For the key folder."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    """Certificates as text."""
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether nobody else vouches for it."""
    return certificate.subject == certificate.issuer and _issued(certificate, certificate)


# --- lists of revoked certificates (RFC 5280 5) ---


def read_crl(data: bytes, issuer: x509.Certificate) -> x509.CertificateRevocationList:
    """A list, PEM or DER, that this issuer has signed. Raises InvalidRequestError."""
    if len(data) > CERTIFICATE_FILE_BYTES_MAX:
        raise InvalidRequestError(told("The list of revoked certificates is longer than 256 KiB."))
    found = _CRL.search(data)
    try:
        crl = x509.load_pem_x509_crl(found[0]) if found else x509.load_der_x509_crl(data)
        key = issuer.public_key()
        signed = isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) and crl.is_signature_valid(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidRequestError(told("The file is no list of revoked certificates (CRL), PEM or DER.")) from error
    if not signed or crl.issuer != issuer.subject:
        raise InvalidRequestError(
            told(
                "The list of revoked certificates is not signed by {name}.", name=issuer.subject.rfc4514_string()[:100]
            )
        )
    if len(crl) > REVOKED_MAX:
        raise InvalidRequestError(told("The list names more than {most} certificates.", most=REVOKED_MAX))
    return crl


def revoked_numbers(pem: str) -> tuple[bytes, frozenset[int]]:
    """The issuer's encoded name, and the serial numbers that its stored list revokes."""
    crl = x509.load_pem_x509_crl(pem.encode())
    return crl.issuer.public_bytes(), frozenset(entry.serial_number for entry in crl)


# --- reading ---


def _read_pem(data: bytes, password: str) -> Uploaded:
    certificates = tuple(x509.load_pem_x509_certificate(found[0]) for found in _CERTIFICATE.finditer(data))
    keys = [found[0] for found in _KEY.finditer(data)]
    if len(keys) > 1:
        raise InvalidRequestError(told("There is more than one key in the file."))
    return Uploaded(certificates, _load_key(keys[0], password) if keys else None)


def _load_key(pem: bytes, password: str) -> OwnKey:
    encrypted = b"ENCRYPTED" in pem
    if encrypted and not password:
        raise InvalidRequestError(told("The key is behind a password. Type it, too."))
    try:
        return judge_own_key(load_pem_private_key(pem, password.encode() if encrypted else None))
    except ValueError as error:
        if encrypted:
            raise InvalidRequestError(told("The password does not open the key.")) from error
        raise


def _read_binary(data: bytes, password: str) -> Uploaded:
    try:
        return Uploaded((x509.load_der_x509_certificate(data),), None)
    except ValueError:
        pass
    try:
        return Uploaded((), judge_own_key(load_der_private_key(data, None)))
    except (ValueError, TypeError):
        pass
    try:
        bundle = pkcs12.load_pkcs12(data, password.encode() if password else None)
    except ValueError as error:
        raise InvalidRequestError(
            told("The file is neither PEM nor PKCS #12, or the password does not open it.")
        ) from error
    found = [bundle.cert, *bundle.additional_certs]
    return Uploaded(
        tuple(one.certificate for one in found if one is not None),
        judge_own_key(bundle.key) if bundle.key is not None else None,
    )


def _judge_key(key: PublicKeyTypes) -> None:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS_MIN:
        raise InvalidRequestError(told("An RSA key needs 2048 bits or more; this one has {bits}.", bits=key.key_size))
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        raise InvalidRequestError(
            told("An EC key must be on P-256, P-384 or P-521; this one is on {curve}.", curve=key.curve.name)
        )
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise InvalidRequestError(told("Only RSA and EC keys can be used."))


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _day(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"
