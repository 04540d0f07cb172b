"""Plays a plan against a Fileroom: the RIS over one HL7 connection, the modalities over DICOM.

Each patient is a task of its own; what the RIS says goes out one message after the other, as from one sending application. A
patient's course, in seconds of the simulated day:

    0 registered    20 ordered for 300 later    60 changed or cancelled    300 at the modality    420 mended, merged
    450 taken apart    480 to 660 read: preliminary, final, corrected

While the RIS is down (`Downtime`) its messages wait, and leave in their order when it is back.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from fileroom.core.clock import Now
from fileroom.core.errors import FileroomError
from fileroom.hl7.acknowledge import Answer
from fileroom.simulate import messages
from fileroom.simulate.modality import Archive, examine
from fileroom.simulate.plan import Story, Twist
from fileroom.simulate.reader import read

AT_ONCE: Final = 16
"""Patients at the modalities at the same time: as many rooms."""
ATTEMPTS_MAX: Final = 60
ATTEMPT_INTERVAL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Downtime:
    """When the RIS sends nothing: seconds of the simulated day."""

    begins_s: float
    lasts_s: float


Send = Callable[[bytes], Awaitable[Answer]]
"""A message out, its acknowledgement back. Raises PeerError."""

_Result = TypeVar("_Result")

_log: Final = structlog.get_logger(__name__)


@dataclass(slots=True)
class Outcome:
    """What was done, and what went wrong, in words."""

    patients: int = 0
    messages: int = 0
    images: int = 0
    reports: int = 0
    troubles: list[str] = field(default_factory=list)


class Day:
    """One run. `speed`: how many simulated seconds are played in one."""

    def __init__(
        self, send: Send, archive: Archive, now: Now, *, speed: float = 1.0, ris_down: Downtime | None = None
    ) -> None:
        self._send, self._archive, self._now, self._speed = send, archive, now, speed
        self._ris_down = ris_down
        self._ris = asyncio.Lock()
        self._rooms = asyncio.Semaphore(AT_ONCE)
        self._begun = 0.0
        self._number = 0
        self.outcome = Outcome()

    async def play(self, stories: Sequence[Story], stop: asyncio.Event) -> Outcome:
        """Until everybody has gone home; with `stop` nobody comes any more."""
        self._begun = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as patients:
            for story in stories:
                await self._wait(story.arrives_s, stop)
                if stop.is_set():
                    break
                patients.create_task(self._visit(story))
        return self.outcome

    async def _visit(self, story: Story) -> None:
        try:
            await self._course(story)
        except FileroomError as error:
            _log.warning("simulated_patient_failed", patient=story.number, twist=story.twist.value, reason=str(error))
            self.outcome.troubles.append(f"patient {story.number} ({story.twist}): {error}")
        self.outcome.patients += 1

    async def _course(self, story: Story) -> None:
        twist, arrives = story.twist, story.arrives_s
        if twist is Twist.EMERGENCY:
            await self._wait(arrives + 300)
            await self._examine(story)
            return
        start = self._now().astimezone() + dt.timedelta(seconds=300 / self._speed)
        await self._tell(story, lambda now, number: messages.register(story, story.person, now, number))
        if story.second is not None:
            second = story.second
            await self._tell(story, lambda now, number: messages.register(story, second, now, number))
        if twist is Twist.LATE_ORDER:
            await self._wait(arrives + 300)
            await self._examine(story)
        await self._wait(arrives + 20)
        await self._tell(story, lambda now, number: messages.order(story, start, now, number))
        await self._wait(arrives + 60)
        if twist is Twist.RESCHEDULED:
            later = start + dt.timedelta(minutes=30)
            await self._tell(story, lambda now, number: messages.order(story, later, now, number, "XO"))
        elif twist is Twist.CANCELLED:
            await self._tell(story, lambda now, number: messages.order(story, start, now, number, "CA"))
            return
        elif twist is Twist.MERGED_EARLY:
            await self._tell(story, lambda now, number: messages.merge(story, now, number))
        if twist is not Twist.LATE_ORDER:
            await self._wait(arrives + 300)
            await self._examine(story)
        await self._wait(arrives + 420)
        if twist is Twist.RENAMED:
            await self._tell(story, lambda now, number: messages.rename(story, now, number))
        elif twist in (Twist.MERGED, Twist.UNMERGED):
            await self._tell(story, lambda now, number: messages.merge(story, now, number))
        if twist is Twist.UNMERGED:
            await self._wait(arrives + 450)
            await self._tell(story, lambda now, number: messages.unmerge(story, now, number))
        await self._report(story)

    async def _report(self, story: Story) -> None:
        dictation = read(story)
        for said in dictation.said:
            await self._wait(story.arrives_s + said.after_s)
            await self._tell(
                story,
                lambda now, number, said=said: messages.report(story, dictation, said, now, number),  # type: ignore[misc]  # mypy 1: default
            )
            self.outcome.reports += 1

    async def _examine(self, story: Story) -> None:
        async with self._rooms:
            made = await _again(lambda: examine(self._archive, story, self._now().astimezone()))
            self.outcome.images += made

    async def _tell(self, story: Story, make: Callable[[dt.datetime, str], bytes]) -> None:
        async with self._ris:  # one after the other, in the order in which they were written
            if self._ris_down is not None and self._elapsed_s() >= self._ris_down.begins_s:
                await self._wait(self._ris_down.begins_s + self._ris_down.lasts_s)
            self._number += 1
            raw = make(self._now().astimezone(), f"{story.placer}M{self._number}")
            for _ in range(2 if story.twist is Twist.REPEATED else 1):
                answer = await _again(lambda: self._send(raw))
                self.outcome.messages += 1
                if not answer.is_good:
                    self.outcome.troubles.append(
                        f"patient {story.number} ({story.twist}): {answer.code}: {answer.reason}"
                    )

    def _elapsed_s(self) -> float:
        """Of the simulated day."""
        return (asyncio.get_running_loop().time() - self._begun) * self._speed

    async def _wait(self, at_s: float, stop: asyncio.Event | None = None) -> None:
        """Until this second of the simulated day."""
        left = self._begun + at_s / self._speed - asyncio.get_running_loop().time()
        if left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                await (stop or asyncio.Event()).wait()
        except TimeoutError:
            return


async def _again(work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Repeat what fails: people and systems do, when a server is away for a while. Raises the last FileroomError."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return await work()
        except FileroomError:
            await asyncio.sleep(ATTEMPT_INTERVAL_S)
    return await work()
