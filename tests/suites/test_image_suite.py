"""The suite `image`: its contract, and that no answer can be guessed without the picture."""

import pickle
from collections import Counter

import pytest

from tokenbench.contract.suite import Task
from tokenbench_suites.image import SceneTask, eval_scene, suite
from tokenbench_suites.scenes import SIZE

TASKS = suite().tasks
MAJORITY = {
    "existence": 0.51, "attribute": 0.20, "position": 0.26, "counting": 0.26, "reading": 0.03, "choice": 0.26,
}  # fmt: skip


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


def test_has_160_questions_with_unique_keys(task: Task) -> None:
    keys = [sample.key for sample in task.samples()]
    assert len(keys) == len(set(keys)) == 160


def test_no_answer_is_much_more_common_than_another(task: Task) -> None:
    answers = Counter(sample.target for sample in task.samples())
    assert max(answers.values()) / 160 <= MAJORITY[task.name]


def test_no_question_gives_its_answer_away(task: Task) -> None:
    """The best guess from the question's wording alone is far from right."""
    wordings: dict[str, Counter[str]] = {}
    for sample in task.samples():
        wordings.setdefault(" ".join(sample.question.split()[:2]), Counter())[sample.target] += 1
    assert sum(max(targets.values()) for targets in wordings.values()) / 160 <= 0.6


def test_a_shorter_task_is_a_prefix(task: Task) -> None:
    short = SceneTask(task.name, 50).samples()
    assert [sample.key for sample in short] == [sample.key for sample in task.samples()[:50]]


def test_some_images_have_two_questions_and_tasks_share_images() -> None:
    clusters = {task.name: [sample.cluster for sample in task.samples()] for task in TASKS}
    assert max(Counter(clusters["attribute"]).values()) == 2
    assert set(clusters["existence"]) & set(clusters["reading"])


def test_loads_the_image_of_its_cluster() -> None:
    sample = TASKS[0].samples()[3]
    (image,) = sample.load()
    assert image.size == (SIZE, SIZE)
    (again,) = pickle.loads(pickle.dumps(sample)).load()
    assert image.tobytes() == again.tobytes()


def test_evidence_lies_on_the_image_and_around_a_thing(task: Task) -> None:
    for sample in task.samples()[:40]:
        scene = eval_scene(int(sample.cluster.removeprefix("scene-")))
        rects = {thing.rect for thing in scene.things} | ({scene.number.rect} if scene.number else set())
        boxes = [tuple(round(edge * SIZE) for edge in (b.x0, b.y0, b.x1, b.y1)) for b in sample.evidence]
        assert boxes
        assert set(boxes) <= rects


@pytest.mark.parametrize(
    ("answer", "target", "score"),
    [("Red.", "red", 1), (" 4 7 ", "47", 1), ("4 7 1", "47", 0), ("the red", "red", 0), ("", "no", 0), ("a", "A", 1)],
)
def test_scores_normalised_exact_matches(answer: str, target: str, score: float) -> None:
    sample = next(iter(TASKS[0].samples()))
    assert TASKS[0].score(answer, type(sample)("key", "cluster", "", target, sample.load)) == score
