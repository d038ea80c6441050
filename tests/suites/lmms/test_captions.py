"""Captions are scored without Java as the COCO caption evaluation scores them."""

from __future__ import annotations

import copy
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("lmms_eval", reason='needs lmms-eval: pip install "tokenbench[lmms]"')

import datasets

from tests.suites.lmms.made_up_reported import MORE
from tests.suites.lmms.stock import Stock, evaluate, reported
from tokenbench_suites.lmms.benchmark import Benchmark
from tokenbench_suites.lmms.captions import Caption, Consensus
from tokenbench_suites.lmms.index import find_lmms_eval
from tokenbench_suites.lmms.words import find_words

WORDS = [
    "a",
    "the",
    "man's",
    "dog",
    "on",
    "red",
    "street",
    "riding",
    "bike",
    "with",
    "white",
    "isn't",
    "two",
    "cats",
    "small",
    "surfboard",
]
# What Stanford's PTBTokenizer 3.4.1, as pycocoevalcap starts it, makes of these captions.
FOUND = {
    "A man's dog isn't here.": "a man 's dog is n't here",
    "It's the cats' toys; they can't, won't and cannot go.": "it 's the cats toys they ca n't wo n't and can not go",
    "A black-and-white t-shirt, semi-truck and 3-year-old boy": "a black-and-white t-shirt semi-truck and 3-year-old boy",
    "3,000 people at 3:30 p.m. on 5/6 and 10.5% for $5.99": "3,000 people at 3:30 p.m. on 5/6 and 10.5 % for $ 5.99",
    "a U.S.A. flag on St. Louis, Mr. Smith etc.": "a u.s.a. flag on st. louis mr. smith etc.",
    "plan b. Vitamin C and he ate it all in.": "plan b. vitamin c and he ate it all in",
    'A "STOP" sign that says \u201cgo\u201d and \u2018no\u2019': "a stop sign that says go and no",
    "sign (with brackets) [square]": "sign -lrb- with brackets -rrb- -lsb- square -rsb-",
    "wait... what?! really?? no.. yes": "wait what ?! really ?? no yes",
    "#1 #hashtag A & B, AT&T": "# 1 #hashtag a & b at&t",
    "the '90s and 1990's 7th o'clock rock 'n' roll": "the '90s and 1990 's 7th o'clock rock 'n' roll",
    "a man riding a wave -- on top of a surfboard .": "a man riding a wave on top of a surfboard",
    "I'm gonna say y'all they'll would've": "i 'm gon na say y' all they 'll would 've",
    "": "",
}


@pytest.mark.parametrize("caption", FOUND)
def test_words_are_those_of_the_penn_treebank(caption: str) -> None:
    assert find_words(caption) == FOUND[caption].split()


needs_java = pytest.mark.skipif(not shutil.which("java"), reason="needs Java")


@needs_java
@pytest.mark.slow
def test_words_are_those_that_java_finds(tmp_path: Path) -> None:
    """Made-up captions with all kinds of punctuation."""
    import pycocoevalcap.tokenizer.ptbtokenizer as stock

    rng = random.Random(0)
    ends = ["", ".", "!", "?", ",", ";", ":", "...", '"', ")", " -", " & Co.", " St.", " 3.5", " 1/2"]
    said = [" ".join(rng.choice(WORDS) + rng.choice(ends) for _ in range(rng.randint(3, 14))) for _ in range(2000)]
    said += list(FOUND)[:-1]
    (tmp_path / "said.txt").write_text("\n".join(said), encoding="utf-8")
    jar = Path(stock.__file__).parent / stock.STANFORD_CORENLP_3_4_1_JAR
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    out = subprocess.run([*command, str(tmp_path / "said.txt")], capture_output=True, check=True).stdout.decode()
    found = [[word for word in line.split() if word not in stock.PUNCTUATIONS] for line in out.split("\n")]
    differing = [(text, words) for text, words in zip(said, found, strict=False) if words != find_words(text)]
    assert len(differing) <= 0.005 * len(said), differing[:10]


def test_cider_is_that_of_pycocoevalcap() -> None:
    from pycocoevalcap.cider.cider import Cider

    rng = random.Random(0)

    def caption() -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 14)))

    references = [[caption() for _ in range(5)] for _ in range(60)]
    said = [rng.choice([rng.choice(texts), caption(), ""]) for texts in references]
    split = {at: [" ".join(find_words(text)) for text in texts] for at, texts in enumerate(references)}
    mean, each = Cider().compute_score(split, {at: [" ".join(find_words(text))] for at, text in enumerate(said)})
    consensus = Consensus(references)
    own = [consensus.score(Caption(text, texts)) for text, texts in zip(said, references, strict=True)]
    assert own == pytest.approx(list(each))
    assert sum(own) / len(own) == pytest.approx(mean)
    assert 0 < mean < 10


CAPTIONED = ("coco2014_cap_val", "nocaps_val", "flickr30k_test", "textcaps_val")
FILES = {
    "coco2014_cap_val": ("coco_cap/coco2014_cap_val.yaml", "val"),
    "nocaps_val": ("nocaps/nocaps_val.yaml", "validation"),
    "flickr30k_test": ("flickr30k/flickr30k_test.yaml", "test"),
    "textcaps_val": ("textcaps/textcaps_val.yaml", "val"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("captions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def tasks(root: Path) -> dict[str, tuple[Benchmark, list[str]]]:
    """With answers by row: right ones, those of other images, and none."""
    made = {}
    for name in CAPTIONED:
        right = MORE[name](root / name)
        made[name] = (
            Benchmark(name, root / name),
            [(text, right[0], "", f"{text}, isn't it?")[i % 4] for i, text in enumerate(right)],
        )
    return made


def by_key(task: Benchmark, said: list[str]) -> dict[str, str]:
    samples = task.samples()
    return {sample.key: said[samples.places[sample.key]] for sample in samples}  # type: ignore[attr-defined]


def mean_score(task: Benchmark, answers: dict[str, str]) -> float:
    return sum(task.score(answers[sample.key], sample) for sample in task.samples()) / len(answers)


@pytest.mark.parametrize("name", CAPTIONED)
def test_scores_are_a_tenth_of_cider_and_official_numbers_need_no_java(
    name: str, tasks: dict[str, tuple[Benchmark, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    task, said = tasks[name]
    answers = by_key(task, said)
    official = task.official(answers)
    (cider,) = (value for metric, value in official.items() if metric.endswith("CIDEr"))
    assert 10 * mean_score(task, answers) == pytest.approx(cider)
    assert not any("METEOR" in metric for metric in official)
    assert task.graded
    assert any("CIDEr divided by 10" in remark for remark in task.remarks)


def test_a_part_of_the_images_is_scored_with_the_references_of_all(
    tasks: dict[str, tuple[Benchmark, list[str]]],
) -> None:
    """A score must not depend on how many images are asked. The official number does; it is checked by its own references."""
    task, said = tasks["coco2014_cap_val"]
    answers = by_key(task, said)
    some = dict(list(answers.items())[:4])
    scores = [task.score(answers[sample.key], sample) for sample in task.samples()][:4]
    assert task.official(some)["coco_CIDEr"] != pytest.approx(10 * sum(scores) / 4)


@pytest.fixture
def little_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the twenty times that stock code starts Java: once for the same captions, and never for METEOR, which is not compared."""
    import pycocoevalcap.eval as scorers
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    stock, found = PTBTokenizer.tokenize, dict[str, Any]()

    def tokenize(self: Any, captions: Any) -> Any:
        key = repr(captions)
        if key not in found:
            found[key] = stock(self, captions)
        return copy.deepcopy(found[key])

    monkeypatch.setattr(PTBTokenizer, "tokenize", tokenize)
    monkeypatch.setattr(scorers, "Meteor", lambda: SimpleNamespace(compute_score=lambda *_: (0.0, [])))


@needs_java
@pytest.mark.slow
@pytest.mark.usefixtures("little_java")
def test_official_numbers_are_those_of_simple_evaluate_but_meteor(
    root: Path, tasks: dict[str, tuple[Benchmark, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    of, said = {}, {}
    for name in ("flickr30k_test",):
        file, split = FILES[name]
        (data,) = (root / name).rglob("*.parquet")
        of[name], said[name] = Stock(find_lmms_eval() / "tasks" / file, data, split), tasks[name][1]
    found: dict[str, Any] = evaluate(of, said, tmp_path_factory.mktemp("yaml"))
    for name, results in found.items():
        task, answers = tasks[name]
        numbers = {metric: value for metric, value in reported(results).items() if "METEOR" not in metric}
        assert {metric: pytest.approx(value) for metric, value in numbers.items()} == task.official(
            by_key(task, answers)
        )
