"""`/certificates`: our own, and those that others are checked by. Keys never leave the server."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import Field

from fileroom.admin import certificates, trusted_certificates
from fileroom.admin.certificate_expiry import list_expiries
from fileroom.admin.certificate_uses import Use
from fileroom.admin.certificates import SELF_SIGNED_DAYS, Certificates, CertificateWish
from fileroom.core.access import Permission
from fileroom.core.limits import CERTIFICATE_DAYS_MAX
from fileroom.web.api.models import INTEGRAL, Asked, Count, Moment, NameInPath, ShortText, Shown
from fileroom.web.api.operations import Api

_PEM_CHARS_MAX = 256 * 1024
Pem = Annotated[
    str,
    Field(
        strict=True,
        min_length=1,
        max_length=_PEM_CHARS_MAX,
        pattern=r"^[\t\n\r -~]*$",
        examples=["-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"],
    ),
]
CertificateName = Annotated[
    str, Field(strict=True, min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f/]*$", examples=["pacs-2026"])
]
UseInPath = Annotated[Use, Path(description="What it is shown for.")]


class ShownCertificate(Shown):
    """One certificate, or a request that waits for its issuer's answer."""

    name: str
    subject: str
    issuer: str
    names: list[str]
    fingerprint: str
    key_kind: str
    not_before: Moment | None
    not_after: Moment | None
    uses: list[Use]
    has_key: Annotated[bool, Field(description="False: the key lies on another machine.")]
    is_request: bool
    is_self_signed: bool
    created_at: Moment
    created_by: str


class CertificateList(Shown):
    """All by name."""

    items: list[ShownCertificate]


class PemText(Shown):
    """Certificates or a request, as PEM."""

    pem: str


class NewCertificate(Asked):
    """A certificate with its key; without one, the answer to a request that was made here."""

    name: CertificateName
    certificates: Pem
    key: Annotated[Pem | None, Field(description="The private key, as PEM.")] = None
    password: Annotated[ShortText, Field(description="Of the key.")] = ""


class Wish(Asked):
    """What is to be made: the host names and addresses that it is called by, the main one first."""

    name: CertificateName
    names: Annotated[list[ShortText], Field(min_length=1, max_length=50, examples=[["pacs.example.org", "10.1.2.3"]])]
    organization: ShortText = ""
    key_kind: Literal["rsa", "ec"] = "rsa"


class SelfSignedWish(Wish):
    """The same, with the days that it is good for."""

    days: Annotated[int, Field(strict=True, ge=1, le=CERTIFICATE_DAYS_MAX), INTEGRAL] = SELF_SIGNED_DAYS


class Activation(Asked):
    """Which certificate is shown."""

    name: CertificateName


class ShownTrusted(Shown):
    """A certificate that others are checked by."""

    name: str
    subject: str
    issuer: str
    fingerprint: str
    not_before: Moment
    not_after: Moment
    has_crl: bool
    crl_next_update: Moment | None
    created_at: Moment
    created_by: str


class TrustedList(Shown):
    """All by name."""

    items: list[ShownTrusted]


class NewTrusted(Asked):
    """Certificates to be trusted; the second and later ones get a number behind the name."""

    name: CertificateName
    certificates: Pem


class Names(Shown):
    """The names that they got."""

    names: list[str]


class RevocationList(Asked):
    """An issuer's list of revoked certificates; null: forget it."""

    crl: Pem | None


class ShownExpiry(Shown):
    """When a certificate ends."""

    name: str
    uses: list[Use]
    is_trusted: bool
    not_after: Moment
    days_left: int


class Expiries(Shown):
    """Of every active and every trusted one, the soonest first."""

    items: list[ShownExpiry]


def add_certificates(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("certificates", "Certificates for TLS: our own, and those that others are checked by.")

    def held() -> Certificates:
        return Certificates(archive.pool, archive.settings.data, archive.now)

    @resource.get("/certificates", "all", Permission.SETTINGS_READ)
    async def all_certificates() -> CertificateList:
        """Our own certificates, by name."""
        return CertificateList.model_validate(
            {"items": await certificates.list_certificates(held())}, from_attributes=True
        )

    @resource.add("/certificates", "add", Permission.SETTINGS_MANAGE)
    async def add_certificate(asked: NewCertificate) -> ShownCertificate:
        """Keep a certificate with its key, or the answer to a request of ours."""
        key = (asked.key or "").encode()
        added = await certificates.add_certificate(held(), asked.name, asked.certificates.encode(), key, asked.password)
        return ShownCertificate.model_validate(added)

    @resource.add("/certificates/self-signed", "make_self_signed", Permission.SETTINGS_MANAGE)
    async def make_self_signed(asked: SelfSignedWish) -> ShownCertificate:
        """Make key and certificate."""
        wish = CertificateWish(tuple(asked.names), asked.organization, asked.key_kind, asked.days)
        made = await certificates.make_self_signed_certificate(held(), asked.name, wish)
        return ShownCertificate.model_validate(made)

    @resource.add("/certificates/requests", "request", Permission.SETTINGS_MANAGE)
    async def request_certificate(asked: Wish) -> PemText:
        """Make a key and a request for an issuer; the key stays on the server."""
        wish = CertificateWish(tuple(asked.names), asked.organization, asked.key_kind)
        return PemText(pem=await certificates.request_certificate(held(), asked.name, wish))

    @resource.get("/certificates/expiries", "expiries", Permission.SYSTEM_READ)
    async def expiries() -> Expiries:
        """When certificates end."""
        found = await list_expiries(archive.pool, archive.settings, archive.now())
        return Expiries.model_validate({"items": found}, from_attributes=True)

    @resource.put_quietly("/certificates/active/{use}", "activate", Permission.SETTINGS_MANAGE)
    async def activate(use: UseInPath, asked: Activation) -> None:
        """Show a certificate to everybody who connects from now on."""
        await certificates.activate(held(), asked.name, use)

    @resource.delete("/certificates/active/{use}", "deactivate", Permission.SETTINGS_MANAGE)
    async def deactivate(use: UseInPath) -> None:
        """Show none for this use any more."""
        await certificates.deactivate(held(), use)

    @resource.get("/certificates/own/{certificate}", "pem", Permission.SETTINGS_READ)
    async def pem(certificate: NameInPath) -> PemText:
        """The chain of a certificate, or a request."""
        return PemText(pem=await certificates.public_part(held(), certificate))

    @resource.delete("/certificates/own/{certificate}", "remove", Permission.SETTINGS_MANAGE)
    async def remove(certificate: NameInPath) -> None:
        """Remove certificate and key for good; not while it is active."""
        await certificates.remove_certificate(held(), certificate)

    @resource.get("/certificates/trusted", "trusted", Permission.SETTINGS_READ)
    async def trusted() -> TrustedList:
        """Certificates that others are checked by."""
        return TrustedList.model_validate(
            {"items": await trusted_certificates.list_trusted(held())}, from_attributes=True
        )

    @resource.add("/certificates/trusted", "trust", Permission.SETTINGS_MANAGE)
    async def trust(asked: NewTrusted) -> Names:
        """Trust certificates."""
        return Names(names=await trusted_certificates.trust(held(), asked.name, asked.certificates.encode()))

    @resource.delete("/certificates/trusted/{certificate}", "distrust", Permission.SETTINGS_MANAGE)
    async def distrust(certificate: NameInPath) -> None:
        """Trust a certificate no longer; associations that are open go on."""
        await trusted_certificates.distrust(held(), certificate)

    @resource.put("/certificates/trusted/{certificate}/revoked", "set_revoked", Permission.SETTINGS_MANAGE)
    async def set_revoked(certificate: NameInPath, asked: RevocationList) -> Count:
        """Take over an issuer's list of revoked certificates, and tell how many it names."""
        crl = (asked.crl or "").encode()
        return Count(count=await trusted_certificates.set_revoked(held(), certificate, crl))
