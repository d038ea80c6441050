"""The pieces of the page: fronts, scales, tables, answers to needs. What is right is written down by hand."""

from dataclasses import replace
from itertools import pairwise

import pytest
from jinja2 import Environment, FileSystemLoader

from tests.reports.hand_made import hand_made
from tests.reports.made_up import bench, made_up
from tokenbench.comparison.panel import budget_size
from tokenbench.comparison.ranking import rank_strategies
from tokenbench.comparison.verdicts import Kind, Verdict
from tokenbench_reports.html import HERE
from tokenbench_reports.html.cells import AXES, Cell, at_budget, budgets_of, cells_of_model
from tokenbench_reports.html.compare import choose_example, pair_key
from tokenbench_reports.html.elsewhere import published_views
from tokenbench_reports.html.front import front, stairs
from tokenbench_reports.html.marks import assign_marks
from tokenbench_reports.html.masks import pack
from tokenbench_reports.html.multiples import multiples
from tokenbench_reports.html.needs import needs
from tokenbench_reports.html.plot import WIDE, cost_view
from tokenbench_reports.html.scale import Scale, kept_range, spread
from tokenbench_reports.html.scenes import bars, scene
from tokenbench_reports.html.tasks import WIDEST, tasks_view
from tokenbench_reports.html.triangle import MOST, triangle

NAN = float("nan")


def cell(strategy, budget="1/3", kept=80.0, tokens=50.0, verdict=None, **costs):
    known = {"tokens": tokens, **costs}
    limits = (kept - 2, kept + 2) if kept == kept else (NAN, NAN)
    return Cell(
        strategy,
        budget,
        (kept, *limits),
        {name: (c, c, c) for name, c in known.items()},
        score=kept / 100,
        verdict=verdict,
        evidence=NAN,
        above=NAN,
    )


def test_the_front_holds_what_nothing_beats_at_that_cost():
    a, b, dominated = cell("a", kept=90, tokens=60), cell("b", kept=70, tokens=30), cell("c", kept=65, tokens=40)
    assert front([a, b, dominated], "tokens") == [b, a]


def test_costs_within_a_hundredth_count_as_the_same():
    cheap, better = cell("cheap", kept=80, tokens=50.0), cell("better", kept=81, tokens=50.4)
    assert front([cheap, better], "tokens") == [better]
    assert front([cheap, cell("better", kept=81, tokens=50.6)], "tokens")[0] == cheap


def test_of_two_that_keep_the_same_the_cheaper_is_on_the_front():
    assert front([cell("a", kept=80, tokens=30), cell("b", kept=80, tokens=60)], "tokens") == [
        cell("a", kept=80, tokens=30)
    ]


def test_a_cost_that_is_not_known_puts_nobody_on_its_front():
    assert front([cell("a"), cell("b", kept=NAN, time=3.0)], "time") == []


def test_stairs_only_rise():
    cells = [cell("a", kept=50, tokens=10), cell("b", kept=40, tokens=20), cell("c", kept=70, tokens=30)]
    assert stairs(cells, "tokens") == [(10, 50), (30, 70)]


def test_a_scale_places_its_ends_and_holds_what_lies_beyond():
    scale = Scale(20, 120, 100, 0)
    assert [scale(value) for value in (20, 70, 120, 500)] == [100, 50, 0, 0]
    assert Scale(0, 62, 0, 100).ticks(7) == [0, 10, 20, 30, 40, 50, 60]


def test_the_range_holds_a_hundred_and_is_not_flattened_by_wide_intervals():
    assert kept_range([cell("a", kept=95)]) == (80, 103)
    wild = Cell("a", "1/3", (50.0, 2.0, 240.0), {}, NAN, None, NAN, NAN)
    assert kept_range([wild]) == (0, 125)


@pytest.mark.parametrize("wanted", [[10, 11, 12], [0, 0, 0, 0], [95, 96, 97, 99]])
def test_labels_are_moved_apart_and_stay_in_order(wanted):
    places = spread(wanted, 10, 0, 100)
    assert all(b - a >= 10 for a, b in pairwise(places))
    assert places[0] >= 0
    assert places[-1] <= 100


def test_the_best_two_and_those_on_a_front_have_colours_and_floors_have_none():
    cells = [cell(f"s{at}", kept=90 - at, tokens=50 + at, cache=50 - 40 * (at == 7)) for at in range(9)]
    marks = assign_marks([*cells, cell("random", kept=99.0)])
    assert [marks[name].look for name in ("s0", "s1", "random")] == ["0", "1", "f"]
    assert marks["s7"].coloured
    assert marks["s8"].look == "g"
    assert sum(mark.coloured for mark in marks.values()) <= 5


def test_needs_are_met_by_the_best_within_the_limit():
    loses = Verdict(Kind.LOSES_MORE, 1.0)
    cells = [
        cell("rich", kept=90, flops=70, cache=45, verdict=loses),
        cell("lean", kept=80, flops=59, cache=18, verdict=loses),
        cell("poor", kept=60, flops=40, cache=10, verdict=Verdict(Kind.NOT_DECIDED)),
    ]
    most, flops, cache, loss = needs(cells, assign_marks(cells), 1.0)
    assert (most.strategy, flops.strategy, cache.strategy, loss.strategy) == ("rich", "lean", "lean", "")
    assert loss.text == "no method is shown to"
    assert loss.small == "2 of 3 lose more; 1 of 3 are open"
    assert flops.small == "59 % of the FLOPs, 18 % of the KV cache"


def test_a_need_that_nobody_meets_says_who_comes_nearest():
    cells = [cell("a", kept=90, flops=70, cache=45)]
    flops = needs(cells, assign_marks(cells), 1.0)[1]
    assert (flops.strategy, flops.text, flops.small) == ("", "none of these", "a at 1/3 needs 70 %, the least")


def test_floors_answer_no_need():
    assert needs([cell("random", kept=99)], assign_marks([cell("random")]), 1.0) == []


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(Kind.LOSES_MORE, "yes"), (Kind.NON_INFERIOR, "no"), (Kind.WORSE, "open"), (Kind.TOO_FEW, "too few images")],
)
def test_whether_the_margin_is_lost_has_an_answer(kind, answer):
    assert Verdict(kind, 1.0).answer == answer


KEPT = {"1/3": {"b": 80.0, "a": 90.0, "random": 50.0}, "1/9": {"b": 69.0, "a": 70.0, "random": 30.0}}  # b before a


def test_the_triangle_has_every_pair_once_and_brackets_what_is_open():
    comparison = hand_made(KEPT, better=[("a", "b", "1/3"), ("a", "random"), ("b", "random")])
    first, last = rank_strategies(comparison, "toy")
    drawn = triangle(first, comparison.pairs, {}, "")
    assert [name for name, _ in drawn.columns] == ["a", "b"]
    assert [[gap.text for gap in gaps] for _, _, gaps in drawn.rows] == [["10.0"], ["40.0", "30.0"]]
    [[open_], _] = [gaps for _, _, gaps in triangle(last, comparison.pairs, {}, "").rows]
    assert (open_.text, open_.real) == ("(1.0)", False)


def test_a_large_triangle_is_cut_and_says_so():
    comparison = hand_made({"1/3": {f"s{at}": 90.0 - at for at in range(MOST + 3)}})
    drawn = triangle(rank_strategies(comparison, "toy")[0], comparison.pairs, {}, "")
    assert len(drawn.rows) == MOST - 1
    assert "all pairs are in pairs.csv" in drawn.text


def test_strategies_without_a_budget_stand_at_every_budget_below_the_others():
    cells = [cell("a"), cell("a", "1/9"), cell("blind", "none", kept=5)]
    assert budgets_of(cells) == ["1/3", "1/9"]
    assert [one.strategy for one in at_budget(cells, "1/9")] == ["a", "blind"]
    assert budgets_of([cell("blind", "none")]) == ["none"]


def test_every_mark_lies_where_its_cell_says():
    comparison, _ = made_up({"good": 0.0, "bad": 0.5})
    cells = cells_of_model(comparison, "toy")
    budgets = budgets_of(cells)
    plot = cost_view(cells, AXES[1], assign_marks(cells), budgets).plots[0]
    assert len(plot.points) == len(cells)
    most = max(one.costs["flops"][2] for one in cells) * 1.04
    low, high = kept_range(cells)
    for point in plot.points:
        one = cells[point.cell]
        assert (point.x - WIDE.left) / (WIDE.right - WIDE.left) * most == pytest.approx(one.costs["flops"][0], abs=0.2)
        share = (WIDE.bottom - point.y) / (WIDE.bottom - WIDE.top)
        assert low + share * (high - low) == pytest.approx(one.kept[0], abs=0.3)
        assert budgets[point.budget] == one.budget


def test_a_limit_beyond_the_picture_has_an_arrow_and_no_cap():
    marked = Environment(loader=FileSystemLoader(HERE)).get_template("macros.html").module
    inside, beyond = cell("a", kept=95), replace(cell("b", kept=110), kept=(110.0, 60.0, 300.0))
    cells = [inside, beyond]
    first, second = sorted(
        cost_view(cells, AXES[0], assign_marks(cells), ["1/3"]).plots[0].points, key=lambda p: p.cell
    )
    assert (first.below, first.above, second.below, second.above) == (False, False, False, True)
    assert second.high == WIDE.top
    scale = Scale(*kept_range(cells), 3.0, 97.0)
    assert scale.bar(*beyond.kept)[2:] == (97.0, False, True)
    drawn = marked.bar(scale.bar(*beyond.kept), "1", None)
    assert drawn.count("M0-5V5") == 1
    assert drawn.count("M-5-4L0 0L-5 4") == 1
    assert marked.bar(scale.bar(*inside.kept), "1", None).count("M0-5V5") == 2


def test_time_is_an_axis_where_it_was_measured():
    comparison, _ = made_up({"good": 0.0})
    untimed = cells_of_model(comparison, "toy")
    timed = cells_of_model(comparison, "toy", [bench(strategies=("good",), budget="1/4")])
    assert cost_view(untimed, AXES[3], assign_marks(untimed), ["1/2"]).plots == []
    assert "tokenbench bench" in cost_view(untimed, AXES[3], assign_marks(untimed), ["1/2"]).text
    [one] = [cell for cell in timed if "time" in cell.costs]
    assert (one.budget, one.costs["time"]) == ("1/4", pytest.approx((51.2, 48.7, 53.8)))


def test_panels_need_two_budgets_and_share_their_axes():
    cells = [cell("a", "1/3", 90), cell("a", "1/9", 70), cell("b", "1/3", 80), cell("b", "1/9", 75)]
    marks = assign_marks(cells)
    drawn = multiples(cells, marks)
    assert [panel.strategy for panel in drawn.panels] == ["a", "b"]
    assert [panel.ends for panel in drawn.panels] == ["70 → 90", "75 → 80"]
    assert [budget for _, budget in drawn.budgets] == sorted(("1/3", "1/9"), key=budget_size)
    assert multiples(cells[::2], marks) is None


def test_many_tasks_stand_in_several_tables_and_the_sentence_names_the_extremes():
    comparison, _ = made_up({"good": 0.0, "bad": 0.5}, tasks=[f"t{at}" for at in range(WIDEST + 1)], images=8)
    cells = cells_of_model(comparison, "toy")
    view = tasks_view(comparison.summary, cells, "1/2", assign_marks(cells))
    assert [len(table.tasks) for table in view.tables] == [WIDEST, 1]
    rows = comparison.summary.query("budget == '1/2' and task != 'mean'")
    hardest = rows.groupby("task")["retention"].mean().idxmin()
    assert f"{hardest} suffers most" in view.text


def test_a_scene_darkens_what_was_dropped():
    own = {
        "strategy": "a",
        "budget": "1/2",
        "answer": "x",
        "right": True,
        "kept": pack([0, 3], 4),
        "count": 2,
        "layers": [[4, 1], [2, 3]],
    }
    sample = {
        "cells": [own],
        "frames": [["0-0", 60, 60]],
        "shown": [0],
        "lattice": [1, 2, 2, 0],
        "evidence": [[0, 0, 0.5, 0.5, 0, 1]],
    }
    drawn = scene(sample, "a", "1/2")
    assert drawn.frames[0].dropped == "M1,0h1v1h-1zM0,1h1v1h-1z"
    assert drawn.frames[0].evidence == [(0, 0, 1, 1)]
    assert [height for _, _, height in drawn.layers] == [100, 50, 50, 50]
    assert scene(sample, "b", "1/2") is None
    assert bars([]) == []


def test_the_example_is_one_that_divides_the_pair():
    def sample(a, b):
        return {
            "cells": [{"strategy": "a", "budget": "1/2", "right": a}, {"strategy": "b", "budget": "1/2", "right": b}]
        }

    samples = [sample(True, True), sample(False, True), sample(True, False)]
    assert choose_example(samples, "a", "b", "1/2") is samples[2]
    assert choose_example(samples[:2], "a", "b", "1/2") is samples[0]
    assert choose_example([], "a", "b", "1/2") is None
    assert pair_key("a", "b", "1/2") == pair_key("b", "a", "1/2")


def test_published_numbers_of_another_model_are_those_in_print():
    comparison, _ = made_up({"clse": 0.1, "fastv": 0.2, "random": 0.5}, budgets=("1/3", "1/2"))
    cells = cells_of_model(comparison, "toy")
    [view] = published_views(comparison, "toy", cells, budgets_of(cells), assign_marks(cells))
    rows = {row.strategy: row for row in view.rows}
    assert set(rows) == {"clse", "fastv"}
    assert "99.4 (CLSE, llava-1.5-7b)" in rows["clse"].there
    assert "96.0 (RESTORE, llava-1.5-7b)" in rows["fastv"].there
    assert view.budget == "1/3"
    assert "compare the order, never the numbers" in view.text
