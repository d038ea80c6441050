"""Fenced blocks of Markdown pages, and what a reader does with them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.systems import only_posix
from tests.tokenbench.commands.test_running import call

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"[|<>&;$`]")
NAMED = re.compile(r"# ([\w.-]+\.(?:py|toml|yaml))\n")


@dataclass(frozen=True)
class Block:
    """One block: its language, text, and the line of the page it begins at."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str:
        """The file a reader saves it as: its first line is a comment with the name; empty if there is none."""
        found = NAMED.match(self.text)
        return found[1] if found else ""

    @property
    def installs(self) -> bool:
        """Whether it changes the environment the tests run in; `.ci/run` gives the README's."""
        return self.language == "sh" and self.text.startswith("pip install ")

    def act(self) -> None:
        """Save the file, or run the block, here. Raises AssertionError if it fails.

        Python and plain lines of `tokenbench` run in this process, which has torch loaded.
        """
        if self.file:
            Path(self.file).write_text(self.text)
        elif self.language == "python":
            exec(compile(self.text, "block", "exec"), {"__name__": "__main__"})
        elif self.language == "sh":
            for line in self.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["tokenbench"] and not SHELL.search(line):
                    code = call(*words[1:])
                    assert code == 0, f"exit code {code} of: {line}"
                else:
                    _run(line)


def pages() -> list[Path]:
    """README and the pages of the site that are written by hand."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


def reading_order() -> list[Path]:
    """README and the pages with runnable blocks, as the site's table of contents lists them."""
    index = (ROOT / "docs" / "index.md").read_text()
    listed = re.findall(
        r"^([a-z][\w-]*)$", "".join(re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)), re.MULTILINE
    )
    return [page for page in [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in listed)] if runnable(page)]


def runnable(page: Path) -> list[Block]:
    """The blocks of a page that a reader saves or runs."""
    return [
        block
        for block in (blocks(page) if page.exists() else ())
        if block.language in ("sh", "python", "toml", "yaml") and not block.installs
    ]


def commands(text: str) -> set[str]:
    """The commands of TokenBench in a text: `run`, `report`, …"""
    return set(re.findall(r"^(?:\$ )?tokenbench ([a-z]+)", text, re.MULTILINE))


def _run(line: str) -> None:
    only_posix("the documentation shows lines of a shell")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, f"exit code {done.returncode} of: {line}\n{said}"
