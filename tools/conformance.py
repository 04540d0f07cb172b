"""Fill the generated tables of docs/*.md from the code: conformance.py [--check].

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a key of `TABLES`. Everything outside of the
markers is written by hand. `--check` changes nothing and exits with 1, naming what is stale.
"""

from __future__ import annotations

import ast
import asyncio
import re
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Final, cast

import httpx

from fileroom.admin.roles import BUILT_IN
from fileroom.archive.services import Archive
from fileroom.archive.store import MismatchError
from fileroom.core import access, identifiers, limits
from fileroom.core.clock import system_now
from fileroom.core.errors import FileroomError, RequestError, StorageFullError
from fileroom.core.live_settings import settings_table
from fileroom.core.setting_marks import SettingKind
from fileroom.core.settings import Settings
from fileroom.dicom import charset, uids
from fileroom.dicom.matching import parse_matching
from fileroom.dicom.query import AnyOf, EmptyValue, Key, Level, Matching, Range, SequenceItem, SingleValue, Wildcard
from fileroom.dicomweb.stow_response import WarningReason
from fileroom.dimse.status import SUBOPERATIONS_WITH_FAILURES, Status, category
from fileroom.index.attributes import ATTRIBUTES, UNIQUE_KEYS, Attribute, Kind, at_level
from fileroom.index.conditions import attribute_condition
from fileroom.index.search import can_match
from fileroom.pixels import codecs
from fileroom.pixels.transcode import lossless_targets
from fileroom.scp import offer, status, store
from fileroom.ul.negotiation import AbstractSyntaxRule
from fileroom.web import errors as web_errors
from fileroom.web.app import create_app
from fileroom.web.stow import failure_reason

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENTS: Final = ROOT / "docs"
_SECTION: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)

Row = Sequence[str]


def main(arguments: Sequence[str]) -> int:
    """Write the tables, or with `--check` say which are stale. The exit code."""
    check = "--check" in arguments
    stale = list(update(write=not check))
    for place in stale:
        print(f"{'stale' if check else 'written'}: {place}")
    if check and stale:
        print("Run 'python tools/conformance.py' and commit what it writes.")
    return 1 if check and stale else 0


def update(*, write: bool) -> Iterator[str]:
    """Go through all documents; yields `file: table` for each table whose text is not what the code says."""
    for path in sorted(DOCUMENTS.rglob("*.md")):
        text = path.read_text("utf-8")
        fresh, changed = _rendered(text)
        if write and changed:
            path.write_text(fresh, "utf-8")
        yield from (f"{path.relative_to(ROOT)}: {name}" for name in changed)


def _rendered(text: str) -> tuple[str, list[str]]:
    changed: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        body = TABLES[name]() + "\n"
        if body != match["body"]:
            changed.append(name)
        return f"{match[1]}{body}{match[4]}"

    return _SECTION.sub(replace, text), changed


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table; bars inside of cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


# --- associations ---


def _implementation() -> str:
    rows = [
        ("Implementation Class UID in associations and files", f"`{identifiers.IMPLEMENTATION_CLASS_UID}`"),
        ("Implementation Version Name in associations and files", f"`{identifiers.IMPLEMENTATION_VERSION_NAME}`"),
        ("Application Context Name", f"`{uids.APPLICATION_CONTEXT}`"),
    ]
    return table(("What", "Value"), rows)


def _services() -> str:
    rows = [
        (uids.uid_name(uid), f"`{uid}`", "SCU and SCP" if rule.requestor_may_be_scp else "SCU", "messages")
        for uid, rule in offer.SERVICE_RULES.items()
    ]
    rule = _storage_rule()
    roles = "SCU; SCP by role selection, for C-GET" if rule.requestor_may_be_scp else "SCU"
    rows.append(("every storage SOP class of the next table", "", roles, "storage"))
    return table(("Abstract syntax", "UID", "Roles that the caller may play", "Transfer syntaxes"), rows)


def _storage_rule() -> AbstractSyntaxRule:
    rule = offer.policy(Settings(), caller_is_known=True).rule_of(uids.CT_IMAGE_STORAGE)
    if rule is None:
        raise AssertionError("CT images are not accepted")
    return rule


def _storage_classes() -> str:
    retired = uids.RETIRED_STORAGE_SOP_CLASSES
    ordered = sorted(uids.STORAGE_SOP_CLASSES.items(), key=lambda entry: (entry[0] in retired, entry[1]))
    return table(
        ("SOP class", "UID", ""), ((name, f"`{uid}`", "retired" if uid in retired else "") for uid, name in ordered)
    )


def _storage_syntaxes() -> str:
    rows = []
    for place, uid in enumerate(offer.STORAGE_TRANSFER_SYNTAXES, 1):
        syntax = uids.TRANSFER_SYNTAXES[uid]
        said = (syntax.lossy, syntax.family in codecs._DECODERS, uid in lossless_targets())
        rows.append((str(place), syntax.name, f"`{uid}`", *("yes" if each else "no" for each in said)))
    return table(("Order", "Transfer syntax", "UID", "Allows loss", "Decoded", "Encoded"), rows)


def _message_syntaxes() -> str:
    rows = (
        (str(place), uids.uid_name(uid), f"`{uid}`") for place, uid in enumerate(offer.MESSAGE_TRANSFER_SYNTAXES, 1)
    )
    return table(("Order", "Transfer syntax", "UID"), rows)


def _extended_negotiation() -> str:
    names = {
        offer.RELATIONAL: "relational queries or retrieval",
        offer.COMBINED_DATETIME: "combined date and time matching",
        offer.FUZZY_NAMES: "fuzzy matching of person names",
        offer.TIMEZONE_ADJUSTMENT: "timezone query adjustment",
    }
    rows = []
    for title, classes in (
        ("FIND", offer.QUERY_RETRIEVE_FIND),
        ("MOVE", offer.QUERY_RETRIEVE_MOVE),
        ("GET", offer.QUERY_RETRIEVE_GET),
    ):
        asked = offer.ExtendedNegotiation(classes[0], bytes([1] * len(names) + [1]))
        answer = offer.answer_extended(asked) or b""
        for byte, name in names.items():
            granted = byte < len(answer) and answer[byte] == 1
            rows.append((title, str(byte + 1), name, "granted where asked for" if granted else "not answered"))
        if len(answer) > len(names):
            raise AssertionError("an ability that this table does not name")
    return table(("SOP classes", "Byte", "Ability", "Answer"), rows)


# --- statuses ---


def _store_statuses() -> str:
    rows = [
        _status_row(
            Status.SUCCESS, "the object is flushed and its rows are committed; or this very content was before"
        ),
        _status_row(
            store.KEPT_ASIDE.status, "the UID is taken by other content: this object is kept aside as a conflict"
        ),
        *_failure_rows(status._STORE),
    ]
    return table(_STATUS_HEAD, rows)


def _find_statuses() -> str:
    rows = [
        _status_row(Status.SUCCESS, "all matches were sent"),
        _status_row(Status.PENDING, "a match"),
        _status_row(Status.PENDING_WITH_UNSUPPORTED_KEYS, "a match; a key was asked for that the index cannot match"),
        _status_row(Status.CANCEL, "the caller sent C-CANCEL"),
        _status_row(Status.OUT_OF_RESOURCES, f"there are more than {limits.QUERY_ROWS_MAX:,} matches; those were sent"),
        *_failure_rows(status._QUERY),
    ]
    return table(_STATUS_HEAD, rows)


def _retrieve_statuses() -> str:
    rows = [
        _status_row(Status.SUCCESS, "every sub-operation succeeded, or nothing matched"),
        _status_row(Status.PENDING, "sub-operations are under way; the counts say how many"),
        _status_row(Status.CANCEL, "the caller sent C-CANCEL"),
        _status_row(SUBOPERATIONS_WITH_FAILURES, "done, but sub-operations failed or warned"),
        _status_row(Status.UNABLE_TO_PERFORM_SUBOPERATIONS, "not one sub-operation succeeded"),
        _status_row(Status.MOVE_DESTINATION_UNKNOWN, "C-MOVE: the destination is no registered node"),
        *_failure_rows(status._RETRIEVE),
    ]
    return table(_STATUS_HEAD, rows)


_STATUS_HEAD: Final = ("Status", "Category", "Meaning")


def _status_row(code: int, meaning: str) -> Row:
    return (f"`{code:04X}`", category(code).value, meaning)


def _failure_rows(rules: Sequence[tuple[type[FileroomError], int]]) -> Iterator[Row]:
    """One row for each kind of error, in the words of its class."""
    for kind, code in rules:
        words = "any other reason" if kind is FileroomError else _lower_first(_first_sentence(kind.__doc__))
        yield _status_row(code, words.rstrip("."))


def _lower_first(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


# --- queries ---

_LEVEL_NAMES: Final = {
    Level.PATIENT: "PATIENT",
    Level.STUDY: "STUDY",
    Level.SERIES: "SERIES",
    Level.INSTANCE: "IMAGE",
}
_REQUIRED: Final = frozenset(
    {
        "PatientName",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "StudyID",
        "Modality",
        "SeriesNumber",
        "InstanceNumber",
    }
)
"""Required keys of PS3.4 tables C.6-1 to C.6-5; the unique ones are the code's own."""
_SAMPLES: Final = {"DA": "20260101", "TM": "1000", "DT": "20260101", "UI": "1.2.3", "IS": "1", "US": "1"}


def _attributes(level: Level) -> Callable[[], str]:
    def render() -> str:
        rows = [
            (_spaced(a.keyword), f"({a.tag >> 16:04X},{a.tag & 0xFFFF:04X})", a.vr, _key_type(a), ", ".join(_kinds(a)))
            for a in at_level(level)
        ]
        return table(("Attribute", "Tag", "VR", "Type", "Matching"), rows)

    return render


def _key_type(attribute: Attribute) -> str:
    if attribute in UNIQUE_KEYS.values():
        return "U"
    return "R" if attribute.keyword in _REQUIRED else "O"


def _kinds(attribute: Attribute) -> Iterator[str]:
    """Kinds of matching beside the universal one, found by trying each in the code that does it."""
    if not can_match(attribute.tag):
        yield "returned only"
        return
    if attribute.kind is Kind.SEQUENCE:
        yield "sequence"
        return
    one = _SAMPLES.get(attribute.vr, "A")
    tried: tuple[tuple[str, str, type[Matching] | UnionType], ...] = (
        ("single value", one, SingleValue),
        ("wildcard", "A*", Wildcard),
        ("range", f"{one}-{one}", Range),
        ("list of UID" if attribute.vr == "UI" else "multiple values", f"{one}\\{one[:-1]}2", AnyOf),
        ("empty value", '""', EmptyValue),
    )
    for name, text, kind in tried:
        if kind is EmptyValue and attribute.kind is Kind.COMPUTED:
            continue  # A computed list is never null.
        try:
            matching = parse_matching(attribute.vr, text)
            if isinstance(matching, kind):
                attribute_condition(attribute, "x", matching, fuzzy=False)
                yield name
        except RequestError:
            continue


def _sequence_depth() -> str:
    """How deep sequence matching goes, found by trying."""
    attribute = next(a for a in ATTRIBUTES if a.kind is Kind.SEQUENCE)
    item: Matching = SingleValue("1")
    for depth in range(1, 100):
        item = SequenceItem((Key(attribute.tag, "SQ" if depth > 1 else "SH", item),))
        try:
            attribute_condition(attribute, "x", item, fuzzy=False)
        except RequestError:
            return f"Sequence matching goes {depth - 1} levels deep."
    raise AssertionError("sequence matching has no end")


def _spaced(keyword: str) -> str:
    """`StudyInstanceUID` as `Study Instance UID`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", keyword)
    return words.replace("I Ds", "IDs")


# --- character sets ---


def _character_sets() -> str:
    rows: list[Row] = []
    for number, codec in charset._SINGLE_BYTE.items():
        rows.append((f"`ISO_IR {number}`, `ISO 2022 IR {number}`", f"`{codec}`", "yes"))
    for number, codec in charset._MULTI_BYTE.items():
        rows.append((f"`ISO 2022 IR {number}`", f"`{codec}`", "yes"))
    for term in ("ISO_IR 192", "GB18030", "GBK"):
        rows.append((f"`{term}`", f"`{charset._STAND_ALONE[term]}`", "no"))
    return table(("Defined terms", "Read as (Python codec)", "Code extension"), rows)


# --- DICOMweb ---


def _web_archive() -> Archive:
    """An archive that the routes can be built on; nothing of it is ever asked."""
    nothing = cast(Any, None)
    return Archive(nothing, nothing, nothing, Settings(web_login="beyond-loopback"), system_now)


def _web_resources() -> str:
    """As Retrieve Capabilities tells them, so that the document promises what the service does."""
    app = create_app(_web_archive())

    async def ask() -> list[dict[str, Any]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/dicom-web/", headers={"accept": "application/json"})
            return cast(list[dict[str, Any]], answer.raise_for_status().json()["resources"])

    rows = []
    for resource in sorted(asyncio.run(ask()), key=lambda one: cast(str, one["path"])):
        for method in resource["methods"]:
            returned = ", ".join(f"`{media_type}`" for media_type in method["returns"])
            rows.append((f"`{method['name']} /{resource['path']}`", _spaced(method["identifier"]), returned))
    return table(("Resource", "Transaction", "Media types of the answer"), rows)


def _http_statuses() -> str:
    rows = []
    for rule in web_errors._RULES:
        words = _lower_first(_first_sentence(rule.error.__doc__)).rstrip(".")
        rows.append((str(int(rule.status)), rule.status.phrase, words))
    return table(("Status", "Name", "When"), rows)


def _stow_reasons() -> str:
    aside = "the UID is taken by other content: this object is kept aside as a conflict"
    rows = [(f"`{int(WarningReason.DATA_SET_MISMATCH):04X}`", "warning", aside)]
    for kind in (MismatchError, RequestError, StorageFullError, FileroomError):
        words = "any other reason" if kind is FileroomError else _lower_first(_first_sentence(kind.__doc__))
        rows.append((f"`{int(failure_reason(kind())):04X}`", "failure", words.rstrip(".")))
    return table(("Reason", "Category", "Meaning"), rows)


# --- limits and settings ---


def _limits() -> str:
    rows = []
    for name, reason in _documented_constants(Path(limits.__file__)):
        if name in ("KIB", "MIB"):
            continue
        rows.append((f"`{name}`", _amount(name, getattr(limits, name)), reason))
    return table(("Limit", "Value", "Reason"), rows)


def _documented_constants(path: Path) -> Iterator[tuple[str, str]]:
    """(name, the text below it) of each constant of a module."""
    body = ast.parse(path.read_text("utf-8")).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        reason = cast(str, following.value.value) if is_text else ""  # type: ignore[union-attr]  # told by is_text
        yield node.target.id, _first_sentence(reason)


def _amount(name: str, value: float) -> str:
    if "BYTES" in name:
        for unit, size in (("MiB", limits.MIB), ("KiB", limits.KIB)):
            if value >= size and value % size == 0:
                return f"{int(value) // size:,} {unit}"
        return f"{value:,} bytes"
    return f"{value:g} s" if name.endswith("_S") else f"{value:,}"


def _settings() -> str:
    words = {SettingKind.MANAGED: "page", SettingKind.START: "start", SettingKind.SECRET: "start, secret"}
    rows = []
    for entry in settings_table().values():
        default = str(entry.default)
        told = f"{entry.description} {entry.affects}".strip()
        rows.append((f"`{entry.variable}`", f"`{default}`" if default else "empty", words[entry.kind], told))
    return table(("Setting", "Default", "Changed", "What it is"), rows)


# --- rights ---


def _permissions() -> str:
    rows = []
    body = next(
        node
        for node in ast.parse(Path(access.__file__).read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "Permission"
    ).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            said = cast(str, following.value.value) if is_text else ""  # type: ignore[union-attr]  # told by is_text
            rows.append((f"`{access.Permission[node.targets[0].id].value}`", _first_sentence(said)))
    return table(("Permission", "What it allows"), rows)


def _roles() -> str:
    roles = list(BUILT_IN.values())
    rows = (
        (f"`{permission.value}`", *("yes" if permission in role.permissions else "" for role in roles))
        for permission in access.Permission
    )
    return table(("Permission", *(role.name for role in roles)), rows)


def _listed(name: str) -> Mapping[Any, str]:
    """A list of tests/route_permissions.py, which the role matrix holds the code to."""
    sys.path.insert(0, str(ROOT / "tests"))  # where it finds its part about the administration API
    try:
        lists = runpy.run_path(str(ROOT / "tests" / "route_permissions.py"))
    finally:
        sys.path.pop(0)
    person = "`study.break-glass`, as a person"
    words = {
        lists["OPEN"]: "*none*",
        lists["ACCOUNT"]: "*own account*",
        lists["PERSON"]: person,
        lists["EDGE"]: "*token of an edge*",
    }
    return {key: words.get(needed) or f"`{needed.value}`" for key, needed in lists[name].items()}


def _route_permissions() -> str:
    rows = sorted((f"`{route}`", needed) for route, needed in _listed("ROUTES").items())
    return table(("Address", "Permission"), rows)


def _service_permissions() -> str:
    rows = [(field.name.removesuffix("_RQ").replace("_", "-"), needed) for field, needed in _listed("SERVICES").items()]
    return table(("Service", "Permission"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "implementation": _implementation,
    "services": _services,
    "storage-sop-classes": _storage_classes,
    "storage-transfer-syntaxes": _storage_syntaxes,
    "message-transfer-syntaxes": _message_syntaxes,
    "extended-negotiation": _extended_negotiation,
    "store-statuses": _store_statuses,
    "find-statuses": _find_statuses,
    "retrieve-statuses": _retrieve_statuses,
    "patient-attributes": _attributes(Level.PATIENT),
    "study-attributes": _attributes(Level.STUDY),
    "series-attributes": _attributes(Level.SERIES),
    "instance-attributes": _attributes(Level.INSTANCE),
    "sequence-depth": _sequence_depth,
    "character-sets": _character_sets,
    "dicomweb-resources": _web_resources,
    "http-statuses": _http_statuses,
    "stow-reasons": _stow_reasons,
    "permissions": _permissions,
    "roles": _roles,
    "route-permissions": _route_permissions,
    "service-permissions": _service_permissions,
    "limits": _limits,
    "settings": _settings,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
