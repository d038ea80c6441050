"""The verdicts of a judge: asked for at once, written down as they come, and read back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokenbench.errors import AGAIN, MachineError
from tokenbench.models.unawaited import Unawaited
from tokenbench.runner.progress import Progress
from tokenbench.store import files
from tokenbench_tools.judge.question import Asked
from tokenbench_tools.judge.server import Judge, NoReplyError

if TYPE_CHECKING:
    from httpx2 import AsyncClient

__all__ = ["Judgment", "collect"]

PATIENCE = 100  # answers without a verdict, and none with one, after which something is wrong with the judge
VERDICT = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
ProgressFactory = Callable[[int], AbstractContextManager[Progress]]


class Judgment(NamedTuple):
    """The judge's verdict on one answer, or why there is none."""

    right: float | None
    """1 if the answer is right, 0 if it is wrong; None if there is no verdict."""
    reply: str = ""
    """What the judge said."""
    served: str = ""
    """The model that said it, as the server names it."""
    reason: str = ""
    """Why there is no verdict; empty if there is one."""


def collect(
    judge: Judge,
    asked: Iterable[Asked],
    folder: Path,
    workers: int,
    progress: ProgressFactory,
    retry_failed: bool = False,
) -> dict[str, float | None]:
    """Ask for the verdict on every answer. What `folder` already holds is not asked again.

    Args:
        judge: The model that rates.
        asked: The answers to rate.
        folder: Where verdicts are written down as they come.
        workers: How many calls are made at once.
        progress: Makes the progress bar from the number of calls.
        retry_failed: Whether answers that got no verdict before are rated again.

    Returns:
        1 (right), 0 or None (no verdict) by `Asked.key`.

    Raises:
        MachineError: If the server does not reply, or gives no verdict on any answer. Verdicts that it gave before are
            kept.
    """
    path = folder / "verdicts.jsonl"
    every = list(dict.fromkeys(asked))
    known = _read(path)
    left = [one for one in every if (known.get(one.key) is None if retry_failed else one.key not in known)]
    with progress(len(left)) as bar:

        def keep(one: Asked, verdict: Judgment) -> None:
            known[one.key] = verdict.right
            files.append_lines(path, folder, [json.dumps({"key": one.key, **verdict._asdict()})])
            bar.advance(1, judge.model)

        if left:
            asyncio.run(
                _Pass(judge, left, keep, any(right is not None for right in known.values())).run(
                    min(workers, len(left))
                )
            )
    if every and all(known[one.key] is None for one in every):
        raise MachineError(
            f"{judge.label} gave no verdict on any of {len(every)} answers",
            f"{path} holds its replies; --retry-failed asks again",
        )
    return known


class _Pass:
    """Questions on their way: each worker takes the next one, until none is left or the server fails.

    Args:
        judge: The model that rates.
        left: The answers to rate.
        keep: Called with every verdict as it comes.
        sound: Whether the judge has given a verdict before.
    """

    def __init__(
        self, judge: Judge, left: Iterable[Asked], keep: Callable[[Asked, Judgment], None], sound: bool
    ) -> None:
        self._judge, self._left, self._keep = judge, iter(left), keep
        self._sound, self._without, self._failed = sound, 0, False

    async def run(self, workers: int) -> None:
        """Ask for every verdict.

        The first failure stops new questions. Those on their way are paid for, so they are waited for.
        """
        asyncio.get_running_loop().set_default_executor(Unawaited())
        async with self._judge.client(workers) as client:
            ends = await asyncio.gather(*(self._work(client) for _ in range(workers)), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def _work(self, client: AsyncClient) -> None:
        for one in self._remaining():
            try:
                verdict = await self._verdict(client, one)
                self._keep(one, verdict)
                self._count(verdict)
            except BaseException:
                self._failed = True
                raise

    def _remaining(self) -> Iterator[Asked]:
        while not self._failed and (one := next(self._left, None)) is not None:
            yield one

    def _count(self, verdict: Judgment) -> None:
        """Give up on a judge that never gives a verdict."""
        self._sound |= verdict.right is not None
        self._without += verdict.right is None
        if not self._sound and self._without >= PATIENCE:
            raise self._failure(f"the first {PATIENCE} answers got no verdict: {verdict.reason}")

    async def _verdict(self, client: AsyncClient, one: Asked) -> Judgment:
        """What the judge says of one answer. Raises MachineError if it does not reply, whatever it is asked."""
        judge = self._judge
        try:
            reply = await judge.reply(client, one.prompt, lambda: not self._failed)
        except NoReplyError as trouble:
            # The answer may be to blame: too long, or refused by a filter. A server that replies to another question says so.
            if trouble.busy or self._failed or not await judge.replies(client):
                raise self._failure(str(trouble)) from None
            return Judgment(None, reason=str(trouble))
        found = VERDICT.match(reply.text)
        text, served = judge.withhold(reply.text), judge.withhold(reply.served)
        if found:
            return Judgment(float(found[1].lower() == "yes"), text, served)
        return Judgment(None, text, served, f"neither yes nor no but {text[:60]!r}" if text else "an empty reply")

    def _failure(self, reason: str) -> MachineError:
        return MachineError(f"{self._judge.label}: {reason}", f"{AGAIN} to resume")


def _read(path: Path) -> dict[str, float | None]:
    """The verdicts of a file, the last one on each question; a torn line, or one that says something else, is none."""
    known: dict[str, float | None] = {}
    for line in files.read_lines(path, path.parent) if files.is_file(path, path.parent) else ():
        try:
            verdict = json.loads(line)
            right = verdict["right"]
            if right is None or float(right) in (0.0, 1.0):
                known[str(verdict["key"])] = right if right is None else float(right)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            continue
    return known
