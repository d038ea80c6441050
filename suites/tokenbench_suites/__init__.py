"""The built-in suites."""

from __future__ import annotations

from tokenbench import Register, hookimpl


@hookimpl
def tokenbench_register_suites(register: Register) -> None:
    """Register every built-in suite."""
    register("image", "tokenbench_suites.image:suite")
    register("video", "tokenbench_suites.video:suite")
    register("image-public", "tokenbench_suites.lmms.suites:image_public")
    register("video-public", "tokenbench_suites.lmms.suites:video_public")
    register("document", "tokenbench_suites.lmms.suites:document")
    register("grounding", "tokenbench_suites.lmms.suites:grounding")
    register("video-long", "tokenbench_suites.lmms.suites:video_long")
    register("lmms", "tokenbench_suites.lmms.suites:lmms")
    for ending in (
        "csv",
        "tsv",
        "jsonl",
        "parquet",
    ):  # a suite that is named like the ending of a file reads such files
        register(ending, "tokenbench_suites.tables.suites:files")
    register("hf", "tokenbench_suites.tables.suites:hub")
