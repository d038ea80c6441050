"""A model that rates the stored answers of a run, after it: a pass of its own that can be broken off and goes on.

RUN/judge/<model>-<hash>/verdicts.jsonl   one line for every distinct question, target and answer, as soon as it is there
RUN/judge/<model>-<hash>/samples.parquet  every answer of the run with the judge's score
RUN/judge/<model>-<hash>/                 summary.csv, pairs.csv: the comparison by these scores

The hash is of the judge's name and of what it is asked, so that verdicts of different judges never mix.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenbench.errors import MachineError, UsageError, brief, unknown
from tokenbench.runner.progress import Progress
from tokenbench.store.foreign import within
from tokenbench.store.reworked import Reworked
from tokenbench.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Asked", "Judge", "JudgedRun", "judged"]

PROMPT = (
    "You grade answers to questions about an image or a video.\n"
    "Question: {question}\nRight answer: {target}\nGiven answer: {answer}\n"
    "Does the given answer say the same as the right answer? Synonyms and other wordings count. Reply with yes or no only."
)
ATTEMPTS = 4
LONGEST_REPLY = 2**20  # bytes
ProgressFactory = Callable[[int], AbstractContextManager[Progress]]
ADDRESS = re.compile(r"[!-~]+")
VERDICT = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


class Asked(NamedTuple):
    """What a verdict depends on; where several targets are right, they stand between bars."""

    question: str
    target: str
    answer: str

    @property
    def key(self) -> str:
        """A hash of it."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()


@dataclass(frozen=True)
class Judge:
    """A model behind an OpenAI-compatible address. url: up to `/v1`. key: for a server that asks for one.

    pause: seconds before the first repetition of a call that failed; each later one waits twice as long.
    """

    url: str
    model: str
    key: str = ""
    pause: float = 1.0

    def __post_init__(self) -> None:
        """Raises UsageError for an address that is none, before anything is asked."""
        try:
            place = urllib.parse.urlsplit(self.url)
            sound = (
                place.scheme in ("http", "https")
                and place.hostname
                and (place.port or 1)
                and ADDRESS.fullmatch(self.url)
            )
        except ValueError:
            sound = False
        if not sound:
            raise UsageError(f"'{self.url[:100]}' is no address of a server", "as in --url http://localhost:8000/v1")
        if not (self.key.isascii() and self.key.isprintable()):
            raise UsageError("the server's key holds signs that no key has", "see the variable named by --key-from")

    @property
    def identity(self) -> str:
        """Its name, and a hash of the name and of what it is asked."""
        digest = hashlib.sha256(f"{self.model}\n{PROMPT}".encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.model)}-{digest}"

    def verdicts(
        self, asked: Iterable[Asked], folder: Path, workers: int, progress: ProgressFactory
    ) -> dict[str, float]:
        """Key -> 1 (right) or 0, for everything asked; what `folder` holds already is not asked again.

        Raises MachineError if the server does not answer, or not with yes or no; what it said before is kept.
        """
        path = within(folder / "verdicts.jsonl", folder)
        known = _read(path)
        left = [one for one in dict.fromkeys(asked) if one.key not in known]
        with path.open("a") as file, progress(len(left)) as bar, ThreadPoolExecutor(workers) as pool:
            try:
                for one, (right, reply, served) in zip(left, pool.map(self._verdict, left), strict=True):
                    known[one.key] = right
                    line = {"key": one.key, "right": right, "reply": reply, "served": served}
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                    bar.advance(1, self.model)
            except MachineError:
                pool.shutdown(cancel_futures=True)
                raise
        return known

    def _verdict(self, asked: Asked) -> tuple[float, str, str]:
        """Right or not, the reply, and the name of the model that gave it."""
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                reply, served = self._reply(PROMPT.format(**asked._asdict()))
            except urllib.error.HTTPError as error:
                reason = f"status {error.code}"
                if error.code in (400, 401, 403, 404):
                    break
                continue
            except (OSError, ValueError, LookupError, TypeError, RecursionError, http.client.HTTPException) as error:
                reason = brief(error)
                continue
            if found := VERDICT.match(reply):
                return float(found[1].lower() == "yes"), reply, served
            reason = f"neither yes nor no but {reply[:60]!r}"
        raise MachineError(
            f"judge '{self.model}' at {self.url}: {reason}", "the same command goes on where this one stopped"
        )

    def _reply(self, prompt: str) -> tuple[str, str]:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 16,
        }
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        address = f"{self.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            said = json.loads(response.read(LONGEST_REPLY))
        return str(said["choices"][0]["message"]["content"]).strip(), str(said.get("model", ""))


class JudgedRun(Reworked):
    """A run with a judge's scores in place of the task's own; the others, of tasks that were not judged, are left out."""

    def __init__(self, run: Run, samples: pd.DataFrame) -> None:
        super().__init__(run.folder, run._known, run._definitions)
        self._judged = samples

    def rows(self) -> pd.DataFrame:
        """As of the run, with the judge's scores and its identity in the column `judge`."""
        return self._judged

    def about(self) -> dict[str, Any]:
        """The run's manifest, with a note on whose scores these are."""
        about = super().about()
        judge = f"Scores are verdicts of the judge {self._judged['judge'].iloc[0]}, not the tasks' own."
        return {**about, "notes": [judge, *about.get("notes", [])]}


def judged(
    run: Run, judge: Judge, tasks: Sequence[str], workers: int, progress: ProgressFactory
) -> tuple[JudgedRun, Path]:
    """The run by the judge's scores, and the folder of its verdicts. tasks: only these; none for all.

    Raises UsageError for a task that the run does not have, MachineError if the server fails.
    """
    samples = run.whole()
    for task in tasks:
        if task not in set(samples["task"]):
            raise unknown("task of the run", task, set(samples["task"]))
    if tasks:
        samples = samples[samples["task"].isin(tasks)]
    questions = run.questions()
    columns = zip(samples["task"], samples["sample"], samples["target"], samples["answer"], strict=True)
    rows = list(columns)
    if gone := next((f"{task}/{sample}" for task, sample, *_ in rows if (task, sample) not in questions), ""):
        raise UsageError(
            f"the installed suite has no sample '{gone}', which {run.folder} answered: it is another one",
            "install what the run was made with",
        )
    asked = [Asked(questions[task, sample].question, target, answer) for task, sample, target, answer in rows]
    folder = within(run.folder / "judge" / judge.identity, run.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot write to {folder}: {error.strerror}") from None
    verdicts = judge.verdicts(asked, folder, workers, progress)
    samples = samples.assign(score=[verdicts[one.key] for one in asked], judge=judge.identity)
    samples.to_parquet(folder / "samples.parquet")
    return JudgedRun(run, samples), folder


def _read(path: Path) -> dict[str, float]:
    """The verdicts of a file; a torn line, or one that says something else than right or wrong, is none."""
    known: dict[str, float] = {}
    content = path.read_bytes() if path.exists() else b""
    for line in content.split(b"\n"):
        try:
            verdict = json.loads(line)
            if float(verdict["right"]) in (0.0, 1.0):
                known[str(verdict["key"])] = float(verdict["right"])
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            continue
    if content and not content.endswith(b"\n"):
        with path.open("a") as file:
            file.write("\n")
    return known
