"""Further tasks that papers report. Sizes and licences are those that were checked; the cards of the data sets have the others."""

from __future__ import annotations

from tokenbench_suites.lmms.catalogue_entry import CatalogueEntry

__all__ = ["DOCUMENT_TASKS", "GROUNDING_TASKS", "REPORTED"]

CARD = "see the data set's card"
LETTER = "share of right letters"
RELAXED = "share of answers that are equal, or numbers within 5 per cent (relaxed accuracy)"
ANLS = "mean of the average normalised Levenshtein similarity"


def _plain(description: str, source: str, metric: str, headline: str = "") -> CatalogueEntry:
    return CatalogueEntry(description, source, CARD, CARD, metric, headline)


REPORTED = {
    "mmvp": CatalogueEntry(
        "Pairs of pictures that look alike to CLIP, with opposite answers to one question (MMVP)",
        "lmms-lab-eval/MMVP",
        "300 questions in 150 pairs",
        CARD,
        "share of pairs with two right answers",
        headline="mmvp_pair_accuracy",
        part="mmvp_accuracy",
        unit="pair {pair}",
        unit_rule="all",
    ),
    "seedbench": _plain(
        "Multiple choice on images, and on frames of videos (SEED-Bench)",
        "lmms-lab-encoder/SEED-Bench",
        f"{LETTER} (seed_all; official.csv also holds those on images and on videos)",
        "seed_all",
    ),
    "mmmu_val": _plain("College questions of many subjects (MMMU, validation)", "lmms-lab-encoder/MMMU", LETTER),
    "mmstar": _plain(
        "Questions that need the picture (MMStar)",
        "Lin-Chen/MMStar",
        "mean over abilities of the share of right letters",
        "average",
    ),
    "realworldqa": _plain(
        "Questions about photographs, many of them from cars (RealWorldQA)", "lmms-lab-encoder/RealWorldQA", LETTER
    ),
    "vqav2_val": _plain(
        "Questions about photographs, ten answers each (VQAv2, validation)",
        "lmms-lab-encoder/VQAv2",
        "mean of the soft VQA accuracy",
    ),
    "hallusion_bench_rules": CatalogueEntry(
        "Yes or no about figures that mislead (HallusionBench, images)",
        "lmms-lab-encoder/HallusionBench",
        "951 questions",
        "BSD-3-Clause",
        'share of right answers (aAcc), an answer with "yes" being yes; official.csv also holds whole questions (qAcc) and figures (fAcc)',
        headline="aAcc",
    ),
    "ai2d": _plain("Multiple choice on diagrams of school books (AI2D)", "lmms-lab-encoder/ai2d", LETTER),
    "chartqa": _plain("Questions about charts (ChartQA)", "lmms-lab-encoder/ChartQA", RELAXED, "relaxed_overall"),
    "docvqa_val": _plain(
        "Questions about scanned documents (DocVQA, validation)",
        "lmms-lab-encoder/DocVQA --include 'DocVQA/validation-*'",
        ANLS,
    ),
    "infovqa_val": _plain(
        "Questions about infographics (InfographicVQA, validation)",
        "lmms-lab-encoder/DocVQA --include 'InfographicVQA/validation-*'",
        ANLS,
    ),
}
REFERRING = {
    "refcoco": ("lmms-lab-encoder/RefCOCO", ("val", "test", "testA", "testB")),
    "refcoco+": ("lmms-lab-encoder/RefCOCOplus", ("val", "testA", "testB")),
    "refcocog": ("lmms-lab-encoder/RefCOCOg", ("val", "test")),
}
REPORTED |= {
    f"{name}_bbox_rec_{split}": _plain(
        f"The box of the object that an expression refers to ({name}, {split})",
        source,
        "share of boxes that overlap the right one by half or more (IoU)",
        "refcoco_ACC@0.5",
    )
    for name, (source, splits) in REFERRING.items()
    for split in splits
}
DOCUMENT_TASKS = ("docvqa_val", "infovqa_val", "chartqa", "ai2d")
GROUNDING_TASKS = ("refcoco_bbox_rec_val", "refcoco+_bbox_rec_val", "refcocog_bbox_rec_val")
