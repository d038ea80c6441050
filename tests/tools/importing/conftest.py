"""Recorded logs, unpacked once."""

import tarfile
from pathlib import Path

import pytest

from tests.tools.importing.changed import FASTV_NINTH, VANILLA, take

LOGS = Path(__file__).parents[2] / "data" / "logs.tar.xz"


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """The folder of the recorded logs, which tests only read."""
    folder = tmp_path_factory.mktemp("logs")
    with tarfile.open(LOGS) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def two(logs, tmp_path):
    """The folders of vanilla and of fastv at 1/9 on tb_words, which tests may change."""
    source = logs / "lmms-eval-0.7.3" / "cells"
    return [
        take(source, stamp, tmp_path / name, "tb_words") for name, stamp in (("base", VANILLA), ("fastv", FASTV_NINTH))
    ]
