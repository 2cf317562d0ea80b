"""Every architecture along every kind of layer path; architecture_case.py names the oracles.

A few families are checked always, along a few paths; all of them, along all paths, under the marker
`archs`:

    python -m pytest -m archs tests/test_architectures.py
"""

from __future__ import annotations

import pytest

from rys.export import export
from support import architecture_case
from support.architecture_case import Case, Outcome, check_in_process
from support.architecture_sweep import MTP, NO_DEEPER, ORDER, Sweep, sweep
from support.toys import Upstream

FAMILIES = [
    "llama-dense",
    "llama-moe",
    "qwen2-dense",
    "qwen3-dense",
    "qwen3moe-moe",
    "qwen35-dense",
    "gemma2-dense",
    "gemma3-dense",
    "deepseek2-moe",
    "nemotron_h-dense",
    "mamba-dense",
    "gpt-oss-moe",
    "phi3-dense",
    "falcon-h1-dense",
]


def require_right(toy: str, outcomes: dict[str, Outcome]) -> None:
    """Fail unless every path is right, or refused with the architecture's name and a reason."""
    assert not Sweep({toy: outcomes}).failures()
    architecture = toy.rpartition("-")[0]
    for outcome in Sweep({toy: outcomes}).refused().values():
        about, _, reason = outcome.reason.rpartition(": ")
        assert f"({architecture})" in about or f" {architecture} " in outcome.reason
        assert len(reason) > 20


@pytest.mark.parametrize("toy", FAMILIES)
def test_a_family_along_paths_equals_its_copies(toy, upstream, scratch):
    upstream.write_toys(toy.rpartition("-")[0], scratch)
    outcomes = check_in_process(scratch / f"{toy}.gguf", upstream, scratch, fast=True)
    require_right(toy, outcomes)
    assert outcomes[ORDER] == Outcome("copy", expressible=True, hidden=True)
    assert outcomes["middle layer twice"] == Outcome("copy", expressible=True, hidden=True)


def test_mtp_layers_stay_behind_the_path(upstream, scratch):
    (toy,) = upstream.write_toys("qwen35", scratch, n_nextn=1)
    outcomes = check_in_process(toy, upstream, scratch, fast=True)
    require_right(toy.stem, outcomes)
    assert outcomes["stack twice"] == Outcome("copy", expressible=True, hidden=True)


def test_a_wrong_copy_is_a_difference(upstream, scratch, monkeypatch):
    """The comparison with copies can fail."""
    (toy,) = upstream.write_toys("qwen3", scratch)
    case = Case(toy, upstream, scratch)
    assert case.check("", [0, 1, 1]).kind == "copy"
    monkeypatch.setattr(
        architecture_case, "export", lambda file, copy, path: export(file, copy, [0, 0, 1])
    )
    outcome = case.check("", [0, 1, 1])
    assert outcome.kind == "different"
    assert outcome.reason.startswith("upstream's llama.cpp: logits: differ by up to 0.")


def test_a_wrong_chain_is_a_difference(upstream, scratch, monkeypatch):
    """The comparison with a chain can fail."""
    (toy,) = upstream.write_toys("smallthinker", scratch)
    case = Case(toy, upstream, scratch)
    assert case.check("", [0, 0, 1]).kind == "chain"
    monkeypatch.setattr(Case, "cut", lambda self, path: [[0], [1], [1]])
    outcome = case.check("", [0, 0, 1])
    assert outcome.kind == "different"
    assert outcome.reason.startswith("chain, slots from 1 on: hidden states: differ by up to ")


def test_a_crash_is_an_outcome(upstream, scratch):
    (toy,) = upstream.write_toys("qwen3", scratch)
    outcomes = check_in_process(toy, Upstream(scratch / "missing"), scratch, fast=True)
    assert outcomes["all"].kind == "crash"
    assert outcomes["all"].reason.startswith("exit code 1: ")
    assert Sweep({"toy": outcomes}).failures()


@pytest.mark.archs
def test_every_architecture_equals_its_copies(upstream):
    result = sweep(upstream, upstream.architectures())
    for toy, outcomes in result.toys.items():
        require_right(toy, outcomes)
    assert len(result.toys) >= 128
    assert all(outcomes[ORDER].kind == "copy" for outcomes in result.toys.values())
    unsupported = result.toys.keys() - set(result.supported())
    assert len(unsupported) <= 3, unsupported


@pytest.mark.archs
def test_deeper_toys_equal_their_copies(upstream):
    result = sweep(
        upstream, [name for name in upstream.architectures() if name not in NO_DEEPER], deeper=True
    )
    for toy, outcomes in result.toys.items():
        require_right(toy, outcomes)
    encoders = {toy for toy, path in result.refused() if path == ORDER}
    assert all("is an encoder" in result.toys[toy][ORDER].reason for toy in encoders)
    refused = {
        "graniteswitch-dense",
        "hrm_text-dense",
        "nanbeige-dense",
        "t5-dense",
        "wavtokenizer-dec-dense",
    }
    unsupported = result.toys.keys() - set(result.supported())
    assert unsupported == refused | encoders


@pytest.mark.archs
def test_toys_with_mtp_layers_equal_their_copies(upstream):
    result = sweep(upstream, MTP, n_nextn=1)
    for toy, outcomes in result.toys.items():
        require_right(toy, outcomes)
    assert len(result.supported()) == len(MTP)
