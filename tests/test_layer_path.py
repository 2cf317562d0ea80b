import copy
import itertools
import pickle
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rys.errors import LayerPathError
from rys.layer_path import MAX_SLOTS, LayerPath

NOT_A_TERM = (
    "but a term is a layer (7) or a range (4..7, 4.., ..7, ..), perhaps repeated (4..7x2), "
    "and terms are separated by , or +"
)

deterministic = settings(derandomize=True, deadline=None, max_examples=300)


@st.composite
def paths_with_structure(draw):
    """Concatenate runs and repeated runs, which random ints alone would hardly ever form."""
    layers = []
    for _ in range(draw(st.integers(1, 6))):
        first, length = draw(st.integers(0, 20)), draw(st.integers(1, 8))
        layers += list(range(first, first + length)) * draw(st.integers(1, 4))
    return layers


any_layers = st.one_of(
    paths_with_structure(), st.lists(st.integers(0, 30), min_size=1, max_size=40)
)
blocks = (
    st.integers(1, 60)
    .flatmap(
        lambda n: st.tuples(st.integers(0, n - 1), st.integers(1, n), st.just(n), st.integers(1, 5))
    )
    .filter(lambda b: b[0] < b[1])
)


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("7", [7]),
        ("4..7", [4, 5, 6, 7]),
        ("5..5", [5]),
        ("..3", [0, 1, 2, 3]),
        ("6..", [6, 7, 8, 9]),
        ("..", list(range(10))),
        ("..x2", [*range(10), *range(10)]),
        ("3x3", [3, 3, 3]),
        ("1..3x2", [1, 2, 3, 1, 2, 3]),
        ("0..1,3,1", [0, 1, 3, 1]),
        ("0..1+3+1", [0, 1, 3, 1]),
        ("0,1+2", [0, 1, 2]),
        ("0..4,3..4x2,5..", [0, 1, 2, 3, 4, 3, 4, 3, 4, 5, 6, 7, 8, 9]),
        (" 0 .. 2 x 2 ,\t8..\n", [0, 1, 2, 0, 1, 2, 8, 9]),
        ("007", [7]),
    ],
)
def test_a_string_reads_as_the_layers_it_names(text, layers):
    assert list(LayerPath(text, 10)) == layers


def test_the_example_of_the_documentation_is_a_block():
    assert (
        LayerPath("0..11,12..14x2,15..", 40)
        == LayerPath("0..14,12..39", 40)
        == LayerPath.block(12, 15, 40)
    )


@pytest.mark.parametrize(
    "given_as",
    [
        list,
        tuple,
        np.array,
        lambda x: np.array(x, dtype=np.uint8),
        iter,
        lambda x: [np.int32(v) for v in x],
    ],
)
def test_any_sequence_of_ints_is_a_path_of_plain_ints(given_as):
    path = LayerPath(given_as([3, 1, 2]))
    assert path.layers == (3, 1, 2)
    assert {type(layer) for layer in path} == {int}


def test_a_range_is_a_path():
    assert LayerPath(range(4), 4).is_identity


def test_none_is_the_files_own_order():
    assert LayerPath(None, 5).layers == (0, 1, 2, 3, 4)
    assert LayerPath(None, 5) == LayerPath.identity(5)


def test_a_path_of_a_path_is_the_same_path():
    path = LayerPath("0..3", 6)
    assert LayerPath(path) == LayerPath(path, 6) == path


def test_the_properties_count_slots_and_visits():
    path = LayerPath("0..2,1..2,4", 5)
    assert (path.n_layer, path.n_slot, len(path), path.extra) == (5, 6, 6, 1)
    assert path.dup == (1, 2, 2, 0, 1)
    assert [path.visits(layer) for layer in range(5)] == [1, 2, 2, 0, 1]
    assert not path.is_identity
    assert LayerPath("1..2", 5).extra == -3


def test_a_path_indexes_like_a_tuple():
    path = LayerPath("3,1,2")
    assert (path[0], path[-1], path[1:], list(path), 2 in path) == (3, 2, (1, 2), [3, 1, 2], True)
    with pytest.raises(IndexError):
        path[3]


def test_the_same_layers_in_another_order_or_number_are_not_the_files_order():
    assert LayerPath("..", 3).is_identity
    assert not LayerPath("1,0,2", 3).is_identity
    assert not LayerPath("0..1", 3).is_identity
    assert not LayerPath("..x2", 3).is_identity


def test_an_unbound_path_knows_its_slots_but_not_what_needs_n_layer():
    path = LayerPath("0..3,2..5")
    assert (path.n_layer, path.n_slot, path.visits(2), path.visits(9)) == (None, 8, 2, 0)
    for name in ("extra", "is_identity", "dup"):
        with pytest.raises(
            LayerPathError, match=r"^the path 0\.\.3,2\.\.5 has no n_layer: use path\.resolve"
        ):
            getattr(path, name)


def test_a_path_of_a_path_is_not_read_again():
    bound, unbound = LayerPath("0..3", 6), LayerPath("0..3")
    assert LayerPath(bound).layers is LayerPath(bound, 6).layers is bound.layers
    assert LayerPath(unbound).layers is unbound.layers
    assert LayerPath(bound).n_layer == 6


def test_resolve_binds_a_path_and_checks_it():
    assert LayerPath("0..3").resolve(6) == LayerPath("0..3", 6)
    with pytest.raises(
        LayerPathError, match=r"^layer_path\[3\] is 3, but tiny\.gguf has layers 0\.\.2$"
    ):
        LayerPath("0..3").resolve(3, source="tiny.gguf")


def test_a_path_of_one_model_is_refused_for_a_model_of_another_depth():
    with pytest.raises(
        LayerPathError,
        match=r"was made for 40 layers, but small\.gguf has 48; pass layer_path\.layers",
    ):
        LayerPath.identity(40).resolve(48, source="small.gguf")


def test_a_path_is_immutable_hashable_and_equal_by_layers_and_n_layer():
    path = LayerPath("0..3", 6)
    for name in ("layers", "n_layer", "other"):
        with pytest.raises(AttributeError):
            setattr(path, name, ())
    assert path == LayerPath([0, 1, 2, 3], 6)
    assert path != LayerPath("0..3", 7)
    assert path != LayerPath("0..3")
    assert path != LayerPath("0..2", 6)
    assert path != (0, 1, 2, 3)
    assert len({path, LayerPath("0,1,2,3", 6), LayerPath("0..3")}) == 2


def test_a_path_survives_copy_pickle_and_repr():
    for path in (LayerPath.block(1, 3, 5), LayerPath("0..2")):
        assert copy.deepcopy(path) == pickle.loads(pickle.dumps(path)) == eval(repr(path)) == path
    assert repr(LayerPath.block(1, 3, 5)) == "LayerPath('0..2,1..4', n_layer=5)"
    assert repr(LayerPath("0..2")) == "LayerPath('0..2')"


# Blocks


def test_a_block_repeats_layers_i_to_j_without_j():
    assert LayerPath.block(12, 15, 40).layers == (*range(15), *range(12, 40))
    assert LayerPath.block(0, 2, 3).layers == (0, 1, 0, 1, 2)
    assert LayerPath.block(0, 3, 3, times=3).layers == (0, 1, 2) * 3
    assert LayerPath.block(1, 2, 3, times=1).is_identity


@deterministic
@given(blocks)
def test_a_block_is_the_layers_before_it_then_times_visits_then_the_rest(block):
    i, j, n_layer, times = block
    path = LayerPath.block(i, j, n_layer, times)
    assert path.layers == (*range(j), *(tuple(range(i, j)) * (times - 1)), *range(j, n_layer))
    assert path.extra == (times - 1) * (j - i)
    assert path.dup == tuple(times if i <= layer < j else 1 for layer in range(n_layer))


@deterministic
@given(blocks, blocks)
def test_blocks_that_do_not_overlap_can_be_added_in_any_order(one, other):
    (a, b, _, times), (c, d, _, again) = one, other
    c, d = b + c, b + d
    base = LayerPath.identity(max(b, d))
    assert base.with_block(a, b, times).with_block(c, d, again) == base.with_block(
        c, d, again
    ).with_block(a, b, times)


def test_with_block_names_layers_and_not_slots():
    assert str(LayerPath.block(2, 4, 10).with_block(6, 8)) == "0..3,2..7,6..9"
    assert LayerPath("5,6,0..1").with_block(0, 2).layers == (5, 6, 0, 1, 0, 1)


@pytest.mark.parametrize(
    "text",
    ["0..14,12..39", "0..12,15..39", "0..11,14,13,12,15..39", "0..12,20,13..19,21..39", "0..5"],
)
def test_with_block_refuses_layers_that_the_path_repeats_skips_or_reorders(text):
    with pytest.raises(
        LayerPathError,
        match=r"^block \(12, 15\) needs a path that visits layers 12\.\.14 once and in order",
    ):
        LayerPath(text, 40).with_block(12, 15)


@pytest.mark.parametrize(("i", "j"), [(3, 3), (4, 3), (-1, 2), (2, 11), (10, 11), (0, 10**30)])
def test_a_block_outside_the_layers_is_refused(i, j):
    with pytest.raises(
        LayerPathError, match=r"must be 0 <= i < j <= 10: layers i\.\.j-1 repeat, without j$"
    ):
        LayerPath.block(i, j, 10)


@pytest.mark.parametrize(
    "arguments", [(True, 2, 5), (0, 2.0, 5), (0, "2", 5), (0, 2, 5, 1.5), (0, 2, None), (0, 2, 5.0)]
)
def test_a_block_of_anything_but_ints_is_refused(arguments):
    with pytest.raises(LayerPathError):
        LayerPath.block(*arguments)


def test_a_block_is_visited_at_least_once_and_fits_the_slots():
    with pytest.raises(LayerPathError, match=r"^times is 0, but a block is visited at least once$"):
        LayerPath.block(0, 2, 5, times=0)
    assert LayerPath.block(0, 1, 2, times=MAX_SLOTS - 1).n_slot == MAX_SLOTS
    for times in (MAX_SLOTS, 10**30):
        with pytest.raises(LayerPathError, match="more than 512 slots"):
            LayerPath.block(0, 1, 2, times=times)


# The canonical string


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([7], "7"),
        ([4, 5], "4..5"),
        ([2, 1, 0], "2,1,0"),
        ([5, 5], "5x2"),
        ([1, 2, 1, 2, 1, 2], "1..2x3"),
        ([*range(15), *range(12, 40)], "0..14,12..39"),
        ([*range(15), *range(12, 15), *range(12, 15), *range(12, 40)], "0..11,12..14x4,15..39"),
        ([0, 0, 1, 1, 2, 2], "0x2,1x2,2x2"),
        ([0, 1, 2, 2, 2, 2, 2, 3, 4], "0..1,2x5,3..4"),
    ],
)
def test_the_string_is_canonical(layers, text):
    assert str(LayerPath(layers)) == str(LayerPath(layers, 40)) == text


@deterministic
@given(any_layers)
def test_the_string_reads_back_as_the_same_path(layers):
    for path in (LayerPath(layers), LayerPath(layers, 60)):
        text = str(path)
        assert LayerPath(text, path.n_layer) == path
        assert LayerPath(text.replace(",", "+"), path.n_layer) == path
        assert str(LayerPath(text)) == text


@deterministic
@given(any_layers)
def test_the_string_has_no_spaces_no_open_ends_and_is_never_longer_than_plain_terms(layers):
    text = str(LayerPath(layers))
    assert not set(text) - set("0123456789.,x")
    for term in text.split(","):
        assert term[0].isdigit()
        assert term[-1].isdigit()
    runs = itertools.groupby(enumerate(layers), key=lambda pair: pair[1] - pair[0])
    plain = [[layer for _, layer in run] for _, run in runs]
    assert len(text) <= len(
        ",".join(f"{r[0]}..{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in plain)
    )


def test_the_longest_paths_are_written_and_read_back():
    rng = random.Random(0)
    for layers in (
        [5] * MAX_SLOTS,
        range(MAX_SLOTS),
        [0, 1] * (MAX_SLOTS // 2),
        rng.choices(range(80), k=MAX_SLOTS),
    ):
        path = LayerPath(layers)
        assert LayerPath(str(path)) == path


# What is refused


@pytest.mark.parametrize(
    ("path", "n_layer", "message"),
    [
        ([0] * 17 + [40], 40, "layer_path[17] is 40, but the model has layers 0..39"),
        ([-1], 40, "layer_path[0] is -1, but the model has layers 0..39"),
        ([1], 1, "layer_path[0] is 1, but the model has layers 0..0"),
        ([0, -1], None, "layer_path[1] is -1, but llama.cpp allows layers 0..511"),
        ([512], None, "layer_path[0] is 512, but llama.cpp allows layers 0..511"),
        ([0, True], 40, "layer_path[1] is True (bool), but must be an int"),
        ([0, 1.0], 40, "layer_path[1] is 1.0 (float), but must be an int"),
        (["0..3"], 40, "layer_path[0] is '0..3' (str), but must be an int"),
        ([[0, 1]], 40, "layer_path[0] is [0, 1] (list), but must be an int"),
        ([None], 40, "layer_path[0] is None (NoneType), but must be an int"),
        (
            3,
            40,
            "layer_path is 3, but must be a list of ints, a string such as '0..14,12..39', or None",
        ),
        (
            None,
            None,
            "layer_path is None, the file's own order: pass n_layer= to say how long that is",
        ),
        (
            [],
            40,
            "layer_path is empty, but must visit at least one layer; None is the file's own order",
        ),
        (
            "",
            40,
            "layer_path is empty, but must visit at least one layer; None is the file's own order",
        ),
        (
            " \t",
            40,
            "layer_path is empty, but must visit at least one layer; None is the file's own order",
        ),
        (
            [0] * 513,
            40,
            "layer_path has more than 512 slots; visit fewer layers or repeat them less",
        ),
        ("0", 0, "n_layer is 0, but must be 1..512"),
        ("0", -3, "n_layer is -3, but must be 1..512"),
        ("0", 513, "n_layer is 513, but must be 1..512"),
        ("0", True, "n_layer is True (bool), but must be an int"),
        ("0", 4.0, "n_layer is 4.0 (float), but must be an int"),
        ("0", "4", "n_layer is '4' (str), but must be an int"),
    ],
)
def test_the_message_says_what_was_given_and_what_is_allowed(path, n_layer, message):
    with pytest.raises(LayerPathError) as error:
        LayerPath(path, n_layer)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "carets", "message"),
    [
        (
            "0..11, 40 ,3",
            "       ^^   ",
            "layer_path names layer 40, but model.gguf has layers 0..39",
        ),
        (
            "0..3,5..3,9",
            "     ^^^^  ",
            "layer_path has a range '5..3' that descends; write descending layers one by one",
        ),
        (
            "0..3,4x0",
            "     ^^^",
            "layer_path repeats '4x0' 0 times; leave the term out, or repeat it once or more",
        ),
        (
            "0,0x99999999",
            "  ^^^^^^^^^^",
            "layer_path has more than 512 slots; visit fewer layers or repeat them less",
        ),
        ("0..3, ,4", "      ^ ", f"layer_path has a term '', {NOT_A_TERM}"),
        ("0..3+12-14+9", "     ^^^^^  ", f"layer_path has a term '12-14', {NOT_A_TERM}"),
    ],
)
def test_a_string_error_points_at_the_term(text, carets, message):
    with pytest.raises(LayerPathError) as error:
        LayerPath(text, 40, source="model.gguf")
    assert str(error.value) == f"{message}\n  {text}\n  {carets.rstrip()}"


def test_an_open_end_without_n_layer_says_what_to_pass():
    for text in ("4..", "..", "0,4..x2"):
        with pytest.raises(
            LayerPathError, match=r"open end in '.*': pass n_layer=, or write the last layer\n"
        ):
            LayerPath(text)
    assert LayerPath("..3").layers == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "text",
    [
        *["0,,1", "0,", ",0", "+", "0..3 4", "0;1", "0:3", "[0, 1]"],
        *["x2", "0x", "0x-1", "0X2", "0..3x2x2", "-1", "1.5", "0.3", "0...3", "0..3..5", "a..b"],
        *["\u0663", "\u00b2", "0\x00", "9" * 5000, "0x" + "9" * 5000],
    ],
)
def test_garbage_is_refused(text):
    with pytest.raises(LayerPathError, match=r"^layer_path has a term "):
        LayerPath(text, 40)


@pytest.mark.parametrize(
    "path", [b"01", bytearray(b"\x00"), {0, 1}, {0: 1}, 1.5, object(), np.array(3)]
)
def test_what_is_not_a_sequence_of_layers_is_refused(path):
    with pytest.raises(LayerPathError, match=r"^layer_path is .*, but must be a list of ints"):
        LayerPath(path, 300)


@pytest.mark.parametrize(
    "path", [np.array([1.0]), np.array([True]), np.array([[0, 1]]), np.array([0, None])]
)
def test_an_array_of_anything_but_ints_is_refused(path):
    with pytest.raises(LayerPathError, match=r"^layer_path\[\d\] is .*, but must be an int$"):
        LayerPath(path, 40)


@pytest.mark.parametrize(
    "number", [10**30, -(10**30), 10**5000], ids=["large", "negative", "unprintable"]
)
def test_an_int_of_any_size_gives_a_layer_path_error(number):
    for call in (
        lambda: LayerPath([number], 40),
        lambda: LayerPath("0", number),
        lambda: LayerPath("0").visits(number),
    ):
        with pytest.raises(LayerPathError):
            call()


@pytest.mark.parametrize(
    "path",
    [
        "0x1000000000",
        "0..1x999999999999999999",
        "..x100000000",
        range(10**30),
        itertools.repeat(0),
        "0," * 10**5,
    ],
)
def test_a_huge_path_is_refused_before_it_takes_memory(path):
    tracemalloc.start()
    with pytest.raises(LayerPathError, match="more than 512 slots"):
        LayerPath(path, 40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_long_string_is_shown_around_the_term_only():
    with pytest.raises(LayerPathError) as error:
        LayerPath(",".join(["0"] * 200) + ",5..3," + ",".join(["1"] * 200))
    shown, carets = str(error.value).split("\n")[1:]
    assert shown[len(carets) - 4 : len(carets)] == "5..3"
    assert carets.strip() == "^^^^"
    assert len(shown) < 90


@deterministic
@given(st.text(alphabet="0123456789.x,+ -", max_size=20), st.one_of(st.none(), st.integers(1, 60)))
def test_any_text_gives_a_valid_path_or_a_layer_path_error(text, n_layer):
    try:
        path = LayerPath(text, n_layer)
    except LayerPathError:
        return
    assert 1 <= path.n_slot <= MAX_SLOTS
    assert all(0 <= layer < (n_layer or MAX_SLOTS) for layer in path)
