"""What painted sections tell before anything is learnt from them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.ops.painting import REACH, describe_section, scant_sections, suggest_validation, suggest_zero
from tests.voronoi import voronoi


def tiled(membrane: int = 2, base: int = 1) -> NDArray[np.uint64]:
    """A section of 61 x 83 pixels full of objects, with a membrane of 0 between them."""
    rows, columns = np.meshgrid(np.arange(61), np.arange(83), indexing="ij")
    labels = (rows // 20 * 5 + columns // 20 + base).astype(np.uint64)
    labels[(rows % 20 < membrane) | (columns % 20 < membrane)] = 0
    return labels


def test_objects_and_areas_are_counted() -> None:
    """Ids are compared exactly, also where they don't fit into a float."""
    labels = np.zeros((7, 11), np.uint64)
    labels[0, :3] = 2**63 + 1
    labels[1, :4] = 2**63 + 2
    found = describe_section(labels, 5)
    assert found is not None
    assert (found.number, found.objects, found.painted) == (5, 2, pytest.approx(7 / 77))
    assert describe_section(np.zeros((7, 11), np.uint64), 5) is None


def test_only_pixels_far_from_paint_are_bare() -> None:
    """A membrane isn't bare; of a region that was left out, the part beyond the reach of its neighbours is."""
    whole, gap = tiled(), tiled()
    gap[:, 39], gap[:, 40:] = 99, 0
    described = [describe_section(labels, 0) for labels in (whole, gap)]
    assert [one is not None and round(one.bare * whole.size) for one in described] == [0, 61 * (43 - REACH)]


@pytest.mark.parametrize(("kept", "meaning", "telling"), [(20, "background", 0), (9, "unlabelled", 1)])
def test_zero_is_background_only_where_nothing_seems_left_out(kept: int, meaning: str, telling: int) -> None:
    """One section with objects left out decides for all; one with a stray dot of paint doesn't count."""
    some = np.where(tiled() <= kept, tiled(), 0)
    dot = np.zeros_like(some)
    dot[30, 30] = 7
    sections = [found for z, labels in enumerate((tiled(), some, dot)) if (found := describe_section(labels, z))]
    assert [section.number for section in scant_sections(sections)] == [2]
    zero, barest = suggest_zero(sections)
    assert (zero, barest.number) == (meaning, telling)


def test_the_section_held_out_is_a_whole_one() -> None:
    """The last one painted as much as the others, and none of two."""
    labels = voronoi((4, 40, 41), 9)
    sparse = np.where(labels == labels[3, 20, 20], labels, 0)
    sections = [found for z in range(4) if (found := describe_section((sparse if z == 3 else labels)[z], 10 * z))]
    assert [section.number for section in sections] == [0, 10, 20, 30]
    assert suggest_validation(sections) == 20
    assert suggest_validation(sections[:3]) == 20
    assert suggest_validation(sections[:2]) is None
