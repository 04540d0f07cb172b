"""`/admin/certificates`: what our ports show, whom we trust, and what ends soon."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin import certificates as own
from fileroom.admin import trusted_certificates as trusted
from fileroom.admin.certificate_expiry import level_of, pressing_expiries
from fileroom.admin.certificate_uses import Use
from fileroom.admin.certificates import SELF_SIGNED_DAYS, Certificates, CertificateWish
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import back_to, number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.uploads import UPLOAD_TYPE, read_upload_form
from fileroom.web.endpoint import Handler

CERTIFICATES_PATH: Final = "/admin/certificates"
_PEM_TYPE: Final = "application/x-pem-file"
_SEPARATORS: Final = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A form that somebody sent, with its files."""

    certificates: Certificates
    form: Form
    files: dict[str, bytes]

    @property
    def name(self) -> str:
        return self.form.get("name")

    def file(self, name: str) -> bytes:
        """A file, or what was pasted in its place."""
        return self.files.get(name) or self.form.get(f"{name}_text").encode()


_Work = Callable[[_Sent], Awaitable[str]]
"""Does it and returns the word that the page then says."""


def certificates_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, and what its forms do, by path and method."""
    certificates = Certificates(archive.pool, archive.settings.data, archive.now)

    def form_handler(work: _Work) -> Handler:
        async def handle(request: Request) -> Answer:
            require(Permission.SETTINGS_MANAGE)  # before anything of the form is believed or told
            form, files = await _read(request)
            require_form_token(request, form.get(FORM_TOKEN_FIELD))
            try:
                done = await work(_Sent(certificates, form, files))
            except RequestError as error:
                return await _show(archive, certificates, request, error)
            return back_to(CERTIFICATES_PATH, done)

        return handle

    async def show(request: Request) -> Answer:
        return await _show(archive, certificates, request)

    async def pem(request: Request) -> Answer:
        name = request.query_params.get("name", "")
        is_trusted = request.query_params.get("of") == "trusted"
        text = await (trusted.trusted_part if is_trusted else own.public_part)(certificates, name)
        return _download(text)

    works: dict[str, _Work] = {
        "/add": _add,
        "/self-signed": _self_signed,
        "/request": _request,
        "/activate": _activate,
        "/deactivate": _deactivate,
        "/remove": _remove,
        "/trust": _trust,
        "/revoked": _revoked,
        "/distrust": _distrust,
    }
    forms = {CERTIFICATES_PATH + path: {"POST": form_handler(work)} for path, work in works.items()}
    return {CERTIFICATES_PATH: {"GET": show}, f"{CERTIFICATES_PATH}/pem": {"GET": pem}, **forms}


async def _show(
    archive: Archive, certificates: Certificates, request: Request, error: RequestError | None = None
) -> Answer:
    now = archive.now()

    def level(moment: Any) -> str:
        return level_of((moment - now).total_seconds()).name.lower()

    may_see_system = current_access().allows(Permission.SYSTEM_READ)
    return await page(
        archive,
        request,
        "certificates.html",
        place="admin",
        status=number_of(error),
        error=view_of(request).reader.say(error) if error else "",
        done=request.query_params.get("done", ""),
        certificates=await own.list_certificates(certificates),
        trusted=await trusted.list_trusted(certificates),
        pressing=await pressing_expiries(archive.pool, archive.settings, now) if may_see_system else [],
        level=level,
        days_left=lambda moment: int((moment - now).total_seconds() // 86_400),
        uses=list(Use),
        settings=archive.settings,
        default_days=SELF_SIGNED_DAYS,
        typed_host=request.url.hostname or "",
        may_manage=current_access().allows(Permission.SETTINGS_MANAGE),
    )


async def _read(request: Request) -> tuple[Form, dict[str, bytes]]:
    if request.headers.get("content-type", "").lower().startswith(UPLOAD_TYPE):
        return await read_upload_form(request)
    return await read_form(request), {}


def _download(pem: str) -> Answer:
    name = "certificate-request.csr" if "CERTIFICATE REQUEST" in pem else "certificate.pem"
    headers = {
        "content-type": _PEM_TYPE,
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": NO_STORE,
    }
    return Answer(200, headers, pem.encode())


# --- what the forms do ---


async def _add(sent: _Sent) -> str:
    password = sent.form.exactly("password")
    await own.add_certificate(sent.certificates, sent.name, sent.file("certificate"), sent.file("key"), password)
    return "added"


async def _self_signed(sent: _Sent) -> str:
    await own.make_self_signed_certificate(
        sent.certificates, sent.name, _wish(sent.form, whole_number(sent.form, "days"))
    )
    return "made"


async def _request(sent: _Sent) -> str:
    await own.request_certificate(sent.certificates, sent.name, _wish(sent.form, SELF_SIGNED_DAYS))
    return "requested"


async def _activate(sent: _Sent) -> str:
    await own.activate(sent.certificates, sent.name, _use(sent.form))
    return "active"


async def _deactivate(sent: _Sent) -> str:
    await own.deactivate(sent.certificates, _use(sent.form))
    return "inactive"


async def _remove(sent: _Sent) -> str:
    await own.remove_certificate(sent.certificates, sent.name)
    return "removed"


async def _trust(sent: _Sent) -> str:
    await trusted.trust(sent.certificates, sent.name, sent.file("certificate"))
    return "trusted"


async def _revoked(sent: _Sent) -> str:
    await trusted.set_revoked(sent.certificates, sent.name, sent.file("list"))
    return "revoked"


async def _distrust(sent: _Sent) -> str:
    await trusted.distrust(sent.certificates, sent.name)
    return "removed"


def _wish(form: Form, days: int) -> CertificateWish:
    names = tuple(name for name in _SEPARATORS.split(form.get("names")) if name)
    return CertificateWish(names, form.get("organization"), "ec" if form.get("key") == "ec" else "rsa", days)


def _use(form: Form) -> Use:
    try:
        return Use(form.get("use"))
    except ValueError:
        raise InvalidRequestError(told("A certificate is for web, dicom or calls.")) from None
