"""RefCOCO's rows: one for each expression, with the box relative to the image, as lmms-eval makes them, but without the images."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

__all__ = ["name_expressions"]


def name_expressions(split: Any) -> tuple[Any, Any]:
    """Return the rows without images, and the images, as `Rows` takes them.

    Of an image, only the size is read, so that the memory does not grow with the number of images.

    Args:
        split: A `datasets.Dataset` of objects: `image`, `bbox` (left, top, width and height in pixels), and `answer`, the expressions.
    """
    import datasets

    files = split.select_columns("image").cast_column("image", datasets.Image(decode=False))
    rows = []
    for at, (row, file) in enumerate(zip(split.remove_columns("image"), files, strict=True)):
        width, height = _measure(file["image"])
        x, y, w, h = row["bbox"]
        box = [x / width, y / height, (x + w) / width, (y + h) / height]
        size = {"image_width": width, "image_height": height, "imageId": at}
        rows += [{**row, "answer": expression, "bbox": box, **size} for expression in row["answer"]]
    images = split.select_columns("image").add_column("id", list(range(len(split))))
    return datasets.Dataset.from_list(rows), images


def _measure(file: Any) -> tuple[int, int]:
    """Width and height, from the head of the file."""
    with Image.open(BytesIO(file["bytes"]) if file.get("bytes") else Path(str(file["path"]))) as image:
        return image.size
