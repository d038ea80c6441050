"""Sentences on how the numbers of a report were made."""

from collections.abc import Mapping

from tokenbench.comparison import Comparison
from tokenbench.comparison.ranking import UNEQUAL_COST
from tokenbench.comparison.tables import MARK
from tokenbench.comparison.wording import UNKNOWN, count_of, number
from tokenbench_reports.equality import equality_notes

__all__ = ["make_notes"]


def make_notes(comparison: Comparison, run: Mapping[str, object]) -> list[str]:
    """Return the sentences, the most important ones first."""
    margin, alpha = f"{comparison.margin:g}", f"{100 * comparison.alpha:g} %"
    questions, images = count_of(comparison.samples, "question"), count_of(comparison.clusters, "image")
    notes = [
        f"{questions} on {images}. The image is the unit of analysis; one that occurs in several tasks counts once.",
        "Accuracy kept is 100 × score / vanilla's score, averaged over the tasks. Both scores are measured on the same images, and the "
        "interval takes that into account. It is the interval of family F1, so that the verdict beside it can be read off it: a "
        "strategy is worse exactly where its interval ends below 100. The budget is the one that was requested; visual tokens are those "
        "that ran, as the mean over the decoder layers. FLOPs (encoder and prefill) and KV cache are counted shares of vanilla's; FLOPs are not latency.",
        *_unpriced(comparison),
        *equality_notes(run),
        *_turns(run),
        "Skill is how far a strategy gets from a trivial baseline (0 %) to vanilla (100 %) at the same budget; the baselines are random "
        "tokens, and the image shrunk to as many tokens. Below 0 the baseline is better. Skill and evidence have no interval.",
        f"Against vanilla: family F1 per model, max-T over all strategies and budgets, error {alpha}. The margin is {margin} "
        f"{'point' if comparison.margin == 1 else 'points'} of accuracy kept, to be fixed before a run; non-inferiority within it means "
        f'that the whole interval lies above {100 - comparison.margin:g}. "Not decided" means that neither a loss nor its absence was shown.',
        f"Between strategies: family F2 per model, max-T over all pairs {'at equal budget' if comparison.left_out == 0 else 'with a trivial baseline'}, error {alpha}. Every verdict is read off the "
        "simultaneous interval beside it; p is adjusted for the family in a single step. Bold and rank follow these verdicts.",
        "Intervals allow for images that lose all their answers even where no such image was seen. With few images, or few that differ, "
        "they are therefore wider than the observed spread.",
        f"{MARK} marks pairs whose realised tokens differ by more than {100 * UNEQUAL_COST:g} %; such a comparison is not at "
        "equal cost.",
        "MDE is the minimal detectable effect: the smallest true difference that this comparison detects with a power of 80 %. Strategies "
        "that are not distinguishable have not been shown to be equal.",
        "Tests on single tasks are exploratory (family F3, false discovery rate); they and their intervals are in pairs.csv.",
        "These intervals cover image sampling (and seeds, where a strategy ran with several). They do not cover other "
        "tasks, other models, prompts, the choice of budget or data contamination.",
        f"Random signs: {comparison.resamples:,} per family, ten times as many where a statistic comes close to its critical value, "
        f"seed {comparison.seed}.",
    ]
    notes[1:1] = _looks(comparison)
    if hard := _margin_power(comparison) + _samples_needed(comparison):
        notes.insert(3, hard.strip())
    return notes + [text for text in (_facts(run, "versions"), _facts(run, "hardware")) if text]


def _unpriced(comparison: Comparison) -> list[str]:
    """What is not known of cost, where nothing is."""
    if comparison.summary[["realised_tokens", "flops", "cache_bytes"]].notna().any(axis=None):
        return []
    return [
        f"Visual tokens, FLOPs and KV cache are {UNKNOWN}: a budget is what was asked for, and was not checked, and no two strategies are said to cost the same."
    ]


def _turns(run: Mapping[str, object]) -> list[str]:
    """What a later question is asked of."""
    spec = run.get("spec")
    turns = spec.get("turns", 1) if isinstance(spec, Mapping) else 1
    if turns == 1:
        return []
    return [
        f"Turns: up to {turns} questions about an image, in the order of the data, are asked of the visual tokens that the first of them left. "
        "A later question sees neither earlier questions nor answers, so that nothing but the choice of tokens is carried over; the unpruned "
        "model answers it as if it were asked alone. All scores are over all turns."
    ]


def _margin_power(comparison: Comparison) -> str:
    """How far the data are from being able to show a loss within the margin at all."""
    shown = comparison.pairs["smallest_margin"].dropna()
    if shown.empty or 100 * shown.min() <= comparison.margin:
        return ""
    return (
        f"With these images, even a strategy without any loss cannot be shown to be non-inferior within "
        f"{comparison.margin:g}: the smallest margin that they support is {number(100 * shown.min(), 2)} points."
    )


def _samples_needed(comparison: Comparison) -> str:
    """How many samples would decide what is open; of the pairs that are, the fewest and the most."""
    needed = comparison.pairs["samples_needed"].dropna()
    if needed.empty:
        return ""
    span = dict.fromkeys(f"{number:,.0f}" for number in (needed.min(), needed.max()))
    return (
        f" To decide what is not decided here would take about {' to '.join(span)} samples, with tasks as large in proportion as "
        f"here: with that many, a strategy without any loss is shown to be non-inferior within {comparison.margin:g} with a power of 80 %."
    )


def _looks(comparison: Comparison) -> list[str]:
    """What it costs that a run may be extended; how often it was looked at stands among the run's own notes."""
    looks = comparison.looks
    if looks is None or looks.declared:
        return []
    spent = 100 * comparison.alpha * len(looks) / (len(looks) + 1)
    return [
        f"The run holds only the first samples of each task and may be extended at any time, so that error is left for later looks: up to "
        f"look {len(looks)}, {spent:.3g} % of the {100 * comparison.alpha:g} % is spent (look j may bring it to {100 * comparison.alpha:g} % × j / (j + 1)). Intervals "
        "hold over all looks, those to come included, and are wider than those of a run of the whole suite."
    ]


def _facts(run: Mapping[str, object], key: str) -> str:
    facts = run.get(key)
    if isinstance(facts, Mapping):
        if not facts:
            return f"{key.capitalize()}: {UNKNOWN}."
        return f"{key.capitalize()}: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + "."
    return f"{key.capitalize()}: {facts}." if facts else ""
