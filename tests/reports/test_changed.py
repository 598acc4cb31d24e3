"""What changed for users: counted, named, and pictured."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from quantkit.reports.content.changed import changes_of
from quantkit.reports.content.thumbnails import SIDE, make_thumbnails
from quantkit.reports.html import html_report
from tests.reports.builders import HOSTILE, answered, comparison, reference_row, row


def test_right_answers_lost_and_won_are_told_apart() -> None:
    (part,) = changes_of(answered([0, 0, 1, 1, 2, 2], [0, 0, 1, 0, 2, 0], [0, 1, 0, 1, 2, 1]))
    assert (part.lost, part.won, part.wrong, part.count, part.samples) == (2, 1, 1, 4, 6)
    assert [(flip.name, flip.label, flip.before.text, flip.after.text) for flip in part.images] == [
        ("2.png", "dog", "dog", "cat"),
        ("1.png", "cat", "cat", "dog"),
    ]
    assert part.pairs[0] == ("cat", "dog", 3)
    assert [(c.name, c.samples, c.before, c.after) for c in part.classes] == [("cat", 2, 2, 1)]


def test_without_labels_all_that_changed_is_shown() -> None:
    (part,) = changes_of(answered([-1] * 3, [0, 1, 2], [0, 2, 1]))
    assert (part.labelled, part.lost, part.won, len(part.images)) == (False, 2, 0, 2)


def test_rows_of_several_batches_are_one_model() -> None:
    one = answered([0, 1], [0, 1], [0, 0])
    many = one.model_copy(update={"rows": (*one.rows, *(r.model_copy(update={"batch": 8}) for r in one.rows))})
    assert len(changes_of(many)) == 1


def test_without_answers_there_is_no_section() -> None:
    assert changes_of(comparison(reference_row(), row())) == []
    assert "What changed for users" not in html_report(None, comparison(reference_row(), row()), None)


def test_hostile_names_are_text() -> None:
    shown = html_report(
        None, answered([0, 0, 0, 0], [0] * 4, [1] * 4, names=HOSTILE, classes=(HOSTILE[0], HOSTILE[1], "c")), None
    )
    assert "What changed for users" in shown
    assert "<script>alert" not in shown
    assert "<img src=x" not in shown


def picture(path: Path, size: tuple[int, int] = (300, 200)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path)


def test_thumbnails_are_small_and_only_of_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    picture(data / "0.png")
    picture(data / "cats" / "1.png")
    picture(tmp_path / "secret.png")
    (data / "text.png").write_text("no image")
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    names = ["0.png", "cats/1.png", "text.png", "gone.png", "../secret.png", str(tmp_path / "secret.png"), "link.png"]
    found = make_thumbnails(str(data), names)
    assert set(found) == {"0.png", "cats/1.png"}
    image = Image.open(io.BytesIO(base64.b64decode(found["0.png"].split(",")[1])))
    assert max(image.size) == SIDE
    (tmp_path / "list.txt").write_text("data/0.png\tcat\nsecret.png\n")
    assert set(make_thumbnails(str(tmp_path / "list.txt"), ["data/0.png", "secret.png", "data/cats/1.png"])) == {
        "data/0.png",
        "secret.png",
    }


@pytest.mark.parametrize("allowed", [True, False])
def test_the_page_shows_thumbnails_unless_told_not_to(tmp_path: Path, allowed: bool) -> None:
    picture(tmp_path / "1.png")
    one = answered([0, 1], [0, 1], [0, 0])
    one = one.model_copy(update={"data": str(tmp_path)})
    assert ("data:image/jpeg" in html_report(None, one, None, allowed)) == allowed
