"""The cost of a completed task, by type."""

from __future__ import annotations

from farthing import task
from farthing.ledger.store import Filter
from farthing.reports.plain import plain
from farthing.reports.tasks import summary_line, task_type_json, tasks_by_type, tasks_page
from farthing.testing import tracker as fake_tracker


def test_the_cost_of_a_completed_task_by_type() -> None:
    """Two of four reviews are done: what a done one cost alone, and all in, and what they were worth."""
    tracker = fake_tracker({"m": (1, 1)})
    for name, tokens, outcome, value in (
        ("a", 1_000, "done", 4),
        ("b", 3_000, "done", "2.5"),
        ("c", 2_000, "failed", 0),
    ):
        with task(name, type="review", tracker=tracker) as one:
            tracker.record("m", input_tokens=tokens)
            one.finish(outcome, value_usd=value)
    with task("d", type="review", tracker=tracker, ends_with_block=False):
        tracker.record("m", input_tokens=6_000)
    with task("e", type="triage", tracker=tracker):
        tracker.record("m", input_tokens=500)
    tracker.record("m", input_tokens=9_999)
    review, triage = tasks_by_type(tracker.ledger, Filter())
    assert (review.task_type, review.tasks, review.outcomes) == ("review", 4, {"done": 2, "failed": 1})
    assert (review.cost_pico, review.done_cost_pico) == (12_000 * 10**6, 4_000 * 10**6)
    assert (review.cost_of_one_pico, review.all_in_pico) == (2_000 * 10**6, 6_000 * 10**6)
    assert review.value_pico == 6_500_000_000_000
    assert (triage.done, triage.cost_of_one_pico, triage.value_pico) == (1, 500 * 10**6, None)
    assert task_type_json(review)["all_in_cost_of_a_done_task_usd"] == 0.006
    assert summary_line([review, triage]) == "5 tasks, 3 done at $0.001500 each, all in $0.004167"
    shown = plain(tasks_page([review, triage]))
    assert "review" in shown and "1 failed" in shown and "$6.50" in shown


def test_a_task_that_ends_again_counts_once_as_it_ended_last() -> None:
    """A task reopened and finished is done, not failed and done."""
    tracker = fake_tracker({"m": (1, 1)})
    with task("a", type="review", tracker=tracker) as one:
        tracker.record("m", input_tokens=1)
        one.finish("failed")
        one.finish("done")
    (review,) = tasks_by_type(tracker.ledger, Filter())
    assert review.outcomes == {"done": 1}


def test_without_tasks_the_screen_says_how_to_name_them() -> None:
    """An empty table would help nobody."""
    assert "farthing.task(" in plain(tasks_page([]))
