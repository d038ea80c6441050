"""The question apart from the prompt, and the text encoder that a CLIP tower was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

import tokenbench
from tests.strategies.recorded import made
from tests.strategies.views import make_view, rand
from tests.tiny import tiny
from tokenbench import Budget, Keep, Signal, Stage, Strategy, UsageError, View
from tokenbench.contract.suite import HERE
from tokenbench.models.prompting import own_words
from tokenbench.testing import batched, generate
from tokenbench_strategies.clip_pair import rate_alignment

SAID: list[str] = []


class Ask(Strategy):
    """Keeps the first tokens, and writes down what was asked."""

    batching: ClassVar[Literal["vmap", "stacked", "loop"]] = (
        "loop"  # writes once a row, not once for rows that ask alike
    )

    def schedule(self, depth: int, budget: Budget) -> Sequence[tuple[int, Keep]]:
        return [(0, budget.keep)]

    def stage(self, layer: int, keep: Keep, index: int) -> Stage:
        return Stage(layer, keep, text=(0,), question=True)

    def score(self, view: View) -> Tensor:
        SAID.append(view.question)
        view.memo["words"] = embed_question(view)
        return -view.alive.float() + 0 * view.memo["words"].sum()


def embed_question(view: View) -> Tensor:
    """What the user said, or all of the text."""
    return view.embed([view.question]) if view.question else view.text[0]


class Letters:
    """A tokenizer whose tokens are letters."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) % 32 for letter in text]}


def test_rows_that_are_alike_but_for_the_words_see_their_own() -> None:
    """Rows run together only if their users ask the same."""

    class Together(Ask):
        batching = "vmap"

    model, prompts = tiny("llava")
    SAID.clear()
    with tokenbench.pruned(model, Together(), 0.5, questions=["red", "blue", "red"], processor=Letters()):
        generate(model, batched([prompts[0]] * 3), tokens=1)
    assert sorted(SAID) == ["blue", "red"]


def test_pruned_hands_over_the_words_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = tiny("llava")
    seen: list[Tensor] = []
    monkeypatch.setattr(Ask, "score", lambda self, view: seen.append(embed_question(view)) or -view.alive.float())
    with tokenbench.pruned(model, Ask(), 0.5, questions=["red", "a dog"], processor=Letters()):
        generate(model, batched(prompts[:2]), tokens=1)
    table = model.get_input_embeddings().weight
    for words, text in zip(seen, ("red", "a dog"), strict=True):
        assert torch.equal(words, table[[ord(letter) % 32 for letter in text]])


def test_without_words_all_text_after_the_image_is_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = tiny("llava")
    seen: list[View] = []
    monkeypatch.setattr(Ask, "score", lambda self, view: seen.append(view) or -view.alive.float())
    with tokenbench.pruned(model, Ask(), 0.5):
        generate(model, prompts[0], tokens=1)
    assert seen[0].question == ""
    assert torch.equal(embed_question(seen[0]), seen[0].text[0])
    with pytest.raises(UsageError, match="not known apart from the prompt"):
        seen[0].embed(["red"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"questions": ["red"]}, "need the model's processor"),
        ({"questions": "red", "processor": Letters()}, "is not a list of texts"),
        ({"questions": ["red"], "keys": ["a", "b"], "processor": Letters()}, "2 keys, but 1 questions"),
    ],
)
def test_what_is_no_list_of_questions_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message), tokenbench.pruned(tiny("llava")[0], Ask(), **given):
        pass


def test_a_run_hands_over_what_the_samples_ask(tmp_path: Path) -> None:
    """Questions about one image differ, so that rows that share it must not share the choice."""
    SAID.clear()
    tokenbench.run(Ask(), tmp_path, tasks="reading", budgets="1/2", limit=6, floors=False)
    from tokenbench.contract.suite import first
    from tokenbench.registry.plugins import registry
    from tokenbench.registry.suites import suite_alone

    (task,) = (task for task in suite_alone("image", registry()).tasks if task.name == "reading")
    assert sorted(SAID) == sorted(sample.question for sample in first(task, 6))


def test_the_places_of_images_are_no_words() -> None:
    assert own_words(f"Is {HERE} brighter than{HERE}?") == "Is brighter than ?"
    assert own_words("What is  it?") == "What is  it?"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A small CLIP model in a folder, whose tokens are words, and the model."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    words = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "what", "colour", "is", "it"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(folder)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 7,
            "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    vision = {"hidden_size": 12, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16,
              "patch_size": 4}  # fmt: skip
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    model.save_pretrained(folder)
    return str(folder), model


def test_alignment_is_the_cosine_in_the_space_of_stock_clip(clip: tuple[str, Any]) -> None:
    folder, model = clip
    pixels, ids = rand(1, 1, 3, 16, 16), [3, 4, 5, 6, 2]
    with torch.no_grad():
        states = model.vision_model(pixels, output_hidden_states=True).hidden_states[-2][0, 1:]
        text = model.get_text_features(input_ids=torch.tensor([ids])).pooler_output[0]
        patches = [model.visual_projection(model.vision_model.post_layernorm(state)) for state in states]
    found = rate_alignment(folder, states, "what colour is it </s>")
    for cosine, patch in zip(found, patches, strict=True):
        assert float(cosine) == pytest.approx(float(patch @ text / patch.norm() / text.norm()), abs=1e-5)


def test_a_long_text_is_read_in_pieces_of_77_tokens(clip: tuple[str, Any]) -> None:
    folder, model = clip
    states = rand(2, 5, 12)
    with torch.no_grad():
        patches = model.visual_projection(model.vision_model.post_layernorm(states))
        pieces = [[3] * 77, [3] * 23 + [0] * 54]
        texts = [model.get_text_features(input_ids=torch.tensor([ids])).pooler_output[0] for ids in pieces]
        expected = torch.stack([torch.cosine_similarity(patches, text[None], dim=1) for text in texts]).mean(0)
    torch.testing.assert_close(rate_alignment(folder, states, "what " * 100), expected)


def test_cdpruner_takes_the_least_aligned_for_relevant(clip: tuple[str, Any]) -> None:
    """The released LLaVA form: negative cosines. With equal directions, the relevance alone decides."""
    folder, _ = clip
    strategy, features = made("cdpruner", clip=folder), rand(3, 9, 12)
    stage = strategy.stage(0, 1, 0)
    view = make_view(stage, 9, 1, hidden={0: torch.ones(9, 4)}, text={0: rand(4, 3, 4)}, question="what is it </s>",
                     signals={Signal("features"): features})  # fmt: skip
    assert strategy.select(view).keep.tolist() == [int(rate_alignment(folder, features, "what is it </s>").argmin())]
    view.question = ""
    with pytest.raises(UsageError, match="reads the user's words"):
        strategy.select(view)


def test_a_clip_model_that_does_not_fit_is_refused(clip: tuple[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is 20 wide"):
        rate_alignment(clip[0], rand(1, 3, 20), "what is it")
    with pytest.raises(UsageError, match="cannot be loaded"):
        rate_alignment(str(tmp_path / "none"), rand(1, 3, 12), "what is it")
