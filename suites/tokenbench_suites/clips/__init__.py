"""Synthetic clips: coloured shapes that stand, move or come and go on a textured ground, and questions about them."""

from tokenbench_suites.clips.questions import ASKERS, Question, words
from tokenbench_suites.clips.render import render_clip
from tokenbench_suites.clips.world import FRAMES, SIDE, Actor, Clip, ClipStyle, clip_rng, frame_scene, make_clip

__all__ = [
    "ASKERS",
    "FRAMES",
    "SIDE",
    "Actor",
    "Clip",
    "ClipStyle",
    "Question",
    "clip_rng",
    "frame_scene",
    "make_clip",
    "render_clip",
    "words",
]
