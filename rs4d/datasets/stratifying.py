"""Images divided so that every class has its share on every side, the rare ones first."""

from collections.abc import Sequence

import numpy as np


def stratify(
    groups: Sequence[Sequence[int]], labels: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    """Divide groups of images, each as a whole.

    First every class comes to every side, the rarest first, as far as there are groups with it. The
    rest follows Sechidis, Tsoumakas and Vlahavas (On the Stratification of Multi-Label Data, 2011):
    groups with the rarest class left go where most of it is missing.

    Args:
        groups: Numbers of images that stay together.
        labels: (images, classes), how many instances each image has.
        shares: Of each side, with a sum of 1; the first side is served first.
        seed: Of the choices.

    Returns:
        (images,) the side of each image.
    """
    generator = np.random.default_rng(seed)
    sizes = np.array([len(group) for group in groups])
    counts = np.array([labels[list(group)].sum(0) for group in groups]).reshape(len(groups), -1)
    wanted = np.outer(shares, counts.sum(0)).astype(float)  # instances missing, (sides, classes)
    room = np.array(shares) * sizes.sum()  # images missing, (sides,)
    side_of = np.full(len(groups), -1)
    tie = generator.permutation(len(groups))

    def assign(group: int, side: int) -> None:
        side_of[group] = side
        wanted[side] -= counts[group]
        room[side] -= sizes[group]

    present = np.zeros_like(wanted, bool)
    for label in np.argsort((counts > 0).sum(0), kind='stable'):
        for side in range(len(shares)):
            free = np.flatnonzero((side_of < 0) & (counts[:, label] > 0))
            if present[side, label] or not len(free):
                continue
            # One that brings the most classes that the side has not, and is small.
            brings = ((counts[free] > 0) & ~present[side]).sum(1)
            assign(best := free[np.lexsort((tie[free], sizes[free], -brings))[0]], side)
            present[side] |= counts[best] > 0
    while (left := np.flatnonzero(side_of < 0)).size:
        occurring = (counts[left] > 0).sum(0)
        if occurring.any():
            label = np.where(occurring, occurring, len(groups) + 1).argmin()
            todo = left[counts[left, label] > 0]
        else:
            label, todo = None, left
        for group in todo[np.argsort(tie[todo])]:
            missing = room if label is None else wanted[:, label]
            assign(group, int(np.lexsort((-room, -missing))[0]))
    sides = np.full(len(labels), -1)
    for group, side in zip(groups, side_of, strict=True):
        sides[list(group)] = side
    return sides


def balance(labels: np.ndarray, side_of: np.ndarray, shares: Sequence[float]) -> float:
    """Say how uneven a division is: 0 if every class and the images are divided as the shares say.

    Args:
        labels: (images, classes), how many instances each image has.
        side_of: (images,) sides, -1 for images that are left out.
        shares: Of each side.

    Returns:
        The mean deviation from the shares, with 1 more for each class that a side lacks.
    """
    everything = np.c_[labels, np.ones(len(labels), labels.dtype)]
    everything = everything[:, everything.any(0)]
    sums = np.array([everything[side_of == side].sum(0) for side in range(len(shares))])
    off = np.abs(sums / everything.sum(0) - np.array(shares)[:, None]).mean()
    return float(off + (sums == 0).sum())
