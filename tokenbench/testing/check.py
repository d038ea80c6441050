"""What a check is, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tokenbench.errors import MachineError

__all__ = ["Check", "ContractError", "Verdict", "checks", "judge", "reason"]

State = Literal["ok", "FAILED", "skipped"]


class ContractError(AssertionError):
    """A check found what is wrong. what: in one line; fix: how to mend it."""

    def __init__(self, name: str, what: str, fix: str) -> None:
        super().__init__(f"{name}: {what} — {fix}")
        self.what, self.fix = what, fix


@dataclass(frozen=True)
class Check:
    """One thing that plug-ins of a kind must do.

    name: in words. verifies: a sentence. fix: what to do where it fails. look: raises anything if it is not so; what it returns
    is a remark.
    """

    name: str
    verifies: str
    fix: str
    look: Callable[..., str | None]

    def __call__(self, subject: Any) -> str | None:
        """Look at a subject. Raises ContractError, or MachineError where this machine cannot look."""
        try:
            return self.look(subject)
        except (ContractError, MachineError):
            raise
        except Exception as error:  # whatever a third party's code raises is a finding
            raise ContractError(self.name, reason(error), self.fix) from error


@dataclass(frozen=True)
class Verdict:
    """What a check found of one plug-in. why: the remark, or what is wrong; fix: how to mend it."""

    subject: str
    check: str
    verifies: str
    state: State
    why: str = ""
    fix: str = ""

    def __str__(self) -> str:
        said = f"{self.state}: {self.why}" if self.state != "ok" and self.why else self.state
        said += f" ({self.why})" if self.state == "ok" and self.why else ""
        return f"{self.subject}  {self.check}  {said}" + (f" — {self.fix}" if self.fix else "")


def checks(into: list[Check], fix: str) -> Callable[[Callable[..., str | None]], Check]:
    """Make a function a check: its name in words, the first line of its docstring, and how to mend what it finds."""

    def made(look: Callable[..., str | None]) -> Check:
        sentence = (look.__doc__ or "").strip().partition("\n")[0]
        into.append(Check(look.__name__.replace("_", " "), sentence, fix, look))
        return into[-1]

    return made


def judge(check: Check, subject: str, objects: Iterable[tuple[str, Any]]) -> Verdict:
    """The verdict on a plug-in that shows in several places, by name; the first that fails decides."""
    said: list[str] = []
    try:
        for where, each in objects:
            prefix = f"{where}: " if where else ""
            said += [f"{prefix}{remark}"] if (remark := check(each)) else []
    except ContractError as failure:
        return Verdict(subject, check.name, check.verifies, "FAILED", prefix + failure.what, failure.fix)
    except MachineError as error:
        return Verdict(subject, check.name, check.verifies, "skipped", prefix + reason(error))
    return Verdict(subject, check.name, check.verifies, "ok", "; ".join(dict.fromkeys(said)))


def reason(error: BaseException) -> str:
    """An error in one line; what the kit itself asserts speaks for itself."""
    text = " ".join(str(error).split())[:300]
    named = isinstance(error, AssertionError) or type(error).__module__.startswith("tokenbench.")
    return text if named and text else f"{type(error).__name__}: {text}".rstrip(": ")
