"""Labels of a chart cover neither points nor one another."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from quantkit.reports.charts.labels import POINT_RADIUS, Label, place_labels
from quantkit.reports.charts.text import text_width

INSIDE = (40.0, 20.0, 300.0, 260.0)
LABELS = st.lists(
    st.builds(
        Label, st.floats(40, 300), st.floats(20, 260), st.sampled_from(["INT8", "FP16 entropy, batch 8"]), st.just("c")
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(LABELS)
def test_no_label_covers_a_point_or_another_label(labels: list[Label]) -> None:
    boxes = [placed.box for placed in place_labels(labels, INSIDE)]
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for left, top, right, bottom in boxes:
        assert left >= INSIDE[0] and top >= INSIDE[1] and right <= INSIDE[2] and bottom <= INSIDE[3]
        assert not any(left < own.x < right and top < own.y < bottom for own in labels)


def test_a_lone_label_is_beside_its_point_and_a_crowd_keeps_its_first_words() -> None:
    (placed,) = place_labels([Label(100, 100, "FP16 entropy", "c")], INSIDE)
    assert placed.label.text == "FP16 entropy" and not placed.far
    assert POINT_RADIUS < placed.x - 100 < 12
    room = (150.0, 110.0, 215.0, 160.0)
    crowd = place_labels([Label(180, 135, f"INT{i} entropy with equalization", "c") for i in range(30)], room)
    assert 2 <= len(crowd) < 30
    assert {placed.label.text for placed in crowd} <= {f"INT{i}" for i in range(30)}


def test_wider_texts_are_wider() -> None:
    assert text_width("iiii") < text_width("aaaa") < text_width("MMMM") <= text_width("量量量量")
