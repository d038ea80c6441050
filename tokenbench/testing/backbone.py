"""The checks of backbones, each on the backbone's own tiny model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.budget import Budget
from tokenbench.contract.lattice import Grid
from tokenbench.contract.sizes import ModelSize
from tokenbench.contract.stage import Attn, Keep, Signal, Stage
from tokenbench.contract.strategy import Selection, Strategy
from tokenbench.contract.view import View
from tokenbench.engine import RowTrace
from tokenbench.errors import InfeasibleError, UsageError
from tokenbench.registry.backbones import backbone_for
from tokenbench.registry.plugins import registry
from tokenbench.testing.case import Case, KeepAll
from tokenbench.testing.check import Check, checks
from tokenbench.testing.oracles import Prompt, assert_close, batched, generate, logits
from tokenbench.testing.strategy import strategy_checks

__all__ = ["AttentionTwice", "backbone_checks", "case_of", "check_backbone"]

_CHECKS: list[Check] = []
TEXT = 24


class AttentionTwice(Strategy):
    """A strategy that selects by attention at two depths, to check what the engine does for any strategy on a model."""

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        """Prune once near the first layer, and once before the last."""
        return [(1, 0.6), (depth - 1, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        """Request the attention of the layer below."""
        return Stage(layer, keep, attention=(Attn(layer - 1),))

    def score(self, view: View) -> Tensor:
        """Score tokens by their mean attention over heads."""
        (request,) = view.stage.attention
        return view.attention[request][:, 0].mean(0)


class Projected(Strategy):
    """A strategy that keeps all tokens, and projects the features of those that stand for patches again."""

    def stages(self, depth: int, budget: Budget) -> Sequence[Stage]:
        """Request the features before the first layer."""
        return [Stage(0, 1.0, hidden=(0,), signals=(Signal("features"),))]

    def select(self, view: View) -> Selection:
        """Keep all tokens with the projected features as their states."""
        projected = view.project(view.signals[Signal("features")])
        no_patch = [
            i for grid, at in view.items() for i in sorted({*range(at.start, at.stop)} - _places(grid, at.start))
        ]
        projected[no_patch] = view.hidden[0][no_patch].to(projected)
        return Selection(torch.arange(view.n, device=view.alive.device), projected)


def _places(grid: Grid, start: int) -> set[int]:
    """The candidates that stand for patches, or for a [CLS], and not for a newline."""
    frames = [row for frame in grid.patches() for row in frame]
    prefixes = {start + t * (grid.tokens // grid.t) + i for t in range(grid.t) for i in range(grid.num_prefix_tokens)}
    return {start + i for row in frames for i in row} | prefixes


def check_backbone(model: Any, prompts: Sequence[Prompt], backbone: Backbone | None = None) -> None:
    """Check that an adapter finds the visual tokens, their lattices and features, and that it changes nothing.

    Args:
        model: A small stock model.
        prompts: Three or more prompts of one row, of different lengths.
        backbone: The adapter; by default, the registered one that serves the model.

    Raises:
        AssertionError: A check fails. The message says what is wrong and how to fix it.
    """
    adapter = backbone or backbone_for(model, registry())
    case = Case(KeepAll(encoder=_describes_towers(adapter)), model, prompts, backbone=backbone)
    for check in backbone_checks():
        check(case)


def case_of(backbone: Backbone) -> Case:
    """Return a case with a backbone's tiny model."""
    model, prompts = backbone.tiny()
    return Case(KeepAll(encoder=_describes_towers(backbone)), model, prompts, backbone=backbone)


def backbone_checks() -> list[Check]:
    """Return the checks of a backbone. Each takes a `Case`."""
    return list(_CHECKS)


@checks(
    _CHECKS,
    "tiny() returns a stock model of one of `model_types` and three or more prompts of one row, unlike in length",
)
def has_a_tiny_model_of_its_type(case: Case) -> None:
    """Its tiny model is of a type it serves, small, and comes with unlike prompts."""
    types = case.adapter.model_types
    own = case.model.config.model_type
    # A model by name leaves its type to the architecture's adapter.
    named = case.adapter.source is not None and not types
    assert named or type(case.adapter).serve(own) is not None, f"model_types {types} lack '{own}'"
    parameters = sum(parameter.numel() for parameter in case.model.parameters())
    assert parameters < 5_000_000, f"the tiny model has {parameters} parameters"
    lengths = [tuple(prompt["input_ids"].shape) for prompt in case.prompts]
    assert len(lengths) >= 3 and all(rows == 1 for rows, _ in lengths), f"prompts of shapes {lengths}"
    assert len(set(lengths)) > 1, f"all prompts have {lengths[0][1]} tokens"


@checks(
    _CHECKS, "visual() marks the visual tokens, and grids() gives the lattice of every image in the order of the prompt"
)
def lattices_add_up(case: Case) -> None:
    """The lattices hold as many tokens as the prompt, and there is one at all."""
    for prompt in case.prompts:
        (row,) = _trace(case, prompt)
        tokens = sum(grid.tokens for grid in row.grids)
        visual = int(case.adapter.visual(case.model, prompt["input_ids"]).sum())
        assert tokens == visual > 0, f"lattices of {tokens} tokens for {visual} visual tokens"


@checks(
    _CHECKS,
    "encode_images() gives [tokens, C] of every image, as_mm_encoder_outputs() what the model takes as mm_encoder_outputs",
)
def features_go_round(case: Case) -> None:
    """Features that were encoded apart and put together again give the stock model's logits."""
    for prompt in case.prompts:
        text = {name: value for name, value in prompt.items() if not name.startswith("pixel_values")}
        with torch.no_grad():
            given = case.adapter.as_mm_encoder_outputs(case.model, _features(case, prompt))
            apart, stock = case.model(**text, mm_encoder_outputs=given).logits, case.model(**prompt).logits
        assert_close(apart, stock, "encode_images and as_mm_encoder_outputs are not inverse")


@checks(_CHECKS, "decoder() must be the module whose `layers` run the prompt; nothing may be computed outside of them")
def keeping_all_is_stock(case: Case) -> None:
    """A strategy that looks at everything and keeps everything changes no bit."""
    stock = generate(case.model, batched(case.prompts))
    output, _ = case.run()
    assert torch.equal(logits(output), logits(stock)), "keeping every token changes the logits of the stock model"


@checks(
    _CHECKS,
    "Encoder.layouts gives the positions of every token in the order of the prompt; Encoder.project is the model's own",
)
def the_projector_gives_what_the_decoder_gets(case: Case) -> str | None:
    """The features that strategies see, projected, are the embeddings of the visual tokens."""
    if not _describes_towers(case.adapter):
        return "it describes no vision encoder, so that strategies which read one are refused"
    stock = generate(case.model, batched(case.prompts), tokens=1)
    output, _ = replace(case, strategy=Projected()).run(tokens=1)
    assert_close(logits(output), logits(stock))
    return None


@checks(
    _CHECKS, "see the check of that name for strategies; here the adapter's decoder(), visual() or grids() is to blame"
)
def pruning_is_right_on_it(case: Case) -> None:
    """A strategy of the kit passes every check of strategies on this model."""
    for check in strategy_checks():
        check(replace(case, strategy=AttentionTwice()))


@checks(_CHECKS, "size(config) reads every size from the stock configuration: see tokenbench.contract.sizes.ModelSize")
def its_cost_is_known(case: Case) -> str | None:
    """The sizes of decoder and encoder follow from the configuration alone. An adapter may do without them."""
    if type(case.adapter).size is Backbone.size:
        return "it has no size(), so that reports on its models show no FLOPs"
    try:
        size = case.adapter.size(case.model.config)
    except UsageError as error:
        return str(error)
    assert isinstance(size, ModelSize), f"size() returns a {type(size).__name__}"
    assert size.decoder.layers == case.depth, f"size() says {size.decoder.layers} layers, the decoder has {case.depth}"
    return None


@checks(
    _CHECKS,
    "default_grids(config) gives lattices of a common input, dummy_inputs(config, grids, text) a prompt that shows them",
)
def dummy_inputs_can_be_run(case: Case) -> str | None:
    """The dummy inputs on default lattices run and show exactly these lattices. An adapter may do without them."""
    config = case.model.config
    if type(case.adapter).dummy_inputs is Backbone.dummy_inputs:
        return "it has no dummy_inputs(), so that tokenbench bench cannot measure its models"
    try:
        common = case.adapter.default_grids(config)
    except UsageError as error:
        return str(error)
    assert sum(grid.tokens for grid in common) > 0, "default_grids() gives no token"
    tokens = int(case.adapter.visual(case.model, case.prompts[0]["input_ids"]).sum())
    grids = case.adapter.default_grids(config, tokens)
    prompt = case.here(case.adapter.dummy_inputs(config, grids, TEXT))
    (row,) = _trace(case, prompt)
    assert row.grids == tuple(grids), f"the prompt shows {row.grids}, not {tuple(grids)}"
    assert row.text == TEXT, f"the prompt has {row.text} text tokens, not {TEXT}"
    return None


def _describes_towers(backbone: Backbone) -> bool:
    try:
        backbone.check_stage(Stage(0, None, pixels=True))
    except InfeasibleError:
        return False
    return True


def _trace(case: Case, prompt: Prompt) -> list[RowTrace]:
    return case.run([prompt], tokens=1)[1]


def _features(case: Case, prompt: Prompt) -> list[tuple[str, Tensor]]:
    """Return the features of all images and clips of a prompt, each with its kind."""
    features: list[tuple[str, Tensor]] = []
    for kind in ("image", "video"):
        stock = getattr(case.model.base_model, f"get_{kind}_features", None)
        inputs = {name: prompt[name] for name in signature(stock).parameters if name in prompt} if stock else {}
        if any(name.startswith("pixel_values") for name in inputs):
            features += [(kind, item) for item in case.adapter.encode_images(case.model, inputs)]
    return features
