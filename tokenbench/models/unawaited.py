"""Threads for calls that cannot be cancelled: the system's lookup of a server's name, which may take minutes.

A signal interrupts no such call, but it does interrupt a main thread that waits for another thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any, TypeVar

__all__ = ["Unawaited", "wait_for"]

Result = TypeVar("Result")


def wait_for(fn: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Return what a function returns that asks a server on the network, or raise its error.

    A signal ends the waiting at once.
    """
    result: Result = Unawaited().submit(fn, *args, **kwargs).result()
    return result


class Unawaited(ThreadPoolExecutor):
    """A thread a call, for which neither the event loop nor the end of Python waits.

    asyncio looks names up in the threads of a pool, and joins them before it ends, although a deadline or a signal has
    given the lookup up long since.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call in a thread of its own."""
        future: Future[Any] = Future()

        def work() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        future.set_running_or_notify_cancel()
        Thread(target=work, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the calls alone."""
