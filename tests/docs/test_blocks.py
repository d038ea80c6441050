"""What README and docs show is what works: every block runs, page after page, in one folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks, pages, reading_order, runnable
from tests.tools.test_bench import in_this_process
from tokenbench_tools.bench import rounds
from tokenbench_tools.doctor import findings

pytestmark = pytest.mark.slow


@pytest.fixture
def few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches of `tokenbench bench` are made here, and the doctor tries each import once: tests of the tools have them start for real."""
    monkeypatch.setattr(rounds, "_launch", in_this_process)
    monkeypatch.setattr(findings, "_try_code", cache(findings._try_code))


@pytest.mark.usefixtures("few_processes")
def test_every_block_runs_in_one_folder_page_after_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    failed: list[BaseException] = []
    for page in reading_order():
        for block in runnable(page):
            try:
                block.act()
            except BaseException as error:
                error.add_note(f"in the block at {page.relative_to(ROOT)}:{block.line}")
                failed.append(error)
    if failed:
        raise BaseExceptionGroup("blocks that do not run after the ones before them", failed)


def test_the_reading_order_has_every_page_once() -> None:
    order = reading_order()
    assert order[0] == ROOT / "README.md"
    assert sorted(order) == sorted(page for page in pages() if runnable(page))


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
