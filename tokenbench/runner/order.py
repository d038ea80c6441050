"""Whole images at random: the order in which a run that stops when it is decided takes up its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tokenbench.contract.suite import Sample

__all__ = ["ORDER_SEED", "image_of", "look_sizes", "shuffled"]

ORDER_SEED = 0


def shuffled(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """The samples of a task image by image, the images in the order of a hash of seed and name: every prefix of images is a random
    choice, and tasks on the same images take them up in the same order. Samples of an image stay in their order.
    """
    images = image_of(samples)
    drawn = {image: hashlib.sha256(f"{seed} {image}".encode("utf-8", "surrogatepass")).digest() for image in images}
    order = sorted(range(len(samples)), key=lambda i: (drawn[images[i]], images[i], i))
    return [samples[i] for i in order]


def look_sizes(samples: Sequence[Sample], looks: int) -> list[int]:
    """How many samples of a shuffled task each look has seen: of the first ceil(j / looks x images) images at look j."""
    images = image_of(samples)
    place = {image: i for i, image in enumerate(dict.fromkeys(images))}
    ends = [-(-look * len(place) // looks) for look in range(1, looks + 1)]
    return [sum(place[image] < end for image in images) for end in ends]


def image_of(samples: Sequence[Sample]) -> list[str]:
    """The image that each sample counts as: its own, or that of the first sample of its unit, which must stay whole."""
    of_unit: dict[str, str] = {}
    return [of_unit.setdefault(sample.unit, sample.cluster) if sample.unit else sample.cluster for sample in samples]
