"""Random signs that belong to images: an image has the same signs in every comparison, family and look."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenbench.statistics.clusters import Floats

Keys = NDArray[np.uint64]
_CELLS = 2_000_000
"""Signs held at a time."""


@dataclass(frozen=True)
class Signs:
    """B sign vectors for G images."""

    keys: Keys
    """``[G]`` one number for each image, from which its signs follow."""
    vectors: int
    """The number B of sign vectors."""
    seed: int
    """Seed of the random signs."""
    exact: bool
    """Whether these are all sign vectors that there are."""

    def sums(self, values: Floats) -> Floats:
        """``[B, C]`` sums over the images of signs times ``[G, C]`` values, in single precision."""
        moving = np.flatnonzero(values.any(axis=1))
        found = np.tile(-values.sum(axis=0), (self.vectors, 1))
        step = max(1, _CELLS // self.vectors)
        for start in range(0, len(moving), step):
            rows = moving[start : start + step]
            bits = self._bits(rows).astype(np.float32)
            found += 2 * (bits.T @ values[rows].astype(np.float32))
        return found

    def _bits(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """``[n, B]`` whether the signs of these images are positive."""
        if self.exact:
            return (np.arange(self.vectors) >> rows[:, None] & 1).astype(np.uint8)
        stream = np.random.Philox(key=np.zeros(2, dtype=np.uint64))
        start, packed = stream.state, np.empty((len(rows), -(-self.vectors // 64)), dtype=np.uint64)
        for at, row in enumerate(rows):
            # The stream of a generator with this key; making one each takes five times as long.
            start["state"]["key"] = np.array([self.seed, self.keys[row]], dtype=np.uint64)
            stream.state = start
            packed[at] = stream.random_raw(packed.shape[1])
        return np.unpackbits(packed.view(np.uint8), axis=1, count=self.vectors)


def draw_signs(keys: Keys, resamples: int, seed: int) -> Signs:
    """All sign vectors where there are no more than ``resamples`` random ones would be, else random ones."""
    exact = len(keys) < 31 and 2 ** len(keys) <= resamples + 1
    return Signs(keys, 2 ** len(keys) if exact else resamples, seed, exact)
