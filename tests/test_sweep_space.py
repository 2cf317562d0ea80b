"""Candidates of a sweep: the oracles are lists written by hand, and a compose that works layer by
layer.
"""

import itertools

import pytest

from rys.errors import LayerPathError, RequestError, SpaceError
from rys.layer_path import LayerPath
from rys.sweep import candidates, space
from rys.sweep.space import Plan, Space, as_plan, beam, coarse_to_fine


def layers(what: Space, n: int) -> list[list[int]]:
    """Return the candidates as lists, after the checks that hold for every space."""
    found = what.candidates(n)
    assert what.count(n) == len(found)
    assert len({path.layers for path in found}) == len(found), "a path is there twice"
    assert not any(path.is_identity for path in found), "the file's own order is no candidate"
    assert all(path.n_layer == n for path in found)
    assert found == what.candidates(n), "the second build differs from the first"
    return [list(path.layers) for path in found]


def block(n: int, i: int, j: int) -> list[int]:
    return list(range(j)) + list(range(i, n))


# --- one path after the other


def test_blocks_are_the_full_triangle_by_default():
    assert layers(space.blocks(), 3) == [
        [0, 0, 1, 2],
        [0, 1, 1, 2],
        [0, 1, 2, 2],
        [0, 1, 0, 1, 2],
        [0, 1, 2, 1, 2],
        [0, 1, 2, 0, 1, 2],
    ]


@pytest.mark.parametrize("n", [1, 2, 7, 24, 40])
def test_full_triangle_has_n_times_n_plus_1_halves(n):
    found = layers(space.blocks(), n)
    assert len(found) == n * (n + 1) // 2
    assert sorted(found) == sorted(block(n, i, j) for i in range(n) for j in range(i + 1, n + 1))


def test_blocks_of_chosen_sizes_within_a_window():
    assert layers(space.blocks(sizes=[2], start=1, stop=5), 6) == [
        block(6, 1, 3),
        block(6, 2, 4),
        block(6, 3, 5),
    ]
    assert layers(space.blocks(sizes=[3, 1, 3], start=2, stop=5, stride=2), 6) == [
        block(6, 2, 3),
        block(6, 4, 5),
        block(6, 2, 5),
    ]
    assert layers(space.blocks(sizes=(size for size in (4,)), stride=3), 8) == [
        block(8, 0, 4),
        block(8, 3, 7),
    ]
    assert layers(space.blocks(start=3), 5) == [block(5, 3, 4), block(5, 4, 5), block(5, 3, 5)]


def test_blocks_larger_than_the_window_do_not_exist():
    assert layers(space.blocks(sizes=[4, 5]), 4) == [block(4, 0, 4)]
    assert layers(space.blocks(sizes=[3], start=2, stop=4), 4) == []


def test_repeats():
    assert layers(space.repeats([3, 2]), 2) == [[0, 0, 1], [0, 0, 0, 1], [0, 1, 1], [0, 1, 1, 1]]
    assert layers(space.repeats([2], start=1, stop=3), 4) == [[0, 1, 1, 2, 3], [0, 1, 2, 2, 3]]
    assert space.repeats().count(10) == 10 * 7  # 2 to 8 times


def test_multi():
    assert layers(space.multi((1, 3)), 4) == [
        [0, 1, 2, 1, 2, 3],
        [0, 1, 2, 1, 2, 1, 2, 3],
        [0, 1, 2, 1, 2, 1, 2, 1, 2, 3],
    ]
    assert layers(space.multi((0, 4), [3]), 4) == [[0, 1, 2, 3] * 3]


def test_interleaved():
    assert layers(space.interleaved((1, 3)), 4) == [[0, 1, 1, 2, 2, 3]]
    assert layers(space.interleaved((0, 2), times=3), 2) == [[0, 0, 0, 1, 1, 1]]


def test_again_repeats_the_blocks_of_a_space_and_leaves_other_paths_out():
    mixed = space.union(
        space.blocks(sizes=[2]), space.skips(), space.interleaved((0, 3)), space.multi((0, 2), [4])
    )
    assert layers(space.again(mixed, [4, 3]), 3) == [
        [0, 1, 0, 1, 0, 1, 2],
        [0, 1, 0, 1, 0, 1, 0, 1, 2],
        [0, 1, 2, 1, 2, 1, 2],
        [0, 1, 2, 1, 2, 1, 2, 1, 2],
    ]
    assert layers(space.again(space.blocks(), [2]), 6) == layers(space.blocks(), 6)


def test_in_place_repeats_the_layers_of_blocks():
    mixed = space.blocks(sizes=[2]) | space.skips()
    assert layers(space.in_place(mixed), 3) == [[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]]
    assert layers(space.in_place(space.paths(["0,1,0.."]), 3), 3) == [[0, 0, 0, 1, 1, 1, 2]]


def test_skips():
    assert layers(space.skips(), 3) == [[1, 2], [0, 2], [0, 1]]
    assert layers(space.skips([2], start=1), 4) == [[0, 3], [0, 1]]
    assert layers(space.skips([1, 3]), 3) == [
        [1, 2],
        [0, 2],
        [0, 1],
    ]  # nothing is left of 3 without 3


def test_counts():
    assert layers(space.counts({0: 3, 2: 0}), 4) == [[0, 0, 0, 1, 3]]
    assert layers(space.counts({1: 1}), 4) == []
    assert layers(space.counts({0: 0, 1: 0}), 2) == []


def test_paths_are_read_in_every_form():
    given = ["0..2,1..", [0, 1, 2, 1, 2, 3], (3, 2, 1, 0), LayerPath([0, 0]), None, ".."]
    assert layers(space.paths(given), 4) == [[0, 1, 2, 1, 2, 3], [3, 2, 1, 0], [0, 0]]
    assert layers(space.paths(iter(["1.."])), 3) == [[1, 2]]


def test_union_keeps_the_first_of_equal_paths_in_order():
    both = space.union(space.repeats([2]), space.blocks(), space.skips())
    assert layers(both, 2) == [[0, 0, 1], [0, 1, 1], [0, 1, 0, 1], [1], [0]]
    assert layers(space.repeats([2]) | space.blocks(), 2) == layers(both, 2)[:3]
    assert layers(space.union(), 3) == []


@pytest.mark.parametrize("extra_slots", [-1, 0, 1, 2, 3])
def test_limit_counts_slots_beyond_the_models_layers(extra_slots):
    everything = space.blocks() | space.skips([1, 2]) | space.paths([[2, 1, 0, 3]])
    expected = [path for path in layers(everything, 4) if len(path) - 4 <= extra_slots]
    assert layers(space.limit(everything, extra_slots), 4) == expected
    assert 0 < len(expected) < len(layers(everything, 4))


def test_spaces_compose():
    what = space.limit(
        space.union(space.blocks(sizes=[2, 3]), space.repeats([2, 6])), extra_slots=2
    )
    assert layers(what, 4) == [
        *(block(4, i, i + 2) for i in range(3)),
        *(block(4, i, i + 1) for i in range(4)),
    ]


# --- compose


def composed(n: int, *chosen: tuple[int, int, int]) -> list[int] | None:
    """Return the path with blocks (i, j, times), written layer by layer; None if two blocks share a
    layer.
    """
    owners = [[b for b in chosen if b[0] <= layer < b[1]] for layer in range(n)]
    if any(len(owner) > 1 for owner in owners):
        return None
    path: list[int] = []
    for layer in range(n):
        if not owners[layer]:
            path.append(layer)
        elif owners[layer][0][0] == layer:
            i, j, times = owners[layer][0]
            path += list(range(i, j)) * times
    return path


@pytest.mark.parametrize("n", [2, 5, 8])
def test_compose_of_two_blocks_is_every_pair_without_a_shared_layer(n):
    triangle = [(i, j, 2) for i, j in itertools.combinations(range(n + 1), 2)]
    oracle = {
        tuple(path)
        for a, b in itertools.combinations(triangle, 2)
        if (path := composed(n, a, b)) is not None
    }
    assert {
        tuple(path) for path in layers(space.compose(space.blocks(), space.blocks()), n)
    } == oracle


def test_compose_of_other_forms():
    n = 6
    first = space.union(space.multi((0, 2), [3]), space.skips([2], stop=2))
    second = space.union(
        space.interleaved((3, 5)), space.multi((1, 3), [2]), space.skips([1], start=5)
    )
    assert layers(space.compose(first, second), n) == [
        [0, 1, 0, 1, 0, 1, 2, 3, 3, 4, 4, 5],
        [0, 1, 0, 1, 0, 1, 2, 3, 4],
        [2, 3, 3, 4, 4, 5],
        [2, 3, 4],
    ]
    assert sorted(layers(space.compose(second, first), n)) == sorted(
        layers(space.compose(first, second), n)
    )


def test_compose_of_neighbours():
    n = 4
    found = layers(space.compose(space.paths([block(n, 0, 2)]), space.paths([block(n, 2, 4)])), n)
    assert found == [[0, 1, 0, 1, 2, 3, 2, 3]]


THREE = [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5]  # blocks (0, 2), (2, 4) and (4, 6)


@pytest.mark.parametrize("order", [(0, 2, 4), (2, 4, 0), (4, 2, 0)])
def test_compose_of_three_blocks(order):
    assert layers(space.compose(*(space.paths([block(6, i, i + 2)]) for i in order)), 6) == [THREE]


@pytest.mark.parametrize("order", [(0, 4, 2), (4, 0, 2)])
def test_compose_of_three_blocks_fills_the_gap_last(order):
    assert layers(space.compose(*(space.paths([block(6, i, i + 2)]) for i in order)), 6) == [THREE]


def test_compose_with_nothing_is_nothing():
    assert layers(space.compose(space.blocks(), space.paths([])), 5) == []
    assert layers(space.compose(), 5) == []
    assert layers(space.compose(space.skips([2])), 4) == layers(space.skips([2]), 4)


# --- random


def test_random_paths_are_seeded_blocks_of_bounded_length():
    found = layers(space.random(20, extra=3, seed=5), 12)
    assert found == layers(space.random(20, extra=3, seed=5), 12)
    assert found != layers(space.random(20, extra=3, seed=6), 12)
    assert len(found) == 20
    assert {len(path) - 12 for path in found} == {1, 2, 3}
    triangle = [block(12, i, j) for i in range(12) for j in range(i + 1, 13)]
    assert all(path in triangle for path in found)


def test_random_lengths_are_equally_probable():
    # 600 draws of one path each: 1 to 4 extra slots 150 times each, standard deviation 10.6
    drawn = [len(layers(space.random(1, extra=4, seed=seed), 30)[0]) - 30 for seed in range(600)]
    assert all(abs(drawn.count(extra) - 150) < 4.5 * 10.6 for extra in (1, 2, 3, 4))
    assert len(drawn) == 600


def test_random_gives_all_that_there_are_if_more_are_asked_for():
    assert sorted(layers(space.random(1000, extra=99), 6)) == sorted(layers(space.blocks(), 6))
    assert space.random(21, extra=6).count(6) == 21


# --- limits and errors


def test_paths_of_more_than_512_slots_are_left_out():
    assert [len(path) for path in layers(space.multi((0, 200), [2, 3, 4]), 200)] == [400]
    assert [len(path) for path in layers(space.multi((0, 128), [4, 5]), 128)] == [512]
    assert [len(path) for path in layers(space.blocks(sizes=[211, 212, 213], start=87), 300)] == [
        511
    ] * 3 + [512] * 2


def test_too_many_paths_are_refused(monkeypatch):
    endless = Space(
        "endless",
        lambda n: ([k % n, k // n % n, k // n**2 % n, k // n**3] for k in itertools.count()),
    )
    monkeypatch.setattr(candidates, "_MAX_PATHS", 1000)
    with pytest.raises(SpaceError, match="endless has more than 1,000 paths; limit it"):
        endless.candidates(100)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: space.blocks(sizes=[0]), "size is 0, but must be 1.."),
        (lambda: space.blocks(sizes=[1.5]), "size is 1.5, but must be an integer"),
        (lambda: space.blocks(stride=0), "stride is 0, but must be 1.."),
        (lambda: space.repeats([1]), "times is 1, but must be 2.."),
        (lambda: space.multi((0, 1), [1]), "times is 1, but must be 2.."),
        (lambda: space.interleaved((0, 1), 1), "times is 1, but must be 2.."),
        (lambda: space.again(space.blocks(), [0]), "times is 0, but must be 2.."),
        (lambda: space.skips([0]), "size is 0, but must be 1.."),
        (lambda: space.random(0, 1), "n is 0, but must be 1.."),
        (lambda: space.random(1, 0), "extra is 0, but must be 1.."),
    ],
)
def test_impossible_arguments_are_refused_at_once(make, message):
    with pytest.raises(RequestError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            space.blocks(start=8),
            "start=8, stop=None, but they must lie in the model's layers: 0 <= start < stop <= 8",
        ),
        (
            space.blocks(stop=9),
            "start=0, stop=9, but they must lie in the model's layers: 0 <= start < stop <= 8",
        ),
        (space.blocks(start=-1), "start=-1, stop=None, but they must lie"),
        (space.repeats([2], start=3, stop=3), "start=3, stop=3, but they must lie"),
        (space.skips(stop=0), "start=0, stop=0, but they must lie"),
        (space.multi((3, 3)), "block (3, 3), but must be 0 <= i < j <= 8, the number of layers"),
        (
            space.interleaved((0, 9)),
            "block (0, 9), but must be 0 <= i < j <= 8, the number of layers",
        ),
        (space.counts({8: 2}), "counts has layer 8 with 2 visits, but the model has layers 0..7"),
        (space.counts({1: -1}), "counts has layer 1 with -1 visits"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(what, message):
    with pytest.raises(SpaceError) as caught:
        what.candidates(8)
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(SpaceError):
        space.union(space.blocks(sizes=[1]), what).count(8)


def test_paths_by_hand_that_do_not_fit_are_refused():
    with pytest.raises(LayerPathError, match=r"layer 8, but the model has layers 0\.\.7"):
        space.paths(["0..8"]).candidates(8)


def test_plans_refuse_an_impossible_beam():
    with pytest.raises(SpaceError, match="beam is 0x2, but both must be at least 1"):
        beam(0, 2)
    with pytest.raises(SpaceError, match="beam is 3x0, but both must be at least 1"):
        beam(3, 0)


def test_names_say_what_is_in_a_space():
    assert space.blocks().name == "blocks(all)"
    assert (
        space.blocks(sizes=[3, 2], start=4, stop=12, stride=2).name == "blocks(2,3 in 4..11 by 2)"
    )
    assert space.multi((4, 8)).name == "multi(4,8;2,3,4)"
    assert (
        space.limit(space.repeats([2]) | space.skips(), 3).name == "limit(repeats(2) + skips(1), 3)"
    )
    assert (
        space.compose(space.blocks([1]), space.counts({3: 2})).name
        == "compose(blocks(1), counts(3:2))"
    )
    assert as_plan(space.repeats([2])).name == "repeats(2)"
    assert coarse_to_fine().name == "coarse_to_fine"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (space.repeats([2]), space.repeats([2], start=1)),
        (space.skips([2]), space.skips([2], stop=4)),
        (space.interleaved((1, 3), 2), space.interleaved((1, 3), 3)),
        (space.in_place(space.blocks(), 2), space.in_place(space.blocks(), 3)),
        (space.paths(["1.."]), space.paths(["2.."])),
    ],
    ids=lambda what: what.name,
)
def test_different_spaces_have_different_names(one, other):
    assert layers(one, 6) != layers(other, 6)
    assert one.name != other.name


def test_blocks_of_no_size_are_none():
    assert layers(space.blocks(sizes=[]), 5) == []


# --- repeated_block


@pytest.mark.parametrize("n", [1, 6])
def test_repeated_block_reads_every_block(n):
    found = [space.repeated_block(path) for path in space.blocks().candidates(n)]
    assert sorted(found) == sorted((i, j) for i in range(n) for j in range(i + 1, n + 1))


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "1..",
        "0..2x3,3..",
        "0x2,1x2,2..",
        "0..1x2,2..3x2,4..",
        "5,4,3,2,1,0",
        "0..2,1..4",
        "0",
    ],
)
def test_repeated_block_is_none_for_other_forms(path):
    assert space.repeated_block(LayerPath(path, 6)) is None


# --- plans


class FakeSweep:
    """Run a plan with known effects: the more a path's visits are those of the best block, the
    better.
    """

    def __init__(self, n: int, effect) -> None:
        self.n, self.effect = n, effect
        self.phases: list[list[LayerPath]] = []
        self.seen: dict[LayerPath, float] = {}

    def ranking(self) -> list[tuple[LayerPath, float]]:
        return sorted(self.seen.items(), key=lambda pair: -pair[1])

    def run(self, plan: Plan) -> list[tuple[LayerPath, float]]:
        for phase in plan.phases(self.n, self.ranking):
            candidates = phase.candidates(self.n)
            self.phases.append(candidates)
            self.seen |= {path: self.effect(path) for path in candidates if path not in self.seen}
        return self.ranking()


def overlap(i: int, j: int):
    """Return an effect: intersection over union of the repeated block and (i, j); 0 for paths of
    another form.
    """

    def effect(path: LayerPath) -> float:
        found = space.repeated_block(path)
        if not found:
            return 0.0
        both = max(0, min(found[1], j) - max(found[0], i))
        return both / (found[1] - found[0] + j - i - both)

    return effect


@pytest.mark.parametrize("target", [(9, 13), (0, 3), (20, 24), (14, 15)])
def test_coarse_to_fine_finds_the_best_block(target):
    n = 24
    sweep = FakeSweep(n, overlap(*target))
    best, effect = sweep.run(coarse_to_fine())[0]
    assert (space.repeated_block(best), effect) == (target, 1.0)

    coarse, fine, forms = sweep.phases
    assert [path.layers for path in coarse] == [
        tuple(block(n, i, i + s)) for s in (3, 6) for i in range(0, n - s + 1, 2)
    ]
    assert all(len(path) - n <= 8 for path in fine)
    assert LayerPath([*range(target[0]), *[*range(*target)] * 3, *range(target[1], n)], n) in forms
    assert LayerPath([*range(target[0]), *[*range(*target)] * 4, *range(target[1], n)], n) in forms
    if target[1] - target[0] > 1:
        assert LayerPath(layers(space.interleaved(target), n)[0], n) in forms
    assert len(sweep.seen) < space.blocks().count(n) * 0.75


def test_coarse_to_fine_looks_only_around_the_hot_zone():
    n = 48
    sweep = FakeSweep(n, overlap(30, 36))
    sweep.run(coarse_to_fine(stride=2))
    zones = [space.repeated_block(path) for path in sweep.phases[1]]
    assert all(zones)
    assert min(i for i, _ in zones) >= 20
    assert max(j for _, j in zones) <= 44
    assert len(sweep.seen) < space.blocks().count(n) / 3


def test_coarse_to_fine_stops_if_nothing_was_measured():
    assert [len(phase.candidates(24)) for phase in coarse_to_fine().phases(24, list)] == [
        21
    ]  # 11 + 10


@pytest.mark.parametrize("n", [1, 2, 3])
def test_coarse_to_fine_fits_the_smallest_models(n):
    ranked = FakeSweep(n, overlap(0, 1)).run(coarse_to_fine())
    assert space.repeated_block(ranked[0][0]) == (0, 1)


def test_beam_combines_the_best_with_every_block_apart():
    n = 12
    gains = {(1, 3): 0.3, (8, 9): 0.2, (5, 7): 0.1}

    def effect(path: LayerPath) -> float:
        """Return the gains of the blocks that are in the path, less a little for every slot."""
        for count in range(3, 0, -1):
            for chosen in itertools.combinations(gains, count):
                if list(path.layers) == composed(n, *((i, j, 2) for i, j in chosen)):
                    return sum(gains[b] for b in chosen)
        return -0.01 * path.extra

    sweep = FakeSweep(n, effect)
    ranked = sweep.run(beam(2, 1))
    assert len(sweep.phases) == 2
    assert sweep.phases[0] == space.blocks(sizes=[1, 2, 3]).candidates(n)
    assert list(ranked[0][0].layers) == composed(n, (1, 3, 2), (8, 9, 2))
    oracle = {
        tuple(path)
        for best in [(1, 3, 2), (8, 9, 2)]
        for i in range(n)
        for j in range(i + 1, min(n, i + 3) + 1)
        if (path := composed(n, best, (i, j, 2)))
    }
    assert {path.layers for path in sweep.phases[1]} == oracle


def test_beam_goes_deeper_and_extends_with_the_given_space():
    first = space.blocks(sizes=[1])
    sweep = FakeSweep(6, lambda path: sum(path.visits(layer) == 2 for layer in (0, 1, 2)))
    ranked = sweep.run(beam(1, 2, first))
    assert len(sweep.phases) == 3
    assert sweep.phases[0] == first.candidates(6)
    assert list(ranked[0][0].layers) == [0, 0, 1, 1, 2, 2, 3, 4, 5]


def test_beam_fills_the_gap_between_two_blocks():
    worth = {0: 3, 4: 2, 2: 1}
    sweep = FakeSweep(
        6, lambda path: sum(w for layer, w in worth.items() if path.visits(layer) == 2)
    )
    ranked = sweep.run(beam(1, 2, space.blocks(sizes=[1])))
    assert list(ranked[0][0].layers) == [0, 0, 1, 2, 2, 3, 4, 4, 5]


def test_as_plan_is_one_phase():
    what = space.blocks(sizes=[1])
    assert list(as_plan(what).phases(6, list)) == [what]
    plan = beam(1, 1)
    assert as_plan(plan) is plan
