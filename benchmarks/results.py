"""Rows of the benchmark table: our figure, the peer's, their ratio, the goal, and what each side made durable."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a row's ratio or, without a peer, on our own figure. `text` is how the table says it."""

    text: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, figure: float) -> bool:
        """Whether a figure is within the bound."""
        return (self.at_least is None or figure >= self.at_least) and (self.at_most is None or figure <= self.at_most)


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `less_is_better` turns the ratio round, so that more than 1 is always in our favour.

    `bound_on` says what the goal is about: the `ratio`, or our own `value`. `rounds` holds what was measured, by side.
    """

    work: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    less_is_better: bool = False
    goal: Goal | None = None
    bound_on: str = "ratio"
    durable: str = ""
    note: str = ""
    rounds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer we are."""
        if not self.theirs or not self.ours:
            return None
        return self.theirs / self.ours if self.less_is_better else self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal or a figure to compare."""
        figure = self.ratio if self.bound_on == "ratio" else self.ours
        return None if self.goal is None or figure is None else self.goal.is_met(figure)


def markdown_table(rows: Sequence[Row], machine: str, *, quick: bool) -> str:
    """The table as people read it."""
    lines = [f"Measured on {machine}."]
    if quick:
        lines += ["", "**A quick run: it shows that the benchmarks work, not how fast anything is.**"]
    lines += ["", "| work | Fileroom | peer | peer's | ratio | goal | met | durable at the answer | note |"]
    lines += ["|---|---:|---|---:|---:|---|---|---|---|"]
    for row in rows:
        cells = (
            row.work,
            f"{_figure(row.ours)} {row.unit}",
            row.peer,
            f"{_figure(row.theirs)} {row.unit}" if row.theirs is not None else "",
            f"{row.ratio:.2f}" if row.ratio is not None else "",
            row.goal.text if row.goal else "",
            {True: "yes", False: "**no**", None: ""}[row.met],
            row.durable,
            row.note,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_json(folder: Path, rows: Sequence[Row], machine: str, failed: Sequence[str], *, quick: bool) -> Path:
    """The same with every round, for programs. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    path = folder / f"{now:%Y%m%d-%H%M%S}{'-quick' if quick else ''}.json"
    document = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine,
        "quick": quick,
        "failed": list(failed),
        "rows": [dataclasses.asdict(row) | {"ratio": row.ratio, "met": row.met} for row in rows],
    }
    path.write_text(json.dumps(document, indent=1))
    return path


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
