"""What of the worklist each modality gets to see: entries by name, for the AE titles that they list.

Of several that fit a caller one holds: that which names its title outright, then one with a wildcard, then one for
everybody; among equals the first by name. Without any, a modality sees every step that waits.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from fileroom.admin.entries import (
    Entry,
    Fields,
    Section,
    get_entry,
    list_entries,
    put_entry,
    read_entries,
    remove_entry,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, told
from fileroom.db.pool import Pool
from fileroom.dicom.charset import character_set
from fileroom.index.conditions import Condition, like_pattern
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_states import STATE_WORDS, listed

LIST_MAX: Final = 200
"""Entries of one list: rooms of a large department."""
TEXT_CHARS_MAX: Final = 64
RESULTS_MAX: Final = 10_000
"""Steps in one answer; no modality shows a tenth of it."""
WAITING: Final = (OrderState.SCHEDULED.value, OrderState.ARRIVED.value)
FINAL: Final = tuple(state.value for state in OrderState if state.is_final)
_LISTS: Final = ("aets", "modalities", "stations", "station_names", "locations")
_BOUND: Final = re.compile(r"today(?:([+-])(\d{1,3}))?|([+-])(\d{1,4})([hd])")


@dataclass(frozen=True, slots=True)
class View:
    """What some callers see. Lists hold wildcards (`*`, `?`); an empty one limits nothing."""

    name: str = ""
    aets: tuple[str, ...] = ()
    """Calling AE titles that it is for."""
    modalities: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    """Scheduled Station AE Titles."""
    station_names: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    begins: str = ""
    """Steps that begin from then on: `today`, `today-3`, `-2h`, `-1d`."""
    ends: str = ""
    """Steps that begin until then: `today`, `today+7`, `+12h`, `+2d`."""
    own_aet: bool = False
    """Only steps for the caller's own AE title."""
    unassigned: bool = False
    """Steps for which no station is set stand for every station."""
    states: tuple[str, ...] = WAITING
    results_max: int = RESULTS_MAX
    charset: str = ""
    """Specific Character Set of the answers; empty: as node and question say."""


EVERYTHING: Final = View()
"""Where no view fits the caller."""


@dataclass(frozen=True, slots=True)
class ViewFilter:
    """One filter of a view: what it asks for in words, and as a condition on a step."""

    words: str
    condition: Condition


def check_view(_: str, fields: Mapping[str, Any]) -> Fields:
    """The fields of a view in their normal form. Raises InvalidRequestError."""
    known = {field.name for field in dataclasses.fields(View)} - {"name"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise InvalidRequestError(
            told(
                "A worklist view has no field {field}. It has: {known}.",
                field=unknown[0],
                known=", ".join(sorted(known)),
            )
        )
    checked: Fields = {key: _texts(key, fields.get(key)) for key in _LISTS}
    for key in ("begins", "ends"):
        checked[key] = _bound(key, fields.get(key))
    for key in ("own_aet", "unassigned"):
        if not isinstance(fields.get(key, False), bool):
            raise InvalidRequestError(told("{field} is true or false.", field=key))
        checked[key] = fields.get(key, False)
    checked["states"] = _texts("states", fields.get("states")) or list(WAITING)
    wrong = [one for one in checked["states"] if one not in [state.value for state in OrderState]]
    if wrong:
        states = ", ".join(state.value for state in OrderState)
        raise InvalidRequestError(
            told("{state} is no state of a step; there are: {states}.", state=wrong[0], states=states)
        )
    number = fields.get("results_max", RESULTS_MAX)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= RESULTS_MAX:
        raise InvalidRequestError(
            told("{field} is a number from {least} to {most}.", field="results_max", least=1, most=RESULTS_MAX)
        )
    checked["results_max"] = number
    charset = fields.get("charset") or ""
    if not isinstance(charset, str) or (charset and not _is_charset(charset)):
        raise InvalidRequestError(
            told("{charset} is no Specific Character Set, such as ISO_IR 100 or ISO_IR 192.", charset=str(charset)[:40])
        )
    checked["charset"] = charset
    return {key: value for key, value in checked.items() if value not in ("", [], False)}


VIEWS: Final = Section(
    "worklist_views",
    "worklist view",
    check_view,
    may_read=Permission.ORDER_READ,
    may_manage=Permission.ORDER_MANAGE,
)


def view_of(entry: Entry) -> View:
    """An entry as a view."""
    lists: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.fields.items()
    }
    return View(entry.name, **lists)


# --- for people and the command line ---


async def list_views(archive: Archive) -> list[Entry]:
    """All views by name. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, VIEWS)


async def get_view(archive: Archive, name: str) -> Entry:
    """One view. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await get_entry(archive.pool, VIEWS, name)


async def put_view(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add a view or change it; see `entries.put_entry`.

    Raises InvalidRequestError, ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    return await put_entry(
        archive.pool, archive.settings, VIEWS, name, fields, enabled=enabled, version=version, new=new
    )


async def remove_view(archive: Archive, name: str) -> None:
    """Remove a view; its callers see what the next that fits them shows. Raises NotFoundError, NotAllowedError."""
    await remove_entry(archive.pool, VIEWS, name)


# --- for the worklist itself ---


async def read_view(pool: Pool, caller: str) -> View:
    """The view that holds for an AE title. Raises DatabaseError."""
    return choose_view([view_of(one) for one in await read_entries(pool, VIEWS) if one.enabled], caller)


def choose_view(views: Sequence[View], caller: str) -> View:
    """The view that names the caller best; EVERYTHING where none does."""

    def rank(view: View) -> int:
        if not view.aets:
            return 2
        return 0 if caller in view.aets else 1

    fitting = [view for view in views if not view.aets or any(_fits(one, caller) for one in view.aets)]
    return min(fitting, key=lambda view: (rank(view), view.name), default=EVERYTHING)


def view_filters(view: View, caller: str, now: dt.datetime) -> list[ViewFilter]:
    """Every filter of a view. `now` is the hospital's clock."""
    found = [_states(view)]
    lists = (
        (view.modalities, "st.modality", told("the modality is {values}", values=", ".join(view.modalities))),
        (
            view.station_names,
            "st.station_name",
            told("the station's name is {values}", values=", ".join(view.station_names)),
        ),
        (view.locations, "st.location", told("the location is {values}", values=", ".join(view.locations))),
    )
    found += [ViewFilter(words, _any_like(column, wanted)) for wanted, column, words in lists if wanted]
    if view.stations:
        words = told("the station's AE title is {values}", values=", ".join(view.stations))
        found.append(ViewFilter(words, stations_like(view.stations, unassigned=view.unassigned)))
    if view.own_aet:
        words = told("the step is for {aet} itself", aet=caller)
        found.append(ViewFilter(words, own_station(caller, unassigned=view.unassigned)))
    if view.begins:
        moment = _moment(view.begins, now, is_end=False)
        words = told("the step begins from {moment} on ({bound})", moment=_shown(moment), bound=view.begins)
        found.append(ViewFilter(words, _from(moment)))
    if view.ends:
        moment = _moment(view.ends, now, is_end=True)
        words = told("the step begins until {moment} ({bound})", moment=_shown(moment), bound=view.ends)
        found.append(ViewFilter(words, _until(moment)))
    return found


def hospital_time(archive: Archive) -> dt.datetime:
    """Now, as the hospital's clock shows it: of the zone that is set, or of this server."""
    zone = archive.settings.routing_zone
    return archive.now().astimezone(ZoneInfo(zone) if zone else None)


def own_station(caller: str, *, unassigned: bool) -> Condition:
    """The step is for one AE title, or for none where those count as everybody's."""
    own = Condition("st.station_aets @> ARRAY[%s]", (caller,))
    return Condition.any_of([own, Condition("st.station_aets = '{}'")]) if unassigned else own


def stations_like(wanted: Sequence[str], *, unassigned: bool) -> Condition:
    """The step is for one of some AE titles."""
    inner = _any_like("aet", wanted)
    some = Condition(f"EXISTS (SELECT 1 FROM unnest(st.station_aets) AS aet WHERE {inner.text})", inner.parameters)
    return Condition.any_of([some, Condition("st.station_aets = '{}'")]) if unassigned else some


# --- helpers ---


def _states(view: View) -> ViewFilter:
    """Written out, not as parameters: so the indexes of steps that are open can be used."""
    shown = [state.value for state in OrderState if state.value in view.states]
    over = [state for state in FINAL if state not in shown]
    conditions = [Condition("st.state IN ({})".format(", ".join(f"'{state}'" for state in shown)))]
    if over:
        conditions.append(Condition("o.state NOT IN ({})".format(", ".join(f"'{state}'" for state in over))))
    words = listed([told(STATE_WORDS[OrderState(state)]) for state in shown])
    return ViewFilter(told("the state is {values}", values=words), Condition.all_of(conditions))


def _any_like(column: str, wanted: Sequence[str]) -> Condition:
    exact = [one for one in wanted if "*" not in one and "?" not in one]
    conditions = [Condition(f"{column} LIKE %s", (like_pattern(one),)) for one in wanted if one not in exact]
    if exact:
        conditions.append(Condition(f"{column} = ANY(%s)", (exact,)))
    return Condition.any_of(conditions)


def _moment(bound: str, now: dt.datetime, *, is_end: bool) -> dt.datetime:
    match = _BOUND.fullmatch(bound)
    if match is None:
        raise InvalidRequestError(f"{bound} is no bound of a worklist view")
    if match[5]:
        amount = int(match[4]) * (-1 if match[3] == "-" else 1)
        return now + (dt.timedelta(hours=amount) if match[5] == "h" else dt.timedelta(days=amount))
    days = int(match[2] or 0) * (-1 if match[1] == "-" else 1)
    day = now + dt.timedelta(days=days)
    return day.replace(hour=23, minute=59, second=59) if is_end else day.replace(hour=0, minute=0, second=0)


def _from(moment: dt.datetime) -> Condition:
    """A step that names only its day begins at any time of it."""
    return Condition.all_of(
        [
            Condition("st.start_date >= %s", (f"{moment:%Y%m%d}",)),
            Condition(
                "st.start_date || rpad(coalesce(nullif(st.start_time, ''), '24'), 6, '0') >= %s",
                (f"{moment:%Y%m%d%H%M%S}",),
            ),
        ]
    )


def _until(moment: dt.datetime) -> Condition:
    return Condition.all_of(
        [
            Condition("st.start_date <= %s", (f"{moment:%Y%m%d}",)),
            Condition("st.start_date <> ''"),
            Condition("st.start_date || st.start_time <= %s", (f"{moment:%Y%m%d%H%M%S}~",)),
        ]
    )


def _shown(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _fits(pattern: str, caller: str) -> bool:
    """Each piece between stars is taken at its first place, so that no pattern takes long."""
    pieces = [
        "".join("." if letter == "?" else re.escape(letter) for letter in one) for one in re.split(r"\*+", pattern)
    ]
    if len(pieces) == 1:
        return re.fullmatch(pieces[0], caller) is not None
    first, *middle, last = pieces
    return re.fullmatch(first + "".join(f"(?>.*?{one})" for one in middle) + ".*" + last, caller) is not None


def _texts(key: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list | tuple) or len(value) > LIST_MAX:
        raise InvalidRequestError(told("{field} is a list of at most {most} texts.", field=key, most=LIST_MAX))
    found = []
    for one in value:
        if not isinstance(one, str) or not one.isprintable() or len(one.strip()) > TEXT_CHARS_MAX:
            raise InvalidRequestError(
                told("{field} is a text of at most {most} characters.", field=key, most=TEXT_CHARS_MAX)
            )
        found.append(one.strip())
    return list(dict.fromkeys(one for one in found if one))


def _bound(key: str, value: object) -> str:
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or _BOUND.fullmatch(value.strip()) is None:
        raise InvalidRequestError(
            told("{field} is today, days from today such as today+7, or hours from now such as -2h.", field=key)
        )
    return value.strip()


def _is_charset(text: str) -> bool:
    return character_set(text.encode("ascii", "replace")).note is None
