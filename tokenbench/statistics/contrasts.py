"""Differences of cells with everything that a test or an interval needs: one image, one row.

An image that occurs in several tasks (two question sets on one picture) is one image: what it does is added over the
tasks before anything is squared or given a random sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tokenbench.statistics.clusters import Floats, Ints, TaskSums, correction, merge
from tokenbench.statistics.seeds import SeedSpread, averaging_matrix, seed_spread
from tokenbench.statistics.tilt import Sizes

Pairing = tuple[int, int]


class Scale(Enum):
    """What is averaged over the tasks."""

    SCORE = "score"
    """The mean over tasks of the score, in [0, 1]."""
    RETENTION = "retention"
    """The mean over tasks of 100 x score / vanilla's score."""
    RETENTION_OF_MEAN = "retention of the mean score"
    """100 x the mean over tasks of the score / that of vanilla's score: defined where vanilla is near
    zero on a task."""


@dataclass(frozen=True)
class Contrasts:
    """The differences of C pairs of cells, with everything that a test or an interval needs."""

    value: Floats
    """``[C]`` the differences."""
    influence: Floats
    """``[G, C]`` influence values e of the images; columns sum to zero."""
    shift: Floats
    """``[G, C]`` how a shift of the difference is laid on the images; columns sum to one."""
    sizes: Sizes
    """How far one image can move a difference."""
    moved: Floats
    """``[C]`` how much all images together moved a difference, ignoring signs."""
    seeds: SeedSpread
    """What the seeds of the K cells add, on this scale."""
    pairs: Sequence[Pairing]
    """Positions of the two cells of each difference."""
    lowest: Floats
    """``[C]`` the lowest value that a difference can have."""
    highest: Floats
    """``[C]`` the highest value that a difference can have."""

    def excess(self, critical: Floats) -> Floats:
        """``[C]`` what the seeds of both cells add to the square of a half width at ``[C]`` normal critical values."""
        own = self.seeds.excess(critical[:, None])
        return np.array([own[at, a] + own[at, b] for at, (a, b) in enumerate(self.pairs)])

    @property
    def seeded(self) -> bool:
        """Whether the seeds of any cell add to an interval."""
        return bool((self.seeds.between * self.seeds.counted).any())


def contrasts(
    tasks: Sequence[TaskSums],
    cell: Ints,
    pairs: Sequence[Pairing],
    scale: Scale,
    images: int,
    counted: Floats | None = None,
) -> Contrasts:
    """Compute differences a - b of K cells, of which cell 0 is vanilla.

    Args:
        tasks: Sums by image, one column per cell and seed.
        cell: ``[M]`` cell of each column.
        pairs: Positions of a and b among the cells.
        scale: The scale of the differences.
        images: Number G of images over all tasks.
        counted: ``[K]`` whether the seeds of a cell may move all samples together; all of them by default.
    """
    average = averaging_matrix(cell)
    vanilla = np.array([float(task.means @ average[:, 0]) for task in tasks])
    units = _units(vanilla, scale)
    matrix = np.zeros((average.shape[1], len(pairs)))
    for at, (a, b) in enumerate(pairs):
        matrix[a, at] += 1.0
        matrix[b, at] -= 1.0
    combinations = average @ matrix
    moves = [unit * (task.sums @ combinations) / task.sizes.sum() for task, unit in zip(tasks, units, strict=True)]
    own = _influences(tasks, units, average[:, 0], combinations, scale)
    columns = np.eye(len(cell)) - np.outer(average[:, 0], np.ones(len(cell)))
    by_column = _influences(tasks, units, average[:, 0], columns, scale)
    return Contrasts(
        value=np.sum([move.sum(axis=0) for move in moves], axis=0),
        influence=merge(tasks, own, images),
        shift=_shift(tasks, own, images),
        sizes=image_sizes(tasks, units, moves, images),
        moved=np.abs(merge(tasks, moves, images)).sum(axis=0),
        seeds=seed_spread(
            np.sum([unit * (task.means @ columns) for task, unit in zip(tasks, units, strict=True)], axis=0),
            merge(tasks, by_column, images),
            cell,
            counted,
        ),
        pairs=pairs,
        **_possible_limits(units, vanilla, pairs, scale),
    )


def change(before: Contrasts, after: Contrasts) -> Contrasts:
    """Compute by how much the same differences are larger on other samples of the same images.

    An image's influences on both are subtracted before anything is squared. What the seeds of a cell add to both is taken as if it never
    cancelled out, which is a little too careful.

    Args:
        before: The differences on some samples.
        after: The differences of the same pairs on the others.
    """
    a, b = before.seeds, after.seeds
    return Contrasts(
        value=after.value - before.value,
        influence=after.influence - before.influence,
        shift=(after.shift + before.shift) / 2,
        sizes=Sizes(
            whole=np.concatenate([before.sizes.whole, after.sizes.whole]),
            paid=np.concatenate([before.sizes.paid, after.sizes.paid]),
            answer=max(before.sizes.answer, after.sizes.answer),
            least=max(before.sizes.least, after.sizes.least),
        ),
        moved=before.moved + after.moved,
        seeds=SeedSpread((np.sqrt(a.between) + np.sqrt(b.between)) ** 2, 0.0 * a.interaction, a.df, a.counted),
        pairs=before.pairs,
        lowest=after.lowest - before.highest,
        highest=after.highest - before.lowest,
    )


def _units(vanilla: Floats, scale: Scale) -> Floats:
    """``[T]`` what one unit of a task's score counts on the scale."""
    if scale is Scale.SCORE:
        return np.full(len(vanilla), 1 / len(vanilla))
    return 100 / (len(vanilla) * vanilla) if scale is Scale.RETENTION else np.full(len(vanilla), 100 / vanilla.sum())


def _possible_limits(units: Floats, vanilla: Floats, pairs: Sequence[Pairing], scale: Scale) -> dict[str, Floats]:
    """Retention is at least 0 and at most what all answers right would be; vanilla's own is 100."""
    reference = float(units @ vanilla)
    against = np.array([b == 0 and scale is not Scale.SCORE for _, b in pairs])
    most = float(units.sum())
    wrong = float(units @ np.maximum(1 - vanilla, 0.0))  # exactly 0 where vanilla is always right
    return {"lowest": np.where(against, -reference, -most), "highest": np.where(against, wrong, most)}


def _influences(
    tasks: Sequence[TaskSums], units: Floats, vanilla: Floats, combinations: Floats, scale: Scale
) -> list[Floats]:
    """``[G_t, C]`` by task: vanilla is measured on the same images, so its own influence enters with its sign."""
    values = np.array([unit * (task.means @ combinations) for task, unit in zip(tasks, units, strict=True)])
    found = []
    for task, unit, value in zip(tasks, units, values, strict=True):
        share, mean = task.sizes / task.sizes.sum(), float(task.means @ vanilla)
        own = unit * (task.sums @ combinations) / task.sizes.sum() - np.outer(share, value)
        reference = (task.sums @ vanilla - task.sizes * mean) / task.sizes.sum()
        if scale is Scale.RETENTION:
            own -= np.outer(reference / mean, value)
        elif scale is Scale.RETENTION_OF_MEAN:
            own -= np.outer(reference * unit / 100, values.sum(axis=0))
        found.append(own)
    return found


def _shift(tasks: Sequence[TaskSums], own: Sequence[Floats], images: int) -> Floats:
    """Tasks take part in proportion to their share of the variance, images in proportion to their samples."""
    variance = np.array(
        [correction(len(task.index)) * (part**2).sum(axis=0) for task, part in zip(tasks, own, strict=True)]
    )
    total = variance.sum(axis=0)
    share = np.where(total > 0, variance / np.where(total > 0, total, 1.0), 1 / len(tasks))
    return merge(
        tasks, [np.outer(task.sizes / task.sizes.sum(), row) for task, row in zip(tasks, share, strict=True)], images
    )


def image_sizes(tasks: Sequence[TaskSums], units: Floats, moves: Sequence[Floats], images: int) -> Sizes:
    """Compute how far one image can move differences.

    Args:
        tasks: The tasks, with the number of samples of each image.
        units: ``[T]`` how much one unit of a task's score counts.
        moves: ``[G_t, C]`` by task, how much each image moved.
        images: Number of images over all tasks.
    """
    samples = np.array([task.sizes.sum() for task in tasks])
    answers = units / samples
    holds = [answer * task.sizes[:, None] for task, answer in zip(tasks, answers, strict=True)]
    holds, moves = [*holds, merge(tasks, holds, images)], [*moves, merge(tasks, moves, images)]
    return Sizes(
        whole=np.array([float((hold**2).sum() / hold.sum()) for hold in holds]),
        paid=np.array([_paid(move, hold) for move, hold in zip(moves, holds, strict=True)]),
        answer=float(units @ answers / units.sum()),
        least=float(answers.max()),
    )


def _paid(move: Floats, hold: Floats) -> Floats:
    size = np.abs(move)
    return np.asarray((size * (1 - size / np.where(hold > 0, hold, 1.0))).sum(axis=0))
