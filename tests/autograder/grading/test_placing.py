"""A hand-in is found wherever it lies in its student's folder, and what is nobody's is listed."""

import json
import os
import unicodedata
import zipfile

import pytest

from autograder.grading.placing import fingerprint, place

NAMES = ["returns_to_go", "reinforce"]


def notebook(function="returns_to_go", grade_id=True):
    tag = {"nbgrader": {"grade_id": f"answer_{function}"}} if grade_id else {}
    cell = {
        "cell_type": "code",
        "metadata": tag,
        "source": f"def {function}(x):\n    return x",
        "outputs": [],
        "execution_count": None,
    }
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content).encode()


@pytest.fixture
def course(tmp_path):
    for homework in ("hw1", "hw2"):
        (tmp_path / "source" / homework).mkdir(parents=True)
    (tmp_path / "submitted").mkdir()
    return tmp_path


def put(course, where, content=None, modified=None):
    path = course / "submitted" / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(notebook() if content is None else content)
    if modified:
        os.utime(path, (modified, modified))
    return path


def found(course, homework="hw1"):
    return {one.student: one for one in place(course, homework, NAMES).submissions}


def test_nbgraders_own_place_needs_no_remark(course):
    put(course, "ada/hw1/hw1.ipynb")
    put(course, "ada/hw1/data/a.csv", b"1")
    put(course, "ada/notes.txt", b"x")
    one = found(course)["ada"]
    assert (one.folder / one.name, one.remarks) == (course / "submitted/ada/hw1/hw1.ipynb", ())


@pytest.mark.parametrize(
    "where",
    [
        "hw1/hw1 (1).ipynb",
        "hw1/HW1.ipynb",
        "HW1/HW1.ipynb",
        "hw1/hw1.ipynb.txt",
        "hw1/solution.ipynb",
        "hw1.ipynb",
        "hw1.ipynb.txt",
        "Untitled.ipynb",
        "homework one/my solution.ipynb",
        "hw1/hw1/hw1.ipynb",
        f"hw1/{unicodedata.normalize('NFD', 'Übung')}.ipynb",
    ],
)
def test_a_notebook_elsewhere_is_taken_with_a_remark(course, where):
    path = put(course, f"ada/{where}")
    one = found(course)["ada"]
    assert one.folder / one.name == path
    assert path.name in " ".join(one.remarks)
    assert place(course, "hw1", NAMES).lost == ()


def test_a_notebook_by_its_name_alone_is_taken_even_if_nothing_in_it_can_be_read(course):
    put(course, "ada/my hw1 final.ipynb", b"broken")
    put(course, "bob/hw10.ipynb", b"broken")
    assert set(found(course)) == {"ada"}
    assert place(course, "hw1", NAMES).lost == ("bob/hw10.ipynb",)


@pytest.mark.parametrize("folder", ["ada/hw1", "ada"])
def test_a_zip_with_a_notebook_is_unpacked_with_what_belongs_to_it(course, folder):
    path = course / "submitted" / folder / "hw1.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine/answers.ipynb", notebook())
        archive.writestr("mine/helper.py", "x = 1")
        archive.writestr("__MACOSX/mine/._answers.ipynb", "")
        archive.writestr("../../../../escaped.txt", "x")
    (path.parent / "timestamp.txt").write_text("2026-10-01 10:00:00 UTC")
    one = found(course)["ada"]
    assert (one.folder / one.name).read_bytes() == notebook()
    assert (one.folder / "helper.py").is_file()
    assert one.timestamp == path.parent / "timestamp.txt"
    assert "hw1.zip, answers.ipynb in it" in one.remarks[0]
    assert not list(course.parent.glob("**/escaped.txt")) or list(
        (course / ".course").glob("**/escaped.txt")
    )
    assert fingerprint(one) == fingerprint(found(course)["ada"])


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut", b""])
def test_a_damaged_zip_is_listed_and_stops_nobody(course, content):
    put(course, "ada/hw1.zip", content)
    put(course, "bob/hw1/hw1.ipynb")
    assert set(found(course)) == {"bob"}
    assert place(course, "hw1", NAMES).lost == ("ada/hw1.zip",)


def test_the_newest_of_several_counts_and_its_own_name_where_dates_agree(course):
    put(course, "ada/hw1/hw1.ipynb", modified=1000)
    newer = put(course, "ada/hw1/hw1 (1).ipynb", modified=2000)
    one = found(course)["ada"]
    assert one.name == newer.name
    assert "not ada/hw1/hw1.ipynb" in " ".join(one.remarks)
    os.utime(newer, (1000, 1000))
    assert found(course)["ada"].name == "hw1.ipynb"


def test_a_newer_scratch_notebook_or_a_cut_one_does_not_stand_before_the_homework(course):
    put(course, "ada/hw1/hw1.ipynb", modified=1000)
    put(course, "ada/hw1/scratch.ipynb", notebook("plot", grade_id=False), modified=2000)
    assert found(course)["ada"].name == "hw1.ipynb"
    put(course, "bob/hw1/hw1.ipynb", notebook()[:40], modified=2000)
    put(course, "bob/hw1/hw1-1.ipynb", modified=1000)
    assert found(course)["bob"].name == "hw1-1.ipynb"


def test_an_empty_homework_that_is_newer_does_not_stand_before_a_filled_one(course):
    stub = notebook().replace(
        b"return x", b'raise NotImplementedError(\\"returns_to_go: your code here\\")'
    )
    filled = json.loads(notebook())
    filled["cells"] += json.loads(notebook("reinforce"))["cells"]
    empty = json.loads(stub)
    empty["cells"] += json.loads(stub.replace(b"returns_to_go", b"reinforce"))["cells"]
    put(course, "ada/hw1/hw1.ipynb", json.dumps(empty).encode(), modified=2000)
    put(course, "ada/hw1/hw1 (1).ipynb", json.dumps(filled).encode(), modified=1000)
    assert found(course)["ada"].name == "hw1 (1).ipynb"


def test_a_name_in_two_unicode_forms_is_one_student(course):
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    put(course, f"{composed}/hw1/hw1.ipynb", modified=1000)
    newer = put(course, f"{decomposed}/hw1/hw1.ipynb", modified=2000)
    if composed in os.listdir(course / "submitted") and len(os.listdir(course / "submitted")) == 1:
        pytest.skip("this file system has one form only")
    assert {s: one.folder / one.name for s, one in found(course).items()} == {composed: newer}


def test_homeworks_side_by_side_are_kept_apart(course):
    put(course, "ada/hw1.ipynb")
    put(course, "ada/hw2/hw2.ipynb", notebook("gae"))
    one = found(course)["ada"]
    before = fingerprint(one)
    assert one.others == ("hw2",)
    put(course, "ada/hw2/hw2.ipynb", notebook("clip"))
    assert fingerprint(one) == before
    assert [s.student for s in place(course, "hw2", ["gae"]).submissions] == ["ada"]


def test_what_cannot_be_placed_is_listed(course):
    put(course, "ada_hw1.ipynb")
    put(course, "bob/essay.pdf", b"%PDF")
    put(course, "cem/hw2/hw2.ipynb", notebook("gae"))
    assert found(course) == {}
    assert place(course, "hw1", NAMES).lost == (
        "ada_hw1.ipynb",
        "bob/essay.pdf",
    )


def test_when_it_was_handed_in_changes_no_fingerprint(course):
    put(course, "ada/hw1/hw1.ipynb")
    before = fingerprint(found(course)["ada"])
    put(course, "ada/hw1/timestamp.txt", b"2026-10-01 10:00:00 UTC")
    assert fingerprint(found(course)["ada"]) == before


def test_a_zip_damaged_within_and_one_too_deep_stop_nobody(course):
    folder = course / "submitted" / "ada"
    folder.mkdir()
    with zipfile.ZipFile(folder / "hw1.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hw1.ipynb", notebook() * 50)
    data = bytearray((folder / "hw1.zip").read_bytes())
    data[60:120] = bytes(60)
    (folder / "hw1.zip").write_bytes(data)
    (course / "submitted" / "bob").mkdir()
    with zipfile.ZipFile(course / "submitted" / "bob" / "hw1.zip", "w") as archive:
        archive.writestr("a/" * 800 + "x", "")
        archive.writestr("hw1.ipynb", notebook())
    assert set(found(course)) == {"bob"}
    assert place(course, "hw1", NAMES).lost == ("ada/hw1.zip",)
