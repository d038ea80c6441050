"""Checks of plug-ins, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tokenbench.errors import MachineError

__all__ = ["Check", "CheckResult", "ContractError", "checks", "judge", "reason"]

State = Literal["ok", "FAILED", "skipped"]


class ContractError(AssertionError):
    """A check failed.

    Args:
        name: The name of the check.
        what: What is wrong, in one line.
        fix: How to fix it.
    """

    def __init__(self, name: str, what: str, fix: str) -> None:
        super().__init__(f"{name}: {what} — {fix}")
        self.what, self.fix = what, fix


@dataclass(frozen=True)
class Check:
    """One thing that all plug-ins of a kind must do."""

    name: str
    """The name in words."""
    verifies: str
    """A sentence on what is checked."""
    fix: str
    """What to do if the check fails."""
    look: Callable[..., str | None]
    """The function that checks a subject. It raises any error if the check fails, and may return a remark."""

    def __call__(self, subject: Any) -> str | None:
        """Check a subject, and return the remark.

        Raises:
            ContractError: The check fails.
            MachineError: This machine cannot run the check.
        """
        try:
            return self.look(subject)
        except (ContractError, MachineError):
            raise
        except Exception as error:  # any error of a third party's code is a finding
            raise ContractError(self.name, reason(error), self.fix) from error


@dataclass(frozen=True)
class CheckResult:
    """The result of a check on one plug-in."""

    subject: str
    """The plug-in."""
    check: str
    """The name of the check."""
    verifies: str
    """A sentence on what is checked."""
    state: State
    """Whether the check passed, failed, or could not run on this machine."""
    why: str = ""
    """The remark, or what is wrong."""
    fix: str = ""
    """How to fix it."""

    def __str__(self) -> str:
        said = f"{self.state}: {self.why}" if self.state != "ok" and self.why else self.state
        said += f" ({self.why})" if self.state == "ok" and self.why else ""
        return f"{self.subject}  {self.check}  {said}" + (f" — {self.fix}" if self.fix else "")


def checks(into: list[Check], fix: str) -> Callable[[Callable[..., str | None]], Check]:
    """Return a decorator that makes a function a check.

    The name of the check is that of the function, in words; what it verifies is the first line of the docstring.

    Args:
        into: The list to which the check is added.
        fix: What to do if the check fails.
    """

    def make_check(look: Callable[..., str | None]) -> Check:
        sentence = (look.__doc__ or "").strip().partition("\n")[0]
        into.append(Check(look.__name__.replace("_", " "), sentence, fix, look))
        return into[-1]

    return make_check


def judge(check: Check, subject: str, objects: Iterable[tuple[str, Any]]) -> CheckResult:
    """Run a check on a plug-in in several places.

    Args:
        check: The check.
        subject: The name of the plug-in.
        objects: The subject of the check in each place, by the name of the place.

    Returns:
        The verdict. The first place in which the check fails decides.
    """
    remarks: list[str] = []
    try:
        for where, each in objects:
            prefix = f"{where}: " if where else ""
            remarks += [f"{prefix}{remark}"] if (remark := check(each)) else []
    except ContractError as failure:
        return CheckResult(subject, check.name, check.verifies, "FAILED", prefix + failure.what, failure.fix)
    except MachineError as error:
        return CheckResult(subject, check.name, check.verifies, "skipped", prefix + reason(error))
    return CheckResult(subject, check.name, check.verifies, "ok", "; ".join(dict.fromkeys(remarks)))


def reason(error: BaseException) -> str:
    """Return an error in one line, with its type unless the kit itself raised it."""
    text = " ".join(str(error).split())[:300]
    named = isinstance(error, AssertionError) or type(error).__module__.startswith("tokenbench.")
    return text if named and text else f"{type(error).__name__}: {text}".rstrip(": ")
