"""Images from files and data sets: opened within limits, the way up that a person sees them, as RGB."""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from tokenbench.errors import MachineError, SampleError, brief

__all__ = ["MOST_PIXELS", "check_image", "check_regular", "normalise_image", "open_image"]

MOST_PIXELS = 2**27
"""Half a gigabyte as RGB. A small file may declare far more."""
BITS = 256  # from 16 to 8 bits a channel


def open_image(source: Path | bytes, name: str) -> Image.Image:
    """Open the image in a file or in its bytes; the first frame of an animation.

    Args:
        source: The file, or its bytes.
        name: What errors call the image.

    Raises:
        SampleError: If it is not an image, damaged or too large.
        MachineError: If the file does not exist.
    """
    with _open(source, name) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong is an error, or does not matter
        try:
            return normalise_image(image)
        except Exception as error:  # the decoders raise anything for a damaged file
            raise _damaged_error(name, error) from error


def check_image(source: Path | bytes, name: str) -> None:
    """Raise what `open_image` would, after reading the beginning of the file only, without decoding."""
    with _open(source, name):
        pass


def normalise_image(image: Image.Image) -> Image.Image:
    """Return an opened image as models take it: RGB, turned as its EXIF data say, 16 bits a channel scaled to 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # Pillow would cut off at 255, which makes it white
        image = image.point(lambda value: value / BITS).convert("L")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def check_regular(path: Path) -> Path:
    """Return the path of a file that can be read to its end.

    Raises:
        MachineError: If it is missing or not a regular file, such as a device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise MachineError(
            f"the file {path} cannot be read: {reason}", "put the file there, or give another folder"
        ) from None
    if not stat.S_ISREG(mode):
        raise MachineError(f"{path} is not a regular file", "replace it with a file")
    return path


def _open(source: Path | bytes, name: str) -> Image.Image:
    """Open an image without decoding it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # also of large images: the limit below is what counts
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else check_regular(source))
    except MachineError:
        raise
    except Image.DecompressionBombError as error:  # far above the limit Pillow stops by itself
        raise SampleError(f"{name} is too large: more than {MOST_PIXELS:,} pixels", "scale it down") from error
    except Exception as error:
        raise _damaged_error(name, error) from error
    if image.width * image.height > MOST_PIXELS:
        raise SampleError(
            f"{name} is too large: {image.width} x {image.height} pixels, at most {MOST_PIXELS:,}", "scale it down"
        )
    return image


def _damaged_error(name: str, error: Exception) -> SampleError:
    return SampleError(f"{name} cannot be loaded: {brief(error)}", "replace it, or remove the sample")
