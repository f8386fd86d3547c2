"""The edits that a proofreader needs, counted on graphs small enough to do by hand."""

import os
import signal
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse2dense.errors import InputError
from sparse2dense.ops import edits
from sparse2dense.ops.edits import Edits, Terminals, count_edits
from sparse2dense.ops.skeletons import Skeletons

FIRST = 2**63 - 100
"""Fragment k has the id FIRST + k."""


def nodes(*places: tuple[int, float]) -> Skeletons:
    """Return single nodes of (skeleton, x) without edges."""
    count = len(places)
    position = np.zeros((count, 3))
    position[:, 2] = [x for _, x in places]
    skeleton = np.array([skeleton for skeleton, _ in places], np.uint64)
    return Skeletons(np.arange(count, dtype=np.uint64), skeleton, position, np.zeros((0, 2), np.int64))


def fragments(*numbers: int) -> np.ndarray:
    """Return ids of fragments, 0 for 0."""
    return np.array([FIRST + number if number else 0 for number in numbers], np.uint64)


def contacts(*links: tuple[int, int, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return contacts of two fragments and their affinity."""
    return fragments(*(a for a, _, _ in links)), fragments(*(b for _, b, _ in links)), np.array([w for *_, w in links])


def edits_of(
    places: Sequence[tuple[int, float]],
    at: Sequence[int],
    segments: Sequence[int],
    links: Sequence[tuple[int, int, float]],
    time_limit_s: float = 60,
    terminals: Terminals = "closest",
) -> Edits:
    """Count edits for fragments 1..k with the given segments."""
    ids = fragments(*range(1, len(segments) + 1))
    return count_edits(
        nodes(*places), fragments(*at), ids, np.array(segments, np.uint64), contacts(*links),
        time_limit_s=time_limit_s, terminals=terminals,
    )  # fmt: skip


CHAIN = [(1, 2, 0.9), (2, 3, 0.2), (3, 4, 0.9)]


def test_a_right_segmentation_needs_no_edits() -> None:
    found = edits_of([(1, 0), (1, 1), (2, 2), (2, 3)], [1, 2, 3, 4], [1, 1, 2, 2], CHAIN)
    assert found == Edits(0, 0, 0, 0)
    assert found.total == 0


def test_a_skeleton_in_three_segments_needs_two_joins() -> None:
    found = edits_of([(1, 0), (1, 1), (1, 2), (1, 2.5), (1, 3)], [1, 2, 3, 0, 4], [1, 2, 3, 3], CHAIN)
    assert found == Edits(0, 2, 0, 0)


def test_a_merger_is_cut_at_its_weakest_contact() -> None:
    # the closest nodes are those of fragments 1 and 3, the contact between 2 and 3 is weaker than that of 1 and 2
    found = edits_of([(1, 0), (1, -9), (2, 1), (2, 2)], [1, 2, 3, 4], [1, 1, 1, 1], CHAIN)
    assert found == Edits(1, 0, 0, 0)


def test_a_cut_in_the_wrong_place_costs_joins() -> None:
    # the weakest contact lies inside skeleton 1: a cut there leaves fragment 2 with skeleton 2
    links = [(1, 2, 0.1), (2, 3, 0.5), (3, 4, 0.9)]
    found = edits_of([(1, 0), (1, -9), (2, 1), (2, 2)], [1, 2, 3, 4], [1, 1, 1, 1], links)
    assert found == Edits(2, 1, 0, 0)
    assert found.total == 3


def test_three_skeletons_need_two_cuts() -> None:
    links = [(1, 2, 0.3), (2, 3, 0.4)]
    found = edits_of([(5, 0), (6, 1), (7, 2)], [1, 2, 3], [8, 8, 8], links)
    assert found == Edits(2, 0, 0, 0)


def test_each_side_of_a_cut_goes_on_by_itself() -> None:
    # fragment 4 lies in the middle: 1 goes with it, then 2 and 3 are cut off one by one
    star = [(1, 4, 0.9), (2, 4, 0.1), (3, 4, 0.3)]
    found = edits_of([(1, 0), (1, 1), (2, 50), (3, 51)], [4, 1, 2, 3], [1, 1, 1, 1], star)
    assert found == Edits(2, 0, 0, 0)


def test_several_contacts_of_two_fragments_add_up() -> None:
    # 0.2 + 0.2 twice is more than 0.3: the cut goes between 1 and 2, so skeleton 2 is in one piece
    links = [(1, 2, 0.3), (2, 3, 0.2), (3, 2, 0.2), (2, 2, 0.9)]
    found = edits_of([(1, 0), (2, 9), (2, 1)], [1, 2, 3], [1, 1, 1], links)
    assert found == Edits(1, 0, 0, 0)


def test_contacts_to_other_segments_play_no_part() -> None:
    links = [(1, 2, 0.5), (1, 3, 0.9), (2, 3, 0.9)]
    found = edits_of([(1, 0), (2, 1), (3, 2)], [1, 2, 3], [4, 4, 5], links)
    assert found == Edits(1, 0, 0, 0)


def test_a_fragment_with_two_skeletons_cannot_be_split() -> None:
    found = edits_of([(1, 0), (2, 1), (1, 2), (2, 3)], [1, 1, 2, 3], [1, 1, 1], [(1, 2, 0.5), (1, 3, 0.6)])
    assert found == Edits(1, 0, 1, 0)
    alone = edits_of([(1, 0), (2, 1)], [1, 1], [1], [])
    assert alone == Edits(0, 0, 1, 0)


def test_background_needs_no_edits() -> None:
    found = edits_of([(1, 0), (2, 1), (1, 3)], [0, 0, 0], [1, 1, 1, 1], CHAIN)
    assert found == Edits(0, 0, 0, 0)
    assert edits_of([], [], [], []) == Edits(0, 0, 0, 0)


def test_objects_that_touch_all_along_are_cut_at_once_when_all_their_nodes_are_marked() -> None:
    # two rows of nine fragments, joined weakly at each of nine places
    rows = [(k, k + 1, 0.9) for k in range(1, 18) if k != 9] + [(k, k + 9, 0.3) for k in range(1, 10)]
    places = [(1, k) for k in range(9)] + [(2, k) for k in range(9)]
    ladder = (places, list(range(1, 19)), [1] * 18, rows)
    assert edits_of(*ladder, terminals="all") == Edits(1, 0, 0, 0)
    assert edits_of(*ladder).splits > 1
    # the middle one of three belongs to another: three pieces, whatever is marked
    marked: list[Terminals] = ["closest", "all"]
    for terminals in marked:
        chain = edits_of([(1, 0), (2, 1), (1, 2)], [1, 2, 3], [1] * 3, [(1, 2, 0.9), (2, 3, 0.9)], terminals=terminals)
        assert chain == Edits(2, 1, 0, 0)


def test_without_time_the_fewest_possible_cuts_count() -> None:
    found = edits_of([(1, 0), (2, 1), (3, 2), (3, 9)], [1, 2, 3, 4], [1, 1, 1, 1], CHAIN, time_limit_s=0)
    assert found == Edits(2, 0, 0, 1)


def test_a_cut_that_outlasts_the_time_is_ended_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "LARGE", 1)
    monkeypatch.setattr(edits, "_minimum_cut", lambda *_: signal.pause())
    found = edits_of([(1, 0), (2, 1), (3, 2), (3, 9)], [1, 2, 3, 4], [1, 1, 1, 1], CHAIN, time_limit_s=0.2)
    assert found == Edits(2, 0, 0, 1)


def test_a_cut_that_ends_in_time_is_the_same_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = [(1, 0), (1, -9), (2, 1), (2, 2)], [1, 2, 3, 4], [1, 1, 1, 1], CHAIN
    here = edits_of(*problem)
    monkeypatch.setattr(edits, "LARGE", 1)
    assert edits_of(*problem) == here == Edits(1, 0, 0, 0)


def test_a_cut_that_is_killed_is_not_called_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "LARGE", 1)
    monkeypatch.setattr(edits, "_minimum_cut", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(RuntimeError, match="ended with status -9"):
        edits_of([(1, 0), (2, 1)], [1, 2], [1, 1], [(1, 2, 0.5)])


def test_many_strong_contacts_dont_overflow() -> None:
    count = 3000
    links = [(1, k, 1.0) for k in range(2, count)] + [(k, count, 1.0) for k in range(2, count)]
    found = edits_of([(1, 0), (2, 1)], [1, count], [1] * count, links)
    assert found == Edits(1, 0, 0, 0)


def test_a_graph_that_doesnt_fit_is_refused() -> None:
    with pytest.raises(InputError, match="contacts don't connect the 4 fragments of segment 1"):
        edits_of([(1, 0), (2, 1)], [1, 4], [1, 1, 1, 1], CHAIN[:2])
    with pytest.raises(InputError, match="terminals 'some'"):
        edits_of([(1, 0)], [1], [1], [], terminals="some")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="affinities from nan"):
        edits_of([(1, 0), (2, 1)], [1, 2], [1, 1], [(1, 2, float("nan"))])
    with pytest.raises(InputError, match="missing in the look-up table"):
        edits_of([(1, 0)], [3], [1, 1], [])


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 14), st.sampled_from(["closest", "all"]))
def test_every_cut_makes_one_more_piece_and_no_piece_is_left_empty(
    seed: int, skeletons: int, count: int, terminals: Terminals
) -> None:
    rng = np.random.default_rng(seed)
    links = [(int(rng.integers(1, k)), k, float(rng.random())) for k in range(2, count + 1)]
    links += [(int(a), int(b), float(rng.random())) for a, b in rng.integers(1, count + 1, (count, 2))]
    owners = rng.integers(1, skeletons + 1, count)
    places = [(int(owner), float(rng.random())) for owner in owners]
    found = edits_of(places, list(range(1, count + 1)), [1] * count, links, terminals=terminals)
    held = len(np.unique(owners))
    assert found.splits >= held - 1
    assert found.merges == found.splits + 1 - held
