"""Spoiled documents at every reader of what comes from outside: how many, what one core takes for them, what comes out.

FULL=1 throws a million, else a hundred thousand. Baseline: the standard library's `json.loads` over the same documents,
and how many it takes although they have a key twice, a number that is none, or half a character.
"""

from __future__ import annotations

import json
import sys
import time

from tests.bench.harness import FULL, noise, report
from tests.fakes.unseen import unseen
from tests.testbed.fuzz import Fuzzer, most_mb, run

DOCUMENTS = 1_000_000 if FULL else 100_000


def plain(documents: int) -> tuple[float, int]:
    """Processor seconds of json.loads alone, without those of making the documents; how many it reads."""
    fuzzer, spent, taken = Fuzzer(1), 0.0, 0
    for _ in range(documents):
        _, data = fuzzer.next()
        began = time.process_time()
        try:
            json.loads(data)
            taken += 1
        except (ValueError, RecursionError):
            pass
        spent += time.process_time() - began
    return spent, taken


def main() -> int:
    with noise() as quiet:
        found = run(1, DOCUMENTS, unseen)
        rss_mb = most_mb()
        seconds, taken = plain(DOCUMENTS // 10)
    for each in (*found.foreign[:20], *found.unseen[:20]):
        print(each, file=sys.stderr)
    read = sum(found.read.values())
    figures: dict[str, object] = {"documents": found.documents, "cpu_s": round(found.seconds, 1), "rss_mb": rss_mb}
    figures |= {"read": read, "foreign": len(found.foreign), "unseen": len(found.unseen)}
    baselines: dict[str, object] = {"json_cpu_s": round(10 * seconds, 1), "json_read": 10 * taken}
    report("fuzz_documents", figures, baselines, quiet)
    return int(bool(found.foreign or found.unseen))


if __name__ == "__main__":
    sys.exit(main())
