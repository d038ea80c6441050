"""A context in which nothing is downloaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["offline"]

VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
# Where libraries that are loaded already keep what the variables said when they were.
SWITCHES = (("huggingface_hub.constants", "HF_HUB_OFFLINE"), ("datasets.config", "HF_HUB_OFFLINE"))


@contextmanager
def offline() -> Iterator[None]:
    """Send nothing to the Hugging Face hub, not even a token. Files that are not on this machine count as missing."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    # A library that is imported inside the context would keep its switch: the small one is imported now, the other one is reset below.
    import huggingface_hub.constants as hub

    switched = {place: getattr(sys.modules[place[0]], place[1]) for place in SWITCHES if place[0] in sys.modules}
    usual = hub.HF_HUB_OFFLINE
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    for module, name in switched:
        setattr(sys.modules[module], name, True)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for place in SWITCHES:
            if place[0] in sys.modules:
                setattr(sys.modules[place[0]], place[1], switched.get(place, usual))
