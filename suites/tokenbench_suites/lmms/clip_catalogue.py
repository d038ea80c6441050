"""Multiple choice on clips. Sizes and licences are those that were checked; the cards of the data sets have the others."""

from __future__ import annotations

from tokenbench_suites.lmms.catalogue_entry import CatalogueEntry

__all__ = ["CLIP_TASKS", "LONG_VIDEO_TASKS", "MVBENCH_TASKS"]

CARD = "see the data set's card"
LETTER = "share of right letters"
BESIDE = "questions.parquet and videos/ below one folder, from"
MVBENCH = (
    "action_antonym",
    "action_count",
    "action_localization",
    "action_prediction",
    "action_sequence",
    "character_order",
    "counterfactual_inference",
    "egocentric_navigation",
    "episodic_reasoning",
    "fine_grained_action",
    "fine_grained_pose",
    "moving_attribute",
    "moving_count",
    "moving_direction",
    "object_existence",
    "object_interaction",
    "object_shuffle",
    "scene_transition",
    "state_change",
    "unexpected_action",
)
MVBENCH_TASKS = tuple(f"mvbench_{name}" for name in MVBENCH)
CLIP_TASKS = {
    "videomme": CatalogueEntry(
        "Multiple choice on clips of 11 seconds to an hour (Video-MME)",
        f"{BESIDE} lmms-eval/Video-MME",
        "2,700 questions on 900 clips, 254 hours in all",
        CARD,
        f"{LETTER}, times 100",
        samples=2_700,
    ),
    "mlvu_dev": CatalogueEntry(
        "Multiple choice on clips of 3 minutes to 2 hours (MLVU, dev)",
        f"{BESIDE} sy1998/MLVU_dev",
        "2,174 questions",
        "CC BY-NC-SA 4.0, research only",
        "mean over seven kinds of questions, times 100",
        samples=2_174,
    ),
    "egoschema_subset": CatalogueEntry(
        "Multiple choice on three minutes of a person's view (EgoSchema, subset with answers)",
        f"{BESIDE} lmms-eval/egoschema",
        "500 questions on as many clips",
        CARD,
        LETTER,
        samples=500,
    ),
    "longvideobench_val_v": CatalogueEntry(
        "Multiple choice on what a question refers to in clips of up to an hour (LongVideoBench, validation, without subtitles)",
        f"{BESIDE} longvideobench/LongVideoBench, which asks for consent",
        "the part with answers of 6,678 questions on 3,763 clips",
        "CC BY-NC-SA 4.0; the clips belong to their owners",
        LETTER,
    ),
    "nextqa_mc_test": CatalogueEntry(
        "Multiple choice on causes and the order of actions (NExT-QA, test)",
        f"{BESIDE} lmms-eval/NExTQA",
        "the test part of 5,440 clips",
        CARD,
        LETTER,
    ),
    **{
        task: CatalogueEntry(
            f"Multiple choice on clips: {name.replace('_', ' ')} (MVBench)",
            "OpenGVLab/MVBench --revision video",
            "200 questions, one of 20 such tasks",
            "MIT; the clips are for academic research only",
            f"{LETTER}, times 100 (official.csv leaves out empty answers, as the benchmark does)",
            samples=200,
        )
        for name, task in zip(MVBENCH, MVBENCH_TASKS, strict=True)
    },
}
LONG_VIDEO_TASKS = ("videomme", "mlvu_dev", "egoschema_subset", "longvideobench_val_v")
