"""Images as they come: every mode and form that can be shown is, within limits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.image_door import png
from tokenbench.errors import MachineError, SampleError
from tokenbench_suites.images import MOST_PIXELS, check_image, open_image

RED = (250, 10, 20)


def encoded(image: Image.Image, form: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


def coloured(size: tuple[int, int], mode: str) -> Image.Image:
    image = Image.new("RGB", size, RED)
    return image.quantize(4) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("RGB", "WEBP"),
        ("P", "GIF"),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (7, 5)])
def test_every_mode_is_shown_as_rgb(mode: str, form: str, size: tuple[int, int]) -> None:
    image = open_image(encoded(coloured(size, mode), form), "it")
    assert (image.mode, image.size) == ("RGB", size)
    assert np.abs(np.asarray(image, dtype=int) - RED).max() < 12


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    values = np.array([[0, 32768, 65535]], dtype=np.uint16)
    image = open_image(encoded(Image.fromarray(values), "PNG"), "it")
    assert np.asarray(image)[0, :, 0].tolist() == [0, 128, 255]


def test_a_photo_is_turned_as_its_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image = open_image(encoded(Image.new("RGB", (8, 4), RED), "JPEG", exif=exif), "it")
    assert image.size == (4, 8)


def test_the_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, (0, 0, 255))]
    image = open_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "it")
    assert np.asarray(image)[0, 0].tolist() == list(RED)


def test_a_palette_with_a_transparent_colour_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    content = encoded(Image.new("P", (4, 4)), "PNG", transparency=b"\x80\x00")
    assert open_image(content, "it").mode == "RGB"
    assert not recwarn.list


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.new("RGB", (4, 4), RED), "PNG"))
    assert open_image(path, "it").size == (4, 4)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    for width, height in ((50_000, 50_000), (MOST_PIXELS + 1, 1), (12_000, 12_000)):
        with pytest.raises(SampleError, match="it is too large"):
            check_image(png(width, height), "it")


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file"):
        open_image(tmp_path / "none.png", "it")
