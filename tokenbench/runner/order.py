"""The order in which a run that stops when it is decided takes up its samples: whole images at random."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tokenbench.contract.suite import Sample

__all__ = ["ORDER_SEED", "image_of", "look_sizes", "shuffle_images"]

ORDER_SEED = 0


def shuffle_images(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Shuffle the samples of a task image by image, in the order of a hash of the seed and the image's name.

    Every prefix of images is a random choice, and tasks on the same images have the same order. The samples of an image keep their
    order.
    """
    images = image_of(samples)
    drawn = {image: hashlib.sha256(f"{seed} {image}".encode("utf-8", "surrogatepass")).digest() for image in images}
    order = sorted(range(len(samples)), key=lambda i: (drawn[images[i]], images[i], i))
    return [samples[i] for i in order]


def look_sizes(samples: Sequence[Sample], looks: int) -> list[int]:
    """Return the number of samples of a shuffled task that each look has seen.

    Look j has seen the first ceil(j / looks x images) images.
    """
    images = image_of(samples)
    place = {image: i for i, image in enumerate(dict.fromkeys(images))}
    ends = [-(-look * len(place) // looks) for look in range(1, looks + 1)]
    return [sum(place[image] < end for image in images) for end in ends]


def image_of(samples: Sequence[Sample]) -> list[str]:
    """Return the image to which each sample belongs: its own, or that of the first sample of its unit, which must stay whole."""
    of_unit: dict[str, str] = {}
    return [of_unit.setdefault(sample.unit, sample.cluster) if sample.unit else sample.cluster for sample in samples]
