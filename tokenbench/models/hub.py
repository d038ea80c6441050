"""Calls of libraries that read from the Hugging Face hub: a hub that cannot be reached is found out at once, and errors are one line.

The libraries themselves try for half a minute, print every attempt, and say in the end only that a file was not found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from tokenbench.errors import brief
from tokenbench.models.offline import offline
from tokenbench.models.unawaited import wait_for

__all__ = ["HubError", "from_hub"]

PATIENCE = 10.0
"""Seconds in which the hub has to answer at all."""

Result = TypeVar("Result")


class HubError(Exception):
    """What was asked for is not in the local cache, and did not come from the hub. The message is a phrase that says why."""


def from_hub(fn: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Return what a function returns that reads from the hub, or from the local cache if the hub cannot be reached.

    A signal ends the waiting at once.

    Raises:
        HubError: The function failed.
    """
    from huggingface_hub import constants

    with _without_attempts():
        trouble = "" if constants.HF_HUB_OFFLINE else _find_trouble(constants.ENDPOINT)
        try:
            with offline() if trouble else nullcontext():
                return wait_for(fn, *args, **kwargs)
        except Exception as error:  # the hub's libraries raise anything, from HTTP errors to their own
            raise HubError(trouble or _reason(error, constants.HF_HUB_OFFLINE)) from error


def _find_trouble(endpoint: str) -> str:
    """Return why the hub cannot be reached; empty if it answers, whatever it says. Nothing but the request is sent, no token either."""
    import httpx2
    from huggingface_hub import get_session

    try:
        wait_for(get_session().head, endpoint, timeout=PATIENCE)
    except httpx2.HTTPError as error:
        return f"{endpoint} cannot be reached: {str(error) or type(error).__name__}"
    return ""


def _reason(error: Exception, switched_off: bool) -> str:
    """Return a phrase for an error of the hub's libraries. What the hub answered may stand behind it, as its cause."""
    from huggingface_hub import errors

    refused = error if isinstance(error, errors.HfHubHTTPError) else error.__cause__
    phrases = {
        errors.GatedRepoError: "access to it must be requested on the hub: accept its terms there, then run hf auth login",
        errors.RepositoryNotFoundError: "the hub has nothing of this name that you may read; if it is private, run hf auth login",
        errors.RevisionNotFoundError: "the hub has no such revision of it",
        errors.RemoteEntryNotFoundError: "it lacks a file that is needed there",
    }
    for kind, phrase in phrases.items():
        if isinstance(refused, kind):
            return phrase
    if isinstance(refused, errors.HfHubHTTPError) and refused.response is not None:
        return f"the hub answers with the status {refused.response.status_code}"
    return "HF_HUB_OFFLINE forbids downloads" if switched_off else brief(error)


@contextmanager
def _without_attempts() -> Iterator[None]:
    """Keep the hub's library from printing a warning for every attempt."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
