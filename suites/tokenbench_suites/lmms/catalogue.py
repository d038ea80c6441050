"""What TokenBench knows of particular tasks: what their metric counts, where the data is, how big, under which licence.

Any other task of lmms-eval runs without an entry: every sample is then its own unit.
"""

from __future__ import annotations

from tokenbench_suites.lmms.catalogue_entry import CatalogueEntry
from tokenbench_suites.lmms.clip_catalogue import CLIP_TASKS, LONG_VIDEO_TASKS, MVBENCH_TASKS
from tokenbench_suites.lmms.reported import DOCUMENT_TASKS, GROUNDING_TASKS, REPORTED

__all__ = [
    "CATALOGUE",
    "DOCUMENT_TASKS",
    "GROUNDING_TASKS",
    "IMAGE_TASKS",
    "LONG_VIDEO_TASKS",
    "VIDEO_TASKS",
    "CatalogueEntry",
]


MMBENCH_LICENCE = "Apache-2.0 (repository of the benchmark); images from many sources"
VIDEO_METRIC = "share of answers that hold the target as whole words"
VIDEO_SOURCE = "questions.parquet (or .json, .csv: video, question, answer) and videos/, from the benchmark's authors"
CIRCULAR = "share of questions that are right in every rotation of the options, times 100; answers are read by rules, not a judge"

CATALOGUE = {
    "gqa": CatalogueEntry(
        "Compositional questions about scenes, short answers (GQA, testdev balanced)",
        "lmms-lab-encoder/GQA --include 'testdev_balanced_*'",
        "about 70 MB, 12,578 questions on 398 images",
        "CC BY 4.0 (GQA); the images are Visual Genome's",
        samples=12_578,
    ),
    "mmbench_en_dev_static": CatalogueEntry(
        "Multiple choice over twenty abilities, in every rotation of the options (MMBench, English, dev)",
        "lmms-lab-encoder/MMBench --include 'en/dev-*'",
        "about 97 MB, 4,329 rows of 1,164 questions",
        MMBENCH_LICENCE,
        CIRCULAR,
        unit="{question}",
        unit_rule="all",
        samples=4_329,
    ),
    "mmbench_cn_dev": CatalogueEntry(
        "MMBench in Chinese, dev",
        "lmms-lab-encoder/MMBench --include 'cn/dev-*'",
        "about 97 MB, 4,329 rows of 1,164 questions",
        MMBENCH_LICENCE,
        CIRCULAR,
        unit="{question}",
        unit_rule="all",
        samples=4_329,
    ),
    "mme": CatalogueEntry(
        "Yes or no, two questions an image, 14 categories of perception and cognition (MME)",
        "lmms-lab-encoder/MME --include 'data/test-*'",
        "about 870 MB, 2,374 questions on 1,187 images",
        "academic research only",
        "sum over categories of the mean over images of accuracy plus both-right, in per cent",
        unit="{category}/{question_id}",
        unit_rule="mean+all",
        stratum="{category}",
        samples=2_374,
    ),
    "pope": CatalogueEntry(
        "Is the object there? Random, popular and adversarial objects (POPE)",
        "lmms-lab-encoder/POPE --include 'data/test-*'",
        "about 255 MB, 9,000 questions on 500 images",
        "MIT (POPE); the images are COCO's, under their own terms",
        "F1 over all questions (also accuracy, precision, recall); the score a sample is its accuracy",
        samples=9_000,
    ),
    "scienceqa_img": CatalogueEntry(
        "School science, multiple choice, questions with an image (ScienceQA, test)",
        "lmms-lab-encoder/ScienceQA --include 'ScienceQA-IMG/test-*'",
        "about 0.1 GB, 2,017 questions",
        "CC BY-NC-SA 4.0",
        samples=2_017,
    ),
    "textvqa_val": CatalogueEntry(
        "Questions about text in photographs, ten answers each (TextVQA, validation)",
        "lmms-lab-encoder/textvqa --include 'data/validation-*'",
        "about 920 MB, 5,000 questions",
        "CC BY 4.0",
        "mean of the soft VQA accuracy",
        samples=5_000,
    ),
    "vizwiz_vqa_val": CatalogueEntry(
        "Questions by blind people about their photographs, ten answers each (VizWiz-VQA, val)",
        "lmms-lab-encoder/VizWiz-VQA --include 'data/val-*'",
        "about 2.1 GB, 4,319 questions",
        "CC BY 4.0",
        "mean of the soft VQA accuracy",
        samples=4_319,
    ),
    "ocrbench": CatalogueEntry(
        "Reading text of many kinds (OCRBench)",
        "echo840/OCRBench",
        "about 0.1 GB, 1,000 questions",
        "of the 29 data sets it draws on; research use",
        "number of right answers, divided by 1,000 whatever their number",
        samples=1_000,
    ),
    "activitynetqa": CatalogueEntry(
        "Open questions about activities in videos (ActivityNet-QA, test)",
        "lmms-eval/ActivityNetQA",
        "more than 100 GB, 8,000 questions on 800 videos",
        "research only",
        VIDEO_METRIC,
        samples=8_000,
    ),
    "msvd_qa": CatalogueEntry(
        "What, who, how, when and where in short clips (MSVD-QA, test)",
        VIDEO_SOURCE,
        "13,157 questions on 520 videos",
        "research only",
        VIDEO_METRIC,
        samples=13_157,
    ),
    "msrvtt_qa": CatalogueEntry(
        "What, who, how, when and where in web videos (MSRVTT-QA, test)",
        VIDEO_SOURCE,
        "72,821 questions on 2,990 videos",
        "research only",
        VIDEO_METRIC,
        samples=72_821,
    ),
    "tgif_qa": CatalogueEntry(
        "What an animated GIF shows (TGIF-QA, FrameQA, test)",
        VIDEO_SOURCE,
        "13,691 questions",
        "research only",
        VIDEO_METRIC,
        samples=13_691,
    ),
}

CATALOGUE |= REPORTED | CLIP_TASKS

VIDEO_TASKS = ("activitynetqa", "msvd_qa", "msrvtt_qa", "tgif_qa", "nextqa_mc_test", *MVBENCH_TASKS)
IMAGE_TASKS = (
    "gqa",
    "mmbench_en_dev_static",
    "mmbench_cn_dev",
    "mme",
    "pope",
    "scienceqa_img",
    "textvqa_val",
    "vizwiz_vqa_val",
    "ocrbench",
    "vqav2_val",
    "seedbench",
    "mmmu_val",
    "mmstar",
    "realworldqa",
    "hallusion_bench_rules",
    "mmvp",
    "naturalbench_groups",
    "coco2017_cap_val",
)
