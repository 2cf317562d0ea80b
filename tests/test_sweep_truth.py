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


def swept(model, tier, seed, folder, is_calibrated=False, **options):
    store = folder / f"{tier}-{seed}.db"
    blocks = rys.space.blocks(sizes=SIZES)
    probe = "reference" if is_calibrated else Reference(tier)
    sweep = rys.Sweep(model, probe, blocks, store=store, seed=seed, force=True, **options)
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


@pytest.fixture(params=[False, True], ids=["as given", "calibrated"])
def is_calibrated(request):
    return request.param


def give_forms(monkeypatch, tier):
    """Let a calibration choose how the answers of a tier are scored."""
    forms = (Reference(tier, "probability"), Reference(tier, "accuracy"))
    genuine = Reference.items

    def items(probe, n, seed=0, split="search"):
        if split == "calibrate":  # the training left no questions for it
            return genuine(probe, n, seed + 1000, "search")
        return genuine(probe, n, seed, split)

    monkeypatch.setattr(Reference, "items", items)
    monkeypatch.setattr(Reference, "rungs", lambda probe, thinking=False: forms)


@pytest.mark.slow
def test_the_planted_block_is_found_and_confirmed_with_nine_of_ten_item_seeds(
    model, tmp_path, is_calibrated, monkeypatch
):
    n_good = 0
    give_forms(monkeypatch, "hard")
    for seed in SEEDS:
        report, frame = swept(model, "hard", seed, tmp_path, is_calibrated)
        assert (report.calibration is not None) == is_calibrated
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
def test_nothing_is_confirmed_on_easy_questions_with_nine_of_ten_item_seeds(
    model, tmp_path, is_calibrated, monkeypatch
):
    give_forms(monkeypatch, "easy")
    n_quiet = 0
    for seed in SEEDS:
        report, _ = swept(model, "easy", seed, tmp_path, is_calibrated)
        n_quiet += report.verdict == "none"
    assert n_quiet >= 9


def test_one_seed_finds_the_planted_block(model, tmp_path):
    report, frame = swept(model, "hard", 0, tmp_path, min_effect=0.1)
    assert report.verdict == "confirmed"
    assert overlap(frame.iloc[0]["path"]) >= 0.6
    assert report.sentence.startswith("Confirmed: ")
