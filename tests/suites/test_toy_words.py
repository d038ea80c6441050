"""The toy model's tokenizer knows every word of the suite."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tokenbench_suites.image import suite
from tokenbench_suites.scenes import words

FILE = Path(__file__).parents[2] / "backbones/tokenbench_backbones/toy_llava_weights/tokenizer.json"


@pytest.mark.skipif(not FILE.exists(), reason="the toy model has not been trained yet")
def test_every_word_of_every_question_and_answer_is_known() -> None:
    tokenizer = Tokenizer.from_file(str(FILE))
    for task in suite().tasks:
        for sample in task.samples():
            assert "<unk>" not in tokenizer.encode(f"USER: \n{sample.question} ASSISTANT: {sample.target}").tokens


def test_no_word_is_listed_twice() -> None:
    assert len(words()) == len(set(words()))
