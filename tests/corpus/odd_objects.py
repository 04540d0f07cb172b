"""Several hundred deliberately odd and deliberately right objects, each with what must become of it.

    for odd in odd_objects():
        odd.data            the whole file (PS3.10), or whatever stands for it
        odd.announced       what a sender writes into its C-STORE-RQ; None when it can only be imported as a file
        odd.data_set        what goes over the wire behind it
        odd.expectation     kept or refused, with which status, and why

What can be kept is kept, exactly as it came. Refused is only what cannot be filed (no usable UID), what contradicts its
announcement, and what is visibly cut or no DICOM object at all. Where `expectation.firm` is False the standard leaves
the choice to the receiver and the expectation is what Fileroom chooses.
"""

from __future__ import annotations

from collections.abc import Iterator

from corpus import odd_files, odd_identity, odd_pixels, odd_structure, odd_text, odd_truncated
from corpus.odd import Announced, Expectation, OddObject, Outcome

__all__ = ["Announced", "Expectation", "OddObject", "Outcome", "odd_objects"]


def odd_objects() -> Iterator[OddObject]:
    """All of them, in a fixed order; made one at a time, so that the large ones do not add up in memory."""
    for part in (odd_identity, odd_text, odd_structure, odd_pixels, odd_truncated, odd_files):
        yield from part.objects()
