"""How models are found: by a registered name, a folder, or a Hugging Face id, each with its adapter."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.sizes import ModelSize
from tokenbench.errors import MachineError, UsageError, brief, unknown
from tokenbench.models import adapters
from tokenbench.models.hub import HubError, from_hub
from tokenbench.models.offline import offline
from tokenbench.registry.backbones import backbone_of
from tokenbench.registry.plugins import Registry

__all__ = ["Source", "check_name", "configuration", "fingerprint", "is_cached", "locate", "registered_size"]

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
    adapter: Path | None = None
    """The folder of an adapter of peft, such as LoRA, that is put on the weights; None if there is none."""

    @property
    def processor(self) -> Path:
        """The folder of the processor."""
        return self.adapter if self.adapter and adapters.has_processor(self.adapter) else self.folder


def locate(name: str, registry: Registry) -> Source:
    """Find the adapter and the weights of a model, and download what is missing.

    Args:
        name: `NAME`, `FOLDER`, `ORG/MODEL` or `ORG/MODEL@REVISION`. A folder or repository may hold an adapter of peft, such as
            LoRA, beside the model's weights, or alone; its configuration then names the model.
        registry: The plug-ins that register models and adapters.

    Raises:
        UsageError: The name is unknown, or no adapter serves the architecture.
        MachineError: The folder is broken, or the weights cannot be downloaded.
    """
    backbone, source, revision = _parse_name(name, registry)
    config, alone = _config_of(source, revision)
    if not alone:
        return _locate_weights(backbone, source, revision, config, registry)
    folder = config.parent if _is_folder(source, adapters.CONFIG) else _fetch(source, revision)
    base = _base_of(folder)
    weights = _locate_weights(None, base, "", _config_file(base), registry)
    return replace(weights, identity=f"{weights.identity} + {fingerprint(folder)}", adapter=folder)


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
    file, adapter = _config_of(source, revision, alone=True)
    if adapter:
        file = _config_file(_base_of(file.parent))
    backbone = backbone or backbone_of(_model_type(file), registry)
    try:
        return backbone, AutoConfig.from_pretrained(file, trust_remote_code=False)
    except Exception as error:  # transformers raises anything for a broken file
        raise MachineError(f"{file} cannot be read: {brief(error)}") from error


def registered_size(name: str, registry: Registry) -> ModelSize | None:
    """Return the sizes of a registered model, if they are known on this machine; None for any other name.

    Nothing is downloaded, and no folder of this name is read.
    """
    if name not in registry.names("backbones"):
        return None
    try:
        with offline():
            backbone, config = configuration(name, registry)
        return backbone.size(config)
    except (NotImplementedError, UsageError, MachineError):
        return None


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
    elif not _is_folder(source, adapters.CONFIG):
        _check_id(name, source, registry)
    # A name alone: the configuration says which backbone serves the model.
    return None if backbone is not None and backbone.fallback else backbone, source, revision


def _check_id(name: str, source: str, registry: Registry) -> None:
    """Raise UsageError for what is no folder of a model unless it can be a Hugging Face id."""
    folder = Path(source).is_dir()
    if HUB_ID.fullmatch(source) and not Path(source).exists():
        return
    if "/" in source and (folder or not Path(source).exists()):
        raise UsageError(
            f"the model folder {source[:200]} {'holds no config.json' if folder else 'does not exist'}",
            "give a folder with config.json, safetensors weights and a processor",
        )
    models = [n for n in registry.names("backbones") if registry.get("backbones", n).source is not None]
    raise unknown(
        "model", name, models, "you can also give a Hugging Face id, or a folder with config.json and safetensors"
    )


def _config_of(source: str, revision: str, alone: bool = False) -> tuple[Path, bool]:
    """Return the path of a model's config.json, or of an adapter's configuration if it stands alone, and whether it is the latter.

    Args:
        source: The folder or Hugging Face id.
        revision: A commit, branch or tag; empty for the default.
        alone: See `_fetch`.
    """
    if not _is_folder(source) and _is_folder(source, adapters.CONFIG):
        return Path(source) / adapters.CONFIG, True
    try:
        return _config_file(source, revision, alone), False
    except MachineError as error:
        try:
            return _fetch(source, revision, adapters.CONFIG), True
        except MachineError:
            raise error from None


def _config_file(source: str, revision: str = "", alone: bool = False) -> Path:
    """Return the path of the config.json of a folder or Hugging Face id. Takes the arguments of `_config_of`."""
    return Path(source) / "config.json" if _is_folder(source) else _fetch(source, revision, "config.json", alone)


def _locate_weights(backbone: Backbone | None, source: str, revision: str, config: Path, registry: Registry) -> Source:
    """Find the weights that stand beside a config.json, and download them if they are missing."""
    backbone = backbone or backbone_of(_model_type(config), registry)
    if _is_folder(source):
        folder, identity = Path(source), fingerprint(Path(source))
    else:
        folder = _fetch(source, revision)
        identity = f"{source}@{folder.name}"  # the hub's folder is named by its commit
    return Source(backbone, folder, identity, folder if (folder / adapters.CONFIG).is_file() else None)


def _base_of(folder: Path) -> str:
    """Return the name of the model that the adapter in a folder changes.

    Raises:
        MachineError: There is no such folder here, or it holds another adapter.
    """
    base = adapters.name_base(folder)
    if (not HUB_ID.fullmatch(base) or Path(base).exists()) and not _is_folder(base):
        raise MachineError(
            f"the adapter in {folder} changes the model '{base[:100]}', which is no folder with config.json here",
            f"write the folder or Hugging Face id of that model as base_model_name_or_path into {folder / adapters.CONFIG}",
        )
    return base


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
