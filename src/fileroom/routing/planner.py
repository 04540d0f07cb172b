"""The rules in force, in every process that stores objects (`archive.arrivals.ArrivalRules`), at most a second old.

An object that has been changed here before and comes back is stored, but not sent on: rules that send in a circle would go on
for ever. Its deliveries are held, and say why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from fileroom.admin.entries import read_entries, read_generation
from fileroom.admin.nodes import read_nodes
from fileroom.archive.arrivals import PlannedDelivery
from fileroom.archive.examine import Claim
from fileroom.core.clock import Now
from fileroom.core.errors import FileroomError
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool
from fileroom.dicom.header_scan import ScannedHeader
from fileroom.index.attributes import SCANNED_TAGS
from fileroom.routing.alert_rules import AlertKind
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.installation import installation_uid
from fileroom.routing.rule_fields import RULES
from fileroom.routing.rule_set import RuleSet, log_alarm
from fileroom.routing.troubles import Troubles

LOOK_INTERVAL_S: Final = 1.0
_CONTRIBUTING_EQUIPMENT: Final = 0x0018A001
_LOOP: Final = (
    "It has been changed and sent from here before and has come back: rules of several systems send it in a circle. Break the "
    "circle, then release or cancel it."
)

_ASK_AGAIN: Final = PlannedDelivery(0, 0, "study")
"""There are rules that ask for the whole study: they are asked when it is complete."""

_log: Final = structlog.get_logger(__name__)


class Planner:
    """Keeps the rule set, and answers for each object."""

    def __init__(self, pool: Pool, settings: Settings, now: Now) -> None:
        self._pool, self._settings, self._now = pool, settings, now
        self._rules = RuleSet((), ())
        self._tags = SCANNED_TAGS
        self._seen: tuple[int, ...] = ()
        self._uid = b""
        self._task: asyncio.Task[None] | None = None
        self._troubles = Troubles()

    @property
    def tags(self) -> frozenset[int]:
        """Those of the index, of the rules, and of the hop record."""
        return self._tags

    @property
    def gathers(self) -> bool:
        """Whether a rule waits until series or studies are complete."""
        return self._rules.has_late or any(rule.until for rule in self._rules.rules)

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._rules

    def plan(self, header: ScannedHeader, claim: Claim) -> Sequence[PlannedDelivery]:
        """As `ArrivalRules.plan`."""
        if not self._rules.rules:
            return ()
        planned = self._rules.plan(header, claim, self._now().astimezone())
        if self._rules.has_late:
            planned = (*planned, _ASK_AGAIN)
        if planned and self._uid in header.values.get(_CONTRIBUTING_EQUIPMENT, b""):
            _log.error(
                "routing_loop", sop_instance_uid=claim.sop_instance_uid, sender=claim.sending_aet or claim.sender
            )
            self._troubles.note(AlertKind.ROUTING_LOOP, f"an object from {claim.sending_aet or claim.sender}")
            return [one._replace(state="held", cause=_LOOP) for one in planned if one.destination_id]
        return planned

    async def start(self) -> None:
        """Take the rules as they are, then keep looking. A database that is away is waited for in the background."""
        try:
            await self.look()
        except FileroomError as error:
            _log.warning("rules_not_read", reason=str(error))
        self._task = asyncio.create_task(self._watch(), name="rules")

    async def stop(self) -> None:
        """End looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Take the rules as they are now. Raises DatabaseError."""
        seen = (
            await read_generation(self._pool),
            await _node_generation(self._pool),
            hash((self._settings.routing_holidays, self._settings.routing_zone)),
        )
        if seen == self._seen:
            return
        rules = await read_entries(self._pool, RULES)
        destinations = await read_entries(self._pool, DESTINATIONS)
        nodes = await read_nodes(self._pool)
        if rules and not self._uid:
            self._uid = (await installation_uid(self._pool)).encode()
        self._rules = RuleSet(
            rules,
            destinations,
            nodes=nodes,
            holidays=self._settings.routing_holidays,
            zone=self._settings.routing_zone,
            alarm=self._alarm,
        )
        is_used = bool(self._rules.rules)
        self._tags = SCANNED_TAGS | self._rules.tags | {_CONTRIBUTING_EQUIPMENT} if is_used else SCANNED_TAGS
        self._seen = seen

    async def tell(self) -> None:
        """Write down which rules failed and what came back in a loop, for the alerts. Raises DatabaseError."""
        await self._troubles.flush(self._pool, self._now())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            try:
                await self.look()
                await self.tell()
            except FileroomError as error:
                _log.warning("rules_not_read", reason=str(error))

    def _alarm(self, rule: str, why: str) -> None:
        """A rule failed: for the log, and for the alerts."""
        log_alarm(rule, why)
        self._troubles.note(AlertKind.RULE_ERROR, f"{rule or 'a rule'}: {why}")


async def _node_generation(pool: Pool) -> int:
    async with pool.connection() as connection:
        cursor = await connection.execute(b"SELECT generation FROM node_generation")
        row = await cursor.fetchone()
    return int(row[0]) if row else 0
