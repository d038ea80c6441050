"""A data set of the Hugging Face hub as a table: a commit of it, its pictures undecoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenbench.errors import MachineError, UsageError, brief
from tokenbench.models.hub import HubError, from_hub
from tokenbench_suites.tables.pictures import Stored
from tokenbench_suites.tables.reading import Row

__all__ = ["HubTable"]

ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@\w[\w./-]*)?")


class HubTable:
    """A split of a data set.

    Args:
        source: `OWNER/NAME`, or `OWNER/NAME@REVISION`.
        config: The configuration, if there are several.
        split: The split, if there are several.
        local: A folder with the data set, as `hf download` or `save_to_disk` leave it; None for the hub.

    Raises:
        UsageError: The source is not the name of a data set.
    """

    def __init__(self, source: str, config: str = "", split: str = "", local: Path | None = None) -> None:
        if not ID.fullmatch(source):
            raise UsageError(
                f"'{source:.100}' is not the name of a data set", "write, for example, hf:owner/name@main:test"
            )
        self.repository, _, self.revision = source.partition("@")
        self.name, self.short = f"hf:{source}", self.repository.partition("/")[2]
        self.local, self._config, self._split = local, config, split

    @cached_property
    def folder(self) -> Path:
        """The folder with the files, which are downloaded unless they are in the cache."""
        return self.local or self._download()

    @property
    def identity(self) -> str:
        """The commit, or the name alone for a folder; the configuration and the split."""
        at = "" if self.local else f"@{self.folder.name}"  # the cache names folders by commits
        return " ".join(filter(None, (f"{self.repository}{at}", self._config, self._split)))

    def rows(self) -> list[Row]:
        """Return the rows of the split, with their pictures where they are stored.

        Raises:
            UsageError: There is no such configuration or split.
            MachineError: The data set is neither here nor can be downloaded, or cannot be read.
        """
        import datasets

        split = self._choose(self._splits())
        media = [name for name, feature in split.features.items() if _holds_images(feature)]
        named = {n: f.names for n, f in split.features.items() if isinstance(f, datasets.ClassLabel)}
        raw = split
        for name in media:
            raw = raw.cast_column(name, _undecoded(split.features[name]))
        rows = []
        for number, values in enumerate(raw):
            values |= {name: _stored(raw, number, name, values[name]) for name in media}
            values |= {name: labels[values[name]] for name, labels in named.items() if values[name] is not None}
            rows.append(Row(f"row {number}", values))
        if not rows:
            raise UsageError(f"{self.name} has no rows", "choose another split")
        return rows

    def _download(self) -> Path:
        from huggingface_hub import snapshot_download

        try:
            found = from_hub(
                snapshot_download, self.repository, repo_type="dataset", revision=self.revision or None, max_workers=4
            )
        except HubError as error:
            at = f" --revision {self.revision}" if self.revision else ""
            raise MachineError(
                f"the data set {self.repository} is not in the local cache, and could not be downloaded: {error}",
                f"on a machine with network access: hf download {self.repository} --repo-type dataset{at} --local-dir FOLDER, "
                f"then give --data {self.short}=FOLDER",
            ) from error
        return Path(found)

    def _splits(self) -> dict[str, Any]:
        try:
            import datasets

            from tokenbench_suites.lmms.data import read_folder
        except ImportError:
            raise MachineError(
                "data sets of the hub need the package 'datasets'", 'pip install "tokenbench[lmms]"'
            ) from None
        stored = any((self.folder / name).exists() for name in ("dataset_dict.json", "state.json"))
        try:
            configs = [] if stored else datasets.get_dataset_config_names(str(self.folder))
        except Exception as error:  # raises anything for a folder that it cannot read
            raise MachineError(
                f"{self.name} cannot be read: {brief(error)}",
                "it must hold Parquet, Arrow, JSON or CSV files, or pictures",
            ) from error
        if (self._config and self._config not in configs) or (len(configs) > 1 and not self._config):
            said = f"no configuration '{self._config}'" if self._config else "several configurations"
            raise UsageError(
                f"{self.name} has {said}", f"choose one of {', '.join(configs) or 'none'}: {self.name}:config=NAME"
            )
        with _without_bars():
            return read_folder(self.short, self.folder, self._config or None)

    def _choose(self, splits: dict[str, Any]) -> Any:
        if self._split in splits:
            return splits[self._split]
        if len(splits) == 1 and not self._split:
            return next(iter(splits.values()))
        said = f"no split '{self._split}'" if self._split else "several splits"
        raise UsageError(f"{self.name} has {said}", f"choose one of {', '.join(sorted(splits))}: {self.name}:SPLIT")


@contextmanager
def _without_bars() -> Iterator[None]:
    """Show no progress of the library, whose lines would stand between those of the run."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _stored(rows: Any, number: int, column: str, cell: Any) -> list[Stored | str | None]:
    """Where the pictures of a cell are: in the data set, or in a file."""
    items = cell if isinstance(cell, list) else [cell]
    return [
        Stored(rows, number, column, place) if item and item.get("bytes") else (item or {}).get("path")
        for place, item in enumerate(items)
    ]


def _holds_images(feature: Any) -> bool:
    import datasets

    return isinstance(getattr(feature, "feature", feature), datasets.Image)


def _undecoded(feature: Any) -> Any:
    import datasets

    whole = datasets.Image(decode=False)
    return type(feature)(whole) if hasattr(feature, "feature") else whole
