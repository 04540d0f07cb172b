"""At the start of the supervisor: a port that is to speak TLS and has no certificate yet gets one that signs itself.

So passwords never cross a network in the clear for want of a certificate, and a DICOM TLS port that somebody has switched on
answers. Administrators replace it when they have a better one (`/admin/certificates`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from fileroom.admin.certificate_uses import Use
from fileroom.app.database import connected_pool
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.clock import system_now
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.web.address import listens_on_loopback_only

NAME: Final = "self-signed"
_ADDRESS_FOR_TESTS: Final = ("192.0.2.1", 9)
"""RFC 5737: nobody is there, and nothing is sent; the system only chooses the address that it would send from."""


def make_first_certificates(settings: Settings) -> bool:
    """Make and activate what is missing; whether something was. Raises ConfigurationError, DatabaseError."""
    wanted = tuple(_wanted(settings))
    return bool(wanted) and asyncio.run(_make(settings, wanted))


def _wanted(settings: Settings) -> list[Use]:
    uses = [Use.DICOM] if settings.dicom_tls_port else []
    plain_only = settings.web_plain_http == "everywhere" or settings.http_certificate or settings.trusted_proxies
    if not plain_only and (settings.web_plain_http == "never" or not listens_on_loopback_only(settings.web_host)):
        uses.append(Use.WEB)
    return uses


async def _make(settings: Settings, wanted: tuple[Use, ...]) -> bool:
    async with connected_pool(settings) as pool:
        missing = await _without_certificate(pool, wanted)
        if not missing:
            return False
        # Loads cryptography, which a start that needs no certificate does without.
        from fileroom.admin.certificates import (
            Certificates,
            CertificateWish,
            activate,
            list_certificates,
            make_self_signed_certificate,
        )

        with acting_as(SYSTEM):
            certificates = Certificates(pool, settings.data, system_now)
            there = {one.name: one for one in await list_certificates(certificates)}
            name = next(
                name for name in (NAME, *(f"{NAME}-{number}" for number in range(2, 1000))) if name not in there
            )
            await make_self_signed_certificate(certificates, name, CertificateWish(tuple(own_names(settings))))
            for use in missing:
                await activate(certificates, name, use)
        return True


async def _without_certificate(pool: Pool, wanted: tuple[Use, ...]) -> list[Use]:
    async with pool.connection() as connection:
        rows = await (await connection.execute(b"SELECT use FROM certificate_use")).fetchall()
    active = {row[0] for row in rows}
    return [use for use in wanted if use.value not in active]


def own_names(settings: Settings) -> list[str]:
    """What this machine is called and where it answers, as far as it knows without asking anybody."""
    names = [socket.gethostname().rstrip(".")]
    for host in (settings.web_host, settings.host):
        if host not in ("0.0.0.0", "::", ""):  # noqa: S104 - everywhere: no name to be called by
            names.append(host)
    names += [name.strip() for name in settings.trusted_hosts.replace(",", " ").split()]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ADDRESS_FOR_TESTS)
        names.append(str(probe.getsockname()[0]))
    names += ["localhost", "127.0.0.1", "::1"]
    return list(dict.fromkeys(name for name in names if name))
