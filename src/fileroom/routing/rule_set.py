"""All rules that are in force, compiled: which objects go where. Immutable; a change of rules makes another one.

    rules = RuleSet(await read_entries(pool, RULES), await read_entries(pool, DESTINATIONS), nodes=..., alarm=...)
    examination = Examination(claim, SCANNED_TAGS | rules.tags)          # rules.tags: what the scan must read for them
    for planned in rules.plan(header, claim, now): ...                   # when an object arrives; `now` is aware
    if rules.has_late: rules.plan_study(header, claim, now, study, order, on="study")    # per object, when complete

`plan` answers for rules that can be answered at once; those of `on` series and study give deliveries with `until`. Rules that
ask for `study.` or `order.` are answered by `plan_study` alone, per object of the study (or series) that is complete. Neither
raises: what goes wrong in a rule is told to `alarm(rule, why)`, and the rule does not match.

Speed: what a rule says depends on the raw bytes of the attributes it refers to. Rules that refer to the same ones share a
table from these bytes to those of them that match, so that the second object of a series costs lookups (PS3.5 values are
decoded once a series). Nothing is planned for a destination that is not enabled, nor back to the node that sent the object.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final
from zoneinfo import ZoneInfo

import structlog

from fileroom.admin.entries import Entry
from fileroom.admin.node_fields import Node
from fileroom.archive.arrivals import PlannedDelivery
from fileroom.archive.examine import Claim
from fileroom.core.errors import InvalidRequestError
from fileroom.dicom.header_scan import ScannedHeader
from fileroom.routing.operands import Facts, Operand, OrderFacts, StudyFacts
from fileroom.routing.rule_fields import Rule, rule_of

Alarm = Callable[[str, str], None]
"""(name of the rule, what happened). Called at most once a minute for a rule."""

ANSWERS_KEPT_MAX: Final = 512
"""Of each group of rules: series that arrive at the same time. A full table is begun anew."""
KEY_BYTES_MAX: Final = 4096
"""An answer about longer values is not kept: they hardly come twice."""
_ALARM_EVERY_S: Final = 60.0
_HELD: Final = "Held by the rule {name} until somebody releases it."

_log: Final = structlog.get_logger(__name__)


def log_alarm(rule: str, why: str) -> None:
    """The alarm of those who have none."""
    _log.error("rule_failed", rule=rule, reason=why)


@dataclass(frozen=True, slots=True)
class _Group:
    """Rules that refer to the same operands. `members` are places in the set's order."""

    operands: tuple[Operand, ...]
    tags: tuple[int, ...] | None
    """Where raw bytes of these tags say it all."""
    members: tuple[int, ...]
    answers: dict[Hashable, tuple[int, ...]] = field(default_factory=dict)


class RuleSet:
    """See the head of this file."""

    def __init__(
        self,
        rules: Iterable[Entry],
        destinations: Iterable[Entry],
        *,
        nodes: Sequence[Node] = (),
        holidays: str = "",
        zone: str = "",
        alarm: Alarm = log_alarm,
    ) -> None:
        """`holidays` and `zone` are the settings routing_holidays and routing_zone. Wrong rules are left out, with an alarm."""
        self._alarm = alarm
        self._alarmed: dict[str, float] = {}
        self._holidays = holidays
        self._zone = zone_named(zone)
        self._nodes = tuple(node for node in nodes if node.enabled)
        self._node_names: dict[tuple[str | None, str], str] = {}
        self._destinations = {entry.name: entry for entry in destinations}
        self._rules = tuple(sorted(self._compile(rules), key=lambda rule: rule.order))
        self._groups = tuple(self._grouped(late=False))
        self._late_groups = tuple(self._grouped(late=True))
        self._encodings: dict[Hashable, int] = {}
        self._plans: dict[Hashable, tuple[PlannedDelivery, ...]] = {}
        self.tags: frozenset[int] = frozenset().union(*(rule.condition.tags for rule in self._rules))
        self._own_node = {
            name: str(entry.fields.get("target", {}).get("node", ""))
            for name, entry in self._destinations.items()
            if entry.fields.get("kind") == "dicom"
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """In the order in which they are asked."""
        return self._rules

    @property
    def has_late(self) -> bool:
        """Whether studies must be asked about again when they are complete (`plan_study`)."""
        return bool(self._late_groups)

    def plan(self, header: ScannedHeader, claim: Claim, now: dt.datetime | None = None) -> Sequence[PlannedDelivery]:
        """Where an object goes that arrives. Never raises."""
        if not self._groups:
            return ()
        try:
            facts = self._facts(header, claim, now)
            matched = self._matched(self._groups, facts)
            return self._planned(tuple(matched), facts.node) if matched else ()
        except Exception as error:  # noqa: BLE001 - an object is stored whatever rules do
            self._tell("", f"{type(error).__name__}: {error}")
            return ()

    def plan_study(
        self,
        header: ScannedHeader,
        claim: Claim,
        now: dt.datetime | None,
        study: StudyFacts,
        order: OrderFacts | None = None,
        *,
        on: str = "study",
    ) -> Sequence[PlannedDelivery]:
        """Where rules that ask for study or order send an object, now that its series or study (`on`) is complete. A rule
        that stops stops them, too. Never raises."""
        try:
            facts = self._facts(header, claim, now)._replace(study=study, order=order or {})
            matched = self._matched(self._groups, facts) + self._matched(self._late_groups, facts)
            return self._plan_of(sorted(matched), facts.node, late_on=on)
        except Exception as error:  # noqa: BLE001 - one object's trouble is not the study's
            self._tell("", f"{type(error).__name__}: {error}")
            return ()

    def _compile(self, entries: Iterable[Entry]) -> Iterable[Rule]:
        for entry in entries:
            if not entry.enabled:
                continue
            try:
                rule = rule_of(entry)
            except (InvalidRequestError, ValueError, TypeError, KeyError) as error:
                self._tell(entry.name, f"It is wrong and takes no part: {error}")
                continue
            missing = [name for name in rule.destinations if name not in self._destinations]
            if missing:
                self._tell(entry.name, f"There is no destination {missing[0]}.")
            yield rule

    def _grouped(self, *, late: bool) -> Iterable[_Group]:
        groups: dict[frozenset[Operand], list[int]] = {}
        for place, rule in enumerate(self._rules):
            if rule.condition.is_late is late:
                groups.setdefault(frozenset(rule.condition.operands), []).append(place)
        for operands, members in groups.items():
            ordered = tuple(sorted(operands, key=lambda one: (one.simple_tag, one.text)))
            tags = tuple(dict.fromkeys(one.simple_tag for one in ordered))
            yield _Group(ordered, None if 0 in tags else tags, tuple(members))

    def _facts(self, header: ScannedHeader, claim: Claim, now: dt.datetime | None) -> Facts:
        key = (claim.sending_aet, claim.sender)
        node = self._node_names.get(key)
        if node is None:
            if len(self._node_names) >= ANSWERS_KEPT_MAX:
                self._node_names.clear()
            node = self._node_names[key] = node_of(claim, self._nodes)
        moment = (now or dt.datetime.now(dt.UTC)).astimezone(self._zone)
        return Facts(header, claim, node, moment, holidays=self._holidays)

    def _matched(self, groups: tuple[_Group, ...], facts: Facts) -> list[int]:
        header = facts.header
        reading = (
            header.charset.terms,
            header.charset.codec,
            header.encoding.explicit_vr,
            header.encoding.little_endian,
        )
        encoding = self._encodings.get(reading)
        if encoding is None:
            if (
                len(self._encodings) >= ANSWERS_KEPT_MAX
            ):  # begun anew with the answers that were kept under their numbers
                self._forget()
            encoding = self._encodings[reading] = len(self._encodings)
        get = header.values.get
        matched: list[int] = []
        for group in groups:
            if group.tags is not None:
                key: tuple[Any, ...] = (encoding, *map(get, group.tags))
            else:
                key = (
                    encoding,
                    *[one.key(facts) if not one.simple_tag else get(one.simple_tag) for one in group.operands],
                )
            try:
                found = group.answers.get(key)
            except TypeError:  # a value that is a list
                found = self._ask(group, facts)
            else:
                if found is None:
                    found = self._ask(group, facts)
                    self._keep(group, key, found)
            matched += found
        return matched

    def _forget(self) -> None:
        self._encodings.clear()
        for group in (*self._groups, *self._late_groups):
            group.answers.clear()

    def _keep(self, group: _Group, key: tuple[Any, ...], found: tuple[int, ...]) -> None:
        if sum(len(part) for part in key if isinstance(part, bytes)) > KEY_BYTES_MAX:
            return
        if len(group.answers) >= ANSWERS_KEPT_MAX:
            group.answers.clear()
        group.answers[key] = found

    def _ask(self, group: _Group, facts: Facts) -> tuple[int, ...]:
        values = {operand: operand.read(facts) for operand in group.operands}
        found: list[int] = []
        for place in group.members:
            rule = self._rules[place]
            try:
                if rule.condition.holds_of(values):
                    found.append(place)
            except Exception as error:  # noqa: BLE001 - whatever CEL raises; the other rules still answer
                self._tell(rule.name, f"It could not be answered for an object: {type(error).__name__}")
        return tuple(found)

    def _planned(self, matched: tuple[int, ...], node: str) -> tuple[PlannedDelivery, ...]:
        key = (matched, node)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= ANSWERS_KEPT_MAX:
                self._plans.clear()
            plan = self._plans[key] = self._plan_of(sorted(matched), node, late_on="")
        return plan

    def _plan_of(self, matched: Sequence[int], node: str, *, late_on: str) -> tuple[PlannedDelivery, ...]:
        """`late_on`: what late rules of this kind send; empty: what the others send, for which late ones do not matter."""
        planned: dict[int, tuple[bool, PlannedDelivery]] = {}
        for place in matched:
            rule = self._rules[place]
            late = rule.condition.is_late
            if late and rule.on != late_on:
                continue
            held = False
            for do, names in rule.actions:
                if do == "drop":
                    return ()
                held = held or do == "hold"
                for name in names:
                    destination = self._destinations.get(name)
                    if (
                        destination is not None
                        and destination.enabled
                        and not (node and self._own_node.get(name) == node)
                    ):
                        made = _delivery(rule, destination.id, held=held)
                        planned.setdefault(destination.id, (late, made))  # the first rule that sends there wins
            if rule.stop:
                break
        return tuple(made for late, made in planned.values() if late is bool(late_on))

    def _tell(self, rule: str, why: str) -> None:
        now = time.monotonic()
        if now - self._alarmed.get(rule, -_ALARM_EVERY_S) >= _ALARM_EVERY_S:
            self._alarmed[rule] = now
            self._alarm(rule, why)


def _delivery(rule: Rule, destination_id: int, *, held: bool) -> PlannedDelivery:
    until = "" if rule.condition.is_late else rule.until
    state, cause = ("held", _HELD.format(name=rule.name)) if held else ("waiting", "")
    return PlannedDelivery(destination_id, rule.id, until, rule.bonus_s, state, cause)


def zone_named(name: str) -> dt.tzinfo | None:
    """A time zone; None (the server's own) without a name, and where there is none of that name."""
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, KeyError):
        return None


def node_of(claim: Claim, nodes: Iterable[Node]) -> str:
    """The name of the node that sent an object; empty when none is known by its AE title and address."""
    if claim.received_by != "dimse" or not claim.sending_aet:
        return ""
    aet, address = claim.sending_aet.strip(), claim.sender.rpartition("@")[2]
    known = [node for node in nodes if node.aet == aet]
    return next((node.name for node in known if _calls_from(node, address)), known[0].name if len(known) == 1 else "")


def _calls_from(node: Node, address: str) -> bool:
    if address == node.host:
        return True
    try:
        caller = ip_address(address)
        return any(caller in ip_network(one, strict=False) for one in node.calling_from)
    except ValueError:
        return False
