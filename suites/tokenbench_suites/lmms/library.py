"""The one module of a run that imports lmms-eval: tasks as objects, their prompts, records and aggregates.

What is used of lmms-eval (0.7): `load_yaml_config`, `ConfigurableMessagesTask` and `Instance`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokenbench.contract.suite import HERE
from tokenbench.errors import MachineError, TokenBenchError, UsageError
from tokenbench_suites.lmms.captions import without_java
from tokenbench_suites.lmms.catalogue_entry import UNKNOWN, CatalogueEntry
from tokenbench_suites.lmms.contained import contain, importing, offline, scratch, seed
from tokenbench_suites.lmms.data import Splits, choose_split, load_folder, load_source
from tokenbench_suites.lmms.numbers import find_number
from tokenbench_suites.lmms.referring import name_expressions
from tokenbench_suites.lmms.refusals import is_submission, refuse
from tokenbench_suites.lmms.rows import Rows
from tokenbench_suites.lmms.video import presented

__all__ = ["Definition", "Library", "content", "cut", "library"]

THINKING = '[["<think>", "</think>"], ["<analysis>", "</analysis>"]]'  # what lmms-eval's command line strips by default
GQA_IMAGES = "testdev_balanced_images"


@dataclass(frozen=True)
class Definition:
    """A task by name, with the place of its definition and of its data."""

    name: str
    """The name of the task."""
    yaml: Path
    """The file that defines it."""
    folder: Path | None = None
    """The user's folder with its data; None for lmms-eval's own source."""
    entry: CatalogueEntry = UNKNOWN
    """What is known of it."""


@lru_cache
def library(definition: Definition) -> Library:
    """Load a task, once per process."""
    return Library(definition)


class Library:
    """A task of lmms-eval with its rows.

    Raises:
        UsageError: If a model that only writes text cannot answer the task.
        MachineError: If the data is not here.
    """

    def __init__(self, definition: Definition) -> None:
        self.name, self._definition, self.entry = definition.name, definition, definition.entry
        with contain():
            try:
                config = _config(definition.yaml)
                refuse(self.name, config, judged=self.entry.rules)
                self.rows = _rows(definition, config)
                self.task = self._fresh()
            except TokenBenchError:
                raise
            except ImportError as error:
                raise MachineError(
                    f"task '{self.name}' needs a package that is not installed: {error}", "install it"
                ) from error
            except (Exception, SystemExit) as error:  # the task's own code may raise anything
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise UsageError(f"task '{self.name}' cannot be loaded from {definition.yaml}: {reason}") from error
        kwargs: Mapping[str, Any] = self.task.config.generation_kwargs or {}
        self.max_new_tokens: int | None = kwargs.get("max_new_tokens")
        self._until = kwargs.get("until")
        self.keeps_sums = False
        """Whether an aggregate depends on earlier ones, as far as is known."""
        self._results: dict[tuple[int, str, int], dict[str, dict[str, Any]]] = {}

    def question(self, i: int) -> str:
        """The text of row i's prompt."""
        row, column = self.rows.plain[i], self.task.config.doc_to_text
        if isinstance(column, str) and column.isidentifier() and column not in row:
            raise KeyError(column)  # lmms-eval would ask the name of the missing column
        with contain(), presented(self._definition.folder):
            if not callable(self.task.config.doc_to_messages):
                return str(self.task.doc_to_text(row))
            parts = content(self.task.doc_to_messages(self.rows.blank(i)))
        return interleaved(parts)

    def shown(self, i: int) -> list[Any]:
        """The images (PIL) and paths or descriptions of clips that row i's prompt shows, in order."""
        with contain(), presented(self._definition.folder):
            try:
                parts = content(self.task.doc_to_messages(self.rows.shown(i)))
            except SystemExit as error:  # how some tasks say that a video is missing
                hint = "put it into videos/" if self._definition.folder else f"--data {self.name}=FOLDER"
                raise MachineError(f"task '{self.name}', row {i}: {error}", hint) from None
        return [part["url"] for part in parts if part["type"] in ("image", "video")]

    def target(self, i: int) -> str:
        """What the right answer is, for people to read; several between bars."""
        row = self.rows.plain[i]
        target = self.task.config.doc_to_target
        if isinstance(target, str) and target not in row and "{{" not in target:
            found: Any = row.get("answers", "")  # lmms-eval would give the name of the missing column
        else:
            with contain():
                found = self.task.doc_to_target(row)
        return " | ".join(dict.fromkeys(map(str, found))) if isinstance(found, list | tuple) else str(found)

    def results(self, i: int, answer: str, state: int = 0) -> dict[str, dict[str, Any]]:
        """Filter -> metric -> what the task notes for an answer to row i. Remembered, since strategies often agree.

        Args:
            i: The row.
            answer: The answer.
            state: In which of several fixed states generators of random numbers are, for scorers that draw.
        """
        if (i, answer, state) not in self._results:
            with contain(), offline() if self.entry.rules else nullcontext():
                seed(state)
                self._results[i, answer, state] = self._note(i, answer)
        return self._results[i, answer, state]

    @cached_property
    def metrics(self) -> dict[str, bool]:
        """The metrics that tell how good answers are, in the task's order; whether higher is better."""
        higher = self.task.higher_is_better()
        return {
            str(name): higher.get(name) is not False for name in self.task.aggregation() if not is_submission(str(name))
        }

    def is_mean(self, metric: str) -> bool:
        """Whether lmms-eval itself notes a number for each answer under this metric, and averages them."""
        from lmms_eval.api.metrics import mean

        return not callable(self.task.config.process_results) and self.task.aggregation()[metric] is mean

    def number(self, metric: str, record: Any) -> float | None:
        """The number in what a task notes for one answer; None if there is none."""
        own = self.task.config.score_key
        return find_number(record, (*self.entry.numbers, *([own] if own else ())), self._evaluator(metric))

    def aggregate(self, metric: str, records: Sequence[Any], task: Any = None) -> Any:
        """What the task makes of the records of several answers.

        Args:
            metric: The metric.
            records: What the task noted for the answers.
            task: The task's object; by default, the one that scores answers, or a fresh one if the task keeps sums.
        """
        with contain(), scratch() as folder:
            seed(0)
            asked = task or (self._fresh() if self.keeps_sums else self.task)
            aggregate, values = asked.aggregation()[metric], copy.deepcopy(list(records))
            with without_java(aggregate):
                return self._aggregate(aggregate, values, folder)

    def _aggregate(self, aggregate: Any, values: list[Any], folder: str) -> Any:
        evaluator = getattr(aggregate, "__globals__", {}).get("mmbench_evaluator")
        if evaluator is not None:  # by rules: a judge would draw letters at random for what it cannot read
            return evaluator.eval_result(values, eval_method="static")[0] * 100
        if "args" in inspect.signature(aggregate).parameters:
            return aggregate(values, args=SimpleNamespace(output_path=folder))
        return aggregate(values)

    def fresh(self) -> Any:
        """The task as a new object, which has kept nothing of earlier calls."""
        with contain():
            return self._fresh()

    def _note(self, i: int, answer: str) -> dict[str, dict[str, Any]]:
        from lmms_eval.api.instance import Instance
        from lmms_eval.api.reasoning import parse_reasoning_tags_config, strip_reasoning_tags

        answer = cut(answer, self._until)
        row = self.rows.plain[i]
        about = {"task": self.name, "doc_id": i, "repeats": 1}
        instance = Instance(request_type="generate_until", arguments=(), idx=0, metadata=about, resps=[answer])
        tags = parse_reasoning_tags_config(THINKING, self.task.config.reasoning_tags)
        scored = self.rows.shown(i) if self.task.config.process_results_use_image else row
        noted = {}
        for pipeline in self.task._filters:
            pipeline.apply([instance], [row])
            found = instance.filtered_resps[pipeline.name]
            found = strip_reasoning_tags(found, tags) if isinstance(found, str) and tags else found
            noted[pipeline.name] = self.task.process_results(copy.deepcopy(scored), [found])
        return noted

    def _fresh(self) -> Any:
        """The task as an object of lmms-eval that neither downloads nor decodes anything."""
        import lmms_eval.api.metrics  # noqa: F401, it fills the registry of metrics
        from lmms_eval.api.task import ConfigurableMessagesTask

        rows = self.rows

        class Quiet(ConfigurableMessagesTask):  # type: ignore[misc]
            def download(self, dataset_kwargs: Any = None) -> None:
                split = self.config.test_split or self.config.validation_split
                self.dataset, self.dataset_no_image = {split: rows.raw}, {split: rows.plain}

        return Quiet(config=_config(self._definition.yaml), model_name=None)

    def _evaluator(self, metric: str) -> Any:
        """MMBench's scorer behind a metric, which reads answers by rules or asks a judge."""
        return getattr(self.task.aggregation().get(metric), "__globals__", {}).get("mmbench_evaluator")


def _config(yaml: Path) -> dict[str, Any]:
    """The YAML with its includes and functions, all of them imported anew."""
    from lmms_eval.utils import load_yaml_config

    with importing():
        return dict(load_yaml_config(str(yaml)))


def _rows(definition: Definition, config: Mapping[str, Any]) -> Rows:
    name, folder = definition.name, definition.folder
    path, part = str(config.get("dataset_path")), config.get("dataset_name")
    arguments = config.get("dataset_kwargs") or {}

    def splits(part: str | None) -> Splits:
        return load_folder(name, folder, part) if folder else load_source(name, path, part, arguments)

    wanted = config.get("test_split") or config.get("validation_split")
    where = str(folder or path)
    split = choose_split(splits(part), str(wanted), name, where)
    process = config.get("process_docs")
    match getattr(process, "__name__", ""):
        case "gqa_process_docs" if "image" in split.column_names:
            return Rows(split)
        case "gqa_process_docs":  # it would copy every image once a question
            return Rows(split, choose_split(splits(GQA_IMAGES), "testdev", name, where))
        case "refcoco_bbox_rec_preprocess_dataset":  # it would hold all images, decoded
            return Rows(*name_expressions(split))
    return Rows(process(split) if process else split)


def content(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All parts of a chat, in order; a text alone is a part."""
    parts: list[Mapping[str, Any]] = []
    for message in messages:
        content = message["content"]
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts


def interleaved(parts: Sequence[Mapping[str, Any]]) -> str:
    """The text of a prompt, with places for images and clips if some of them follow words. Texts in a row stand on lines of their own."""
    kinds = [part["type"] == "text" for part in parts if part["type"] in ("text", "image", "video")]
    if kinds == sorted(kinds):  # nothing is shown after a text
        return "\n".join(part["text"] for part in parts if part["type"] == "text")
    texts = [""]
    for part in parts:
        if part["type"] == "text":
            texts[-1] = f"{texts[-1]}\n{part['text']}" if texts[-1] else part["text"]
        elif part["type"] in ("image", "video"):
            texts.append("")
    return HERE.join(texts)


def cut(answer: str, until: Sequence[str] | str | None) -> str:
    """The answer up to the first of the texts at which lmms-eval lets a model stop."""
    for end in [until] if isinstance(until, str) else until or ():
        answer = answer.split(end)[0] if end else answer
    return answer
