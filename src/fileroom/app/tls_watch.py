"""The TLS of a worker's port: looks every few seconds whether certificates have changed, and makes the context anew.

New connections get the new one; open ones keep what they began with. While the database is away, nothing changes. What
cannot be used is said in the log, and the port goes on with what it had.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import structlog

from fileroom.admin.certificate_uses import Use
from fileroom.admin.tls_in_use import read_tls, tls_version
from fileroom.core.clock import Now
from fileroom.core.errors import ConfigurationError, DatabaseError
from fileroom.core.limits import CERTIFICATE_POLL_S
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.net.tls import ClientCertificates, KeyPair, ServerTls, Trust, server_context

_log: Final = structlog.get_logger(__name__)

_HTTP_1_1: Final = ("http/1.1",)


class TlsWatch:
    """Has the `ServerTls` of the moment for one use."""

    def __init__(self, pool: Pool, settings: Settings, use: Use, now: Now) -> None:
        self._pool = pool
        self._settings = settings
        self._use = use
        self._now = now
        self._seen: object = None
        self.current: ServerTls | None = None
        """For the next connection; None: there is no certificate."""

    async def look(self) -> int:
        """Make it anew if something has changed. For `tasks.loop.run_periodically`: there is never more to do at once."""
        try:
            stamp = (await tls_version(self._pool), *self._file_times())
            if stamp != self._seen:
                await self._read()
                self._seen = stamp
        except DatabaseError as error:
            _log.debug("certificates_not_read", reason=str(error))
        return 0

    async def _read(self) -> None:
        if self._use is Use.WEB and self._settings.http_certificate:
            self._use_file()
            return
        clients: ClientCertificates = "off" if self._use is Use.WEB else self._settings.dicom_tls_clients
        found = await read_tls(self._pool, self._settings)
        made = found.server(self._use, clients, protocols=_HTTP_1_1 if self._use is Use.WEB else ())
        if made is None and self._use in found.own:
            return  # it cannot be used, as the log says: go on with the one before
        if made is not None:
            self._tell(ends_at=found.not_after[self._use])
        elif self.current is not None:
            _log.warning("certificate_gone", use=self._use.value)
        self.current = made

    def _use_file(self) -> None:
        """The certificate that the settings name. In the middle of a renewal the pair may not fit: then wait."""
        chain, key = (
            Path(self._settings.http_certificate),
            Path(self._settings.http_key or self._settings.http_certificate),
        )
        try:
            pair = KeyPair(chain.read_text(), key)
            self.current = ServerTls(server_context(pair, Trust(), "off", protocols=_HTTP_1_1), Trust())
        except (OSError, UnicodeDecodeError, ConfigurationError) as error:
            _log.error("certificate_not_usable", use=self._use.value, file=str(chain), reason=str(error))
        else:
            self._tell(file=str(chain))

    def _tell(self, **facts: object) -> None:
        ends_at = facts.get("ends_at")
        if ends_at is not None and ends_at <= self._now():  # type: ignore[operator]  # both are aware datetimes
            _log.error(
                "certificate_expired", use=self._use.value, ended_at=str(ends_at), action="renew it under Certificates"
            )
        else:
            _log.info("certificate_active", use=self._use.value, **{name: str(value) for name, value in facts.items()})

    def _file_times(self) -> tuple[int, ...]:
        if self._use is not Use.WEB:
            return ()
        times = []
        for name in (self._settings.http_certificate, self._settings.http_key):
            with contextlib.suppress(OSError):
                times.append(Path(name).stat().st_mtime_ns if name else 0)
        return tuple(times)


@contextlib.asynccontextmanager
async def watched_tls(
    pool: Pool, settings: Settings, use: Use, now: Now
) -> AsyncIterator[Callable[[], ServerTls | None]]:
    """What gives the `ServerTls` of the moment, for as long as the block lasts."""
    watch = TlsWatch(pool, settings, use, now)
    await watch.look()

    async def go_on() -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_POLL_S)
            await watch.look()

    looking = asyncio.create_task(go_on())
    try:
        yield lambda: watch.current
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
