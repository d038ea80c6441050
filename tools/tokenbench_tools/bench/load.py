"""What clients see of a server that batches what is waiting.

Every client asks, waits for the whole answer and asks again at once (a closed loop). The server takes as many waiting requests as its
largest batch holds, in the order of their arrival, and answers them with one stock `generate`; whoever comes meanwhile waits for
the next batch. There is no continuous batching: no request joins a batch that runs, and none leaves it early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Served", "serve"]


@dataclass
class Served:
    """What one process measured under a load, for one way of running the model on prompts of one length."""

    way: int
    """The number of the way in the protocol; 0 is the stock model."""
    visual: int
    """Visual tokens in each prompt."""
    clients: int
    """How many clients there were."""
    seconds: float = 0.0
    """From the first request to the last answer."""
    first: list[float] = field(default_factory=list)
    """Seconds from each request to the first token of its answer, waiting included."""


def serve(
    clients: int, requests: int, largest: int, answer: Callable[[int], tuple[float, float]]
) -> tuple[float, list[float]]:
    """Serve clients until each has had its requests answered.

    Args:
        clients: How many clients there are.
        requests: How many requests each makes.
        largest: How many requests the server answers at once, at most.
        answer: Answers so many requests at once; returns the seconds until their first tokens and until their last.

    Returns:
        The seconds that the batches took, and of every request the seconds until the first token, in the order of the answers.
    """
    now, first = 0.0, list[float]()
    waiting, left = deque([now] * clients), clients * (requests - 1)
    while waiting:
        arrived = [waiting.popleft() for _ in range(min(largest, len(waiting)))]
        until_first, until_last = answer(len(arrived))
        first += [now + until_first - time for time in arrived]
        now += until_last
        again = min(left, len(arrived))
        left -= again
        waiting.extend([now] * again)
    return now, first
