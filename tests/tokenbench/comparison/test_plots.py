"""A comparison on matplotlib axes."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.reports.made_up import made_up
from tokenbench.comparison import Comparison, plots
from tokenbench.comparison.plots import COLOURS
from tokenbench.comparison.ranking import rank_strategies
from tokenbench.errors import MachineError, UsageError

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return made_up({"good": 0.0, "bad": 0.5}, models=("large",), budgets=("1/2", "1/4"), images=24)[0]


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")


def cell(comparison: Comparison, strategy: str, budget: str) -> dict[str, float]:
    rows = comparison.summary.query(
        "model == 'large' and task == 'mean' and strategy == @strategy and budget == @budget"
    )
    return rows.to_dict("records")[0]


def test_accuracy_against_cost_shows_every_cell_where_it_is(comparison: Comparison) -> None:
    ax = comparison.plot()
    shown = {container.get_label(): container.lines[0].get_xydata().tolist() for container in ax.containers}
    assert set(shown) == {"vanilla", "good", "bad"}
    for name in ("good", "bad"):
        wanted = [
            (100 * {"1/2": 0.5, "1/4": 0.25}[b], 100 * cell(comparison, name, b)["retention"]) for b in ("1/2", "1/4")
        ]
        np.testing.assert_allclose(sorted(shown[name]), sorted(wanted))
    assert ax.get_title() == "large"


def test_retention_over_the_budgets_runs_from_the_largest_to_the_smallest(comparison: Comparison) -> None:
    ax = comparison.plot("retention", model="large")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1/2", "1/4"]
    [line] = (line for line in ax.lines if line.get_label() == "bad")
    assert line.get_ydata().tolist() == pytest.approx(
        [100 * cell(comparison, "bad", b)["retention"] for b in ("1/2", "1/4")]
    )


def test_ranks_are_drawn_also_where_they_are_certain(comparison: Comparison) -> None:
    ax = comparison.plot("ranks", model="large", budget="1/2")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["good", "bad"]
    assert [list(line.get_xdata()) for line in ax.lines] == [[1, 1], [2, 2]]
    assert all(line.get_marker() == "o" for line in ax.lines)  # a line without length alone would show nothing
    assert ax.get_title() == "large, budget 1/2"


def test_differences_stand_with_their_intervals_the_higher_strategy_first(comparison: Comparison) -> None:
    ax = comparison.plot("differences", model="large", budget="1/4")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["good − bad"]
    [pair] = comparison.pairs.query("family == 'F2' and budget == '1/4' and task == 'mean'").to_dict("records")
    sign = 1 if pair["a"] == "good" else -1
    [container] = ax.containers
    assert container.lines[0].get_xdata().tolist() == pytest.approx([100 * sign * pair["difference"]])
    [bar] = container.lines[2][0].get_segments()
    assert sorted(x for x, _ in bar) == pytest.approx(sorted(100 * sign * pair[end] for end in ("low", "high")))
    assert container.lines[0].get_xdata()[0] > 0
    assert container.lines[0].get_color() == COLOURS[0]
    assert ax.get_title() == "large, budget 1/4"


def test_of_many_pairs_those_with_the_highest_strategy_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    loses = {"good": 0.0, "fair": 0.2, "poor": 0.4, "bad": 0.6}
    several = made_up(loses, budgets=("1/2",), images=24)[0]
    assert len(several.plot("differences").get_yticklabels()) == 6
    monkeypatch.setattr(plots, "MOST_PAIRS", 5)
    names = [tick.get_text() for tick in several.plot("differences").get_yticklabels()]
    assert len(names) == 3
    assert {name.partition(" − ")[0] for name in names} == {rank_strategies(several, "toy")[0].strategies[0]}


def test_it_draws_on_the_axes_it_is_given(comparison: Comparison) -> None:
    from matplotlib.figure import Figure

    given = Figure().subplots()
    assert comparison.plot("accuracy-cost", ax=given) is given
    assert given.containers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pie", "model": "large"}, "unknown plot 'pie'"),
        ({}, "one model"),
        ({"model": "larg"}, "unknown model 'larg'"),
        ({"kind": "ranks", "model": "large", "budget": "1/3"}, "unknown budget '1/3'"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(comparison: Comparison, options: dict[str, str], message: str) -> None:
    several = replace(comparison, models=("large", "small"))
    with pytest.raises(UsageError, match=message):
        several.plot(**options)  # type: ignore[arg-type]


def test_too_little_to_draw_is_said() -> None:
    alone, _ = made_up({"only": 0.1}, budgets=("1/2",), images=12)
    with pytest.raises(UsageError, match="two budgets"):
        alone.plot("retention")
    with pytest.raises(UsageError, match="two strategies"):
        alone.plot("ranks")


def test_without_matplotlib_it_says_what_to_install(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MachineError, match="matplotlib") as caught:
        comparison.plot(model="large")
    assert "tokenbench[figures]" in caught.value.hint
