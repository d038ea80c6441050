"""The rows of a task: without media, with media undecoded, and decoded.

A picture is decoded only when a sample is shown.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenbench.errors import SampleError, brief
from tokenbench_suites.images import check_image, check_regular

__all__ = ["Rows"]


class Rows:
    """A split of a data set, with its images taken from another split if they are stored apart.

    Args:
        split: A `datasets.Dataset`.
        images: Another one, whose rows have `id` and `image` and are joined to a row by its `imageId`.
    """

    def __init__(self, split: Any, images: Any = None) -> None:
        import datasets

        self.decoded, self._images = split, images
        columns = {name: split.features[name] for name in split.column_names}
        self.media = [name for name, feature in columns.items() if _holds(feature, (datasets.Image, datasets.Audio))]
        self.raw = split
        for name in self.media:
            self.raw = self.raw.cast_column(name, _undecoded(columns[name]))
        self.plain = split.remove_columns(self.media)
        if images is not None:
            self._raw_images = images.cast_column("image", datasets.Image(decode=False))
            self._place = {key: i for i, key in enumerate(images.remove_columns("image")["id"])}

    def __len__(self) -> int:
        return len(self.plain)

    @cached_property
    def simple(self) -> list[str]:
        """The columns of texts and whole numbers."""
        kinds = {name: getattr(feature, "dtype", "") for name, feature in self.plain.features.items()}
        return [name for name, kind in kinds.items() if kind in ("string", "large_string") or "int" in kind]

    def values(self, name: str, rows: Sequence[int]) -> list[Any]:
        """A column in some rows."""
        return list(self.plain.select_columns(name).select(rows)[name])

    def shown(self, i: int) -> dict[str, Any]:
        """Return row i with its media decoded.

        Raises:
            SampleError: If an image is damaged or too large.
        """
        for item in self._files(i):
            check_image(item.get("bytes") or Path(str(item.get("path"))), f"an image of row {i}")
        try:
            row = dict(self.decoded[i])
        except Exception as error:  # the decoders raise anything for a damaged file
            raise SampleError(f"an image of row {i} cannot be loaded: {brief(error)}", "replace it") from error
        if self._images is not None:
            row["image"] = self._images[self._image_of(row)]["image"]
        return row

    def blank(self, i: int) -> dict[str, Any]:
        """Row i with one-pixel images in place of its own, for what only depends on how many there are."""
        from PIL import Image

        row = dict(self.raw[i])
        if self._images is not None:
            row["image"] = {}
        pixel = Image.new("RGB", (1, 1))
        for name in (*self.media, *(("image",) if self._images is not None else ())):
            value = row[name]
            row[name] = [pixel for _ in value] if isinstance(value, list) else None if value is None else pixel
        return row

    def media_hash(self, i: int) -> tuple[str, list[str]]:
        """Hash of the files of row i's media, empty if it has none; and the names of those that have any."""
        digest, files = hashlib.sha256(), self._files(i)
        for item in files:
            digest.update(item.get("bytes") or check_regular(Path(str(item.get("path")))).read_bytes())
        names = [str(item["path"]) for item in files if item.get("path")]
        return digest.hexdigest()[:20] if files else "", names

    def key(self, i: int, question: str, shown: str) -> str:
        """Return the key of row i: the same wherever the same question is asked about the same media.

        Args:
            i: The row.
            question: The text of its prompt.
            shown: The hash of its media.
        """
        return hashlib.sha256(f"{shown}\n{question}\n{self.contents[i]}".encode()).hexdigest()[:16]

    def _files(self, i: int) -> list[Mapping[str, Any]]:
        """The files of row i's media, undecoded: `bytes`, or the `path` of a file."""
        if self._images is not None:
            values: list[Any] = [self._raw_images[self._image_of(self.plain[i])]["image"]]
        else:
            row = self.raw[i]
            values = [row[name] for name in self.media]
        items = [item for value in values for item in (value if isinstance(value, list) else [value])]
        return [item for item in items if isinstance(item, Mapping)]

    def _image_of(self, row: Mapping[str, Any]) -> int:
        """The place of a row's image among those that are kept apart."""
        if row["imageId"] not in self._place:
            raise SampleError(
                f"the image {row['imageId']} of a question is missing from the images", "download the images again"
            )
        return self._place[row["imageId"]]

    @cached_property
    def contents(self) -> list[str]:
        """Hash of every row without its media.

        A row that occurs again is told apart by how often it occurred before.
        """
        seen: Counter[str] = Counter()
        hashes = []
        for row in self.plain:
            text = json.dumps(row, sort_keys=True, default=str, ensure_ascii=False)
            digest = hashlib.sha256(text.encode()).hexdigest()
            hashes.append(f"{digest}-{seen[digest]}")
            seen[digest] += 1
        return hashes


def _holds(feature: Any, kinds: tuple[type, ...]) -> bool:
    inner = getattr(feature, "feature", feature)
    return isinstance(inner, kinds)


def _undecoded(feature: Any) -> Any:
    inner = getattr(feature, "feature", None)
    return type(feature)(type(inner)(decode=False)) if inner is not None else type(feature)(decode=False)
