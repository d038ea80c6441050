"""The parts of a training: weights that nobody arranged, schedules, labels, and the optimizer's matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tokenbench_suites.clips import ClipStyle, clip_rng, frame_scene, make_clip
from tokenbench_suites.scenes import make_scene, scene_rng
from training.batches import INKS, KINDS
from training.clip_batches import FRAME_TOKENS, make_clip_batch
from training.model import build_clip_model, build_model
from training.optim import orthogonalise
from training.phases import ANSWERS, ENDINGS
from training.scene_batches import make_scene_batch, style_at


@pytest.mark.parametrize("build", [build_model, build_clip_model])
def test_training_starts_from_weights_that_nobody_arranged(build) -> None:
    """No head is built by hand: every matrix of the decoder looks like the same white noise."""
    for name, weight in build(0).model.language_model.named_parameters():
        if weight.ndim == 2 and "embed" not in name:
            scaled = weight.detach() / 0.02  # transformers' default
            assert abs(scaled.std() - 1) < 0.05, name
            assert scaled.abs().max() < 6.5, name
            loads = torch.linalg.svdvals(scaled)[:1] / (weight.shape[0] ** 0.5 + weight.shape[1] ** 0.5)
            assert loads < 1.1, name  # no direction stands out


def test_the_first_phase_warms_up_and_decays_and_its_dense_loss_fades() -> None:
    steps = ANSWERS.steps
    assert ANSWERS.rate_at(0) == pytest.approx(3e-3 / 149, rel=0.01)
    assert ANSWERS.rate_at(149) == ANSWERS.rate_at(int(0.4 * steps)) == pytest.approx(3e-3)
    assert ANSWERS.rate_at(int(0.7 * steps)) == pytest.approx(1.5e-3, rel=0.01)
    assert ANSWERS.rate_at(steps - 1) == pytest.approx(0.02 * 3e-3)
    assert [round(ANSWERS.aims_at(int(share * steps)).dense, 2) for share in (0, 0.2, 0.4, 0.9)] == [1, 0.5, 0, 0]
    assert not ANSWERS.aims_at(0).blind


def test_the_second_phase_teaches_where_answers_end_at_one_rate() -> None:
    assert {ENDINGS.rate_at(step) for step in range(ENDINGS.steps)} == {3e-4}
    assert (ENDINGS.aims_at(0).blind, ENDINGS.aims_at(0).end, ENDINGS.aims_at(0).dense) == (True, 1.0, 0.0)


@pytest.mark.parametrize(("progress", "most"), [(0.05, 5), (0.2, 9), (0.9, 13)])
def test_scenes_begin_with_few_things(progress: float, most: int) -> None:
    things = [(batch > 0).sum(1) for batch in [make_scene_batch(0, 40, progress).inks]]
    assert 1 <= int(things[0].min()) <= int(things[0].max()) <= most
    assert int(things[0].max()) > most - 3


def test_labels_say_what_has_its_centre_at_a_patch() -> None:
    batch = make_scene_batch(7, 6, 1.0)
    for b in range(6):
        scene = make_scene(scene_rng("train", 7 + b), style_at(1.0))
        kinds, inks = (labels[b].reshape(12, 12) for labels in (batch.kinds, batch.inks))
        for thing in scene.things:
            at = thing.y // 12, thing.x // 12
            assert (KINDS[kinds[at]], INKS[inks[at]]) == (thing.shape, thing.color)
        digits = scene.number.text if scene.number else ""
        assert int((kinds > 0).sum()) == len(scene.things) + len(digits)
        assert "".join(KINDS[kind] for kind in kinds[kinds > 6]) == digits


def test_labels_of_a_clip_follow_its_frames() -> None:
    batch = make_clip_batch(5, 2, 1.0)
    for b in range(2):
        clip = make_clip(clip_rng("train", 5 + b), ClipStyle())
        for frame, inks in enumerate(batch.inks[b].reshape(-1, FRAME_TOKENS)):
            seen = sorted(INKS.index(thing.color) for thing in frame_scene(clip, frame).things)
            assert inks[0] == 0  # [CLS]
            assert sorted(inks[inks > 0].tolist()) == seen


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_muon_makes_singular_values_alike(shape: tuple[int, ...]) -> None:
    """Against the polar factor by SVD."""
    batch = torch.from_numpy(np.random.default_rng(0).normal(size=shape)).float()
    left, _, right = torch.linalg.svd(batch, full_matrices=False)
    made, exact = orthogonalise(batch), left @ right
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.3
    assert values.max() < 1.3
    assert (torch.nn.functional.cosine_similarity(made.flatten(1), exact.flatten(1)) > 0.95).all()
