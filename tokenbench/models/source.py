"""How models are found: by a registered name, a folder, or a Hugging Face id, each with its adapter."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenbench.contract.backbone import Backbone
from tokenbench.errors import MachineError, UsageError, brief, unknown
from tokenbench.models.hub import HubError, from_hub
from tokenbench.models.offline import offline
from tokenbench.registry.backbones import backbone_of
from tokenbench.registry.plugins import Registry

__all__ = ["Source", "check_name", "configuration", "fingerprint", "is_cached", "locate"]

FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # nothing that is executed or unpickled
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


@dataclass(frozen=True)
class Source:
    """Where a model is, and the adapter that serves it."""

    backbone: Backbone
    """The adapter that serves the model."""
    folder: Path
    """The folder of its configuration, safetensors weights and processor."""
    identity: str
    """Text that changes whenever one of these files does."""


def locate(name: str, registry: Registry) -> Source:
    """Find the adapter and the weights of a model, and download what is missing.

    Args:
        name: `NAME`, `FOLDER`, `ORG/MODEL` or `ORG/MODEL@REVISION`.
        registry: The plug-ins that register models and adapters.

    Raises:
        UsageError: The name is unknown, or no adapter serves the architecture.
        MachineError: The folder is broken, or the weights cannot be downloaded.
    """
    backbone, source, revision = _parse_name(name, registry)
    if _is_folder(source):
        folder = Path(source)
        return Source(
            backbone or backbone_of(_model_type(folder / "config.json"), registry), folder, fingerprint(folder)
        )
    backbone = backbone or backbone_of(_model_type(_fetch(source, revision, "config.json")), registry)
    folder = _fetch(source, revision)
    return Source(backbone, folder, f"{source}@{folder.name}")  # the hub's folder is named by its commit


def configuration(name: str, registry: Registry) -> tuple[Backbone, Any]:
    """Return the adapter and the stock configuration of a model without downloading weights.

    A registered model whose adapter has its published sizes needs no file at all: its configuration is right in these. Takes the
    arguments of `locate`, and raises the same errors.
    """
    from transformers import AutoConfig

    backbone, source, revision = _parse_name(name, registry)
    published = _published(name, registry)
    if published and not revision:
        config = AutoConfig.for_model(**published)
        return backbone or backbone_of(config.model_type, registry), config
    folder = Path(source)
    file = folder / "config.json" if _is_folder(source) else _fetch(source, revision, "config.json", alone=True)
    backbone = backbone or backbone_of(_model_type(file), registry)
    try:
        return backbone, AutoConfig.from_pretrained(file, trust_remote_code=False)
    except Exception as error:  # transformers raises anything for a broken file
        raise MachineError(f"{file} cannot be read: {brief(error)}") from error


def is_cached(name: str) -> bool:
    """Return whether a Hugging Face id is in the local cache, and no folder has its name.

    Nothing is downloaded, and no folder of this name is read.
    """
    source, at, revision = name.partition("@")
    if not HUB_ID.fullmatch(source) or Path(source).exists() or (at and not REVISION.fullmatch(revision)):
        return False
    with offline():
        try:
            return _fetch(source, revision).is_dir()
        except MachineError:
            return False


def fingerprint(folder: Path) -> str:
    """Return a hash of all files in a model folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def check_name(name: str, registry: Registry) -> None:
    """Raise UsageError for a model that is neither registered nor a folder, and whose name is no Hugging Face id. Nothing is downloaded."""
    _parse_name(name, registry)


def _published(name: str, registry: Registry) -> dict[str, Any]:
    """The sizes of a registered model, its `model_type` included; empty if there are none."""
    given = name.partition("@")[0]
    if given not in registry.names("backbones"):
        return {}
    backbone = registry.get("backbones", given)
    types = {"model_type": backbone.model_types[0]} if backbone.model_types else {}
    return {**types, **backbone.published} if backbone.published else {}


def _parse_name(name: str, registry: Registry) -> tuple[Backbone | None, str, str]:
    """Split the name of a model.

    Returns:
        The adapter, if the name is that of one; the folder or Hugging Face id; and the revision, empty if there is none.
    """
    given, _, revision = name.partition("@")
    backbone = registry.get("backbones", given)() if given in registry.names("backbones") else None
    if backbone is not None and backbone.source is None:
        raise UsageError(f"'{given}' is an architecture, not a model", "give a model name, or a folder with weights")
    source = backbone.source if backbone is not None else given
    if revision and not REVISION.fullmatch(revision):
        raise UsageError(
            f"'{name[:100]}': '{revision[:100]}' is not a valid revision", "use a commit, a branch or a tag"
        )
    if _is_folder(source):
        if revision:
            raise UsageError(f"'{name}': a folder has no revisions", "remove the part from @ on")
    elif _is_folder(source, "adapter_config.json"):
        raise UsageError(
            f"the folder '{given}' holds an adapter (LoRA, for example) without the model that it changes",
            "load the model with peft, and save it with model.merge_and_unload().save_pretrained(FOLDER), and its "
            "processor with processor.save_pretrained(FOLDER)",
        )
    elif "/" in source and (Path(source).is_dir() or not HUB_ID.fullmatch(source)):
        what = "holds no config.json" if Path(source).is_dir() else "does not exist"
        raise UsageError(
            f"the model folder {source[:200]} {what}",
            "give a folder with config.json, safetensors weights and a processor",
        )
    elif not HUB_ID.fullmatch(source) or Path(source).exists():
        models = [n for n in registry.names("backbones") if registry.get("backbones", n).source is not None]
        raise unknown(
            "model", name, models, "you can also give a Hugging Face id, or a folder with config.json and safetensors"
        )
    # A name alone: the configuration says which backbone serves the model.
    return None if backbone is not None and backbone.fallback else backbone, source, revision


def _is_folder(source: str, holds: str = "config.json") -> bool:
    try:
        return (Path(source) / holds).is_file()
    except OSError:  # a name that no file can have
        return False


def _model_type(config: Path) -> str:
    try:
        return str(json.loads(config.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MachineError(f"{config} cannot be read: {brief(error)}", "download the folder again") from None


def _fetch(repo: str, revision: str, file: str = "", alone: bool = False) -> Path:
    """Return the path of a file, or of the whole snapshot, in the local cache, and download it if it is missing.

    Args:
        repo: The Hugging Face id.
        revision: A commit, branch or tag; empty for the default.
        file: The file; empty for the whole snapshot.
        alone: Whether the command that an error suggests downloads this file only.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    at = revision or None
    try:
        if file:
            return Path(from_hub(hf_hub_download, repo, file, revision=at))
        return Path(from_hub(snapshot_download, repo, revision=at, allow_patterns=list(FILES)))
    except HubError as error:
        command = (
            f"hf download {repo}" + (f" {file}" if alone else "") + (f" --revision {revision}" if revision else "")
        )
        raise MachineError(
            f"model '{repo}' is neither a folder nor in the local cache, and could not be downloaded: {error}",
            f"on a machine with network access: {command}",
        ) from error
