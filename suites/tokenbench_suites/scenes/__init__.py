"""Synthetic scenes: coloured shapes and a number on a textured ground, and questions whose evidence is known."""

from tokenbench_suites.scenes.questions import ASKERS, Question, words
from tokenbench_suites.scenes.render import SIZE, render
from tokenbench_suites.scenes.seeds import scene_rng
from tokenbench_suites.scenes.world import COLORS, SHAPES, Number, Scene, Style, Thing, make_scene

__all__ = [
    "ASKERS",
    "COLORS",
    "SHAPES",
    "SIZE",
    "Number",
    "Question",
    "Scene",
    "Style",
    "Thing",
    "make_scene",
    "render",
    "scene_rng",
    "words",
]
