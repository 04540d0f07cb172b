"""Callers that did not get through the TLS handshake: told in the log, in the ledger and, if it was about who they are, in the
audit trail.
"""

from __future__ import annotations

import ssl
from typing import Final

import structlog

from fileroom.admin.audit_events import security_alert
from fileroom.admin.audit_message import EventType, Outcome
from fileroom.admin.ledger_rows import Direction
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind
from fileroom.core.errors import PeerRefusedError
from fileroom.net.association_handler import PeerAddress
from fileroom.net.tls import why_refused

_log: Final = structlog.get_logger(__name__)


def handshake_failed(archive: Archive, peer: PeerAddress, error: BaseException) -> None:
    """Tell it. Whoever opens a connection and leaves is a scanner or a health check, and no news."""
    reason = why_refused(error)
    if not isinstance(error, ssl.SSLError | PeerRefusedError):
        _log.debug("handshake_not_finished", peer=str(peer), reason=reason)
        return
    _log.warning("handshake_failed", peer=str(peer), reason=reason)
    archive.ledger.begin(Direction.IN, peer).not_secured(reason)
    if is_about_identity(error):
        who = Access(ActorKind.NODE, f"@{peer.host}", address=peer.host)
        archive.audit.note(
            security_alert(
                EventType.NODE_AUTHENTICATION, f"Refused: {reason}", outcome=Outcome.SERIOUS_FAILURE, actor=who
            )
        )


def is_about_identity(error: BaseException) -> bool:
    """Whether the caller could not show who it is."""
    no_certificate = getattr(error, "reason", "") == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    return no_certificate or isinstance(error, ssl.SSLCertVerificationError | PeerRefusedError)
