"""Who does not get through the TLS handshake: what of it stands in ledger, pages and audit trail."""

from __future__ import annotations

import dataclasses
import ssl

import httpx
import pytest

from fileroom.admin.audit_buffer import AuditBuffer
from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_advice import See, advise
from fileroom.admin.ledger_rows import Cause, Outcome
from fileroom.admin.ledger_search import LedgerFilter
from fileroom.archive.associations import search_associations, show_association
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.clock import system_now
from fileroom.core.errors import PeerRefusedError
from fileroom.net.association_handler import PeerAddress
from fileroom.scp.handshakes import handshake_failed, is_about_identity
from fileroom.web.app import create_app

PEER = PeerAddress("10.1.2.3", 4711, tls=True)


def verification_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


async def test_a_failure_becomes_a_row_with_the_next_step_and_a_page(archive: Archive) -> None:
    recorded = dataclasses.replace(archive, ledger=Ledger(archive.pool, system_now))
    handshake_failed(recorded, PEER, verification_error(10, "certificate has expired"))
    await recorded.ledger.flush()
    with acting_as(SYSTEM):
        (entry,) = await search_associations(recorded, LedgerFilter(failed=True))
        shown, _ = await show_association(recorded, entry.id)
    assert (entry.outcome, entry.cause, entry.tls) == (Outcome.REJECTED, Cause.TLS_FAILED, True)
    (advice,) = advise(shown, "FILEROOM")
    assert advice.what_text == (
        "A caller at 10.1.2.3 did not get through the TLS handshake: its certificate has expired; it needs a new one."
    )
    assert advice.see is See.CERTIFICATES
    transport = httpx.ASGITransport(create_app(recorded), client=("127.0.0.1", 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        page = await client.get(f"/admin/associations/{entry.id}", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert 'href="/admin/certificates"' in page.text


async def test_scanners_are_no_news(archive: Archive) -> None:
    recorded = dataclasses.replace(archive, ledger=Ledger(archive.pool, system_now))
    handshake_failed(recorded, PEER, ConnectionResetError())
    handshake_failed(recorded, PEER, TimeoutError())
    await recorded.ledger.flush()
    with acting_as(SYSTEM):
        assert await search_associations(recorded, LedgerFilter()) == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (verification_error(20, "unable to get local issuer certificate"), True),
        (PeerRefusedError("its certificate was revoked"), True),
        (ssl.SSLError(1, "[SSL: NO_SHARED_CIPHER] no shared cipher"), False),
    ],
)
def test_what_is_about_who_they_are_goes_into_the_audit_trail(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: bool
) -> None:
    noted: list[object] = []
    monkeypatch.setattr(AuditBuffer, "note", lambda _self, event: noted.append(event))
    handshake_failed(archive, PEER, error)
    assert is_about_identity(error) is expected
    assert bool(noted) is expected
