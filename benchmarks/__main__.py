"""`python -m benchmarks [--only NAME ...] [--quick]`: run the benchmarks, print the table, write JSON beside it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import REPOSITORY
from benchmarks.console import console
from benchmarks.deid import deid
from benchmarks.edge import edge
from benchmarks.frames import frames
from benchmarks.hl7 import hl7
from benchmarks.ingest_at_scale import ingest_at_scale
from benchmarks.machine import describe_machine
from benchmarks.memory import memory
from benchmarks.merge import merge
from benchmarks.query import query
from benchmarks.results import Row, markdown_table, write_json
from benchmarks.retrieve import retrieve
from benchmarks.routing import routing
from benchmarks.series_metadata import series_metadata
from benchmarks.session import Session
from benchmarks.store import store
from benchmarks.study_list import study_list
from benchmarks.viewer import viewer
from benchmarks.worklist import worklist

Benchmark = Callable[[Session], Sequence[Row]]
BENCHMARKS: dict[str, Benchmark] = {
    "store": store,
    "retrieve": retrieve,
    "frames": frames,
    "series_metadata": series_metadata,
    "memory": memory,
    "ingest_at_scale": ingest_at_scale,
    "query": query,
    "study_list": study_list,
    "viewer": viewer,
    "console": console,
    "routing": routing,
    "deid": deid,
    "edge": edge,
    "merge": merge,
    "hl7": hl7,
    "worklist": worklist,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for. Returns 1 when a benchmark failed; a missed goal is a result, not a failure."""
    options = _options(arguments)
    names = options.only or list(BENCHMARKS)
    rows: list[Row] = []
    failed: list[str] = []
    options.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fileroom-bench-", dir=options.scratch) as folder, ExitStack() as stack:
        session = Session(Path(folder), stack, quick=options.quick, studies=options.studies, rounds=options.rounds)
        for name in names:
            began = time.monotonic()
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                rows += BENCHMARKS[name](session)
            except Exception as error:
                failed.append(f"{name}: {type(error).__name__}: {error}")
                print(f"{name} failed: {error}", file=sys.stderr, flush=True)
                if options.fail_fast:
                    raise
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    machine = describe_machine()
    print(markdown_table(rows, machine, quick=options.quick))
    for failure in failed:
        print(f"\n**Not measured**: {failure}")
    path = write_json(REPOSITORY / "bench-results", rows, machine, failed, quick=options.quick)
    print(f"\nWritten to {path.relative_to(REPOSITORY)}", file=sys.stderr)
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few and small: whether it runs, not how fast")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side; the median counts (quick: one)")
    parser.add_argument("--studies", type=int, default=1_000_000, help="studies of the large index (quick: 20,000)")
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder on the disk that shall be measured"
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failure, with its traceback")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
