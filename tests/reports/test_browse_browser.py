"""Every question in a real browser, by keyboard: filter, open, compare, back; links; 50,000 questions; no overlap."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.reports.chromium import MARKS, opened, start, texts
from tests.reports.made_up import HOSTILE, LONG, MadeUpRun, asked, made_up
from tokenbench.comparison import compare
from tokenbench.contract.suite import Sample
from tokenbench_reports.html import HtmlReport, render_page
from tokenbench_reports.html.browse.pieces import ONE_FILE, PIECE

selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install tokenbench[test]")
pytestmark = MARKS
AXE = Path(os.environ.get("AXE", Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"))
MANY = 50_000


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    browser = start(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


def layered(loses, **options):
    """A run that says how many tokens are in each of four layers: all, all, and the kept ones twice."""
    samples = made_up(loses, **options)[1].samples()
    layers = [[36, 36, len(kept), len(kept)] for kept in samples["kept"]]
    samples = samples.assign(tokens_per_layer=layers)
    comparison = compare(samples.assign(kept=samples["kept"].map(len)), resamples=199)
    return comparison, MadeUpRun(samples, asked(samples))


@pytest.fixture(scope="module")
def made():
    return layered({"good": 0.1, "bad": 0.5, "random": 0.7})


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("browse") / "report.html"
    path.write_text(render_page(*made), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """50,000 questions of two tasks, four cells; the page and its data beside it."""
    rng, at = np.random.default_rng(0), np.arange(MANY)
    keys, parts = [f"question-{number:06d}" for number in at], []
    for name, budget, spoils in (
        ("vanilla", "all", 0.2),
        ("good", "1/2", 0.3),
        ("bad", "1/2", 0.5),
        ("random", "1/2", 0.7),
    ):
        right, count = rng.uniform(size=MANY) >= spoils, 36 if name == "vanilla" else 18
        parts.append(pd.DataFrame({
            "model": "toy", "strategy": name, "budget": budget, "seed": 0, "task": np.where(at % 2, "count", "read"),
            "sample": keys, "cluster": [f"image-{number // 5}" for number in at], "answer": np.where(right, "yes", "no"),
            "target": "yes", "score": right.astype(float), "kept": [np.arange(count, dtype=np.int32)] * MANY, "visual_tokens": 36,
            "lattice": [np.array([1, 6, 6, 0], dtype=np.int32)] * MANY, "realised_tokens": float(count), "flops": count * 1e6,
            "cache_bytes": count * 1e3, "evidence_recall": 0.5,
        }))  # fmt: skip
    samples = pd.concat(parts, ignore_index=True)
    image = Image.new("RGB", (60, 60), (90, 120, 200))
    questions = {
        ("count" if number % 2 else "read", key): Sample(
            key, "image", f"Is there a {'red' if number % 100 == 0 else 'blue'} thing? {number}", "yes", lambda: [image]
        )
        for number, key in enumerate(keys)
    }
    comparison = compare(samples.assign(kept=samples["kept"].map(len)), resamples=99)
    folder = tmp_path_factory.mktemp("many")
    written = HtmlReport().write(comparison, MadeUpRun(samples, questions), folder, io.StringIO())
    return folder, written, samples


def press(driver, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def until(driver, script, *arguments):
    """Wait until a script returns something true, and return it."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 20).until(lambda browser: browser.execute_script(script, *arguments))


def ready(driver):
    until(
        driver,
        "return document.querySelectorAll('[role=option]').length || document.querySelector('[data-part=list]').hidden",
    )
    return driver


def question(driver):
    """The key of the open question, once it is there with all its pictures."""
    until(
        driver,
        "const n = document.querySelector('[data-part=body]'); return n.children.length && !n.hasAttribute('aria-busy')",
    )
    return texts(driver, ".about code")[0]


def status(driver):
    return texts(driver, '[data-part="status"]')[0]


def fragment(driver):
    from urllib.parse import parse_qs, urlsplit

    name, _, query = urlsplit(driver.current_url).fragment.partition("?")
    return name, {key: values[0] for key, values in parse_qs(query).items()}


def complaints(driver):
    return [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def wide(samples, budget="1/2"):
    """By (task, sample), whether each strategy is right at a budget; and how many of all cells are."""
    own = samples[samples["budget"].isin([budget, "all"])]
    table = own.pivot_table(index=["task", "sample"], columns="strategy", values="score", sort=False) >= 0.5
    cells = samples.groupby(["task", "sample"])["score"].mean()
    return table.assign(hard=cells.reindex(table.index) <= 0.25)


def test_open_filter_open_compare_and_back_by_keyboard(driver, address, made):
    from selenium.webdriver.common.keys import Keys

    table = wide(made[1].samples())
    opened(driver, address)
    link = driver.find_element("css selector", 'a.button[href="#samples"]')
    driver.execute_script("arguments[0].focus()", link)
    press(driver, Keys.ENTER)
    ready(driver)
    assert status(driver) == f"{len(table)} of {len(table)} questions"

    press(driver, "3")
    only = table[table["good"] & ~table["bad"]]
    assert status(driver) == f"{len(only)} of {len(table)} questions"
    assert fragment(driver)[1]["show"] == "only-a"

    press(driver, "j", "j", Keys.ENTER)
    assert question(driver) == only.index[1][1]
    assert driver.execute_script("return document.activeElement.matches('h2.asked')")
    assert texts(driver, ".browser .pane .who2") == ["good", "bad"]
    assert texts(driver, ".browser .pane .said2") == ["“yes”", "“yes”"]  # every made-up answer is the same word
    press(driver, "k")
    assert question(driver) == only.index[0][1]

    press(driver, "c")
    question(driver)
    assert texts(driver, ".browser .pane .who2") == ["good", "random"]
    press(driver, "v")
    question(driver)
    assert texts(driver, ".browser .pane .who2") == ["good", "vanilla"]

    press(driver, "1", Keys.ESCAPE)
    until(driver, "return document.querySelector('[data-part=one]').hidden")
    assert driver.execute_script("return document.activeElement.dataset.part") == "list"
    press(driver, Keys.ESCAPE)
    until(driver, "return document.querySelector('.browser').hidden")
    assert texts(driver, "h1")
    assert complaints(driver) == []


@pytest.mark.parametrize(
    ("key", "name", "wanted"),
    [
        ("1", None, lambda t: t["good"] | True),
        ("2", "both", lambda t: t["good"] & t["bad"]),
        ("4", "only-b", lambda t: ~t["good"] & t["bad"]),
        ("5", "neither", lambda t: ~t["good"] & ~t["bad"]),
        ("6", "hard", lambda t: t["hard"]),
        ("7", "lost", lambda t: ~t["good"] & t["vanilla"]),
        ("8", "gained", lambda t: t["good"] & ~t["vanilla"]),
    ],
)
def test_every_filter_finds_what_the_scores_say(driver, address, made, key, name, wanted):
    table = wide(made[1].samples())
    ready(opened(driver, address + "#samples"))
    press(driver, key)
    count = int(wanted(table).sum())
    expected = f"{count} of {len(table)} questions" if count else f"No question matches. There are {len(table)} in all."
    assert status(driver) == expected
    assert fragment(driver)[1].get("show") == name
    assert driver.execute_script("return document.querySelector('.shows [aria-pressed=true] b').textContent") == str(
        count
    )


def test_words_and_task_narrow_the_list(driver, many):
    from selenium.webdriver.common.keys import Keys

    ready(opened(driver, (many[0] / "report.html").as_uri() + "#samples"))
    press(driver, "/", *"red thing")
    assert status(driver) == f"500 of {MANY:,} questions"
    press(driver, Keys.ESCAPE, "t")
    first = texts(driver, ".task2")[0]
    assert status(driver) == (
        f"500 of {MANY:,} questions" if first == "read" else f"No question matches. There are {MANY:,} in all."
    )
    assert fragment(driver)[1]["find"] == "red thing"


def test_50000_questions_are_filtered_within_a_second_and_few_rows_exist(driver, many):
    from selenium.webdriver.common.keys import Keys

    folder, written, samples = many
    table = wide(samples)
    ready(opened(driver, (folder / "report.html").as_uri() + "#samples"))
    slowest = 0.0
    for key, wanted in (
        ("2", table["good"] & table["bad"]),
        ("3", table["good"] & ~table["bad"]),
        ("7", ~table["good"] & table["vanilla"]),
    ):
        driver.execute_script("window.began = performance.now()")
        press(driver, key)
        assert status(driver) == f"{int(wanted.sum()):,} of {MANY:,} questions"
        slowest = max(slowest, float(driver.execute_script("return document.querySelector('.browser').dataset.took")))
        assert driver.execute_script("return document.querySelectorAll('[role=option]').length") < 60
    assert slowest < 1000
    press(driver, "1", Keys.TAB)
    driver.execute_script("document.querySelector('[data-part=list]').focus()")
    press(driver, Keys.END)
    until(driver, f"return document.querySelector('[aria-posinset=\"{MANY}\"][aria-selected=true]')")
    assert driver.execute_script("return document.querySelectorAll('[role=option]').length") < 60
    press(driver, Keys.ENTER)
    assert question(driver) == table.index[-1][1]
    assert complaints(driver) == []
    assert (folder / "report.html").stat().st_size < 1_000_000
    assert len(written) > 5
    assert all(path.stat().st_size < PIECE + 100_000 for path in written)
    assert sum(path.stat().st_size for path in written) > ONE_FILE


def test_a_large_run_shows_pictures_of_some_questions_and_says_so_of_the_others(driver, many):
    ready(opened(driver, (many[0] / "report.html").as_uri() + "#samples?show=both"))
    assert "2,000 of the 50,000 questions" in texts(driver, '[data-part="notes"] li')[0]
    press(driver, "j", "\ue007")
    question(driver)
    assert "stored with the report" in texts(driver, ".browser article .note")[0]
    scenes = (many[0] / "report-samples" / "scenes-0-0.js").read_text()
    number = json.loads(scenes[scenes.index("[[") : scenes.rindex("]") + 1])[0][0]
    task, key = many[2][["task", "sample"]].iloc[number]
    opened(driver, "about:blank")
    opened(driver, (many[0] / "report.html").as_uri() + f"#samples?sample={task}%2F{key}")
    assert question(driver) == key
    pictures = ".browser .scene image[href^='data:image/webp']"
    assert driver.execute_script("return document.querySelectorAll(arguments[0]).length", pictures) == 2


def test_a_page_without_its_folder_says_what_is_missing(driver, many, tmp_path):
    (tmp_path / "report.html").write_bytes((many[0] / "report.html").read_bytes())
    opened(driver, (tmp_path / "report.html").as_uri() + "#samples")
    until(
        driver,
        "return document.querySelector('[data-part=status]').textContent.includes('Copy the folder report-samples')",
    )


def test_a_link_leads_to_a_filter_and_a_question(driver, address, made):
    table = wide(made[1].samples(), "1/4")
    lost = table[~table["bad"] & table["vanilla"]]
    task, key = lost.index[3]
    opened(driver, f"{address}#samples?a=bad&b=vanilla&budget=1%2F4&show=lost&sample={task}%2F{key}")
    ready(driver)
    assert question(driver) == key
    assert status(driver) == f"{len(lost)} of {len(table)} questions"
    assert texts(driver, '[data-part="place"]') == [f"4 of {len(lost)}"]
    assert texts(driver, ".browser .pane .who2") == ["bad", "vanilla"]
    opened(driver, "about:blank")
    opened(driver, f"{address}#samples?a=gone&sample=nowhere")
    ready(driver)
    assert (
        status(driver)
        == f"This report does not have the method “gone”, the question “nowhere”. {len(table)} of {len(table)} questions"
    )


def test_the_browser_goes_back_from_the_question_to_the_list_to_the_report(driver, address):
    opened(driver, address)
    driver.execute_script("location.hash = '#samples?show=only-a'")
    ready(driver)
    driver.execute_script("document.querySelector('[role=option]').click()")
    question(driver)
    driver.back()
    until(driver, "return document.querySelector('[data-part=one]').hidden")
    assert fragment(driver)[1]["show"] == "only-a"
    driver.back()
    until(driver, "return document.querySelector('.browser').hidden")


def test_the_layers_show_all_tokens_first_and_those_kept_last(driver, address, made):
    samples = made[1].samples()
    task, key = samples[["task", "sample"]].iloc[0]
    [row] = samples[
        (samples["strategy"] == "good")
        & (samples["budget"] == "1/4")
        & (samples["task"] == task)
        & (samples["sample"] == key)
    ].to_dict("records")
    opened(driver, f"{address}#samples?a=good&b=bad&budget=1%2F4&sample={task}%2F{key}")
    question(driver)
    dark = "return document.querySelector('.browser .pane .drop').getAttribute('d')"
    wanted = "".join(f"M{at % 6},{at // 6}h1v1h-1z" for at in range(36) if at not in set(row["kept"]))
    assert driver.execute_script(dark) == wanted
    assert texts(driver, ".count2")[0] == "9 visual tokens of 36"
    press(driver, ",", ",")
    assert driver.execute_script(dark) == ""
    assert texts(driver, ".count2")[0] == "all 36 visual tokens"
    press(driver, ".")
    assert driver.execute_script(dark) == wanted


def test_several_stages_are_shown_where_the_run_stores_them_and_said_where_not(driver, made, tmp_path):
    samples = made[1].samples()
    task, key = samples[["task", "sample"]].iloc[0]
    good = samples["strategy"] == "good"
    leaves = [1] * 12 + [3] * 18 + [-1] * 6
    staged = samples.assign(
        kept=[np.arange(30, 36) if one else kept for one, kept in zip(good, samples["kept"], strict=True)],
        tokens_per_layer=[
            [36, 24, 24, 6] if one else layers for one, layers in zip(good, samples["tokens_per_layer"], strict=True)
        ],
    )
    dark = "return document.querySelector('.browser .pane .drop').getAttribute('d').split('M').length - 1"
    for stored, wanted in ((True, (30, 12, 12, 0)), (False, (30, 30, 30, 0))):
        page = tmp_path / f"{stored}.html"
        rows = staged.assign(leaves=[leaves if one and stored else None for one in good])
        page.write_text(render_page(made[0], MadeUpRun(rows, made[1].questions())), encoding="utf-8")
        opened(driver, f"{page.as_uri()}#samples?a=good&b=bad&budget=1%2F4&sample={task}%2F{key}")
        question(driver)
        for count, tokens in zip(wanted, (6, 24, 24, 36), strict=True):
            assert driver.execute_script(dark) == count
            said = texts(driver, ".count2")[0]
            assert said.startswith("all 36 visual tokens" if tokens == 36 else f"{tokens} visual tokens of 36")
            assert ("which ones is not stored" in said) == (not stored and tokens == 24)
            press(driver, ",")


def test_the_keys_are_explained_and_letters_can_be_switched_off(driver, address):
    from selenium.webdriver.common.keys import Keys

    ready(opened(driver, address + "#samples"))
    before = status(driver)
    press(driver, "?")
    assert "compare with the next or previous method" in texts(driver, "dialog .keys")[0]
    press(driver, "3")
    driver.execute_script("document.querySelector('[data-part=letters]').click()")
    press(driver, Keys.ESCAPE)
    until(driver, "return !document.querySelector('dialog').open")
    driver.execute_script("document.activeElement.blur()")
    press(driver, "3")
    assert status(driver) == before


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_overlaps_or_leaves_the_window(driver, address, width):
    for sample in ("", "&sample=count%2Fcount-0"):
        opened(driver, "about:blank")
        ready(opened(driver, f"{address}#samples?a=good&b=bad&budget=1%2F4{sample}", width=width, height=844))
        if sample:
            question(driver)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        boxes = driver.execute_script(
            "return [...document.querySelectorAll('.lead2 > *, .filters > label, .shows, [data-part=status], [role=option], article > .row > *,"
            " article h2, .about, .layers, .browser .pane, .all-said')].filter(n => n.offsetParent).map(n => [n.className || n.tagName, n.getBoundingClientRect().toJSON(),"
            " n.closest('.rows') ? 'list' : n.closest('article') ? 'article' : 'page'])"
        )
        assert len(boxes) > 8
        for at, (name, one, part) in enumerate(boxes):
            for other, two, its in boxes[at + 1 :]:
                apart = (
                    one["right"] <= two["left"] + 1
                    or two["right"] <= one["left"] + 1
                    or one["bottom"] <= two["top"] + 1
                    or two["bottom"] <= one["top"] + 1
                )
                assert apart or part != its, (name, other, one, two)


def test_hostile_strings_do_no_harm(driver, tmp_path):
    loses = {HOSTILE: 0.1, LONG: 0.4, "x" * 300: 0.2}
    comparison, run = made_up(
        loses, question=HOSTILE + LONG, answer=HOSTILE, models=(HOSTILE, "other"), tasks=(HOSTILE, "b"), images=8
    )
    [page] = HtmlReport().write(comparison, run, tmp_path, io.StringIO())
    ready(opened(driver, page.as_uri() + "#samples", width=390))
    driver.execute_script("document.querySelector('[role=option]').click()")
    question(driver)
    assert driver.title != "owned"
    assert driver.execute_script("return document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    _, wish = fragment(driver)
    assert wish["sample"].startswith(f"{HOSTILE}/")
    driver.refresh()
    assert question(driver)
    assert complaints(driver) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_violation(driver, address, width):
    if not AXE.exists():
        pytest.skip("no axe-core: npm install --no-save axe-core")
    driver.set_script_timeout(300)
    for sample in ("", "&sample=count%2Fcount-0"):
        opened(driver, "about:blank")
        ready(opened(driver, f"{address}#samples?budget=1%2F4{sample}", width=width))
        if sample:
            question(driver)
        driver.execute_script(AXE.read_text())
        violations = driver.execute_async_script("axe.run(document).then(found => arguments[0](found.violations))")
        assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in violations] == []


def test_nothing_is_asked_of_the_network(driver, many):
    ready(opened(driver, (many[0] / "report.html").as_uri() + "#samples"))
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert urls
    assert [url for url in urls if not url.startswith(("data:", "file:", "chrome:"))] == []


def test_escape_from_a_question_keeps_what_was_chosen_there(driver, address):
    from selenium.webdriver.common.keys import Keys

    opened(driver, "about:blank")
    ready(opened(driver, address + "#samples?a=good&b=bad&budget=1%2F2"))
    press(driver, "j", Keys.ENTER)
    question(driver)
    press(driver, "b", "x", "c", "t", "3")
    question(driver)
    chosen = {key: value for key, value in fragment(driver)[1].items() if key != "sample"}
    assert (chosen["a"], chosen["budget"], chosen["show"]) == ("bad", "1/4", "only-a")
    assert chosen["b"] not in ("bad", "good")
    assert "task" in chosen
    press(driver, Keys.ESCAPE)
    until(driver, "return document.querySelector('[data-part=one]').hidden")
    until(driver, "return !location.hash.includes('sample=') && location.hash.includes('1%2F4')")
    assert fragment(driver)[1] == chosen
    values = "return ['a', 'b', 'budget'].map(n => document.querySelector(`[data-part=${n}]`).value)"
    assert driver.execute_script(values) == [chosen["a"], chosen["b"], chosen["budget"]]
    assert not driver.execute_script("return document.activeElement === document.body")
    press(driver, Keys.ESCAPE)
    until(driver, "return document.querySelector('.browser').hidden")


@pytest.mark.parametrize(
    ("link", "named"),
    [
        ("model=nope", "the model “nope”"),
        ("a=fatsv&b=clse", "the method “fatsv”, the method “clse”"),
        ("budget=1%2F7&task=none&show=odd", "the budget “1/7”, the task “none”, the filter “odd”"),
    ],
)
def test_a_link_to_what_the_report_lacks_names_all_of_it(driver, address, link, named):
    opened(driver, "about:blank")
    ready(opened(driver, f"{address}#samples?{link}"))
    assert status(driver).startswith(f"This report does not have {named}. ")
