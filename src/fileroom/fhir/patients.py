"""Patient: the patients of the RIS side. A merged one says what replaced it, and is found by its id or `active=false`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.dicom.normal_forms import normalize_name
from fileroom.fhir.conditions import NEVER, code, identifiers, like, local_day, moment, number, string
from fileroom.fhir.elements import Resource, Words, day, filled, human_name, instant, reference
from fileroom.fhir.kinds import Kind, Sort, by_name
from fileroom.index.conditions import Condition
from fileroom.worklist.patient_search import patient_is_visible

GENDERS: Final = {"F": "female", "M": "male", "O": "other"}
IDENTIFIERS_MAX: Final = 50
_FAMILY, _GIVEN = 1, 2

_LOAD: Final = f"""
SELECT p.id, p.patient_name, p.birth_date, p.sex, p.other_names, p.merged_into, p.version, p.changed_at,
    ARRAY(SELECT m.retired FROM patient_merge m WHERE m.survivor = p.id AND m.revoked_at IS NULL ORDER BY m.id LIMIT 100)
        AS replaces,
    coalesce((SELECT jsonb_agg(to_jsonb(i) ORDER BY i.is_first DESC, i.id) FROM (
        SELECT * FROM patient_identifier x WHERE x.patient = p.id ORDER BY x.is_first DESC, x.id LIMIT {IDENTIFIERS_MAX}) i),
        '[]') AS identifiers
FROM registered_patient p WHERE p.id = ANY(%s)"""


def has_identifier(value: str, authority: str | None) -> Condition:
    """The patient p has this identifier."""
    parts = [Condition("n.value = %s", (value,))] if value else []
    parts += [Condition("n.authority = %s", (authority,))] if authority is not None else []
    which = Condition.all_of(parts)
    if not which.text:
        return NEVER
    return Condition(f"p.id IN (SELECT n.patient FROM patient_identifier n WHERE {which.text})", which.parameters)


def patient_resource(words: Words, row: Mapping[str, Any]) -> Resource:
    """A row of _LOAD as a resource."""
    links = (
        [{"other": reference("Patient", row["merged_into"]), "type": "replaced-by"}]
        if row["merged_into"]
        else [{"other": reference("Patient", retired), "type": "replaces"} for retired in row["replaces"]]
    )
    return filled(
        resourceType="Patient",
        id=str(row["id"]),
        meta={"versionId": str(row["version"]), "lastUpdated": instant(row["changed_at"])},
        active=row["merged_into"] is None,
        identifier=[_identifier(words, one) for one in row["identifiers"]],
        name=[made for name in (row["patient_name"], *row["other_names"]) if name and (made := human_name(name))],
        gender=GENDERS.get(row["sex"], "unknown"),
        birthDate=day(row["birth_date"]),
        link=links,
    )


async def _load(
    _archive: Archive, connection: AsyncConnection[Any], words: Words, ids: Sequence[str]
) -> dict[str, Resource]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_LOAD.encode(), ([int(one) for one in ids],))
        return {str(row["id"]): patient_resource(words, row) for row in await cursor.fetchall()}


def _identifier(words: Words, one: Mapping[str, Any]) -> Resource:
    made = words.identifier(one["kind"], one["value"], one["authority"])
    return {"use": "old" if one["retired"] else "usual" if one["is_first"] else "secondary", **made}


def _name(text: str, modifier: str) -> Condition:
    """Every word begins a part of the name, or stands anywhere in it, or is a whole part as it is written."""
    if modifier == "exact":
        return Condition("%s = ANY(string_to_array(translate(p.patient_name, '=', '^'), '^'))", (text,))
    words = [like(word) for word in normalize_name(text.replace("^", " ")).replace("=", " ").split()]
    if not words:
        return NEVER
    if modifier == "contains":
        return Condition.all_of(Condition("p.patient_name_key LIKE %s", (f"%{word}%",)) for word in words)
    return Condition.all_of(
        Condition.any_of(
            Condition("p.patient_name_key LIKE %s", (pattern,)) for pattern in (f"{word}%", f"%^{word}%", f"% {word}%")
        )
        for word in words
    )


def _part(text: str, modifier: str, place: int) -> Condition:
    """One part of the name's first group: family, given."""
    part = "split_part(split_part({name}, '=', 1), '^', {place})"
    if modifier == "exact":
        return Condition(f"{part.format(name='p.patient_name', place=place)} = %s", (text,))
    wanted = like(normalize_name(text.replace("^", " ")).split("=")[0])
    if not wanted:
        return NEVER
    begins = "%" if modifier == "contains" else ""
    found = Condition(f"{part.format(name='p.patient_name_key', place=place)} LIKE %s", (f"{begins}{wanted}%",))
    near = Condition("p.patient_name_key LIKE %s", (f"%{wanted}%",))  # which an index can look for
    return Condition.all_of([near, found])


PATIENT: Final = Kind(
    name="Patient",
    permission=Permission.ORDER_READ,
    table="registered_patient p",
    key="p.id",
    id="p.id::text",
    visible=patient_is_visible,
    of_patients=lambda patients: Condition("p.id = ANY(%s)", (list(patients),)),
    load=_load,
    parameters=by_name(
        number("_id", "p.id"),
        moment("_lastUpdated", "p.changed_at"),
        identifiers(has_identifier),
        string("name", _name),
        string("family", lambda text, modifier: _part(text, modifier, _FAMILY)),
        string("given", lambda text, modifier: _part(text, modifier, _GIVEN)),
        local_day("birthdate", "p.birth_date"),
        code(
            "gender",
            "CASE WHEN p.sex IN ('F', 'M', 'O') THEN p.sex ELSE '' END",
            {meaning: (sex,) for sex, meaning in GENDERS.items()} | {"unknown": ("",)},
            ("http://hl7.org/fhir/administrative-gender",),
            missing="false",
        ),
        code("active", "(p.merged_into IS NULL)::text", {"true": ("true",), "false": ("false",)}, missing="false"),
    ),
    sorts={
        "_id": Sort("p.id", "bigint"),
        "_lastUpdated": Sort("p.changed_at", "timestamptz"),
        "birthdate": Sort("p.birth_date"),
        "family": Sort("coalesce(p.patient_name_key, '')"),
        "name": Sort("coalesce(p.patient_name_key, '')"),
    },
    unasked=Condition("p.merged_into IS NULL"),
    unless=frozenset({"_id", "active"}),
)
