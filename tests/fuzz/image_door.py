"""Bad images and clips: most through the function that opens them, a few through a whole run on local data."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.bad import MACHINE, SAMPLE, Bad
from tests.systems import link, pipe

OPEN = "open-image"  # a command that the test adds: it opens one file
SIDE = 48


def picture(rng: random.Random, form: str, mode: str = "RGB") -> bytes:
    """Noise, which does not compress: every byte counts."""
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


def bad_images(rng: random.Random, run: Path) -> list[Bad]:
    """A hundred."""
    found = [_cut(rng, form, ending) for form, ending in FORMS for _ in range(10)]
    found += [_bytes("bomb", make(), ending) for make, ending in BOMBS * 3]
    found += [_bytes("no image", content, ending) for content in NONE for ending in (".png", ".jpg", ".mp4")]
    found += [
        _bytes(
            "random bytes", rng.randbytes(rng.randrange(1, 2000)), rng.choice((".png", ".jpg", ".webp", ".mp4", ".avi"))
        )
        for _ in range(8)
    ]
    found += [_bytes("broken", make(rng), ".png") for make in (_no_pixels, _wrong_sum, _endless_text, _negative) * 2]
    found += [Bad(f"special file {i}", code, make) for i, (code, make) in enumerate(_SPECIAL)]
    return rng.sample(found, 100)


FORMS = (("PNG", ".png"), ("JPEG", ".jpg"), ("BMP", ".bmp"), ("TIFF", ".tiff"), ("WEBP", ".webp"))
NONE = (b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x00\x00\x00\x00WEBP")  # fmt: skip


def _cut(rng: random.Random, form: str, ending: str) -> Bad:
    content = picture(rng, form)
    return _bytes(f"cut {form}", content[: rng.randrange(1, len(content) * 2 // 3)], ending)


def _bytes(what: str, content: bytes, ending: str) -> Bad:
    def prepare(folder: Path) -> Sequence[str]:
        (folder / f"sample{ending}").write_bytes(content)
        return OPEN, f"sample{ending}"

    return Bad(f"{what} {ending} {content[:12]!r}", SAMPLE, prepare)


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG that declares this size."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def _png_bomb() -> bytes:
    return png(50_000, 50_000, chunk(b"IDAT", zlib.compress(b"\x00" * 1_000_000)))


def _jpeg_bomb() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    content = bytearray(file.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 50_000, 50_000)
    return bytes(content)


def _gif_bomb() -> bytes:
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "GIF")
    content = bytearray(file.getvalue())
    content[6:10] = struct.pack("<HH", 50_000, 50_000)
    return bytes(content)


def _bmp_bomb() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "BMP")
    content = bytearray(file.getvalue())
    content[18:26] = struct.pack("<ii", 50_000, 50_000)
    return bytes(content)


BOMBS = ((_png_bomb, ".png"), (_jpeg_bomb, ".jpg"), (_bmp_bomb, ".bmp"), (_gif_bomb, ".png"), (_png_bomb, ".webp"))


def _no_pixels(rng: random.Random) -> bytes:
    return png(SIDE, SIDE)


def _wrong_sum(rng: random.Random) -> bytes:
    content = bytearray(picture(rng, "PNG"))
    content[20] ^= 255
    return bytes(content)


def _endless_text(rng: random.Random) -> bytes:
    text = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(b"x" * 100_000_000, 1))
    return png(SIDE, SIDE, text, chunk(b"IDAT", zlib.compress(b"\x00" * SIDE * (3 * SIDE + 1))))


def _negative(rng: random.Random) -> bytes:
    return png(0, SIDE, chunk(b"IDAT", b"x"))


def _made(
    code: int, make: Callable[[Path], object], ending: str = ".png"
) -> tuple[int, Callable[[Path], Sequence[str]]]:
    def prepare(folder: Path) -> Sequence[str]:
        make(folder / f"sample{ending}")
        return OPEN, f"sample{ending}"

    return code, prepare


_SPECIAL = (
    _made(MACHINE, lambda path: None),
    _made(MACHINE, lambda path: None, ".mp4"),
    _made(MACHINE, Path.mkdir),
    _made(MACHINE, pipe),
    _made(MACHINE, lambda path: link(path, "/dev/zero")),
    _made(MACHINE, lambda path: link(path, "nowhere"), ".mp4"),
)
TASK = """
task: tb_bad_images
dataset_path: nothing/yet
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: question
doc_to_target: answer
generation_kwargs: {max_new_tokens: 4}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
"""


def IN_A_RUN(rng: random.Random) -> list[bytes]:  # noqa: N802
    """What a picture of a data set is in place of one."""
    return [
        b"",
        b"x",
        _png_bomb(),
        _jpeg_bomb(),
        picture(rng, "JPEG")[:20],
        _no_pixels(rng),
        picture(rng, "PNG")[:30],
        rng.randbytes(99),
    ]


def in_a_run(content: bytes) -> Bad:
    """A task on a folder with one image, which is asked for at any price."""

    def prepare(folder: Path) -> Sequence[str]:
        for name in ("definitions", "data"):
            (folder / name).mkdir()
        (folder / "definitions" / "bad.yaml").write_text(TASK)
        (folder / "definitions" / "utils.py").write_text("def visual(doc):\n    return [doc['image']]\n")
        (folder / "data" / "0.png").write_bytes(content)
        (folder / "data" / "metadata.jsonl").write_text(
            json.dumps({"file_name": "0.png", "question": "What?", "answer": "red"})
        )
        return (
            "run", "--suite", "lmms:tb_bad_images", "--tasks-dir", "definitions", "--data", "tb_bad_images=data", "--strategies", "fastv",
            "--budgets", "9", "--no-floors", "--strict", "-q", "-o", "out",
        )  # fmt: skip

    return Bad(f"in a run {content[:12]!r}", SAMPLE, prepare)
