"""What models cost in memory, and that it comes back. Measured in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rys import _core
from support import models

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc of Linux"
)

MEASURE = """
import gc, json, re, sys
from pathlib import Path
import rys

def resident(key="Rss"):
    gc.collect()
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(rf"^{key}:\\s+(\\d+) kB", text, re.M)[1]) / 1024

out = {}
"""


def measure(code: str, path: Path) -> dict[str, float]:
    """Run code in a new process; return what it stored in `out`, in MiB."""
    program = f"{MEASURE}{code}\nprint(json.dumps(out))"
    ran = subprocess.run(
        [sys.executable, "-c", program, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    measured: dict[str, float] = json.loads(ran.stdout)
    return measured


def test_200_paths_in_a_row_leave_resident_memory_flat() -> None:
    code = """
import random
rng = random.Random(0)
base = rys.Model(sys.argv[1], n_ctx=2048, n_threads=1)
for i in range(200):
    path = [rng.randrange(6) for _ in range(rng.randint(1, 12))]
    view = base.with_path(path if i else [5] * 12)
    view.run([rys.Generate([1, 2, 3], max_tokens=3), rys.NextToken([4, 5])])
    view.hidden_states([1, 2])
    if i % 2:
        view.close()
    if i in (19, 109, 199):
        del view
        out[str(i)] = resident()
"""
    after = measure(code, models.tiny())
    assert after["199"] < 1.05 * after["19"]
    assert after["199"] < 1.05 * after["109"]


def test_a_context_is_made_when_it_is_first_needed_and_then_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []
    make = _core.Context
    monkeypatch.setattr(_core, "Context", lambda *args: made.append(args) or make(*args))
    with models.open_tiny() as base:
        view = base.with_path("0,0")
        assert base.tokenize("a")
        assert view.n_vocab
        assert base.metadata
        assert not made
        for _ in range(3):
            base.generate("a", max_tokens=1)
            base.logits("a")
            list(base.stream("a", max_tokens=2))
        assert len(made) == 1
        view.generate("a", max_tokens=1)
        assert len(made) == 2


def test_the_memory_of_a_context_comes_back() -> None:
    # 6 layers, 2 heads of 16 for keys and for values, in 2 bytes: 48 MiB for 65536 tokens
    code = """
base = rys.Model(sys.argv[1], n_ctx=1 << 17, n_seq_max=1, n_threads=1)
base.with_path("0,0").generate([1], max_tokens=1)
out["before"] = resident()
views = [base.with_path(None) for _ in range(3)]
for view in views:
    view.generate([1], max_tokens=1)
out["with"] = resident()
views.pop().close()
out["closed"] = resident()
views.pop()
out["dropped"] = resident()
stream = views[0].stream([1], max_tokens=50)
view = None
views.clear()
list(stream)
del stream
out["streamed"] = resident()
"""
    mib = measure(code, models.tiny())
    cache = 2 * 48
    assert mib["with"] - mib["before"] > 3 * 0.9 * cache
    assert mib["with"] - mib["closed"] > 0.9 * cache
    assert mib["closed"] - mib["dropped"] > 0.9 * cache
    assert mib["streamed"] - mib["before"] < 0.1 * cache


def test_a_view_takes_no_memory_for_weights() -> None:
    path = models.tiny(n_layer=8, n_embd=512)
    code = """
base = rys.Model(sys.argv[1], n_ctx=256, n_seq_max=1, n_ubatch=32, n_threads=1)
base.logits([1, 2, 3])
out["base"] = resident("Pss")
views = [base.with_path([i % 8, *range(8), i % 5]) for i in range(8)]
for view in views:
    view.logits([1, 2, 3])
out["views"] = resident("Pss")
"""
    mib = measure(code, path)
    size = path.stat().st_size / 2**20
    assert size > 40
    assert mib["views"] - mib["base"] < 0.5 * size  # of 8 views: their caches and compute buffers


def test_closing_frees_weights_that_were_read_into_memory() -> None:
    path = models.tiny(n_layer=8, n_embd=512)
    code = """
rys.Model(sys.argv[2] if len(sys.argv) > 2 else sys.argv[1], use_mmap=False).close()
out["before"] = resident()
model = rys.Model(sys.argv[1], use_mmap=False, n_threads=1)
view = model.with_path("0,0")
out["open"] = resident()
model.close()
out["view"] = resident()
view.close()
out["closed"] = resident()
"""
    mib = measure(code, path)
    size = path.stat().st_size / 2**20
    assert mib["open"] - mib["before"] > 0.9 * size
    assert abs(mib["view"] - mib["open"]) < 0.1 * size
    assert mib["open"] - mib["closed"] > 0.9 * size


def test_results_do_not_keep_a_context_alive() -> None:
    code = """
base = rys.Model(sys.argv[1], n_ctx=1 << 16, n_seq_max=1, n_threads=1)
base.with_path("0,0").generate([1], max_tokens=1)
out["before"] = resident()
kept = []
for _ in range(4):
    view = base.with_path(None)
    requests = [rys.Generate([1], max_tokens=2), rys.NextToken([1]), rys.LogLikelihood([1], [2])]
    kept += view.run(requests)
    kept += [view.logits([1, 2]), view.hidden_states([1, 2])]
    del view
out["after"] = resident()
"""
    mib = measure(code, models.tiny())
    assert mib["after"] - mib["before"] < 10
