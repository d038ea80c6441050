"""Files of VLMEvalKit: `MODEL/EVAL_ID/MODEL_DATASET_KIND.xlsx`, with a score for every question where the data set has one.

| kind of question | file | score |
|---|---|---|
| yes or no (POPE, MME, HallusionBench) | `_auxmatch` | `score` |
| multiple choice (MMBench, SEED) | `_JUDGE_result` | `hit`; a row stands for all rotations of a question |
| short answers (TextVQA, GQA) | `_results` | `eval_score` |

The `eval_score` of DocVQA and InfoVQA is a mean distance, where lower is better, and that of ChartQA and OCRVQA is not what the
benchmark reports: they are refused. OCRBench, VizWiz and captions have no score for a question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenbench.errors import UsageError
from tokenbench_tools.importing.files import below, digest, read_json, read_table
from tokenbench_tools.importing.logged import Log, Row, Source, Wanted

__all__ = ["find_evaluations", "has_evaluations"]

EVALUATION = re.compile(r"^T\d{8}[-_].+")
KINDS = (("_auxmatch", "score"), ("_result", "hit"), ("_results", "eval_score"))
ENDINGS = (".xlsx", ".tsv")
OTHERWISE = {
    "DocVQA": "is a mean distance, where lower is better, and not the benchmark's score",
    "InfoVQA": "is a mean distance, where lower is better, and not the benchmark's score",
    "ChartQA": "is a mean over all references, where the benchmark takes the best one",
    "OCRVQA": "is a mean over all references, where the benchmark takes the best one",
}
"""What the `eval_score` of a data set is, where it is not its score."""
NUMBERS = {"true": 1.0, "false": 0.0}


def has_evaluations(folder: Path) -> bool:
    """Whether a folder holds evaluations of VLMEvalKit."""
    return bool(_evaluations(folder))


def find_evaluations(folder: Path, wanted: Wanted) -> list[Source]:
    """Return the evaluations below a folder, each of one model at one time.

    Raises:
        UsageError: A data set's file does not hold the score of its benchmark.
    """
    return [source for place in _evaluations(folder) if (source := _evaluation(place, wanted)).logs or source.files]


def _evaluations(folder: Path) -> list[Path]:
    """Return the folders `MODEL/EVAL_ID`. Links to the newest files, which stand beside them, lead there, too."""
    places = {path.parent for ending in ENDINGS for path in below(folder, f"*{ending}")}
    return sorted(place for place in places if EVALUATION.match(place.name))


def _evaluation(place: Path, wanted: Wanted) -> Source:
    model = place.parent.name
    status = place / "status.json"
    about = read_json(status).get("datasets", {}) if status.is_file() else {}
    logs, files = [], {}
    for path in sorted(
        path for path in place.iterdir() if path.suffix in ENDINGS and path.name.startswith(f"{model}_")
    ):
        for name, kind, column in _read_name(path.stem.removeprefix(f"{model}_"), tuple(about)):
            if not wanted.takes(name):
                continue
            files[path.name] = digest(path)
            logs.append(_log(name, kind, column, path, about.get(name, {})))
    return Source(f"{model}/{place.name}", "VLMEvalKit", model, model, None, tuple(logs), files)


def _read_name(rest: str, known: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yield the data set, the kind of file and the column of its score, where the name of a file says so."""
    kind, column = next(((kind, column) for kind, column in KINDS if rest.endswith(kind)), ("", ""))
    if not kind:
        return
    name = rest.removesuffix(kind)
    judged = [one for one in known if name.startswith(f"{one}_") or name == one]
    yield (max(judged, key=len) if judged else name.rpartition("_")[0] if kind == "_result" else name), kind, column


def _log(name: str, kind: str, column: str, path: Path, about: Mapping[str, str]) -> Log:
    base = name.split("_")[0]
    if kind == "_results" and base in OTHERWISE:
        raise UsageError(
            f"{path.name}: the eval_score of {base} {OTHERWISE[base]}",
            f"leave it out with --tasks, or give a CSV with scores of {base} from 0 to 1",
        )
    table = read_table(path)
    if not table or column not in table[0] or "index" not in table[0]:
        raise UsageError(f"{path} lacks the column {column if table else 'index'}, which files of this name have")
    rows = tuple(_row(name, record, column) for record in table)
    conditions = {
        "metric": column,
        "judge": str(about.get("judge_model", "unknown")),
        "size of the data": str(len(rows)),
    }
    notes = (
        (f"A row of {name} stands for all rotations of a question's options, and is right if every rotation is.",)
        if "g_index" in table[0]
        else ()
    )
    return Log(name, rows, column, None, conditions, notes)


def _row(name: str, record: Mapping[str, str], column: str) -> Row:
    text = record[column].strip()
    try:
        score: float | None = NUMBERS.get(text.lower(), float("nan")) if text.lower() in NUMBERS else float(text)
    except ValueError:
        score = None
    image, category = record.get("image_path", "") or record.get("image", ""), record.get("category", "")
    paired = name.startswith("MME")
    return Row(
        id=record["index"],
        question=record.get("question", ""),
        target=record.get("answer", ""),
        answer=record.get("prediction", ""),
        score=score,
        image=image if len(image) < 1000 else "",  # not a whole picture in base64
        unit=f"{category}/{image}" if paired and image else "",
        stratum=category if paired else "",
    )
