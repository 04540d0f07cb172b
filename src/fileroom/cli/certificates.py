"""`fileroom certificate ...`: what our ports show, and whom we trust."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from fileroom.cli.output import print_rows, settings_or_exit, with_database
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.certificate_uses import Use
    from fileroom.admin.certificates import Certificates
    from fileroom.db.pool import Pool

app = typer.Typer(help="Certificates of our ports and calls, and those that we trust.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="A name for people, for example pacs-2026.")]
UseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--use", help="Show it from now on at the web port, the DICOM TLS port, or for our calls. Repeatable."
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="Host name or address that it is for; the first is the main one. Repeatable."),
]
Organization = Annotated[str, typer.Option("--organization", help="Stands in the subject.")]
KeyKind = Annotated[
    Literal["rsa", "ec"], typer.Option("--key", help="rsa (3072 bits, for every device) or ec (P-256, quicker).")
]
File = Annotated[Path, typer.Argument(help="PEM or PKCS #12 file.")]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    state: str
    uses: str
    names: str
    key: str
    ends: str
    fingerprint: str


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List our certificates. Example: `fileroom certificate list`"""
    from fileroom.admin.certificates import Certificate, list_certificates

    def line(one: Certificate) -> _Line:
        state = "request" if one.is_request else _days(one.not_after)
        return _Line(
            one.name,
            state if one.has_key else f"{state}, key elsewhere",
            ",".join(one.uses),
            " ".join(one.names),
            one.key_kind,
            f"{one.not_after:%Y-%m-%d}" if one.not_after else "",
            one.fingerprint,
        )

    found = _work(list_certificates)
    columns = ["name", "state", "uses", "names", "key", "ends"]
    print_rows(columns, found if as_json else map(line, found), as_json=as_json)


@app.command("trusted")
def trusted(as_json: Json = False) -> None:
    """List the certificates that others are checked by. Example: `fileroom certificate trusted`"""
    from fileroom.admin.trusted_certificates import list_trusted

    print_rows(["name", "subject", "not_after", "has_crl", "fingerprint"], _work(list_trusted), as_json=as_json)


@app.command("add")
def add(
    name: Name,
    file: File,
    key: Annotated[Path | None, typer.Option("--key-file", help="The key, if it is not in the same file.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File with the password of the key or PKCS #12.")
    ] = None,
    use: UseOption = None,
) -> None:
    """Add a certificate with its chain and key, or the answer to a request that was made here.

    Example: `fileroom certificate add pacs-2026 fullchain.pem --key-file privkey.pem --use web`
    """
    from fileroom.admin.certificates import add_certificate

    password = _read(password_file).decode().rstrip("\r\n") if password_file else ""
    contents = _read(file), _read(key) if key else b""
    added = _work(lambda certificates: add_certificate(certificates, name, *contents, password))
    typer.echo(f"Added {added.name}: {added.subject}, good until {added.not_after:%Y-%m-%d}.")
    _activate(added.name, use)


@app.command("self-signed")
def self_signed(
    name: Name,
    names: Names = None,
    organization: Organization = "",
    key: KeyKind = "rsa",
    days: Annotated[int, typer.Option(help="How long it is good for.")] = 730,
    use: UseOption = None,
) -> None:
    """Make a certificate that vouches for itself; whoever checks it must be given it.

    Example: `fileroom certificate self-signed pacs-2026 --name pacs.example.org --name 10.1.2.3 --use web --use dicom`
    """
    from fileroom.admin.certificates import CertificateWish, make_self_signed_certificate

    wish = CertificateWish(_names(names), organization, key, days)
    made = _work(lambda certificates: make_self_signed_certificate(certificates, name, wish))
    typer.echo(f"Made {made.name} for {', '.join(made.names)}, good until {made.not_after:%Y-%m-%d}.")
    typer.echo(f"SHA-256 {made.fingerprint}")
    _activate(made.name, use)


@app.command("request")
def request(name: Name, names: Names = None, organization: Organization = "", key: KeyKind = "rsa") -> None:
    """Make a key and print a request for an issuer; the key stays here. `add` takes the issuer's answer.

    Example: `fileroom certificate request pacs-2026 --name pacs.example.org `
    """
    from fileroom.admin.certificates import CertificateWish, request_certificate

    wish = CertificateWish(_names(names), organization, key)
    typer.echo(_work(lambda certificates: request_certificate(certificates, name, wish)), nl=False)


@app.command("show")
def show(name: Name, is_trusted: Annotated[bool, typer.Option("--trusted", help="One that we trust.")] = False) -> None:
    """Print the public part as PEM: the chain, or the request. Example: `fileroom certificate show pacs-2026`"""
    from fileroom.admin.certificates import public_part
    from fileroom.admin.trusted_certificates import trusted_part

    read = trusted_part if is_trusted else public_part
    typer.echo(_work(lambda certificates: read(certificates, name)), nl=False)


@app.command("activate")
def activate(name: Name, use: UseOption = None) -> None:
    """Show it to whoever connects from now on. Example: `fileroom certificate activate pacs-2026 --use web --use dicom`"""
    if not use:
        raise typer.BadParameter("say what for: --use web, dicom or calls")
    _activate(name, use)


@app.command("deactivate")
def deactivate(use: Annotated[str, typer.Argument(help="web, dicom or calls.")]) -> None:
    """Show none there any more. Example: `fileroom certificate deactivate web`"""
    from fileroom.admin.certificates import deactivate as work

    wanted = _use(use)
    _work(lambda certificates: work(certificates, wanted))
    typer.echo(f"No certificate is active for {use} any more.")


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a certificate and its key for good. Example: `fileroom certificate remove pacs-2025`"""
    from fileroom.admin.certificates import remove_certificate

    _work(lambda certificates: remove_certificate(certificates, name))
    typer.echo(f"Removed {name}.")


@app.command("trust")
def trust(name: Name, file: File) -> None:
    """Trust an issuer, or a single device, by its certificate. Example: `fileroom certificate trust hospital-ca ca.pem`"""
    from fileroom.admin.trusted_certificates import trust as work

    content = _read(file)
    for added in _work(lambda certificates: work(certificates, name, content)):
        typer.echo(f"Trusted {added}.")


@app.command("distrust")
def distrust(name: Name) -> None:
    """Trust it no longer. Example: `fileroom certificate distrust old-ca`"""
    from fileroom.admin.trusted_certificates import distrust as work

    _work(lambda certificates: work(certificates, name))
    typer.echo(f"{name} is not trusted any more.")


@app.command("revoked")
def revoked(
    name: Annotated[str, typer.Argument(help="The trusted issuer.")],
    file: Annotated[Path | None, typer.Argument(help="Its list (CRL), PEM or DER; none: forget the list.")] = None,
) -> None:
    """Take over an issuer's list of revoked certificates. Example: `fileroom certificate revoked hospital-ca ca.crl`"""
    from fileroom.admin.trusted_certificates import set_revoked

    content = _read(file) if file else b""
    count = _work(lambda certificates: set_revoked(certificates, name, content))
    typer.echo(f"{count} certificates of {name} are revoked.")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror}.") from error


def _work(work: Callable[[Certificates], Awaitable[T]]) -> T:
    from fileroom.admin.certificates import Certificates
    from fileroom.core.clock import system_now

    data = settings_or_exit().data

    async def run(pool: Pool) -> T:
        return await work(Certificates(pool, data, system_now))

    return with_database(run)


def _activate(name: str, uses: list[str] | None) -> None:
    from fileroom.admin.certificates import activate as work

    for use in map(_use, uses or ()):
        _work(partial(work, name=name, use=use))
        typer.echo(f"{name} is active for {use.value}; running ports show it within a few seconds.")


def _use(word: str) -> Use:
    from fileroom.admin.certificate_uses import Use

    try:
        return Use(word)
    except ValueError:
        raise typer.BadParameter(f"{word!r} is none of web, dicom and calls") from None


def _names(names: list[str] | None) -> tuple[str, ...]:
    """Those given, else what this machine is called."""
    if names:
        return tuple(names)
    from fileroom.app.first_certificates import own_names

    return tuple(own_names(settings_or_exit()))


def _days(not_after: dt.datetime | None) -> str:
    left = (not_after - dt.datetime.now(dt.UTC)).total_seconds() if not_after else 0
    if left <= 0:
        return "EXPIRED"
    return f"{int(left // 86_400)} days left"
