"""Numbers of queries, kept as baselines: a page that asks more is found when it starts to.

`VMPORTAL_UPDATE_BASELINES=1` writes what was seen instead; the change is then read in review.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection
from django.test.utils import CaptureQueriesContext

BASELINES = Path(__file__).parent / "query_baselines.json"


@contextmanager
def counted(name: str) -> Iterator[None]:
    """Assert that the block makes exactly as many queries as the baseline of `name`."""
    with CaptureQueriesContext(connection) as captured:
        yield
    seen = len(captured)
    known = json.loads(BASELINES.read_text()) if BASELINES.exists() else {}
    if os.environ.get("VMPORTAL_UPDATE_BASELINES"):
        known[name] = seen
        BASELINES.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
        return
    listing = "\n".join(query["sql"][:200] for query in captured.captured_queries)
    assert seen == known.get(name), f"{name}: {seen} queries, the baseline is {known.get(name)}:\n{listing}"
