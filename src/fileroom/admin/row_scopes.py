"""Row scopes as JSON, as commands write them, and what is left where two of them hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fileroom.core.access import EVERYTHING, RowScope
from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.limits import ROW_SCOPE_ENTRIES_MAX, SEARCHED_TEXT_CHARS_MAX
from fileroom.dicom.normal_forms import fold_text, normalize_name

_SAME: Final[Mapping[str, Callable[[str], str]]] = {
    "institutions": fold_text,
    "modalities": str,
    "referring_physicians": normalize_name,
    "patient_ids": str,
}
"""What makes two entries the same: just what makes them find the same studies in `index.visibility`. A patient ID counts
with its case there (PS3.4 C.2.2.2.1), so two that differ in it are two patients here too."""

LISTS: Final = ("institutions", "modalities", "referring_physicians", "patient_ids")


def row_scope_from_json(value: object) -> RowScope:
    """The scope of a JSON object; absent members restrict nothing. Raises InvalidRequestError."""
    if not isinstance(value, Mapping):
        raise InvalidRequestError(told('A row scope is an object, for example {"modalities": ["CT"]}.'))
    if unknown := set(value) - {*LISTS, "own_uploads"}:
        raise InvalidRequestError(
            told(
                "A row scope has no {value}; it has {names} and own_uploads.",
                value=f"{sorted(map(str, unknown))[0]!r:.60}",
                names=", ".join(LISTS),
            )
        )
    own_uploads = value.get("own_uploads", False)
    if not isinstance(own_uploads, bool):
        raise InvalidRequestError(told("own_uploads of a row scope is true or false."))
    return RowScope(**{name: _entries(name, value.get(name, ())) for name in LISTS}, own_uploads=own_uploads)


def row_scope_to_json(scope: RowScope) -> dict[str, Any]:
    """Only what restricts."""
    found: dict[str, Any] = {name: list(getattr(scope, name)) for name in LISTS if getattr(scope, name)}
    return {**found, "own_uploads": True} if scope.own_uploads else found


def both(first: RowScope, second: RowScope) -> RowScope | None:
    """What fits both; None where nothing can."""
    if first.is_everything:
        return second
    lists: dict[str, tuple[str, ...]] = {}
    for name in LISTS:
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours and theirs:
            same = _SAME[name]
            kept = set(map(same, theirs))
            lists[name] = tuple(entry for entry in ours if same(entry) in kept)
            if not lists[name]:
                return None
        else:
            lists[name] = ours or theirs
    return RowScope(**lists, own_uploads=first.own_uploads or second.own_uploads)


def is_within(inner: RowScope, outer: RowScope) -> bool:
    """Whether `inner` shows nothing that `outer` hides."""
    if outer == EVERYTHING or inner == outer:
        return True
    return both(inner, outer) == inner


def _entries(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(entry, str) for entry in value):
        raise InvalidRequestError(told("{name} of a row scope is a list of texts.", name=name))
    if not all(entry.strip() for entry in value):
        # Left out, it would be a list without entries, which restricts nothing.
        raise InvalidRequestError(told("{name} of a row scope has an empty entry.", name=name))
    change = normalize_name if name == "referring_physicians" else str.strip
    entries = tuple(dict.fromkeys(map(change, value)))
    if len(entries) > ROW_SCOPE_ENTRIES_MAX:
        raise InvalidRequestError(
            told("{name} of a row scope has more than {count} entries.", name=name, count=ROW_SCOPE_ENTRIES_MAX)
        )
    for entry in entries:
        if len(entry) > SEARCHED_TEXT_CHARS_MAX or not entry.isprintable():
            raise InvalidRequestError(
                told("{entry} cannot stand in {name} of a row scope.", entry=f"{entry!r:.60}", name=name)
            )
    return entries
