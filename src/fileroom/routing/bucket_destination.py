"""Objects in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage (through obstore).

Each goes under a key made of its attributes; it becomes visible when it is complete. Sending again replaces it.

    s3://bucket/prefix    login keys (access_key, secret_key) · machine (environment, instance role) · none
    gs://bucket/prefix    login keys (secret_key: the service account's JSON) · machine
    az://container/prefix login keys (access_key: the account, secret_key: its key) · machine
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from fileroom.archive.retrieve import OpenedObject
from fileroom.core.errors import InvalidRequestError, PeerRefusedError, PeerTimeoutError, RequestError, told
from fileroom.core.limits import MIB
from fileroom.routing.destination_kind import Confirmation, KindContext, Outcome, OutcomeKind, Settle
from fileroom.routing.name_patterns import DEFAULT_PATTERN, checked_pattern, name_of
from fileroom.routing.opening import open_file, pieces_of, refused
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.target_fields import FieldType, TargetField, checked_target, filled
from fileroom.routing.web_client import require_tls

WHOLE_BYTES_MAX: Final = 8 * MIB
"""What goes in one request; larger objects go in parts of that size (S3 takes 10,000, so 80 GB)."""
PUT_TIMEOUT_S: Final = 300.0
"""For one request: 8 MiB over a line of 1 Mbit/s take 70 s."""
ASK_TIMEOUT_S: Final = 30.0
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}")
_Store = S3Store | GCSStore | AzureStore


@dataclass(frozen=True, slots=True)
class BucketKind:
    """Kind `bucket`."""

    name: str = "bucket"
    secrets: frozenset[str] = frozenset({"secret_key"})
    confirmations: frozenset[Confirmation] = frozenset({Confirmation.ANSWER, Confirmation.COUNT})
    fields: tuple[TargetField, ...] = (
        TargetField(
            "bucket",
            told("Bucket"),
            required=True,
            help=told("s3://bucket/prefix, gs://bucket/prefix or az://container/prefix."),
        ),
        TargetField(
            "endpoint",
            told("Endpoint"),
            FieldType.URL,
            help=told(
                "The address of a store that is not the provider's own, for example https://minio.hospital.example."
            ),
        ),
        TargetField("region", told("Region"), default="us-east-1", help=told("Of S3 alone.")),
        TargetField(
            "login",
            told("Kind of login"),
            FieldType.CHOICE,
            default="keys",
            choices=("keys", "machine", "none"),
            help=told("With keys given here, as the machine is known to its cloud, or without one."),
        ),
        TargetField(
            "access_key", told("Access key"), help=told("S3: the access key ID. Azure: the name of the account.")
        ),
        TargetField(
            "secret_key",
            told("Secret key"),
            FieldType.SECRET,
            help=told("S3: the secret access key. Azure: the account's key. Google: the service account as JSON."),
        ),
        TargetField(
            "pattern",
            told("Names of objects"),
            default=DEFAULT_PATTERN,
            help=told("Keywords of attributes in braces; {field} must be among them.", field="{SOPInstanceUID}"),
        ),
        TargetField(
            "plain_http",
            told("Allow a login without TLS"),
            FieldType.FLAG,
            default=False,
            help=told(
                "The login crosses the network in the clear. For tests, or where the network itself is encrypted."
            ),
        ),
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError."""
        found = checked_target(told("A bucket"), self.fields, target)
        scheme, bucket, prefix = _place(found["bucket"])
        if scheme not in ("s3", "gs", "az") or not _BUCKET.fullmatch(bucket) or not _is_prefix(prefix):
            raise InvalidRequestError(
                told("{bucket} is no address such as s3://bucket/prefix.", bucket=repr(found["bucket"])[:80])
            )
        found["bucket"] = f"{scheme}://{bucket}" + (f"/{prefix}" if prefix else "")
        if "pattern" in found:
            found["pattern"] = checked_pattern(found["pattern"])
        login = found.get("login", "keys")
        needed = {"s3": ("access_key", "secret_key"), "gs": ("secret_key",), "az": ("access_key", "secret_key")}[scheme]
        for field in needed if login == "keys" else ():
            if not found.get(field):
                raise InvalidRequestError(told("The login {login} needs the field {field}.", login=login, field=field))
        if not re.fullmatch(r"[a-z0-9-]{1,40}", filled(self.fields, found)["region"]):
            raise InvalidRequestError(told("{region} is no region, for example eu-central-1.", region=found["region"]))
        if login != "none":
            require_tls(found, "endpoint")
        return found

    def describe(self, target: Mapping[str, Any]) -> str:
        """The bucket, and where it is when it is not the provider's own."""
        endpoint = urlsplit(str(target.get("endpoint", ""))).netloc
        return f"{target.get('bucket', '')}{f' ({endpoint})' if endpoint else ''}"

    @contextlib.asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[BucketSession]:
        """Connects with the first object. Raises PeerError for settings that the engine does not take."""
        yield BucketSession(filled(self.fields, context.target))

    async def probe(self, context: KindContext) -> str:
        """Puts an empty object and deletes it. Raises PeerError."""
        async with self.open(context) as session:
            await session.try_out()
        return told("Objects can be put to {bucket}.", bucket=self.describe(context.target))


BUCKET: Final = BucketKind()


class BucketSession:
    """One lane that puts objects."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._where = str(target["bucket"])
        self._prefix = _place(self._where)[2]
        self._pattern = str(target["pattern"])
        try:
            self._store = _store_of(target)
        except (BaseError, ValueError, TypeError) as error:
            raise PeerRefusedError(
                told(
                    "{bucket} cannot be used: the engine does not take its settings ({reason}).",
                    bucket=self._where,
                    reason=type(error).__name__,
                )
            ) from error

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """Put them one after another. Raises PeerError when the store does not answer or does not let us in."""
        for one in batch:
            settle(one, await self._send(one))

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """Whether each key is there and not empty."""
        found: dict[int, Outcome] = {}
        for one in batch:
            key = await self._key(one)
            with self._told_failures():
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    try:
                        there = (await obstore.head_async(self._store, key))["size"] > 0
                    except FileNotFoundError:
                        there = False
            found[one.delivery_id] = (
                Outcome(OutcomeKind.TAKEN)
                if there
                else Outcome(
                    OutcomeKind.TRY_LATER, told("It is no longer in {bucket}; it is put again.", bucket=self._where)
                )
            )
        return found

    async def try_out(self) -> None:
        """Raises PeerError."""
        key = "/".join(filter(None, (self._prefix, ".fileroom-probe")))
        with self._told_failures():
            async with asyncio.timeout(ASK_TIMEOUT_S):
                await obstore.put_async(self._store, key, b"Fileroom")
                await obstore.delete_async(self._store, key)

    async def _send(self, outgoing: OutgoingObject) -> Outcome:
        opened = await open_file(outgoing)
        if isinstance(opened, Outcome):
            return opened
        try:
            key = await self._key(outgoing)
            size = await self._put(key, opened)
        except RequestError as error:  # Its bytes cannot be made: nothing that a retry would change.
            return refused(error)
        return Outcome(OutcomeKind.TAKEN, sent_bytes=size)

    async def _key(self, outgoing: OutgoingObject) -> str:
        return "/".join((*filter(None, self._prefix.split("/")), *await name_of(self._pattern, outgoing)))

    async def _put(self, key: str, opened: OpenedObject) -> int:
        """In one request, or in parts. An object that breaks in the middle is not completed, so it is never seen."""
        size, upload = 0, None
        waiting = b""
        async for piece in pieces_of(opened, WHOLE_BYTES_MAX):
            if waiting:
                with self._told_failures():
                    async with asyncio.timeout(PUT_TIMEOUT_S):
                        if upload is None:
                            upload = obstore.open_writer_async(self._store, key, buffer_size=WHOLE_BYTES_MAX)
                        await upload.write(waiting)
            waiting = piece
            size += len(piece)
        with self._told_failures():
            async with asyncio.timeout(PUT_TIMEOUT_S):
                if upload is None:
                    await obstore.put_async(self._store, key, waiting)
                else:
                    await upload.write(waiting)
                    await upload.close()
        return size

    @contextlib.contextmanager
    def _told_failures(self) -> Iterator[None]:
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PeerRefusedError(
                told(
                    "{bucket} does not let us in: check the keys, and their right to put and read.", bucket=self._where
                )
            ) from error
        except TimeoutError as error:
            raise PeerTimeoutError(told("{bucket} did not answer in time.", bucket=self._where)) from error
        except FileNotFoundError as error:
            raise PeerRefusedError(told("There is no bucket {bucket}.", bucket=self._where)) from error
        except (BaseError, OSError) as error:
            raise PeerRefusedError(
                told("{bucket} cannot be used: {reason}.", bucket=self._where, reason=_reason(error))
            ) from error


def _store_of(target: Mapping[str, Any]) -> _Store:
    scheme, bucket, _ = _place(target["bucket"])
    login, endpoint = target["login"], target["endpoint"].rstrip("/")
    options: Any = {
        "client_options": {
            "timeout": dt.timedelta(seconds=PUT_TIMEOUT_S),
            "connect_timeout": dt.timedelta(seconds=10),
            "allow_http": endpoint.startswith("http:"),
        },
        "retry_config": {"max_retries": 2, "retry_timeout": dt.timedelta(seconds=20)},
    }
    config: Any
    match scheme:
        case "s3":
            # The address always stands here: else the environment's, which is that of Fileroom's own store, would hold.
            region = target["region"]
            config = {"region": region, "endpoint": endpoint or f"https://s3.{region}.amazonaws.com"}
            config |= {"virtual_hosted_style_request": False, "skip_signature": login == "none"}
            if login == "keys":
                config |= {"access_key_id": target["access_key"], "secret_access_key": target["secret_key"]}
                return S3Store(bucket, config=config, credential_provider=_fixed(target), **options)
            return S3Store(bucket, config=config, **options)
        case "gs":
            config = {"service_account_key": target["secret_key"]} if login == "keys" else {}
            if login == "none":
                config["skip_signature"] = True
            if endpoint and login == "keys":
                config["service_account_key"] = json.dumps(
                    {**json.loads(target["secret_key"]), "gcs_base_url": endpoint}
                )
            return GCSStore(bucket, config=config, **options)
        case _:
            config = {"skip_signature": True} if login == "none" else {}
            if login == "keys":
                config = {"account_name": target["access_key"], "account_key": target["secret_key"]}
            if endpoint:
                config["endpoint"] = endpoint
            return AzureStore(bucket, config=config, **options)


def _fixed(target: Mapping[str, Any]) -> Any:
    """The keys of this destination and no others: a session token of the environment must not be sent with them."""

    def provide() -> dict[str, Any]:
        return {
            "access_key_id": target["access_key"],
            "secret_access_key": target["secret_key"],
            "token": None,
            "expires_at": None,
        }

    return provide


def _place(bucket: str) -> tuple[str, str, str]:
    """Scheme, bucket and prefix."""
    scheme, _, rest = bucket.partition("://")
    name, _, prefix = rest.partition("/")
    return scheme, name, prefix.strip("/")


def _is_prefix(prefix: str) -> bool:
    steps = prefix.split("/") if prefix else []
    return all(step and step.strip(".") and re.fullmatch(r"[\w .=+@-]{1,200}", step) for step in steps)


def _reason(error: BaseException) -> str:
    """The engine's errors tell whole requests over many lines; what people need is their kind and the first words."""
    first = str(error).splitlines()[0] if str(error) else ""
    words = re.sub(r"\s+", " ", first)
    return f"{type(error).__name__}: {words[:160]}".rstrip(": .")
