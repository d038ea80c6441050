"""Where on the image a strategy keeps tokens, as tiny pictures."""

import io
from base64 import b64encode
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from tokenbench.comparison.wording import percent
from tokenbench.statistics.clusters import Floats
from tokenbench_reports.html.kept import bias, keep_rates

STOPS = np.array([[33, 80, 160], [140, 175, 215], [236, 236, 232], [240, 170, 90], [178, 60, 10]], dtype=np.float64)
"""Never kept, less than on average, as on average, more, three times as often."""


@dataclass(frozen=True)
class BiasMap:
    """A map of where one cell keeps tokens."""

    strategy: str
    """The strategy."""
    budget: str
    """The budget."""
    image: str
    """The picture as a data address."""
    shape: tuple[int, int]
    """Rows and columns of the map."""
    uneven: str
    """How far the map is from an even one, in words."""


def bias_maps(samples: pd.DataFrame) -> list[BiasMap]:
    """One map per cell that drops tokens."""
    maps = []
    for (strategy, budget), rates in keep_rates(samples).items():
        if 0 < rates.mean() < 0.999:
            height, width = rates.shape
            maps.append(BiasMap(strategy, budget, encode_png(colour(rates)), (height, width), percent(bias(rates), 0)))
    return maps


def colour(rates: Floats) -> np.ndarray:
    """``[H, W, 3]`` colours of the ratio to the mean rate, 1 in the middle of the scale, 3 and more at its end."""
    ratio = rates / rates.mean()
    place = np.where(ratio < 1, 2 * ratio, 2 + np.minimum(ratio - 1, 2)).clip(0, 4)
    low = np.minimum(place.astype(int), 3)
    share = (place - low)[..., None]
    return np.asarray((STOPS[low] * (1 - share) + STOPS[low + 1] * share).round().astype(np.uint8))


def encode_png(pixels: np.ndarray) -> str:
    """Pixels as the address of a PNG."""
    return encode_image(Image.fromarray(pixels), "PNG")


def encode_image(image: Image.Image, form: str) -> str:
    """An image as a data address."""
    file = io.BytesIO()
    image.save(file, form, quality=82)
    return f"data:image/{form.lower()};base64,{b64encode(file.getvalue()).decode()}"
