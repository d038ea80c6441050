"""Count the recorded decisions of released code that the strategies make, too, and write them to docs/recorded.toml.

In the repository, with the extra ``test``::

    python docs/count_recorded.py

It runs the tests that compare strategies with recorded decisions, and counts the cases whose tests pass.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
COUNTED = Path(__file__).parent / "recorded.toml"
HEAD = """# Written by docs/count_recorded.py from the tests in tests/strategies/test_recorded_*.py and test_golden.py.
# Of `cases` recorded decisions of the released code on fixed inputs, `equal` are made here, too; `whole_runs` count those
# of whole prefills: kept tokens, tokens in every layer and the last hidden state.
"""


class Counter:
    """A pytest plug-in that notes which recorded cases are equal."""

    def __init__(self) -> None:
        self.equal: dict[str, dict[str, bool]] = defaultdict(dict)
        """Whether all tests of a case passed, by method and case."""
        self.whole: dict[str, dict[str, bool]] = defaultdict(dict)
        """The same of whole prefills."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        """Note the outcome of a test about one case."""
        report = yield
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")
        if report.when == "call" and case:
            counted, method, name = self._place(item, case)
            counted[method][name] = counted[method].get(name, True) and report.passed
        return report

    def _place(self, item: Any, case: Any) -> tuple[dict[str, dict[str, bool]], str, str]:
        if isinstance(case, str):  # tests/strategies/test_golden.py
            method, _ = item.module.OURS[case.split("_", 2)[2]]
            return self.whole, method, case
        return self.equal, case.method, case.name


def main() -> int:
    """Run the tests and write the file."""
    sys.path.insert(0, str(ROOT))
    from tests.strategies.recorded import all_cases

    counter = Counter()
    files = sorted((ROOT / "tests" / "strategies").glob("test_recorded_*.py"))
    files.append(ROOT / "tests" / "strategies" / "test_golden.py")
    pytest.main(["-q", "-p", "no:cacheprovider", *map(str, files)], plugins=[counter])
    sections = [HEAD]
    for method, names in sorted(all_cases().items()):
        equal = sum(counter.equal[method].get(name, False) for name in names)
        lines = [f"[{method}]", f"cases = {len(names)}", f"equal = {equal}"]
        if whole := counter.whole.get(method):
            lines += [f"whole_runs = {len(whole)}", f"equal_whole_runs = {sum(whole.values())}"]
        sections.append("\n".join(lines) + "\n")
    COUNTED.write_text("\n".join(sections), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
