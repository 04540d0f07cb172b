"""Fileroom beside other systems: `python -m benchmarks` prints the table and writes bench-results/.

Each benchmark is one function in a file of its own: `(session) -> rows`. Sides are measured in turn (A B A B), the
median of the rounds counts, and what each side has made durable when it answers stands beside the figures.

The programs are those of the acceptance tests; so this package, which lives beside `tests`, puts that folder and `src`
on the import path.
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

sys.path[:0] = [str(REPOSITORY / folder) for folder in ("src", "tests") if str(REPOSITORY / folder) not in sys.path]
