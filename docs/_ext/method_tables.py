"""Tables about all methods: recorded decisions, counts of tokens beside the released ones, and lines of code."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tokenbench.contract.budget import Budget, count
from tokenbench.contract.stage import Stage
from tokenbench.contract.strategy import Strategy
from tokenbench.engine import RowPlan

DEPTH, VISUAL = 32, 576  # LLaVA-1.5-7B and one image
BUDGETS = (192, 128, 64)
DOCS = Path(__file__).parents[1]
SETTING = re.compile(r"(?<![`\w])((?:[\w-]+:)?[a-z]+=[\w./]*\w(?::[a-z]+=[\w./]*\w)*)")


def read_fidelity() -> dict[str, dict[str, Any]]:
    """What is known of every method against its paper and its released code, with how many recorded decisions are equal."""
    told = tomllib.loads((DOCS / "fidelity.toml").read_text(encoding="utf-8"))
    counted = tomllib.loads((DOCS / "recorded.toml").read_text(encoding="utf-8"))
    return {name: {"cases": 0, "equal": 0} | counted.get(name, {}) | facts for name, facts in told.items()}


def recorded_table() -> str:
    """One line a method: recorded decisions, how many are equal, and what differs all the same."""
    rows = []
    for name, known in sorted(read_fidelity().items()):
        equal = f"{known['equal']} of {known['cases']}" if known["cases"] else "none recorded"
        if "whole_runs" in known:
            equal += f", and {known['equal_whole_runs']} of {known['whole_runs']} whole prefills"
        rows.append(f"| [`{name}`](strategies/{name}.md) | {equal} | {escape(marked(known.get('why', '')))} |")
    return "\n".join(["| strategy | equal | remarks |", "|---|---|---|", *rows, ""])


def count_table(strategies: Mapping[str, type[Strategy]]) -> str:
    """One line a method: tokens after each stage and their mean over the layers, and what the released code leaves."""
    known, rows = read_fidelity(), []
    for name, cls in strategies.items():
        if cls.budgeted:
            cells = [counts_of(stages_of(cls, Budget.parse(budget))) for budget in BUDGETS]
            released = escape(known.get(name, {}).get("counts", ""))
            rows.append(f"| [`{name}`](strategies/{name}.md) | {' | '.join(cells)} | {released} |")
    return "\n".join(
        [
            f"| strategy | {' | '.join(map(str, BUDGETS))} | released code |",
            "|---|" + "---|" * (len(BUDGETS) + 1),
            *rows,
            "",
        ]
    )


def stages_of(cls: type[Strategy], budget: Budget) -> Sequence[Stage]:
    """The stages of a method on the usual model and image."""
    return RowPlan.make(cls(), budget, DEPTH).stages(VISUAL)


def counts_of(stages: Sequence[Stage]) -> str:
    """`330/210/62 (208.1)`; with ≤ where fewer may stay."""
    alive, left, total = VISUAL, list[int](), stages[0].layer * VISUAL if stages else DEPTH * VISUAL
    edges = [*(stage.layer for stage in stages), DEPTH]
    for stage, (start, end) in zip(stages, pairwise(edges), strict=True):
        assert stage.keep is not None
        alive = count(stage.keep, VISUAL, alive)
        if not left or left[-1] != alive:
            left.append(alive)
        total += alive * (end - start)
    bound = "≤ " if any(stage.at_most for stage in stages) else ""
    return f"{bound}{'/'.join(map(str, left))} ({total / DEPTH:.1f})"


def lines_table(strategies: Mapping[str, type[Strategy]]) -> str:
    """The median and the largest number of lines of code of a method, and every method's."""
    files = {name: Path(inspect.getsourcefile(cls) or "") for name, cls in strategies.items()}
    lines = {name: count_lines(path.read_text(encoding="utf-8")) for name, path in files.items()}
    most = max(lines, key=lambda name: lines[name])
    ordered = sorted(lines.items(), key=lambda item: (item[1], item[0]))
    listed = ", ".join(f"`{name}` {number}" for name, number in ordered)
    return f"The median is {median(lines.values()):g} lines, and the largest method, `{most}`, has {lines[most]}: {listed}.\n"


def count_lines(source: str) -> int:
    """Lines of code of a file: without imports, docstrings, comments, empty lines and `__all__`."""
    left_out = set[int]()
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.stmt] = [node] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):  # strings that stand alone document
            parts = [own for own in node.body if isinstance(own, ast.Expr) and isinstance(own.value, ast.Constant)]
        for part in parts:
            left_out.update(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(
        bool(line.strip()) and not line.lstrip().startswith(("#", "__all__")) and at not in left_out
        for at, line in lines
    )


def marked(text: str) -> str:
    """Prose in which settings such as `last=no` are code."""
    return SETTING.sub(r"`\1`", text)


def escape(text: str) -> str:
    """Prose with formulas as Markdown shows it; code between backticks stays."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*_|<>\[\]$\\])", r"\\\1", p) for p in pieces)
