"""The life of an order and of its steps: which state may follow which (IHE RAD TF 2 4.4, 4.13; HL7 table 0038, table 0119).

Messages come late, twice and in any order, so a state that may not follow is no error there: the order keeps its state, and
the effect says so. Work that has begun is never cancelled, it is discontinued. A final state is left only when a person
reopens the order or when it is placed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fileroom.core.errors import ConflictError, Told, told
from fileroom.worklist.facts import OrderState

_SCHEDULED, _ARRIVED, _IN_PROGRESS = OrderState.SCHEDULED, OrderState.ARRIVED, OrderState.IN_PROGRESS
_COMPLETED, _CANCELLED, _DISCONTINUED = OrderState.COMPLETED, OrderState.CANCELLED, OrderState.DISCONTINUED

FOLLOWS: Final[dict[OrderState, frozenset[OrderState]]] = {
    _SCHEDULED: frozenset({_ARRIVED, _IN_PROGRESS, _COMPLETED, _CANCELLED, _DISCONTINUED}),
    _ARRIVED: frozenset({_SCHEDULED, _IN_PROGRESS, _COMPLETED, _CANCELLED, _DISCONTINUED}),
    _IN_PROGRESS: frozenset({_COMPLETED, _DISCONTINUED}),
    _COMPLETED: frozenset(),
    _CANCELLED: frozenset(),
    _DISCONTINUED: frozenset(),
}
"""By what happens. A person may also reopen: a final state, or work marked as begun by mistake, is scheduled again."""

OPEN: Final = (_SCHEDULED, _ARRIVED, _IN_PROGRESS)
"""Of steps that still stand on a worklist."""


def next_state(now: OrderState, wanted: OrderState) -> OrderState:
    """The state that an order has after something has happened to it: `now` where `wanted` may not follow."""
    if now is _IN_PROGRESS and wanted is _CANCELLED:
        return _DISCONTINUED
    return wanted if wanted in FOLLOWS[now] else now


def states_for_people(now: OrderState) -> tuple[OrderState, ...]:
    """The states that a person may choose, in the order of an order's life."""
    may = FOLLOWS[now] | ({_SCHEDULED} if now.is_final or now is _IN_PROGRESS else frozenset())
    return tuple(state for state in OrderState if state in may)


def require_possible(now: OrderState, wanted: OrderState) -> None:
    """Raises ConflictError where a person may not choose that."""
    if wanted is not now and wanted not in states_for_people(now):
        raise ConflictError(
            told(
                "An order that is {now} cannot become {wanted}. Reopen it first: it is scheduled again then.",
                now=told(STATE_WORDS[now]),
                wanted=told(STATE_WORDS[wanted]),
            )
        )


def steps_after(before: OrderState, after: OrderState) -> tuple[tuple[OrderState, ...], OrderState] | None:
    """What a new state of the order does to its steps: those in these states take that one. None: nothing."""
    if after is _SCHEDULED and (before.is_final or before is _IN_PROGRESS):
        return (_IN_PROGRESS, _CANCELLED, _DISCONTINUED, *((_COMPLETED,) if before is _COMPLETED else ())), _SCHEDULED
    if after is _SCHEDULED:
        return (_ARRIVED,), _SCHEDULED
    if after is _ARRIVED:
        return (_SCHEDULED,), _ARRIVED
    if after is _IN_PROGRESS:
        return None  # Which of its steps has begun is known to whoever performs it.
    return OPEN, after


def state_of_steps(steps: tuple[OrderState, ...]) -> OrderState | None:
    """The state of an order whose steps stand like this (IHE RAD TF 2 4.7); None: they do not decide it.

    Completed: nothing more is expected, and something was done. Cancelled steps count only where there is nothing else.
    """
    if not steps:
        return None
    if any(state is _IN_PROGRESS for state in steps):
        return _IN_PROGRESS
    if all(state.is_final for state in steps):
        return next(state for state in (_COMPLETED, _DISCONTINUED, _CANCELLED) if state in steps)
    if any(state in (_COMPLETED, _DISCONTINUED) for state in steps):
        return _IN_PROGRESS
    return None


def state_of_people(now: OrderState, steps: tuple[OrderState, ...]) -> OrderState:
    """The state of an order of which a person has changed a step: as its steps say, also back from a final one."""
    found = state_of_steps(steps)
    if found is not None:
        return found
    if now is _SCHEDULED or now is _ARRIVED:
        return now
    return _ARRIVED if _ARRIVED in steps else _SCHEDULED


def N_(message: str) -> str:
    """Mark a text for translation, gettext's way."""
    return message


STATE_WORDS: Final = {
    _SCHEDULED: N_("scheduled"),
    _ARRIVED: N_("arrived"),
    _IN_PROGRESS: N_("in progress"),
    _COMPLETED: N_("completed"),
    _CANCELLED: N_("cancelled"),
    _DISCONTINUED: N_("discontinued"),
}
"""In words; message ids."""


def listed(words: Sequence[Told]) -> Told:
    """The words with commas, each still in the reader's language."""
    values: dict[str, object] = {f"word{place}": word for place, word in enumerate(words)}
    template = ", ".join(f"{{{name}}}" for name in values)
    listed = Told(template.format_map(values))
    listed.template, listed.values = template, values
    return listed
