"""How many samples a paired comparison needs."""

from tokenbench.statistics.quantiles import normal_critical


def samples_needed(
    difference: float, variance: float, *, deff: float = 1.0, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Samples for a paired comparison to find ``difference`` (Miller 2024, section 5).

    Args:
        difference: true difference of the mean scores.
        variance: variance of a sample's score difference: for 0/1 scores the share of discordant pairs minus the
            squared difference; with K answers a sample ``w^2 + s_A^2 / K_A + s_B^2 / K_B``.
        deff: design effect of the difference.
        alpha: two-sided level.
        power: wanted power.
    """
    return float((normal_critical(alpha / 2) + normal_critical(1 - power)) ** 2 * variance * deff / difference**2)
