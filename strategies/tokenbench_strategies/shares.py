"""How a budget is shared out among frames."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["shared_out"]


def shared_out(k: int, weights: Sequence[float], limits: Sequence[int]) -> list[int]:
    """k things among places in proportion to their weights, the largest remainders first, none above its limit.

    At most as many as the limits add up to.
    """
    counts = [0] * len(weights)
    while (left := min(k, sum(limits)) - sum(counts)) > 0:
        open_ = [i for i, limit in enumerate(limits) if counts[i] < limit]
        total = sum(weights[i] for i in open_)
        shares = {i: left * (weights[i] / total if total > 0 else 1 / len(open_)) for i in open_}
        whole = {i: min(int(share), limits[i] - counts[i]) for i, share in shares.items()}
        if any(whole.values()):
            for i, count in whole.items():
                counts[i] += count
        else:
            for i in sorted(open_, key=lambda i: -shares[i])[:left]:
                counts[i] += 1
    return counts
