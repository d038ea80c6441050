"""The entry point by which lmms-eval finds TokenBench: `python -m lmms_eval --model tokenbench`."""

from __future__ import annotations

from typing import Any

__all__ = ["manifests"]


def manifests() -> list[Any]:
    """The model `tokenbench`; nothing of it is imported before it is asked for."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [ModelManifest(model_id="tokenbench", chat_class_path="tokenbench_suites.lmms.adapter.TokenBench")]
