"""Who acts, what they may do, and whose studies they may see.

Every process acts as somebody: a person with a session or token, a node on an association, or Fileroom itself. The edges
(web, scp) find out who it is and do the work inside `acting_as(access)`; commands and background work call
`set_process_access(SYSTEM)` once at their start. Services ask `current_access()`, so that a rule holds on every way in.

It fails closed: where nobody has said who acts, nothing is permitted.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Final

from fileroom.core.errors import NotAllowedError, told


class Permission(enum.StrEnum):
    """One thing that a role may allow. The value is its name in settings, tokens and documents."""

    STUDY_SEARCH = "study.search"
    """Find studies and see their lists and attributes."""
    STUDY_VIEW = "study.view"
    """See images and reports."""
    STUDY_EXPORT = "study.export"
    """Take copies away: download, media, sending to a node."""
    STUDY_STORE = "study.store"
    """Bring objects in: C-STORE, STOW-RS, import."""
    STUDY_CORRECT = "study.correct"
    """Change what studies are shown and sent with; the received bytes stay."""
    STUDY_DELETE = "study.delete"
    """Delete studies, series and instances."""
    STUDY_BREAK_GLASS = "study.break-glass"
    """See, with a reason and for a time, what the row scope hides."""
    NODE_READ = "node.read"
    """See nodes and held callers, and call them (C-ECHO)."""
    NODE_MANAGE = "node.manage"
    """Add, change and remove nodes."""
    LEDGER_READ = "ledger.read"
    """See associations and deliveries."""
    SYSTEM_READ = "system.read"
    """Dashboard, storage, queues, metrics."""
    SYSTEM_MANAGE = "system.manage"
    """Upkeep: verify and repair, make the index anew, background work."""
    SETTINGS_READ = "settings.read"
    """See the settings."""
    SETTINGS_MANAGE = "settings.manage"
    """Change the settings."""
    USER_MANAGE = "user.manage"
    """Accounts, roles, sessions and tokens of others."""
    ROUTING_READ = "routing.read"
    """See rules, destinations and where objects were delivered; try a rule without effect."""
    ROUTING_MANAGE = "routing.manage"
    """Change rules and destinations; retry, hold and redirect deliveries."""
    IDENTITY_REVEAL = "identity.reveal"
    """Open the vault of a de-identification project: which pseudonym is whom."""
    EDGE_LINK = "edge.link"
    """Be an edge: bring objects in, and fetch what waits for that edge, over the edge link."""
    ORDER_READ = "order.read"
    """See patients, orders and the worklist as the RIS tells them, and studies that met no order."""
    ORDER_MANAGE = "order.manage"
    """Enter and change orders, merge patients, say which order a study belongs to."""
    MESSAGE_READ = "message.read"
    """See HL7 messages and what became of them."""
    MESSAGE_MANAGE = "message.manage"
    """Mend, repeat and send HL7 messages; change feeds and how their messages are read."""
    REPORT_WRITE = "report.write"
    """Write reports and keep them as drafts or preliminary; note who was told of a critical finding."""
    REPORT_SIGN = "report.sign"
    """Sign reports, add to and correct what was signed."""
    AUDIT_READ = "audit.read"
    """Search and check the audit trail; review who broke the glass."""


@dataclass(frozen=True, slots=True)
class RowScope:
    """Which studies somebody may see: those that fit every list that is given (and, within a list, any entry)."""

    institutions: tuple[str, ...] = ()
    """Institution Name (0008,0080) of a series, without regard to case or to blanks around and between words."""
    modalities: tuple[str, ...] = ()
    """Modality (0008,0060) of a series."""
    referring_physicians: tuple[str, ...] = ()
    """Referring Physician's Name (0008,0090), in the normal form of names."""
    patient_ids: tuple[str, ...] = ()
    own_uploads: bool = False
    """Only studies that the person has brought in: whose first object came from them (`Access.uploader`)."""

    @property
    def is_everything(self) -> bool:
        """No restriction at all."""
        return self == EVERYTHING


EVERYTHING: Final = RowScope()


@dataclass(frozen=True, slots=True)
class FhirScope:
    """One scope in the manner of SMART on FHIR: of whom (patient, user, system), which kind (`*`: any), which of c r u d s."""

    level: str
    kind: str
    rights: str


@dataclass(frozen=True, slots=True)
class FhirScopes:
    """What a token with such scopes may do, below /fhir and nowhere else: there it has these permissions.

    `patients` are the rows of the RIS side that scopes of the level patient are about; none: of nobody.
    """

    scopes: tuple[FhirScope, ...]
    permissions: frozenset[Permission] = frozenset()
    patients: tuple[int, ...] = ()


class ActorKind(enum.StrEnum):
    """What kind of somebody acts."""

    PERSON = "person"
    TOKEN = "token"  # noqa: S105 - a kind of actor
    NODE = "node"
    SYSTEM = "system"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody who acts. `name` is a login, a token's name or `AET@address`."""

    kind: ActorKind
    name: str
    permissions: frozenset[Permission] = field(default_factory=frozenset)
    rows: RowScope = EVERYTHING
    address: str = ""
    """Where the request came from, for the audit trail."""
    account_id: int | None = None
    fhir: FhirScopes | None = None
    """A token that is narrowed to resources of FHIR; `permissions` are none then, until FHIR is asked (`within_fhir`)."""

    @property
    def within_fhir(self) -> Access:
        """The same where FHIR is asked."""
        return self if self.fhir is None else replace(self, permissions=self.fhir.permissions)

    @property
    def uploader(self) -> str:
        """Whose own uploads are theirs: an account's, whatever it is called by then, a token's, a node's; empty: nobody's.

        What Fileroom itself brings in (an import on the server) belongs to nobody.
        """
        if self.account_id is not None:
            return f"account:{self.account_id}"
        return f"{self.kind.value}:{self.name}" if self.kind in (ActorKind.TOKEN, ActorKind.NODE) else ""

    def allows(self, permission: Permission) -> bool:
        """Whether it is permitted."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raises NotAllowedError."""
        if permission not in self.permissions:
            raise NotAllowedError(
                told(
                    "{who} has no permission {permission}. An administrator can give a role that has it.",
                    who=self.name or "Nobody",
                    permission=permission.value,
                )
            )


NOBODY: Final = Access(ActorKind.NOBODY, "")
SYSTEM: Final = Access(ActorKind.SYSTEM, "system", frozenset(Permission))
"""Fileroom's own work, and commands on the server itself: whoever may run them can read the files anyway."""

_current: ContextVar[Access] = ContextVar("fileroom_access")
_of_the_process: Access = NOBODY


def current_access() -> Access:
    """Who acts now; NOBODY where nobody has said so."""
    return _current.get(_of_the_process)


def require(permission: Permission) -> Access:
    """Who acts now, if that is permitted to them. Raises NotAllowedError."""
    access = current_access()
    access.require(permission)
    return access


@contextlib.contextmanager
def acting_as(access: Access) -> Iterator[None]:
    """Do what is inside, and the tasks started there, in somebody's name."""
    token = _current.set(access)
    try:
        yield
    finally:
        _current.reset(token)


def set_process_access(access: Access) -> None:
    """In whose name this process works where nothing else is said: SYSTEM in commands and background work."""
    global _of_the_process
    _of_the_process = access
