"""Sample logs of lmms-eval, of all its layouts.

| layout | versions | samples |
|---|---|---|
| A | up to 0.2.0, and forks of that age | `TASK.json` with `args`, `model_configs` and `logs` |
| B | 0.2.4 and 0.3.0 | `STAMP_samples_TASK.jsonl`, with `doc` |
| C | 0.5 and 0.6 | the same without `doc`, filtered answers in a list |
| D | 0.7 | the same, filtered answers as text |

A log names no version, so that the layout stands for it. `doc_hash` is the same for all rows, and identifies nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenbench.contract.cells import VANILLA
from tokenbench.errors import UsageError
from tokenbench_tools.importing.files import below, digest, read_json, read_lines, settings_of, text_of
from tokenbench_tools.importing.logged import Cell, Log, Row, Source, Wanted
from tokenbench_tools.importing.scores import find_score

__all__ = ["RESULTS", "find_commands", "has_logs"]

RESULTS, SAMPLES = "_results.json", "_samples_"
STAMP = re.compile(r"^(\d{8}_\d{6})_")
NAMES = ("question_id", "questionId", "id", "index", "qid")
"""What the data may call a question, in a metric or in `doc`."""
CLIPS = ("videoID", "video_id", "video_name", "video")
IMAGES = ("imageId", "image_id", "image_source")
GENERATION = ("max_new_tokens", "until", "temperature", "do_sample", "num_beams", "top_p")
RESERVED = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "token_counts", "doc_hash", "prompt_hash", "target_hash", "input_media", "input",
}  # fmt: skip


def has_logs(folder: Path) -> bool:
    """Whether a folder holds sample logs."""
    return bool(below(folder, f"*{SAMPLES}*.jsonl") or _old(folder))


def find_commands(folder: Path, wanted: Wanted) -> list[Source]:
    """Return the commands that logged samples below a folder.

    Args:
        folder: The folder, or the file with the results of one command.
        wanted: What to take of them.

    Raises:
        UsageError: A log is not whole, or holds the answers of two commands.
    """
    if folder.is_file():
        return [_command(folder.resolve(), folder.parent, wanted)]
    found = [_command(path, folder, wanted) for path in below(folder, f"*{RESULTS}") if STAMP.match(path.name)]
    found += [_old_command(path, folder, wanted) for path in _old(folder)]
    return [source for source in found if source.logs]


def _command(results: Path, folder: Path, wanted: Wanted) -> Source:
    about = read_json(results)
    config, stamp = about.get("config", {}), results.name.removesuffix(RESULTS)
    files, logs, version = {results.name: digest(results)}, [], "0.2.4 to 0.3"
    for path in sorted(results.parent.glob(f"{stamp}{SAMPLES}*.jsonl")):
        task = path.name.removeprefix(stamp + SAMPLES).removesuffix(".jsonl")
        if not wanted.takes(task):
            continue
        records = read_lines(path)
        files[path.name] = digest(path)
        logs.append(_log(task, records, about, wanted.choices(task), path))
        in_list = isinstance(records[0].get("filtered_resps"), list)
        version = "0.2.4 to 0.3" if "doc" in records[0] else "0.5 to 0.6" if in_list else "0.7"
    arguments = settings_of(config.get("model_args"))
    below_it = results.parent.is_relative_to(folder.resolve())
    place = results.parent.relative_to(folder.resolve()) if below_it else Path(results.parent.name)
    name = (place / stamp).as_posix()
    model, cell = _identify(str(config.get("model", "")), arguments)
    return Source(name, f"lmms-eval (logs as of {version})", model, _join(arguments), cell, tuple(logs), files)


def _log(
    task: str, records: Sequence[dict[str, Any]], about: Mapping[str, Any], wanted: tuple[str, str], path: Path
) -> Log:
    if not records:
        raise UsageError(f"{path} has no rows: the run that wrote it did not end", "run it again")
    config = about.get("configs", {}).get(task, {})
    listed = [
        str(one["metric"]) for one in config.get("metric_list") or () if isinstance(one, Mapping) and "metric" in one
    ]
    names = [wanted[0]] if wanted[0] else listed or _metrics(records)
    reported = about.get("results", {}).get(task, {})
    kept, which = _choose_filter(task, records, reported, names, wanted[1], path)
    size = about.get("n-samples", {}).get(task, {})
    _check_whole(path, kept, size, about.get("config", {}))
    notes = []
    if int(config.get("repeats") or 1) > 1:
        notes.append(f"{task} was asked {config['repeats']} times, and one of the answers is logged.")
    if isinstance(whole := size.get("original"), int) and len(kept) < whole:
        notes.append(f"{len(kept)} of the {whole} rows of {task} were asked (--limit or --offset).")
    found = [find_score(record, names, str(config.get("score_key") or "score")) for record in kept]
    metric = _together(task, [one[0] if one else "" for one in found], names)
    if metric and (about.get("higher_is_better", {}).get(task, {}).get(metric.split(" | ")[0]) is False):
        raise UsageError(
            f"{path}: a lower {metric} is better, but scores must be higher for better answers",
            f"choose another metric with --metric {task}=NAME",
        )
    generation = config.get("generation_kwargs") or {}
    conditions = {
        "generation": json.dumps({name: generation[name] for name in GENERATION if name in generation}, sort_keys=True),
        "metric": metric,
        "size of the data": str(size.get("original", "unknown")),
        "filter": which,
    }
    value = reported.get(f"{metric},{which or 'none'}", reported.get(metric))
    rows = tuple(
        _row(record, names, one[1] if metric and one else None) for record, one in zip(kept, found, strict=True)
    )
    return Log(task, rows, metric, float(value) if isinstance(value, int | float) else None, conditions, tuple(notes))


def _choose_filter(
    task: str,
    records: Sequence[dict[str, Any]],
    reported: Mapping[str, Any],
    metrics: Sequence[str],
    wanted: str,
    path: Path,
) -> tuple[Sequence[dict[str, Any]], str]:
    """Return the rows of one filter, and its name. Rows do not name theirs: each filter has a block of them, in the order of the filters."""
    filters = list(
        dict.fromkeys(key.partition(",")[2] for key in reported if key.partition(",")[0] in metrics and "," in key)
    )
    times = set(Counter(record.get("doc_id") for record in records).values())
    if times == {1}:
        return records, filters[0] if len(filters) == 1 and filters[0] != "none" else ""
    if len(filters) < 2 or times != {len(filters)}:
        raise UsageError(
            f"{path} holds rows of {task} more than once: two runs that began in the same second wrote into one file",
            "run them again, one after the other",
        )
    if wanted not in filters:
        raise UsageError(
            f"{path} holds every row of {task} once for each of its filters, {', '.join(filters)}",
            f"choose one with --filter {filters[0]}",
        )
    size, at = len(records) // len(filters), filters.index(wanted)
    blocks = [records[start :: len(filters)] for start in range(len(filters))]
    ids = [record.get("doc_id") for record in records]
    in_blocks = len(set(ids[:size])) == size
    return (records[at * size : (at + 1) * size] if in_blocks else blocks[at]), wanted


def _check_whole(path: Path, records: Sequence[Any], size: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check that a log has as many rows as the results say. With an offset, lmms-eval counts rows beyond the end of the data."""
    effective = size.get("effective")
    if isinstance(effective, int) and not config.get("offset") and effective != len(records):
        raise UsageError(f"{path} has {len(records)} rows where the results are of {effective}", "run it again")


def _together(task: str, names: Sequence[str], metrics: Sequence[str]) -> str:
    """Return the metrics that score all rows together, such as MME's two; empty if some row has no number."""
    used = set(names)
    return "" if "" in used or not used else " | ".join(name for name in metrics if name in used)


def _metrics(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what may be a metric, where no list of them is logged."""
    return list(dict.fromkeys(name for record in records for name in record if name not in RESERVED))


def _row(record: Mapping[str, Any], metrics: Sequence[str], score: float | None) -> Row:
    doc = record.get("doc") if isinstance(record.get("doc"), Mapping) else {}
    noted = [record[name] for name in metrics if isinstance(record.get(name), Mapping)]
    arguments = record.get("arguments")
    asked = record.get("input", arguments if isinstance(arguments, list) else "")
    name, category = _first([*noted, doc], NAMES), _first([*noted, doc], ("category",))
    clip, image = _first([*noted, doc], CLIPS), _first([doc], IMAGES)
    pictured = f"{category}/{name}" if name.lower().endswith((".png", ".jpg", ".jpeg")) else ""  # MME's pairs
    return Row(
        id=str(record.get("doc_id")),
        question=text_of(asked),
        target=text_of(record.get("target")),
        answer=text_of(record.get("filtered_resps")),
        score=score,
        name=name,
        image=clip or image or pictured,
        unit=pictured,
        stratum=category if pictured else "",
    )


def _first(places: Sequence[Any], names: Sequence[str]) -> str:
    values = (place[name] for place in places for name in names if place.get(name) is not None)
    return next((str(value) for value in values if isinstance(value, str | int)), "")


def _old(folder: Path) -> list[Path]:
    """Return the folders of layout A."""
    parents = {
        path.parent for path in below(folder, "*.json") if path.name != "results.json" and not STAMP.match(path.name)
    }
    return [parent for parent in sorted(parents) if (parent / "results.json").is_file()]


def _old_command(parent: Path, folder: Path, wanted: Wanted) -> Source:
    files, logs, arguments, model = {}, [], dict[str, str](), ""
    for path in sorted(parent.glob("*.json")):
        content = read_json(path)
        files[path.name] = digest(path)
        if isinstance(content, dict) and isinstance(content.get("logs"), list):
            args, config = content.get("args") or {}, content.get("model_configs") or {}
            task = str(config.get("task", path.stem))
            arguments, model = settings_of(args.get("model_args")), str(args.get("model", ""))
            settings = {"limit": args.get("limit")}
            about = {"configs": {task: config}, "config": settings}
            if wanted.takes(task):
                logs.append(_log(task, content["logs"], about, wanted.choices(task), path))
    name, cell = _identify(model, arguments)
    return Source(
        parent.name if parent != folder else folder.name,
        "lmms-eval (logs as of 0.2.0 or older)",
        name,
        _join(arguments),
        cell,
        tuple(logs),
        files,
    )


def _identify(model: str, arguments: Mapping[str, str]) -> tuple[str, Cell | None]:
    """Return the name of the model and what was run, as far as the arguments say it beyond doubt: those of TokenBench's own model do."""
    if model == "tokenbench":
        strategy = arguments.get("strategy", VANILLA)
        budget = "all" if strategy == VANILLA else arguments.get("budget", "1/3")
        return arguments.get("backbone", ""), Cell(strategy, budget, int(arguments.get("seed", "0") or 0))
    return arguments.get("pretrained", "").rstrip("/").rpartition("/")[2], None


def _join(arguments: Mapping[str, str]) -> str:
    """Return the arguments as text, without the folders of the machine."""
    parts = {
        name: value.rpartition("/")[2] if value.startswith(("/", "~", ".")) else value
        for name, value in arguments.items()
    }
    return ",".join(f"{name}={value}" for name, value in parts.items())
