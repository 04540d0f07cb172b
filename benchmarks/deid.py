"""De-identification of the header of a CT image of 512 x 512: parse it anew each time, then clean it, in one process.

No server and no database: `deid.deidentify` alone, with a profile that moves dates, cleans descriptions and keeps safe private
attributes. Reading the header is not counted; it is done for every object in any case.
"""

from __future__ import annotations

import time
from typing import Final

from benchmarks.results import Goal, Row
from benchmarks.rounds import median
from benchmarks.session import Session
from fileroom.deid.deidentify import deidentify
from fileroom.deid.options import Option
from fileroom.deid.profile import Profile
from fileroom.deid.pseudonyms import KeyedPseudonyms, Pseudonym, identity_of
from fileroom.pixels.source import open_source, reader_of

PROFILE: Final = Profile(
    frozenset({Option.MODIFIED_DATES, Option.DESCRIPTORS, Option.SAFE_PRIVATE, Option.PATIENT, Option.PIXELS})
)


def deid(session: Session) -> list[Row]:
    """One row: milliseconds for a header."""
    repeats = session.amount(500, 50)
    rounds = []
    with session.ct_files(1, 1, 512) as [files]:
        data = next(iter(files)).read_bytes()
    for _ in range(session.rounds):
        sources = [open_source(reader_of(data), len(data)) for _ in range(repeats)]
        known = KeyedPseudonyms(b"k" * 32, {identity_of(sources[0].header): Pseudonym("S-1", "S-1", -77)})
        began = time.perf_counter()
        for source in sources:
            deidentify(source.header, PROFILE, known)
        rounds.append((time.perf_counter() - began) / repeats * 1000)
    return [
        Row(
            work="De-identification of a 512x512 CT header",
            unit="ms",
            ours=median(rounds),
            less_is_better=True,
            bound_on="value",
            goal=Goal("under 2 ms", at_most=2.0),
            rounds={"Fileroom": rounds},
        )
    ]
