"""The one module of a run that imports lmms-eval: tasks as objects, their prompts, scores and official numbers.

What is used of lmms-eval (0.7): `load_yaml_config`, `ConfigurableMessagesTask` and `Instance`.
"""

from __future__ import annotations

import copy
import inspect
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokenbench.errors import MachineError, TokenBenchError, UsageError
from tokenbench_suites.lmms.contained import contain
from tokenbench_suites.lmms.data import Splits, choose_split, load_folder, load_source
from tokenbench_suites.lmms.rows import Rows

__all__ = ["Definition", "Library", "content", "cut", "library"]

JUDGES = re.compile(r"requests\.post|openai|get_chat_response|llm_judge|call_gpt|get_eval|ask_gpt|server\.evaluate")
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
        self.name, self._definition = definition.name, definition
        with contain():
            try:
                config = _config(definition.yaml)
                self._refuse(config)
                self.rows = _rows(definition, config)
                self.task = self._fresh()
            except TokenBenchError:
                raise
            except ImportError as error:
                raise MachineError(
                    f"task '{self.name}' needs a package that is not installed: {error}", "install it"
                ) from error
            except Exception as error:  # the task's own code may raise anything
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise UsageError(f"task '{self.name}' cannot be loaded from {definition.yaml}: {reason}") from error
        kwargs: Mapping[str, Any] = self.task.config.generation_kwargs or {}
        self.max_new_tokens: int | None = kwargs.get("max_new_tokens")
        self._until = kwargs.get("until")
        self._scores: dict[tuple[int, str], dict[str, dict[str, Any]]] = {}

    def question(self, i: int) -> str:
        """The text of row i's prompt."""
        row, column = self.rows.plain[i], self.task.config.doc_to_text
        if isinstance(column, str) and column.isidentifier() and column not in row:
            raise KeyError(column)  # lmms-eval would ask the name of the missing column
        with contain():
            if not callable(self.task.config.doc_to_messages):
                return str(self.task.doc_to_text(row))
            parts = content(self.task.doc_to_messages(self.rows.blank(i)))
        return "\n".join(part["text"] for part in parts if part["type"] == "text")

    def shown(self, i: int) -> list[Any]:
        """The images (PIL) and paths or descriptions of clips that row i's prompt shows, in order."""
        try:
            with contain():
                parts = content(self.task.doc_to_messages(self.rows.shown(i)))
        except SystemExit as error:  # how some tasks say that a video is missing
            raise MachineError(f"task '{self.name}', row {i}: {error}", f"--data {self.name}=FOLDER") from None
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

    def results(self, i: int, answer: str) -> dict[str, dict[str, Any]]:
        """Filter -> metric -> what the task notes for an answer to row i. Remembered, since strategies often agree."""
        if (i, answer) not in self._scores:
            with contain():
                self._scores[i, answer] = self._results(i, answer)
        return self._scores[i, answer]

    def score(self, i: int, answer: str) -> float:
        """One number from 0 to 1 for an answer: that of the first metric of the first filter."""
        noted = next(iter(self.results(i, answer).values()))
        metric = next(name for name in (*self.task.aggregation(), *noted) if name in noted)
        score = _number(noted[metric], self.task.config.score_key, self._evaluator(metric))
        if score is None or not 0 <= score <= 1:
            raise UsageError(
                f"task '{self.name}' scores a sample as {str(noted[metric])[:60]!r}, not as a number from 0 to 1",
                "redefine it with such a metric, in a folder for --tasks-dir",
            )
        return score

    def official(self, answers: Mapping[int, str]) -> dict[str, float]:
        """The aggregated metrics of lmms-eval for answers by row.

        They come from a fresh task, since some tasks keep sums between calls.
        """
        items: dict[tuple[str, str], list[Any]] = {}
        for i in sorted(answers):
            for name, noted in self.results(i, answers[i]).items():
                for metric, value in noted.items():
                    items.setdefault((name, metric), []).append(copy.deepcopy(value))
        numbers: dict[str, float] = {}
        with contain(), tempfile.TemporaryDirectory() as folder:
            aggregations = self._fresh().aggregation()
            several = len({name for name, _ in items}) > 1
            for (name, metric), values in items.items():
                if metric in aggregations and metric != "submission":
                    value = self._aggregated(aggregations[metric], values, folder)
                    numbers |= _flatten(f"{metric},{name}" if several else metric, value)
        return numbers

    def _results(self, i: int, answer: str) -> dict[str, dict[str, Any]]:
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

    def _refuse(self, config: Mapping[str, Any]) -> None:
        kind = config.get("output_type", "generate_until")
        if "class" in config or kind != "generate_until":
            what = "is written as a Python class" if "class" in config else f"asks for {kind}"
            raise UsageError(f"task '{self.name}' {what}; TokenBench runs tasks that generate an answer")
        if _asks_judge(config.get("process_results")):
            raise UsageError(
                f"task '{self.name}' calls a judge model for every score, which is not supported during a run",
                "redefine it with another metric (--tasks-dir), or rate the stored answers with tokenbench judge",
            )

    def _evaluator(self, metric: str) -> Any:
        """MMBench's scorer behind a metric, which reads answers by rules or asks a judge."""
        return getattr(self.task.aggregation().get(metric), "__globals__", {}).get("mmbench_evaluator")

    def _aggregated(self, aggregate: Any, values: list[Any], folder: str) -> Any:
        evaluator = getattr(aggregate, "__globals__", {}).get("mmbench_evaluator")
        if evaluator is not None:  # by rules: a judge would draw letters at random for what it cannot read
            return evaluator.eval_result(values, eval_method="static")[0] * 100
        if "args" in inspect.signature(aggregate).parameters:
            return aggregate(values, args=SimpleNamespace(output_path=folder))
        return aggregate(values)


def _config(yaml: Path) -> dict[str, Any]:
    """The YAML with its includes and functions, all of them imported anew."""
    from lmms_eval.utils import load_yaml_config

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
    if getattr(process, "__name__", "") == "gqa_process_docs":  # it would copy every image once a question
        if "image" in split.column_names:
            return Rows(split)
        return Rows(split, choose_split(splits(GQA_IMAGES), "testdev", name, where))
    return Rows(process(split) if process else split)


def content(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All parts of a chat, in order; a text alone is a part."""
    parts: list[Mapping[str, Any]] = []
    for message in messages:
        content = message["content"]
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts


def cut(answer: str, until: Sequence[str] | str | None) -> str:
    """The answer up to the first of the texts at which lmms-eval lets a model stop."""
    for end in [until] if isinstance(until, str) else until or ():
        answer = answer.split(end)[0] if end else answer
    return answer


def _number(value: Any, key: str, evaluator: Any) -> float | None:
    """The score in what a task notes for one answer; None if there is none."""
    if isinstance(value, Mapping):
        if evaluator is not None and "prediction" in value:
            return _right(evaluator, value)
        keys = [name for name in value if name == key] + [name for name in value if str(name).endswith("score")]
        value = value[keys[0]] if keys else None
    try:
        return None if value is None or isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None


def _right(evaluator: Any, record: Mapping[str, Any]) -> float:
    """Whether one rotation of an MMBench question is right, by the rules of its scorer."""
    import pandas as pd

    row = {key if key in "ABCD" else key.lower(): value for key, value in record.items()}
    row["prediction"] = str(row["prediction"])
    return float(evaluator.eval_sub_data(pd.DataFrame([row]), {row["index"]: row["answer"]}, static_only=True))


def _flatten(name: str, value: Any) -> dict[str, float]:
    """Numbers by name; those of a mapping with its keys."""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _flatten(f"{name}.{key}", inner).items()}
    number = _number(value, "", None)
    return {} if number is None else {name: number}


def _asks_judge(function: Any) -> bool:
    """Whether the code that scores one answer, or what it calls in its module, speaks of a judge."""
    if not inspect.isfunction(function):
        return False
    called = [function.__globals__.get(name) for name in function.__code__.co_names]
    own = [f for f in called if inspect.isfunction(f) and f.__globals__ is function.__globals__]
    return any(JUDGES.search(inspect.getsource(f)) for f in (function, *own))
