"""Scorers against values that follow from their definitions, and from the published formulas."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
import torch

from tokenbench.contract.scorers import anls, box_overlap, choice, contains, exact, find_box, numeric, vqa_accuracy

ANIMALS = ("cat", "dog", "a big bird", "fish")


@pytest.mark.parametrize(
    ("answer", "right"), [("red", 1), ("The Red.", 1), (" RED ", 1), ("dark red", 0), ("", 0), ("redd", 0)]
)
def test_exact_ignores_case_articles_and_punctuation(answer: str, right: float) -> None:
    assert exact(answer, ["blue", "red"]) == right


@pytest.mark.parametrize(
    ("answer", "right"), [("It is dark red, I think", 1), ("red dark", 0), ("darkred", 0), ("dark", 0), ("", 0)]
)
def test_contains_wants_whole_words_in_order(answer: str, right: float) -> None:
    assert contains(answer, ["dark red"]) == right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("B", 1), ("b", 1), ("(B)", 1), ("B.", 1), ("B. dog", 1), ("Answer: B", 1), ("The answer is B", 1), ("dog", 1),
        ("It is a dog.", 1), ("A", 0), ("A dog", 1), ("A. dog", 0), ("C", 0), ("cat or dog", 0), ("", 0), ("F", 0), ("Because of it", 0),
    ],
)  # fmt: skip
def test_choice_reads_a_letter_or_the_text_of_one_option(answer: str, right: float) -> None:
    assert choice(answer, "B", ANIMALS) == choice(answer, "Dog", ANIMALS) == right


def test_a_choice_needs_a_target_among_its_options() -> None:
    with pytest.raises(ValueError, match="'E' is neither one of the 4 options nor the letter of one"):
        choice("A", "E", ANIMALS)


@pytest.mark.parametrize(
    ("answer", "target", "tolerance", "right"),
    [
        ("105", "100", 0.05, 1), ("105.1", "100", 0.05, 0), ("95", "100", 0.05, 1), ("about 1,050 people", "1000", 0.05, 1),
        ("-3", "3", 0.05, 0), ("3 %", "3%", 0.0, 1), ("3.01", "3", 0.0, 0), ("none", "3", 0.05, 0), ("0.04", "0", 0.05, 1),
    ],
)  # fmt: skip
def test_numeric_allows_a_relative_error(answer: str, target: str, tolerance: float, right: float) -> None:
    assert numeric(answer, target, tolerance) == right


def test_a_number_needs_a_number() -> None:
    with pytest.raises(ValueError, match="'many' is not a number"):
        numeric("3", "many")


@pytest.mark.parametrize(
    ("answer", "targets", "score"),
    [
        ("kitten", ["sitting"], 1 - 3 / 7),  # the textbook's distance of 3
        ("Invoice  12", ["invoice 12"], 1.0),
        ("abcd", ["abxy"], 0.5),
        ("abc", ["xyz"], 0.0),
        ("abcd", ["axyz"], 0.0),  # a similarity of a quarter is wrong
        ("", ["a"], 0.0),
        ("12", ["13", "12"], 1.0),
    ],
)
def test_anls_is_one_minus_the_normalised_distance(answer: str, targets: list[str], score: float) -> None:
    assert anls(answer, targets) == pytest.approx(score)


def test_anls_is_that_of_lmms_eval() -> None:
    """Where the answers have no outer or double spaces, which lmms-eval counts in the length only."""
    stock = pytest.importorskip("lmms_eval.api.metrics", reason='needs lmms-eval: pip install "tokenbench[lmms]"').anls
    random = Random(0)
    for _ in range(300):
        answer, *targets = ("".join(random.choices("abC ", k=random.randint(1, 9))).strip() or "a" for _ in range(4))
        answer, targets = " ".join(answer.split()), [" ".join(target.split()) for target in targets]
        assert anls(answer, targets) == pytest.approx(stock(targets, [answer])["anls"])


def test_the_overlap_is_that_of_torchvision() -> None:
    box_iou = pytest.importorskip("torchvision").ops.box_iou
    corners = torch.rand(200, 2, 2, 2, generator=torch.Generator().manual_seed(0)).sort(dim=2).values.flatten(2)
    for one, other in corners:
        stock = float(box_iou(one[None], other[None]))
        assert box_overlap(str(one.tolist()), str(other.tolist()), 0.0) == pytest.approx(stock, abs=1e-6)


@pytest.mark.parametrize("said", range(11))
def test_vqa_accuracy_is_the_mean_over_all_nine_of_ten_people(said: int) -> None:
    people = ["stop"] * said + ["go"] * (10 - said)
    nines = [min(1.0, sum(person == "stop" for person in nine) / 3) for nine in combinations(people, 9)]
    assert vqa_accuracy("Stop.", people) == pytest.approx(sum(nines) / 10)


@pytest.mark.parametrize(
    ("answer", "threshold", "score"),
    [
        ("[0, 0, 2, 2]", 0.0, 1.0),
        ("[1, 0, 3, 2]", 0.0, 2 / 6),
        ("The box is (0.0, 0.0, 2.0, 1.0).", 0.5, 1.0),
        ("0 0 2 0.9", 0.5, 0.0),
        ("[0, 0, 2]", 0.0, 0.0),
        ("[2, 2, 0, 0]", 0.0, 0.0),
        ("nothing", 0.0, 0.0),
    ],
)
def test_boxes_overlap_by_intersection_over_union(answer: str, threshold: float, score: float) -> None:
    assert box_overlap(answer, "[0, 0, 2, 2]", threshold) == pytest.approx(score)
    assert find_box("[0,0,2,2]") == (0, 0, 2, 2)
