"""The fields of a node as a form has them, there and back."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from fileroom.admin.node_fields import FIELDS, LISTS, Node, NodeRole, TlsUse, with_texts
from fileroom.dicom import uids
from fileroom.web.console.forms import Form
from fileroom.web.console.language import N_

_SYNTAX_LISTS: Final = ("accept_syntaxes", "propose_syntaxes")
ROLE_TITLES: Final = {
    NodeRole.SEND: N_("may send objects (C-STORE)"),
    NodeRole.QUERY: N_("may search (C-FIND)"),
    NodeRole.RETRIEVE: N_("may have objects sent (C-GET, C-MOVE)"),
    NodeRole.DESTINATION: N_("may be sent objects"),
    NodeRole.COMMIT: N_("may ask whether objects are safe (storage commitment)"),
    NodeRole.PERFORMED: N_("is told what modalities perform (MPPS is forwarded to it)"),
    NodeRole.AVAILABILITY: N_("is told when instances are available (IAN)"),
}
TLS_TITLES: Final = {
    TlsUse.OFF: N_("without"),
    TlsUse.ON: N_("encrypted"),
    TlsUse.MUTUAL: N_("encrypted, and it must show a certificate"),
}
FIELD_TITLES: Final = {
    "name": N_("Name"),
    "aet": N_("AE title"),
    "host": N_("Host"),
    "port": N_("Port"),
    "description": N_("Description"),
    "location": N_("Location"),
    "enabled": N_("Enabled"),
    "calling_from": N_("May call from"),
    "roles": N_("Roles"),
    "tls": N_("Encryption (TLS)"),
    "tls_subject": N_("Subject of its certificate"),
    "tls_fingerprint": N_("Fingerprint of its certificate (SHA-256)"),
    "charset": N_("Character set of our answers"),
    "charset_assumed": N_("Character set of its objects that name none"),
    "accept_syntaxes": N_("Transfer syntaxes taken from it"),
    "propose_syntaxes": N_("Transfer syntaxes for what is sent to it"),
    "associations_max": N_("Associations at a time"),
    "objects_per_minute_max": N_("Objects per minute"),
    "own_aet": N_("Our AE title there"),
    "connect_timeout_s": N_("Seconds to connect"),
    "response_timeout_s": N_("Seconds to answer"),
    "echo_interval_s": N_("Seconds between echoes"),
    "comment": N_("Comment"),
}


def node_of_form(form: Form, base: Node, *, version: int | None = None) -> Node:
    """The node that a form means; fields that it does not have are those of `base`. Raises InvalidRequestError."""
    has_all = bool(form.get("all_fields"))
    texts = {field: form.exactly(field) for field in FIELDS if form.has(field)}
    if has_all:
        texts["roles"] = " ".join(form.all("roles"))
        texts["enabled"] = "yes" if form.get("enabled") else "no"
    lists = {field: _lines(texts.pop(field)) for field in _SYNTAX_LISTS if field in texts}
    if not texts.get("name", "x").strip():
        texts["name"] = texts.get("aet", "")
    node = dataclasses.replace(with_texts(base, texts), **lists)  # type: ignore[arg-type]  # by name
    return node if version is None else dataclasses.replace(node, version=version)


def field_texts(node: Node, typed: Form | None = None) -> dict[str, Any]:
    """What the form shows: the node's fields, or what was typed and refused."""
    if typed is not None and typed.get("all_fields"):
        texts: dict[str, Any] = {field: typed.exactly(field) for field in FIELDS}
        return {**texts, "roles": typed.all("roles"), "enabled": bool(typed.get("enabled"))}
    texts = {field: getattr(node, field) for field in FIELDS}
    texts |= {field: "\n".join(texts[field]) for field in LISTS if field != "roles"}
    names = {field: [uids.transfer_syntax(uid).name for uid in getattr(node, field)] for field in _SYNTAX_LISTS}
    return {**texts, **{field: "\n".join(lines) for field, lines in names.items()}}


def form_choices() -> dict[str, Any]:
    """What the form lets choose from."""
    return {
        "role_titles": ROLE_TITLES,
        "tls_titles": TLS_TITLES,
        "field_titles": FIELD_TITLES,
        "syntaxes": [syntax for syntax in uids.TRANSFER_SYNTAXES.values() if not syntax.name.startswith("JPIP")],
    }


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
