"""Further tasks that papers report. Numbers of samples are those of the papers or of the data sets' cards."""

from __future__ import annotations

from tokenbench_suites.lmms.catalogue_entry import CatalogueEntry

__all__ = ["DOCUMENT_TASKS", "GROUNDING_TASKS", "REPORTED"]

CARD = "see the data set's card"
COCO = "the images are COCO's, under their own terms"
LETTER = "share of right letters"
RELAXED = "share of answers that are equal, or numbers within 5 per cent (relaxed accuracy)"
ANLS = "mean of the average normalised Levenshtein similarity"
SOFT = "mean of the soft VQA accuracy"
CIDER = "CIDEr, a mean over images; the score of a sample is its CIDEr divided by 10 (papers print CIDEr times 100)"
CLIPS = "questions.parquet and videos/ below one folder, from"


def _plain(
    description: str, source: str, size: str, licence: str, metric: str, samples: int = 0, headline: str = ""
) -> CatalogueEntry:
    return CatalogueEntry(description, source, size, licence, metric, headline, samples=samples)


IMAGES = {
    "vqav2_val": _plain(
        "Questions about photographs, ten answers each (VQAv2, validation)",
        "lmms-lab-encoder/VQAv2 --include 'data/validation-*'",
        "214,354 questions on 40,504 images",
        f"CC BY 4.0 (VQAv2); {COCO}",
        SOFT,
        214_354,
    ),
    "seedbench": _plain(
        "Multiple choice on images, and on frames of videos (SEED-Bench)",
        "lmms-lab-encoder/SEED-Bench",
        "17,990 questions, 14,232 of them on images",
        "CC BY-NC 4.0",
        f"{LETTER} (seed_all; official.csv also holds those on images and on videos)",
        17_990,
        "seed_all",
    ),
    "mmmu_val": _plain(
        "College questions of thirty subjects (MMMU, validation)",
        "lmms-lab-encoder/MMMU",
        "900 questions, some on several images",
        "Apache-2.0",
        LETTER,
        900,
    ),
    "mmstar": CatalogueEntry(
        "Questions that need the picture (MMStar)",
        "Lin-Chen/MMStar",
        "about 42 MB, 1,500 questions on as many images",
        CARD,
        "mean over eighteen abilities of the share of right letters",
        headline="average",
        stratum="{l2_category}",
        samples=1_500,
    ),
    "realworldqa": _plain(
        "Questions about photographs, many of them from cars (RealWorldQA)",
        "lmms-lab-encoder/RealWorldQA",
        "about 0.7 GB, 765 questions on as many images",
        "CC BY-ND 4.0",
        LETTER,
        765,
    ),
    "hallusion_bench_rules": CatalogueEntry(
        "Yes or no about figures that mislead (HallusionBench, images)",
        "lmms-lab-encoder/HallusionBench",
        "951 questions",
        "BSD-3-Clause",
        'share of right answers (aAcc), an answer with "yes" being yes; official.csv also holds whole questions (qAcc) and figures (fAcc)',
        headline="aAcc",
        samples=951,
    ),
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
        samples=300,
    ),
    "naturalbench_groups": CatalogueEntry(
        "Two questions about each of two pictures, with opposite answers (NaturalBench)",
        "BaiqiL/NaturalBench-lmms-eval",
        "7,600 questions in 1,900 groups of four",
        "Apache-2.0 (NaturalBench)",
        "share of groups with four right answers (G_Acc); official.csv also holds Acc, Q_Acc and I_Acc",
        headline="G_Acc",
        part="Acc",
        unit="group {group}",
        unit_rule="all",
        samples=7_600,
    ),
    "coco2014_cap_val": _plain(
        "A caption for a photograph (COCO captions, 2014 validation)",
        "lmms-lab-encoder/COCO-Caption --include 'data/val-*'",
        "40,504 images with five captions",
        f"CC BY 4.0 (captions); {COCO}",
        CIDER,
        40_504,
        "coco_CIDEr",
    ),
    "coco2017_cap_val": _plain(
        "A caption for a photograph (COCO captions, 2017 validation)",
        "lmms-lab-encoder/COCO-Caption2017 --include 'data/val-*'",
        "5,000 images with five captions",
        f"CC BY 4.0 (captions); {COCO}",
        CIDER,
        5_000,
        "coco_CIDEr",
    ),
    "nocaps_val": _plain(
        "A caption for a photograph with objects that COCO lacks (nocaps, validation)",
        "lmms-lab-encoder/NoCaps --include 'data/validation-*'",
        "4,500 images with ten captions",
        CARD,
        CIDER,
        4_500,
        "nocaps_CIDEr",
    ),
    "flickr30k_test": _plain(
        "A caption for a photograph (Flickr30k)",
        "lmms-lab-encoder/flickr30k",
        "31,783 images with five captions",
        CARD,
        CIDER,
        31_783,
        "flickr_CIDEr",
    ),
    "textcaps_val": _plain(
        "A caption for a photograph that holds text (TextCaps, validation)",
        "lmms-lab-encoder/TextCaps --include 'data/val-*'",
        "3,166 images with five captions",
        "CC BY 4.0",
        CIDER,
        3_166,
        "textcaps_CIDEr",
    ),
}
DOCUMENTS = {
    "ai2d": _plain(
        "Multiple choice on diagrams of school books (AI2D)",
        "lmms-lab-encoder/ai2d",
        "3,088 questions",
        CARD,
        LETTER,
        3_088,
    ),
    "chartqa": _plain(
        "Questions about charts (ChartQA, test)",
        "lmms-lab-encoder/ChartQA",
        "about 0.1 GB, 2,500 questions",
        "GPL-3.0",
        RELAXED,
        2_500,
        "relaxed_overall",
    ),
    "docvqa_val": _plain(
        "Questions about scanned documents (DocVQA, validation)",
        "lmms-lab-encoder/DocVQA --include 'DocVQA/validation-*'",
        "about 2.5 GB, 5,349 questions",
        "Apache-2.0, as its card says",
        ANLS,
        5_349,
    ),
    "infovqa_val": _plain(
        "Questions about infographics (InfographicVQA, validation)",
        "lmms-lab-encoder/DocVQA --include 'InfographicVQA/validation-*'",
        "about 1.9 GB, 2,801 questions",
        "Apache-2.0, as its card says",
        ANLS,
        2_801,
    ),
}
VIDEOS = {
    "vsibench": CatalogueEntry(
        "Places, sizes, counts and ways in videos of rooms (VSI-Bench)",
        f"{CLIPS} nyu-visionx/VSI-Bench",
        "about 5.7 GB, 5,130 questions on 288 videos",
        "Apache-2.0",
        "mean over eight kinds of questions; numbers count by how close they are (mean relative accuracy)",
        headline="vsibench_overall",
        stratum="{kind}",
        numbers=("accuracy", "MRA:.5:.95:.05"),
        samples=5_130,
    ),
}
TEMPCOMPASS = {"multi_choice": "Multiple choice", "yes_no": "Yes or no", "caption_matching": "Which caption fits"}
VIDEOS |= {
    f"tempcompass_{name}": CatalogueEntry(
        f"{what}: speed, direction and order in short clips (TempCompass)",
        f"{CLIPS} lmms-eval/TempCompass",
        CARD,
        CARD,
        "share of right answers, times 100; an answer that the benchmark's rules cannot read is wrong",
        headline="avg_accuracy",
        numbers=("rating",),
        rules=True,
    )
    for name, what in TEMPCOMPASS.items()
}
REFERRING = {
    "refcoco": ("lmms-lab-encoder/RefCOCO", ("val", "test", "testA", "testB")),
    "refcoco+": ("lmms-lab-encoder/RefCOCOplus", ("val", "testA", "testB")),
    "refcocog": ("lmms-lab-encoder/RefCOCOg", ("val", "test")),
}
OBJECTS = {"refcoco_bbox_rec_val": "8,811 objects", "refcoco+_bbox_rec_val": "3,805 objects"}
REFERRED = {
    name: _plain(
        f"The box of the object that an expression refers to ({benchmark}, {split})",
        f"{source} --include 'data/{split}-*'",
        f"{OBJECTS.get(name, 'objects')} with one or more expressions, each a sample",
        f"Apache-2.0 (expressions); {COCO}",
        "share of boxes that overlap the right one by half or more (IoU)",
        headline="refcoco_ACC@0.5",
    )
    for benchmark, (source, splits) in REFERRING.items()
    for split in splits
    for name in (f"{benchmark}_bbox_rec_{split}",)
}
REPORTED = IMAGES | DOCUMENTS | VIDEOS | REFERRED
DOCUMENT_TASKS = ("docvqa_val", "infovqa_val", "chartqa", "ai2d")
GROUNDING_TASKS = ("refcoco_bbox_rec_val", "refcoco+_bbox_rec_val", "refcocog_bbox_rec_val")
