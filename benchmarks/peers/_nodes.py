"""Nodes of Bootstrapper's pipelines that gunpowder and lsds lack, written anew after a description of what they do.

Where the description leaves the way open, the cheaper one is taken.
"""

import random
from typing import Any

import gunpowder as gp
import numpy as np
from lsd.train.local_shape_descriptor import LsdExtractor
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

chance = np.random.default_rng()
"""What the nodes of these modules draw from."""


def seed(number: int) -> None:
    """Make a pipeline draw the same samples again."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 (gunpowder's own nodes draw from it)
    chance.bit_generator.state = np.random.default_rng(number).bit_generator.state


class Change(gp.BatchFilter):
    """A change of one array in place, made with probability `p`."""

    def __init__(self, array: gp.ArrayKey, p: float = 1.0) -> None:
        self.array, self.p = array, p

    def setup(self) -> None:
        """Declare the array as changed."""
        self.enable_autoskip()
        self.updates(self.array, self.spec[self.array])

    def skip_node(self, request: gp.BatchRequest) -> bool:
        """Draw whether the change is made."""
        return bool(chance.random() > self.p)

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        """Ask for the array as it is asked for."""
        needed = gp.BatchRequest()
        needed[self.array] = request[self.array].copy()
        return needed

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        """Change the array."""
        batch[self.array].data = self.changed(batch[self.array].data)

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """What the array becomes."""
        raise NotImplementedError


class Renumber(Change):
    """Every face-connected piece of a label becomes a label of its own."""

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Labels of the same type."""
        return np.asarray(label(data, connectivity=1), data.dtype)


class Gamma(Change):
    """Every section to a power of 0.8 to 1.2."""

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Intensities between 0 and 1."""
        powers = chance.uniform(0.8, 1.2, (len(data), 1, 1)).astype(np.float32)
        return data**powers


class Impulses(Change):
    """Every twentieth pixel becomes a random value."""

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Intensities between 0 and 1."""
        hit = chance.random(data.shape) < 0.05
        data[hit] = chance.random(int(hit.sum()))
        return data


class Blur(Change):
    """A Gaussian over the whole slab of sections."""

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Intensities between 0 and 1."""
        return ndimage.gaussian_filter(data, chance.uniform(0.5, 1.5))


class SectionBlur(Change):
    """A Gaussian of its own for every section of an array with channels."""

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Predictions between 0 and 1."""
        for z in range(data.shape[1]):
            sigma = chance.uniform(0.1, 1.5)
            data[:, z] = ndimage.gaussian_filter(data[:, z], (0, sigma, sigma))
        return data


class FaintSections(Change):
    """Every tenth section of an array with channels keeps a tenth of its contrast."""

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Predictions between 0 and 1."""
        for z in np.flatnonzero(chance.random(data.shape[1]) < 0.1):
            mean = data[:, z].mean()
            data[:, z] = mean + 0.1 * (data[:, z] - mean)
        return data


class ErodeAtRandom(Change):
    """Every label loses 0 to `steps` voxels of its border within sections."""

    def __init__(self, array: gp.ArrayKey, steps: int) -> None:
        super().__init__(array)
        self.steps = steps

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Labels."""
        identities = np.unique(data)
        steps = dict(zip(identities.tolist(), chance.integers(0, self.steps + 1, len(identities)), strict=True))
        for section in data:
            kept = np.zeros(section.shape, bool)
            for identity in np.unique(section):
                inside = section == identity
                if steps[int(identity)]:
                    inside = ndimage.binary_erosion(inside, iterations=int(steps[int(identity)]), border_value=1)
                kept |= inside
            section[~kept] = 0
        return data


class CopyOf(gp.BatchFilter):
    """An array of the same values as another."""

    def __init__(self, source: gp.ArrayKey, copy: gp.ArrayKey) -> None:
        self.source, self.copy = source, copy

    def setup(self) -> None:
        """Declare the copy."""
        self.provides(self.copy, self.spec[self.source].copy())
        self.enable_autoskip()

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        """Ask for what the copy is of."""
        needed = gp.BatchRequest()
        needed[self.source] = request[self.copy].copy()
        return needed

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> gp.Batch:
        """Make the copy."""
        source = batch[self.source].crop(request[self.copy].roi)
        made = gp.Batch()
        made[self.copy] = gp.Array(source.data.copy(), source.spec.copy())
        return made


class SectionDescriptors(gp.BatchFilter):
    """Descriptors by lsds of every section for itself, and where labels are known; `sigma` in voxels (y, x)."""

    def __init__(
        self,
        labels: gp.ArrayKey,
        descriptors: gp.ArrayKey,
        sigma: float,
        downsample: int,
        unlabelled: gp.ArrayKey | None = None,
        mask: gp.ArrayKey | None = None,
    ) -> None:
        self.labels, self.descriptors, self.unlabelled, self.mask = labels, descriptors, unlabelled, mask
        self.sigma = sigma
        self.extractor = LsdExtractor((sigma, sigma), downsample=downsample)

    def setup(self) -> None:
        """Declare descriptors and mask."""
        spec = self.spec[self.labels].copy()
        spec.dtype, spec.interpolatable = np.float32, True
        self.provides(self.descriptors, spec)
        if self.mask is not None:
            self.provides(self.mask, spec.copy())
        self.enable_autoskip()

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        """Ask for labels up to three sigma beyond."""
        needed = gp.BatchRequest()
        size = self.spec[self.labels].voxel_size
        reach = gp.Coordinate(0, 3 * self.sigma, 3 * self.sigma) * size
        needed[self.labels] = self.spec[self.labels].copy()
        needed[self.labels].roi = request[self.descriptors].roi.grow(reach, reach)
        if self.unlabelled is not None:
            needed[self.unlabelled] = self.spec[self.unlabelled].copy()
            needed[self.unlabelled].roi = request[self.descriptors].roi
        return needed

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> gp.Batch:
        """Compute section by section."""
        wanted = request[self.descriptors].roi
        labels = batch[self.labels]
        box = (wanted - labels.spec.roi.offset) / labels.spec.voxel_size
        within = gp.Roi(box.offset[1:], box.shape[1:])
        first = box.offset[0]
        made = gp.Batch()
        spec = self.spec[self.descriptors].copy()
        spec.roi = wanted
        sections = [
            self.extractor.get_descriptors(section, roi=within) for section in labels.data[first : first + box.shape[0]]
        ]
        made[self.descriptors] = gp.Array(np.stack(sections, 1), spec)
        if self.mask is not None:
            known = labels.crop(wanted).data != 0
            if self.unlabelled is not None:
                known = known * (batch[self.unlabelled].crop(wanted).data > 0)
            made[self.mask] = gp.Array(np.stack([known.astype(np.float32)] * len(sections[0])), spec.copy())
        return made
