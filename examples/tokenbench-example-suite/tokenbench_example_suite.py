"""Two tasks on rendered discs: the color of one disc, and the number of discs. Scene i depends on the number i only."""

from functools import partial
from random import Random

import tokenbench
from PIL import Image, ImageDraw
from tokenbench import Box, Sample, Suite, Task

SIDE, RADIUS, SCENES = 96, 9, 120
COLORS = ("red", "blue", "green", "black")
PLACES = [(x, y) for x in (16, 48, 80) for y in (16, 48, 80)]


def discs(index):
    """(x, y, color) of the one to four discs of a scene."""
    draw = Random(index)
    return [(x, y, draw.choice(COLORS)) for x, y in draw.sample(PLACES, 1 + index % 4)]


def load(index):
    image = Image.new("RGB", (SIDE, SIDE), "white")
    for x, y, color in discs(index):
        ImageDraw.Draw(image).ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=color)
    return [image]


def box(x, y):
    return Box((x - RADIUS) / SIDE, (y - RADIUS) / SIDE, (x + RADIUS) / SIDE, (y + RADIUS) / SIDE)


class Discs(Task):
    """What both tasks share: samples of one scene show the same image, and answers are compared without case."""

    max_new_tokens = 4

    def samples(self):
        return [self.sample(index) for index in range(SCENES)]

    def made(self, index, question, target, seen):
        return Sample(f"scene-{index}", f"scene-{index}", question, target, partial(load, index), tuple(seen))

    def score(self, answer, sample):
        return float(answer.strip().lower().rstrip(".") == sample.target)


class Color(Discs):
    name, description = "disc-color", "The color of the disc at a given place"

    def sample(self, index):
        x, y, color = discs(index)[0]
        row, column = ("top", "middle", "bottom")[y // 32], ("left", "center", "right")[x // 32]
        question = f"What color is the disc in the {row} row, {column} column?"
        return self.made(index, question, color, [box(x, y)])


class Count(Discs):
    name, description = "disc-count", "The number of discs"

    def sample(self, index):
        found = discs(index)
        return self.made(index, "How many discs are there?", str(len(found)), [box(x, y) for x, y, _ in found])


def suite():
    return Suite("example-suite", "Rendered discs: their colors and number", (Color(), Count()), model="toy-llava")


@tokenbench.hookimpl
def tokenbench_register_suites(register):
    register("example-suite", suite)
