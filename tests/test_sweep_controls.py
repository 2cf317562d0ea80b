"""Control paths: random, as long as the best, apart from them, and never too few."""

from __future__ import annotations

import random

import pytest

from rys.layer_path import LayerPath
from rys.sweep.controls import MIN_CONTROLS, changed_layers, control_paths, is_apart

N = 24


def controls_of(*tops: str, n: int = N) -> list[LayerPath]:
    return control_paths([LayerPath(top, n) for top in tops], n, random.Random(0))


def test_controls_are_as_many_and_as_long_as_the_best():
    controls = controls_of("0..7,4..", "0..9,8..", "0..3,5..", "0..12,10..")
    assert [path.extra for path in controls] == [4, 2, -1, 3]
    assert len(set(controls)) == 4


def test_one_path_has_controls_enough_to_compare_with():
    assert len(controls_of("0..7,4..")) == MIN_CONTROLS


def test_controls_change_other_layers():
    for control in controls_of("0..7,4..", "0..8,4..", "0..7,5.."):
        for block in ({4, 5, 6, 7}, {4, 5, 6, 7, 8}, {5, 6, 7}):
            mine = changed_layers(control, N)
            assert len(mine & block) / len(mine | block) < 0.5


@pytest.mark.parametrize(
    ("n_layer", "size", "starts"),
    [(12, 4, (4, 3, 5, 7, 2)), (12, 4, (4, 3, 5, 2, 6)), (24, 8, (8, 4, 12, 0, 16))],
)
def test_controls_change_other_layers_where_single_blocks_run_out(
    n_layer: int, size: int, starts: tuple[int, ...]
):
    blocks = [set(range(start, start + size)) for start in starts]
    tops = [LayerPath.block(start, start + size, n_layer=n_layer) for start in starts]
    for seed in range(20):
        controls = control_paths(tops, n_layer, random.Random(seed))
        assert [control.extra for control in controls] == [size] * len(tops)
        for mine in (changed_layers(control, n_layer) for control in controls):
            assert all(len(mine & block) / len(mine | block) < 0.5 for block in blocks), (
                seed,
                mine,
            )


def test_what_lies_apart_shares_less_than_half():
    top = LayerPath("0..7,4..", 12)
    assert is_apart(LayerPath("0..9,6..", 12), [top], 12)  # 6, 7 of 4..9
    assert not is_apart(LayerPath("0..8,5..", 12), [top], 12)  # 5, 6, 7 of 4..8
    assert not is_apart(LayerPath("0..6,5..7,6..", 12), [top], 12)
    assert is_apart(top, [LayerPath("..", 12)], 12)


@pytest.mark.parametrize("top", ["..,..,..", "0..5,0..5,0..5,0..5,0..5,.."])
def test_paths_much_longer_than_the_model_have_controls_too(top: str):
    path = LayerPath(top, N)
    controls = controls_of(top)
    assert len(controls) == MIN_CONTROLS
    assert {control.extra for control in controls} == {path.extra}
    assert path not in controls


def test_the_best_may_leave_no_room_for_controls_that_lie_apart():
    tops = [LayerPath([layer for layer in range(8) if not i <= layer < i + 4], 8) for i in range(5)]
    for seed in range(20):
        controls = control_paths(tops, 8, random.Random(seed))
        assert [control.extra for control in controls] == [-4] * 5
        assert not any(control in tops for control in controls)


def test_models_without_other_paths_have_fewer_controls():
    assert controls_of("0", n=2) == [LayerPath("1", 2)]
