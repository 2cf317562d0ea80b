"""What a sweep says about the reference model, whose answer is known: gains where there are some,
and nowhere else.
"""

import pytest

import rys
from rys.probes.reference import Reference

PLANTED = (4, 8)
SEEDS = range(10)
SIZES = range(1, 7)


@pytest.fixture(scope="module")
def model():
    with rys.reference_model(n_ctx=4096) as model:
        yield model


def swept(model, tier, seed, folder, **options):
    store = folder / f"{tier}-{seed}.db"
    blocks = rys.space.blocks(sizes=SIZES)
    sweep = rys.Sweep(model, Reference(tier), blocks, store=store, seed=seed, force=True, **options)
    with sweep:
        sweep.run()
        sweep.confirm()
        return sweep.report(), sweep.results()


def overlap(layer_path):
    """Return the intersection over union of a path's repeated layers and the planted block."""
    path = rys.LayerPath(layer_path, 12)
    layers = {layer for layer in range(12) if path.layers.count(layer) > 1}
    planted = set(range(*PLANTED))
    return len(layers & planted) / len(layers | planted)


@pytest.mark.slow
def test_the_planted_block_is_found_and_confirmed_with_nine_of_ten_item_seeds(model, tmp_path):
    n_good = 0
    for seed in SEEDS:
        report, frame = swept(model, "hard", seed, tmp_path)
        first = frame.iloc[0]
        planted = frame[frame["path"] == str(rys.LayerPath.block(*PLANTED, n_layer=12))].iloc[0]
        is_confirmed = first["path"] in [gain.layer_path for gain in report.confirmed]
        n_good += (
            overlap(first["path"]) >= 0.6
            and first["effect"] >= 0.9 * planted["effect"]
            and is_confirmed
        )
    assert n_good >= 9


@pytest.mark.slow
def test_nothing_is_confirmed_on_easy_questions_with_nine_of_ten_item_seeds(model, tmp_path):
    n_quiet = sum(swept(model, "easy", seed, tmp_path)[0].verdict == "none" for seed in SEEDS)
    assert n_quiet >= 9


def test_one_seed_finds_the_planted_block(model, tmp_path):
    report, frame = swept(model, "hard", 0, tmp_path, min_effect=0.1)
    assert report.verdict == "confirmed"
    assert overlap(frame.iloc[0]["path"]) >= 0.6
    assert report.sentence.startswith("Confirmed: ")
