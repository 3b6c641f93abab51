"""Pictures reach the person who marks: attached, beside the notebook, or pasted as data."""

import base64
import time

import pytest
from nbformat.v4 import new_markdown_cell

from autograder.grading.gradebook import inactive
from autograder.grading.pictures import pictures_of, show_pictures

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0 and so on"
SHOWN = "![picture 1](attachment:picture-1.png)"


def attached(data, kind="image/png"):
    return {kind: base64.b64encode(data).decode()}


def test_an_attached_photo_is_kept_under_a_plain_name(tmp_path):
    cell = new_markdown_cell("![my <photo>.png](attachment:IMG%20(1).png)")
    cell.source = "before ![x](attachment:my%20photo.png) after"
    cell.attachments = {"my photo.png": attached(PNG)}
    assert show_pictures([cell], [], tmp_path) == ()
    assert cell.source == f"before {SHOWN} after"
    assert cell.attachments == {"picture-1.png": attached(PNG)}
    assert pictures_of(cell) == ["data:image/png;base64," + base64.b64encode(PNG).decode()]


def test_a_photo_attached_and_not_shown_is_shown_below(tmp_path):
    cell = new_markdown_cell("My answer:")
    cell.attachments = {"a.jpg": attached(JPEG, "image/jpeg")}
    show_pictures([cell], [], tmp_path)
    assert cell.source == "My answer:\n\n![picture 1](attachment:picture-1.jpg)"


@pytest.mark.parametrize(
    "text",
    [
        "![](scan.png)",
        "![x](./scan.png 'title')",
        '<img src="scan.png" width="300">',
        "![a](SCAN.PNG)",
    ],
)
def test_a_file_beside_the_notebook_is_shown_where_the_text_shows_it(tmp_path, text):
    (tmp_path / "scan.png").write_bytes(PNG)
    cell = new_markdown_cell(text)
    assert show_pictures([cell], [], tmp_path) == ()
    assert cell.source == SHOWN
    assert cell.attachments == {"picture-1.png": attached(PNG)}


def test_pasted_data_becomes_a_picture(tmp_path):
    cell = new_markdown_cell(f"![x](data:image/png;base64,{base64.b64encode(PNG).decode()})")
    show_pictures([cell], [], tmp_path)
    assert cell.source == SHOWN


def test_photos_that_no_text_shows_are_put_where_no_answer_stands(tmp_path):
    (tmp_path / "IMG_1.png").write_bytes(PNG)
    (tmp_path / "IMG_2.heic").write_bytes(b"....ftypheic")
    full, empty = new_markdown_cell("words"), new_markdown_cell("YOUR ANSWER HERE")
    said = " ".join(show_pictures([full, empty], [empty], tmp_path))
    assert "IMG_1.png" in said
    assert "IMG_2.heic" in said
    assert SHOWN in empty.source
    assert "attachments" not in full


@pytest.mark.parametrize(
    "data", [b"<svg onload=alert(1)>", b"<html>", b"", b"%PDF-1.7", b"GIF", PNG[:3]]
)
def test_what_is_no_picture_is_never_shown(tmp_path, data):
    (tmp_path / "scan.png").write_bytes(data)
    cell = new_markdown_cell("![a](scan.png) ![b](attachment:b.png) ![c](attachment:none.png)")
    cell.attachments = {"b.png": attached(data)}
    said = show_pictures([cell], [], tmp_path)
    assert "attachments" not in cell
    assert said
    assert "![" not in inactive(cell.source, cell.get("attachments", {}))


def test_only_pictures_that_are_there_stay_active():
    names = ["picture-1.png"]
    assert inactive(SHOWN, names) == SHOWN
    for text in (
        "![picture 2](attachment:picture-2.png)",
        "![picture 1](attachment:picture-1.png.exe)",
        "![picture 1](https://example.org/a.png)",
        '<img src="![picture 1](attachment:picture-9.png)">',
        "![picture 1]\n(attachment:picture-1.png)",
    ):
        assert "![" not in inactive(text, names)


@pytest.mark.parametrize("text", ["![", "![](", "![]( ", "<img ", "<img src=a ", "<img src= "])
def test_a_text_of_openings_takes_no_time(tmp_path, text):
    cell = new_markdown_cell(text * 20_000 + " " * 20_000)
    started = time.process_time()
    show_pictures([cell], [], tmp_path)
    assert time.process_time() - started < 20


def test_a_name_with_parentheses_is_the_attachments(tmp_path):
    cell = new_markdown_cell("![IMG (1).png](attachment:IMG%20(1).png)")
    cell.attachments = {"IMG (1).png": attached(PNG)}
    assert show_pictures([cell], [], tmp_path) == ()
    assert cell.source == SHOWN
