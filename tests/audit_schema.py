"""The schema of PS3.15 A.5.1 as a table, and a check of messages against it: elements in order, attributes, values.

Written from the RELAX NG text of the standard, independently of what writes the messages.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, fromstring

ONE, OPTIONAL, ANY, SOME = (1, 1), (0, 1), (0, 10_000), (1, 10_000)
TOKEN = re.compile(r".*", re.DOTALL)
BOOLEAN = re.compile(r"true|false|0|1")
NUMBER = re.compile(r"[0-9]+")


def one_of(*values: object) -> re.Pattern[str]:
    return re.compile("|".join(map(str, values)))


@dataclass(frozen=True)
class Rule:
    """Child elements in their order with how often; required and optional attributes; what the text is."""

    children: tuple[tuple[str, tuple[int, int]], ...] = ()
    required: dict[str, re.Pattern[str]] = field(default_factory=dict)
    optional: dict[str, re.Pattern[str]] = field(default_factory=dict)
    text: str = ""
    choice: frozenset[str] = frozenset()
    """Exactly one of these children."""


CODE = Rule(
    required={"csd-code": TOKEN, "codeSystemName": TOKEN, "originalText": TOKEN}, optional={"displayName": TOKEN}
)
PLAIN_TEXT = Rule(text="text")
UID_ONLY = Rule(required={"UID": TOKEN})
RULES = {
    "AuditMessage": Rule(
        (
            ("EventIdentification", ONE),
            ("ActiveParticipant", SOME),
            ("AuditSourceIdentification", ONE),
            ("ParticipantObjectIdentification", ANY),
        )
    ),
    "EventIdentification": Rule(
        (("EventID", ONE), ("EventTypeCode", ANY), ("EventOutcomeDescription", OPTIONAL)),
        {"EventDateTime": TOKEN, "EventOutcomeIndicator": one_of(0, 4, 8, 12)},
        {"EventActionCode": one_of(*"CRUDE")},
    ),
    "EventID": CODE,
    "EventTypeCode": CODE,
    "EventOutcomeDescription": PLAIN_TEXT,
    "ActiveParticipant": Rule(
        (("RoleIDCode", ANY), ("MediaIdentifier", OPTIONAL)),
        {"UserID": TOKEN, "UserIsRequestor": BOOLEAN},
        {
            "AlternativeUserID": TOKEN,
            "UserName": TOKEN,
            "NetworkAccessPointID": TOKEN,
            "NetworkAccessPointTypeCode": one_of(1, 2, 3, 4, 5),
        },
    ),
    "RoleIDCode": CODE,
    "AuditSourceIdentification": Rule(
        (("AuditSourceTypeCode", ANY),), {"AuditSourceID": TOKEN}, {"AuditEnterpriseSiteID": TOKEN}
    ),
    "AuditSourceTypeCode": Rule(
        required={"csd-code": one_of(*range(1, 10))}, optional={"codeSystemName": TOKEN, "originalText": TOKEN}
    ),
    "ParticipantObjectIdentification": Rule(
        (
            ("ParticipantObjectIDTypeCode", ONE),
            ("ParticipantObjectName", OPTIONAL),
            ("ParticipantObjectQuery", OPTIONAL),
            ("ParticipantObjectDetail", ANY),
            ("ParticipantObjectDescription", ANY),
        ),
        {"ParticipantObjectID": TOKEN},
        {
            "ParticipantObjectTypeCode": one_of(1, 2, 3, 4),
            "ParticipantObjectTypeCodeRole": one_of(*range(1, 27)),
            "ParticipantObjectDataLifeCycle": one_of(*range(1, 16)),
            "ParticipantObjectSensitivity": TOKEN,
        },
        choice=frozenset({"ParticipantObjectName", "ParticipantObjectQuery"}),
    ),
    "ParticipantObjectIDTypeCode": CODE,
    "ParticipantObjectName": PLAIN_TEXT,
    "ParticipantObjectQuery": Rule(text="base64"),
    "ParticipantObjectDetail": Rule(required={"type": TOKEN, "value": re.compile(r"[A-Za-z0-9+/]*=*")}),
    "ParticipantObjectDescription": Rule(
        (
            ("MPPS", ANY),
            ("Accession", ANY),
            ("SOPClass", ANY),
            ("ParticipantObjectContainsStudy", OPTIONAL),
            ("Encrypted", OPTIONAL),
            ("Anonymized", OPTIONAL),
        )
    ),
    "MPPS": UID_ONLY,
    "Accession": Rule(required={"Number": TOKEN}),
    "SOPClass": Rule((("Instance", ANY),), {"NumberOfInstances": NUMBER}, {"UID": TOKEN}),
    "Instance": UID_ONLY,
}


def check(message: bytes) -> Element:
    """The parsed message. Raises AssertionError where it does not follow the schema, or PS3.15 A.5.2 on requestors."""
    root = fromstring(message)
    assert root.tag == "AuditMessage"
    _check(root)
    at = root[0].attrib["EventDateTime"]
    assert dt.datetime.fromisoformat(at).tzinfo is not None, at
    requestors = [one for one in root.iter("ActiveParticipant") if one.attrib["UserIsRequestor"] == "true"]
    assert len(requestors) <= 1
    return root


def _check(element: Element) -> None:
    rule = RULES[element.tag]
    missing = rule.required.keys() - element.attrib.keys()
    assert not missing, f"{element.tag} lacks {missing}"
    allowed = rule.required | rule.optional
    for name, value in element.attrib.items():
        assert name in allowed, f"{element.tag} may not have {name}"
        assert allowed[name].fullmatch(value), f"{element.tag}/{name}={value!r}"
    if rule.text == "base64":
        base64.b64decode(element.text or "", validate=True)
    elif not rule.text:
        assert not (element.text or "").strip(), f"{element.tag} has text"
    _check_order(element, rule)
    for child in element:
        _check(child)


def _check_order(element: Element, rule: Rule) -> None:
    names = [child.tag for child in element]
    order = [name for name, _ in rule.children]
    assert all(name in order for name in names), f"{element.tag} has {names}"
    places = [order.index(name) for name in names]
    assert places == sorted(places), f"{element.tag}: {names} are out of order"
    for name, (least, most) in rule.children:
        assert least <= names.count(name) <= most, f"{element.tag} has {names.count(name)} {name}"
    if rule.choice:
        assert sum(name in rule.choice for name in names) == 1, f"{element.tag} has {names}"
