"""What README and docs show is what works: every block runs, page by page, in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks, commands, pages
from tokenbench.cli import cli

pytestmark = pytest.mark.slow

# Commands that have their page before they are there; such a page is run as soon as all its commands are.
AWAITED = {"check", "doctor", "export", "new", "resume", "status"}


def runnable(page: Path) -> list[Block]:
    """Its blocks that a reader saves or runs."""
    return [block for block in blocks(page) if block.language in ("sh", "python", "toml", "yaml")]


@pytest.mark.parametrize("page", [*filter(runnable, pages())], ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = runnable(page)
    if missing := (commands("".join(block.text for block in shown)) & AWAITED) - cli.commands.keys():
        pytest.skip(f"no command yet: {', '.join(sorted(missing))}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for block in shown:
        if not block.installs:
            try:
                block.act()
            except BaseException as error:
                error.add_note(f"in the block at {page.relative_to(ROOT)}:{block.line}")
                raise


PAGE = """# Page

```sh
echo fine > said
```

```sh
cat said absent
```

```sh
tokenbench show \\
    absent
```

```python
assert open("said").read() == "other", "said something else"
```
"""


def test_a_block_that_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.chdir(tmp_path)
    first, *others = blocks(page)
    first.act()
    assert [block.line for block in others] == [7, 11, 16]
    for block, reason in zip(
        others, ("exit code 1 of: cat", "exit code 2 of: tokenbench", "something else"), strict=True
    ):
        with pytest.raises(AssertionError, match=reason):
            block.act()
