"""The tree of errors. A message says what happened, to which object, why, and what to do next.

    FileroomError
    ├── PeerError            the peer broke the protocol; the connection is ended, the server lives on
    │   ├── ProtocolError        bytes or messages that the standard does not allow here
    │   ├── PeerTimeoutError     the peer did not speak in time
    │   └── PeerRefusedError     the peer (or its network) refused an association, a context or an operation
    │       └── NoContextError       it accepted none of the proposed presentation contexts
    ├── RequestError         the caller asked for something it cannot have; nothing changed
    │   ├── InvalidRequestError  the question itself is wrong
    │   │   └── Hl7Error             no HL7 message can be made of it, or not there
    │   ├── InvalidObjectError   the object given cannot be kept
    │   ├── NotFoundError        there is no such thing
    │   ├── NotAllowedError      the caller has no right to it
    │   ├── NotAuthenticatedError  nobody has shown who they are, or what they showed is wrong
    │   ├── TooManyAttemptsError   too many failed logins; wait
    │   ├── ConflictError        it contradicts what is already there
    │   ├── UnsupportedError     a known thing that Fileroom does not do
    │   └── TooLargeError        it is past a limit
    └── ServiceError         we failed; the caller may try again later
        ├── StorageError         the object store did not keep or give the bytes
        │   └── StorageFullError     it has no room
        ├── DatabaseError        the database did not answer or did not commit
        ├── ProviderDownError    the directory or the OpenID provider cannot be asked who somebody is
        └── ConfigurationError   a setting makes it impossible to start

Only the edges (scp, web, cli) turn these into DIMSE statuses, HTTP codes and exit codes, each by one table.
"""

from __future__ import annotations

from collections.abc import Mapping


class Told(str):
    """A sentence that remembers what it was made of, so that pages can say it in the reader's language (`told`)."""

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, object]


def told(template: str, /, **values: object) -> Told:
    """The sentence `template.format(**values)`. Catalogues collect the templates by the name of this function."""
    sentence = Told(template.format_map(values) if values else template)
    sentence.template, sentence.values = template, values
    return sentence


class FileroomError(Exception):
    """Root of all errors that Fileroom raises on purpose."""

    @property
    def sentence(self) -> str:
        """What it says; a `Told` where it can be said in other languages too."""
        return self.args[0] if self.args and isinstance(self.args[0], str) else str(self)


class PeerError(FileroomError):
    """The peer broke the protocol or went away."""


class ProtocolError(PeerError):
    """Bytes or messages that the standard does not allow here."""


class PeerTimeoutError(PeerError):
    """The peer did not speak in time."""


class PeerRefusedError(PeerError):
    """The peer refused an association, a presentation context or an operation, or could not be reached."""


class NoContextError(PeerRefusedError):
    """The peer opened the association, but takes nothing of what was proposed."""


class RequestError(FileroomError):
    """The caller asked wrongly; nothing was changed."""


class InvalidRequestError(RequestError):
    """The question itself is malformed."""


class Hl7Error(InvalidRequestError):
    """No HL7 message can be made of what was given, or no such place is in it."""


class InvalidObjectError(RequestError):
    """The object given cannot be kept."""


class NotFoundError(RequestError):
    """There is no such thing."""


class NotAllowedError(RequestError):
    """The caller has no right to it."""


class NotAuthenticatedError(RequestError):
    """Nobody has shown who they are, or what they showed is wrong or no longer good."""


class TooManyAttemptsError(RequestError):
    """Too many failed logins. `retry_after_s`: seconds until the next attempt is looked at."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConflictError(RequestError):
    """It contradicts what is already there."""


class UnsupportedError(RequestError):
    """A known thing that Fileroom does not do."""


class TooLargeError(RequestError):
    """It is past a limit."""


class ServiceError(FileroomError):
    """We failed; nothing was confirmed."""


class StorageError(ServiceError):
    """The object store did not keep or give the bytes."""


class StorageFullError(StorageError):
    """The object store has no room left."""


class DatabaseError(ServiceError):
    """The database did not answer or did not commit."""


class ProviderDownError(ServiceError):
    """The directory or the OpenID provider cannot be asked who somebody is; accounts of Fileroom itself still log in."""


class ConfigurationError(ServiceError):
    """A setting makes it impossible to start."""
