"""What becomes of every task of the installed lmms-eval, as far as its definition says it: no data is needed.

    python -m benchmarks.lmms_survey [--names FILE] [-o FILE]

Every task is loaded as a run loads it. It is then one of these:

* `refused`: a run stops before it loads a model, and says why.
* `package`: a package that is not installed is needed.
* `broken`: the task does not load, in lmms-eval either.
* `mean`: lmms-eval itself notes a number for each answer and averages them, which needs no examination.
* `captions`: it has CIDEr, by which captions are scored once this has been tried on its own rows.
* `examined`: its scorer is tried on its own rows before a model is loaded. It is then scored right, or refused.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tokenbench.errors import TokenBenchError, brief
from tokenbench_suites.lmms.captions import is_consensus
from tokenbench_suites.lmms.catalogue import CATALOGUE
from tokenbench_suites.lmms.catalogue_entry import UNKNOWN
from tokenbench_suites.lmms.contained import contain, offline
from tokenbench_suites.lmms.index import find_lmms_eval, list_definitions
from tokenbench_suites.lmms.refusals import is_submission, refuse

PATIENCE = 120
"""Seconds after which a task that is being loaded is given up."""
HEAVY = (
    "lmms_eval.utils",
    "sympy",
    "nltk",
    "openai",
    "aiohttp",
    "transformers",
    "pandas",
    "scipy.optimize",
    "cv2",
    "sklearn.metrics",
)


def classify(name: str, yaml: Path) -> tuple[str, str]:
    """Return what becomes of a task, and why."""
    from lmms_eval.utils import load_yaml_config

    try:
        with contain(), offline():
            config = load_yaml_config(str(yaml))
            refuse(name, config, judged=CATALOGUE.get(name, UNKNOWN).rules)
    except TokenBenchError as error:
        return "refused", str(error)
    except ImportError as error:
        return "package", brief(error)
    except BaseException as error:  # a task's own code may raise anything, and end the process
        return "broken", brief(error)
    metrics = [m for m in config.get("metric_list") or () if not is_submission(str(m.get("metric")))]
    mean = not callable(config.get("process_results")) and all(m.get("aggregation", "mean") == "mean" for m in metrics)
    if any(is_consensus(str(metric.get("metric"))) for metric in metrics):
        return "captions", ""
    lower = metrics and all(m.get("higher_is_better") is False for m in metrics)
    return ("mean" if mean and metrics and not lower else "examined"), ""


def is_task(yaml: Path) -> bool:
    """Whether a file defines a task, and not a group of them."""
    text = yaml.read_text(encoding="utf-8", errors="replace")
    return "dataset_path" in text or "include:" in text


def main() -> None:
    """Classify all tasks, and print how many there are of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path, help="a file with the names of the tasks, one on each line")
    parser.add_argument(
        "-o", "--output", type=Path, help="write every task with its kind and reason to this file, as JSON lines"
    )
    given = parser.parse_args()
    definitions = list_definitions(find_lmms_eval() / "tasks")
    wanted = (
        given.names.read_text().splitlines() if given.names else [n for n, path in definitions.items() if is_task(path)]
    )

    def give_up(*_: Any) -> None:
        raise TimeoutError(f"it takes more than {PATIENCE} seconds to load")

    for module in HEAVY:  # an import that is interrupted would break every later one
        with suppress(ImportError):
            import_module(module)

    signal.signal(signal.SIGALRM, give_up)
    counts: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    rows = []
    for name in sorted(wanted):
        signal.alarm(PATIENCE)
        kind, reason = (
            classify(name, definitions[name]) if name in definitions else ("refused", "there is no such task")
        )
        signal.alarm(0)
        counts[kind] += 1
        reasons[kind, reason.replace(f"'{name}'", "…")[:90]] += 1
        rows.append({"task": name, "kind": kind, "reason": reason})
    if given.output:
        given.output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{len(rows)} tasks: " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
    for (kind, reason), count in reasons.most_common(40):
        if reason:
            print(f"{count:5}  {kind}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
