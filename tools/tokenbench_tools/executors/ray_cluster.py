"""Connecting to a Ray cluster. Ray itself tries an absent head for minutes, and then ends the process."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tokenbench.errors import MachineError, brief

__all__ = ["connect"]

PATIENCE = 5.0
"""Seconds in which the head of a cluster has to answer."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2, and so of gRPC, begins (RFC 9113, 3.4): a fixed text, and a frame of settings without any."""
SETTINGS = 4
"""The type of the frame with which a server of HTTP/2 answers; it is the fourth byte of the frame."""


def connect(ray: Any, address: str) -> None:
    """Connect this process to a Ray cluster, unless it is connected.

    Args:
        ray: The library.
        address: HOST:PORT of the head, or a word or URL that Ray knows (`local`, `auto`, `ray://HOST:PORT`).

    Raises:
        MachineError: No cluster can be reached there.
    """
    if ray.is_initialized():
        return
    new = address == "local"
    where = "a Ray cluster on this machine" if new else f"the Ray cluster at {address}"
    hint = "" if new else "compare the address with the one that ray start --head printed"
    if trouble := _find_trouble(address):
        raise MachineError(f"cannot reach {where}: {trouble}", hint)
    try:
        with _without_stderr():
            ray.init(
                address=address,
                include_dashboard=False if new else None,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        token = "" if new else "; if it requires a token, set RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH as for ray start"
        raise MachineError(f"cannot reach {where}: {brief(error)}", hint + token) from None


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what this process writes to its standard error: Ray's C++ code writes there whatever its log level says."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _find_trouble(address: str) -> str:
    """Return what is wrong with the head of a cluster; empty if it answers, or if the address does not say where it is."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return ""
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as head:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return ""
            head.sendall(PREFACE)
            answer = head.recv(9)
    except TimeoutError:
        return f"nothing answers within {PATIENCE:.0f} seconds"
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "" if answer[3:4] == bytes([SETTINGS]) else "what answers there is not Ray"
