"""A notice by e-mail (RFC 5321): one for each batch of a study. Objects themselves are not sent.

Templates take {destination}, {objects}, {series}, {mib} and those attributes that `attributes` names, {Modality} for instance;
without that list no word about the patient leaves. What attributes hold comes from the network: it is put on one line, and
never decides who gets the mail.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import Any, Final

import aiosmtplib

from fileroom.admin.tls_in_use import client_tls_for
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, PeerRefusedError, PeerTimeoutError, RequestError, told
from fileroom.core.limits import MIB
from fileroom.net.tls import PeerTls, why_refused
from fileroom.routing.destination_kind import Confirmation, KindContext, Outcome, OutcomeKind, Settle
from fileroom.routing.notice_fields import ATTRIBUTES_FIELD, attributes_of, checked_attributes, event_id, one_line
from fileroom.routing.opening import refused
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.target_fields import FieldType, TargetField, checked_target, filled

TIMEOUT_S: Final = 30.0
RECIPIENTS_MAX: Final = 50
SUBJECT_CHARS_MAX: Final = 200
_PLACE: Final = re.compile(r"\{([A-Za-z0-9_]*)\}")
_SAFE: Final = ("destination", "objects", "series", "mib")
_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_TEXT: Final = "{objects} objects of {series} series ({mib} MiB) have arrived for {destination}.\n"


@dataclass(frozen=True, slots=True)
class MailKind:
    """Kind `mail`."""

    name: str = "mail"
    secrets: frozenset[str] = frozenset({"password"})
    confirmations: frozenset[Confirmation] = frozenset({Confirmation.ANSWER})
    fields: tuple[TargetField, ...] = (
        TargetField(
            "to", told("Recipients"), FieldType.LIST, default=[], required=True, help=told("Addresses, by commas.")
        ),
        TargetField("sender", told("From"), required=True, help=told("For example fileroom@hospital.example.")),
        TargetField("host", told("Mail server"), required=True),
        TargetField("port", told("Port"), FieldType.NUMBER, default=587, minimum=1, maximum=65535),
        TargetField(
            "security",
            told("Encryption"),
            FieldType.CHOICE,
            default="starttls",
            choices=("starttls", "tls", "none"),
            help=told("starttls (usually port 587), tls from the first byte (465), or none (25)."),
        ),
        TargetField(
            "trust",
            told("Its certificate is checked by"),
            FieldType.CHOICE,
            default="system",
            choices=("system", "own"),
            help=told("The public authorities of this system, or the issuers under Certificates > Trusted alone."),
        ),
        TargetField("user", told("User"), help=told("Empty: without a login.")),
        TargetField("password", told("Password"), FieldType.SECRET),
        TargetField(
            "plain_login",
            told("Allow a login without TLS"),
            FieldType.FLAG,
            default=False,
            help=told(
                "The login crosses the network in the clear. For tests, or where the network itself is encrypted."
            ),
        ),
        TargetField("subject", told("Subject line"), default="Fileroom: {objects} objects for {destination}"),
        TargetField("text", told("Text"), FieldType.LINES, default=_TEXT),
        ATTRIBUTES_FIELD,
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError."""
        found = checked_target(told("E-mail"), self.fields, target)
        checked_attributes(found)
        for one in (found["sender"], *found["to"]):
            if not _ADDRESS.fullmatch(one) or not one.isascii():
                raise InvalidRequestError(
                    told("{address} is no e-mail address, for example pacs@hospital.example.", address=repr(one)[:80])
                )
        if len(found["to"]) > RECIPIENTS_MAX:
            raise InvalidRequestError(told("At most {most} addresses get a notice.", most=RECIPIENTS_MAX))
        if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,255}", found["host"]):
            raise InvalidRequestError(told("{host} is no host name or address.", host=repr(found["host"])[:80]))
        if bool(found.get("user")) != bool(found.get("password")):
            raise InvalidRequestError(told("A login has a user and a password."))
        if found.get("user") and found.get("security") == "none" and not found.get("plain_login"):
            raise InvalidRequestError(
                told(
                    "The login would cross the network in the clear. Take starttls or tls, or allow it with plain_login."
                )
            )
        known = {*_SAFE, *found.get("attributes", ())}
        for field in ("subject", "text"):
            for name in _PLACE.findall(filled(self.fields, found)[field]):
                if name not in known:
                    raise InvalidRequestError(
                        told(
                            "The {field} names {name}, which the notice may not tell. Add it to the attributes, or take one "
                            "of {known}.",
                            field=field,
                            name="{" + name + "}",
                            known=", ".join(sorted(known)),
                        )
                    )
        return found

    def describe(self, target: Mapping[str, Any]) -> str:
        """Who gets it."""
        to = [str(one) for one in target.get("to", ())]
        return f"mailto:{','.join(to[:3])}{' …' if len(to) > 3 else ''}"

    @contextlib.asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[MailSession]:
        """Connects with the first mail: servers close connections on which nothing is said."""
        yield MailSession(context, filled(self.fields, context.target))

    async def probe(self, context: KindContext) -> str:
        """Connects, with TLS and login, and sends nothing. Raises PeerError."""
        target = filled(self.fields, context.target)
        async with _connected(context.archive, target) as smtp:
            with _told_failures(target):
                await smtp.noop()
        return told("{host} answers and takes the login; no mail was sent.", host=target["host"])


MAIL: Final = MailKind()


class MailSession:
    """One lane that sends notices."""

    def __init__(self, context: KindContext, target: Mapping[str, Any]) -> None:
        self._archive = context.archive
        self._destination = context.destination
        self._target = target

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """One mail for all. Raises PeerError when the server cannot be reached or does not let us in."""
        if not batch:
            return
        try:
            message = await self._message(batch)
        except RequestError as error:
            outcome = refused(error)
        except (MessageError, ValueError) as error:
            outcome = Outcome(
                OutcomeKind.REFUSED, told("The mail cannot be written: {reason}.", reason=type(error).__name__)
            )
        else:
            outcome = await self._deliver(message)
        for one in batch:
            settle(one, outcome)

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """The answer is all there is."""
        del batch
        return {}

    async def post(self, subject: str, text: str, number: str) -> Outcome:
        """One mail with these words, for alerts. `number` is its own, without blanks. Raises PeerError."""
        try:
            message = self._written(subject, text, number)
        except (MessageError, ValueError) as error:
            reason = type(error).__name__
            return Outcome(OutcomeKind.REFUSED, told("The mail cannot be written: {reason}.", reason=reason))
        return await self._deliver(message)

    async def _deliver(self, message: EmailMessage) -> Outcome:
        target = self._target
        async with _connected(self._archive, target) as smtp:
            with _told_failures(target):
                try:
                    errors, _ = await smtp.send_message(message, sender=target["sender"], recipients=list(target["to"]))
                except aiosmtplib.SMTPRecipientsRefused as error:
                    return _answered(
                        max((one.code for one in error.recipients), default=550), error.recipients[0].message
                    )
                except aiosmtplib.SMTPResponseException as error:
                    return _answered(error.code, error.message)
        if errors:
            cause = told(
                "The mail server refused the addresses {addresses}.", addresses=", ".join(sorted(errors))[:200]
            )
            return Outcome(OutcomeKind.WARNED, cause, 250)
        return Outcome(OutcomeKind.TAKEN, status=250)

    async def _message(self, batch: Sequence[OutgoingObject]) -> EmailMessage:
        target, first = self._target, batch[0]
        values: dict[str, str] = {
            "destination": self._destination,
            "objects": str(len(batch)),
            "series": str(len({one.series_instance_uid for one in batch})),
            "mib": f"{sum(one.file_bytes for one in batch) / MIB:.1f}",
            **(await attributes_of(first, target["attributes"])),
        }
        return self._written(
            _filled(target["subject"], values), _filled(target["text"], values), event_id(self._destination, batch)
        )

    def _written(self, subject: str, text: str, number: str) -> EmailMessage:
        target = self._target
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = Address(addr_spec=target["sender"])
        message["To"] = [Address(addr_spec=one) for one in target["to"]]
        message["Subject"] = one_line(subject)[:SUBJECT_CHARS_MAX]
        message["Date"] = format_datetime(self._archive.now())
        domain = str(target["sender"]).rpartition("@")[2]
        message["Message-ID"] = f"<{number}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no robot answers it
        message.set_content(text)
        return message


@contextlib.asynccontextmanager
async def _connected(archive: Archive, target: Mapping[str, Any]) -> AsyncIterator[aiosmtplib.SMTP]:
    """A server that let us in. Raises PeerError, ConfigurationError."""
    security = target["security"]
    smtp = aiosmtplib.SMTP(
        hostname=target["host"],
        port=int(target["port"]),
        timeout=TIMEOUT_S,
        use_tls=security == "tls",
        start_tls=security == "starttls",
        tls_context=await _context(archive, target) if security != "none" else None,
    )
    with _told_failures(target):
        await smtp.connect()
    try:
        if target["user"]:
            with _told_failures(target):
                await smtp.login(target["user"], target["password"])
        yield smtp
    finally:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await smtp.quit()
        smtp.close()


async def _context(archive: Archive, target: Mapping[str, Any]) -> ssl.SSLContext:
    if target["trust"] == "own":
        return (await client_tls_for(archive.pool, archive.settings, PeerTls(shows_ours=False))).context
    return ssl.create_default_context()


@contextlib.contextmanager
def _told_failures(target: Mapping[str, Any]) -> Iterator[None]:
    where = f"{target['host']}:{target['port']}"
    try:
        yield
    except aiosmtplib.SMTPAuthenticationError as error:
        raise PeerRefusedError(
            told(
                "The mail server {host} does not take the login ({code}). Check user and password.",
                host=where,
                code=error.code,
            )
        ) from error
    except (aiosmtplib.SMTPTimeoutError, TimeoutError) as error:
        raise PeerTimeoutError(told("The mail server {host} did not answer in time.", host=where)) from error
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError, ValueError) as error:
        raise PeerRefusedError(
            told("The mail server {host} cannot be used: {reason}.", host=where, reason=_reason(error))
        ) from error


def _reason(error: BaseException) -> str:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return why_refused(seen)
        seen = seen.__cause__ or seen.__context__
    return one_line(str(error) or type(error).__name__).rstrip(".")


def _answered(code: int, message: str) -> Outcome:
    """RFC 5321 4.2.1: 4xx passes by itself, 5xx does not."""
    kind = OutcomeKind.TRY_LATER if code < 500 else OutcomeKind.REFUSED
    return Outcome(kind, told("The mail server answers {code}: {message}", code=code, message=one_line(message)), code)


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: values.get(match[1], ""), template)
