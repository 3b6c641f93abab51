"""Whatever a folder holds, it becomes a notebook in order or a sentence."""

import copy
import json
import os
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import compute_checksum

from autograder.grading.placing import Submission, fingerprint, place
from autograder.grading.submissions import Unreadable, repair, suspicions, take_in


def graded(grade_id, *, points=0, solution=False, locked=False, grade=False):
    tag = {
        "grade_id": grade_id,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "schema_version": 3,
        "task": False,
    }
    return {"nbgrader": tag | ({"points": points} if grade else {})}


@pytest.fixture
def release():
    cells = [
        new_code_cell("import torch"),
        new_code_cell(
            "def f(x):\n    raise NotImplementedError", metadata=graded("answer_f", solution=True)
        ),
        new_code_cell("check(f)", metadata=graded("f", points=2, grade=True, locked=True)),
        new_code_cell(
            "def g(x):\n    raise NotImplementedError", metadata=graded("answer_g", solution=True)
        ),
        new_code_cell("check(g)", metadata=graded("g", points=3, grade=True, locked=True)),
        new_markdown_cell(
            "YOUR ANSWER HERE", metadata=graded("written_w", points=4, grade=True, solution=True)
        ),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def submission(tmp_path):
    folder = tmp_path / "submitted" / "ada" / "hw1"
    folder.mkdir(parents=True)
    return Submission("ada", "hw1", folder)


def hand_in(submission, content, name="hw1.ipynb"):
    path = submission.folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def take(submission, release):
    return take_in(submission, release, ["f", "g"])


def ids(notebook):
    return [
        cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata
    ]


ALL_IDS = ["answer_f", "f", "answer_g", "g", "written_w"]


def test_an_untouched_notebook_needs_no_repair(submission, release):
    hand_in(submission, nbformat.writes(release))
    intake = take(submission, release)
    assert (intake.repairs, intake.notices) == ((), ())
    assert [c.source for c in intake.notebook.cells] == [c.source for c in release.cells]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"PK\x03\x04....", "zip"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x1f\x8b\x08....", "gzip"),
        (b"Rar!....", "rar"),
        (b"\xd0\xcf\x11\xe0....", "Word"),
        (b"\x89PNG....", "picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b'<<<<<<< HEAD\n{"cells": []}\n=======\n{}\n>>>>>>> theirs\n', "Git left two versions"),
        (b"{\r\n<<<<<<< HEAD\r\n=======\r\n>>>>>>> a\r\n}", "Git left two versions"),
        (b'{"cells": [{"cell_type": "code", "sour', "ends in the middle"),
        (b'{"cells": ]}', "damaged"),
        (b"[" * 100_000, "not a notebook"),
        (b"[1, 2]", "not a notebook"),
        (b'"text"', "not a notebook"),
        (b'{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', ""),
        (b'{"cells": [3, null, "x"], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', ""),
        (b'{"cells": [], "nbformat": "four"}', ""),
        (b'{"cells": []}', ""),
        (bytes(range(256)) * 10, ""),
    ],
)
def test_what_is_no_notebook_is_refused_in_a_sentence(submission, release, content, words):
    hand_in(submission, content)
    with pytest.raises(Unreadable) as reason:
        take(submission, release)
    assert words in reason.value.for_student
    assert reason.value.for_student.endswith((".", "?"))
    assert reason.value.for_staff


def test_a_folder_without_notebook_says_what_is_in_it(submission, release):
    hand_in(submission, b"x", "answers.docx")
    with pytest.raises(Unreadable, match=r"answers\.docx"):
        take(submission, release)


def test_a_link_is_not_followed(submission, release, tmp_path):
    real = tmp_path / "real.ipynb"
    real.write_text(nbformat.writes(release))
    (submission.folder / "hw1.ipynb").symlink_to(real)
    with pytest.raises(Unreadable, match="link"):
        take(submission, release)


def test_another_homework_is_told_apart(submission, release):
    other = new_notebook(cells=[new_code_cell("def h(x): pass", metadata=graded("answer_h"))])
    hand_in(submission, nbformat.writes(other))
    with pytest.raises(Unreadable, match=r"no cell of hw1"):
        take(submission, release)


def test_a_notebook_without_any_metadata_is_taken_for_what_it_defines(submission, release):
    bare = new_notebook(cells=[new_code_cell("def f(x):\n    return x")])
    hand_in(submission, nbformat.writes(bare))
    intake = take(submission, release)
    assert sorted(ids(intake.notebook)) == sorted(ALL_IDS)
    assert intake.notebook.cells[-1].source == "def f(x):\n    return x"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace('"python3"', '"my-kernel"'),
        lambda text: json.dumps(json.loads(text) | {"nbformat_minor": 99}),
    ],
)
def test_odd_encodings_and_kernels_are_read(submission, release, change):
    hand_in(submission, change(nbformat.writes(release)))
    notebook = take(submission, release).notebook
    assert [c.source for c in notebook.cells] == [c.source for c in release.cells]
    assert notebook.metadata.kernelspec.name == "python3"


def test_windows_line_ends_in_cells_are_made_plain(submission, release):
    release.cells[1].source = "def f(x):\r\n    return x"
    hand_in(submission, nbformat.writes(release))
    assert take(submission, release).notebook.cells[1].source == "def f(x):\n    return x"


def test_format_three_is_upgraded(submission, release):
    old = nbformat.convert(copy.deepcopy(release), 3)
    hand_in(submission, nbformat.writes(old, version=3))
    notebook = take(submission, release).notebook
    assert notebook.nbformat == 4
    assert sorted(ids(notebook)) == sorted(ALL_IDS)


def test_a_renamed_notebook_is_found_and_the_likeliest_is_taken(submission, release):
    hand_in(submission, nbformat.writes(new_notebook()), "scratch.ipynb")
    hand_in(submission, nbformat.writes(release), "hw1 (2) final.ipynb")
    (found,) = place(submission.folder.parents[2], "hw1", ["f", "g"]).submissions
    intake = take(found, release)
    assert "hw1 (2) final.ipynb" in intake.repairs[0]
    assert ids(intake.notebook) == ALL_IDS


def test_missing_copied_and_moved_cells_are_put_in_order(release):
    changed = copy.deepcopy(release)
    first, *_ = changed.cells
    changed.cells = [first, *changed.cells[3:], copy.deepcopy(changed.cells[4])]
    repairs, notices = repair(changed, release)
    assert sorted(ids(changed)) == sorted(ALL_IDS)
    assert any("answer_f was missing" in line for line in repairs)
    assert any("copy of the cell g" in line for line in repairs)
    assert notices == ()


def test_a_missing_answer_cell_comes_back_empty_so_that_moved_code_counts(release):
    changed = copy.deepcopy(release)
    changed.cells[1] = new_code_cell("def f(x):\n    return 2 * x")
    repair(changed, release)
    code = "\n".join(cell.source for cell in changed.cells if cell.cell_type == "code")
    assert code.count("def f(x)") == 1


def test_flipped_points_and_edited_tests_are_restored_and_named(release):
    changed = copy.deepcopy(release)
    changed.cells[2].metadata.nbgrader.points = 200
    changed.cells[2].metadata.nbgrader.grade = False
    changed.cells[2].source = "pass"
    changed.cells[4].cell_type = "markdown"
    _, notices = repair(changed, release)
    assert changed.cells[2].metadata.nbgrader.points == 2
    assert changed.cells[2].metadata.nbgrader.grade
    assert changed.cells[2].source == "check(f)"
    assert changed.cells[4].cell_type == "code"
    words = " ".join(notices)
    assert all(word in words for word in ("points", "grade", "locked", "markdown"))


def test_a_cell_of_an_earlier_release_is_brought_up_to_date_without_suspicion(release):
    handed_out = copy.deepcopy(release)
    for cell in handed_out.cells[2:5:2]:
        cell.metadata.nbgrader.checksum = compute_checksum(cell)
    release.cells[2].metadata.nbgrader.points = 5
    release.cells[4].source = "check(g)  # with more examples"
    assert repair(handed_out, release)[1] == ()
    assert handed_out.cells[2].metadata.nbgrader.points == 5
    assert handed_out.cells[4].source == release.cells[4].source
    handed_out.cells[2].metadata.nbgrader.checksum = "0" * 32
    release.cells[2].metadata.nbgrader.points = 2
    assert "points" in repair(handed_out, release)[1][0]


@pytest.mark.parametrize(
    "metadata",
    ["text", 3, None, [], {}, {"grade_id": 7}, {"grade_id": ""}, {"grade_id": "f" * 9999}],
)
def test_damaged_metadata_is_dropped(release, metadata):
    changed = copy.deepcopy(release)
    changed.cells[2].metadata["nbgrader"] = metadata
    repair(changed, release)
    assert sorted(ids(changed)) == sorted(ALL_IDS)


def test_repair_of_a_repaired_notebook_changes_nothing(release):
    changed = copy.deepcopy(release)
    del changed.cells[2:4]
    repair(changed, release)
    before = nbformat.writes(changed)
    assert repair(changed, release) == ((), ())
    assert nbformat.writes(changed) == before


def test_files_beside_the_notebook_come_along_within_limits(submission, release):
    hand_in(submission, nbformat.writes(release))
    hand_in(submission, b"x = 1", "helper.py")
    hand_in(submission, bytes(2_000_000), "large.bin")
    (submission.folder / "passwords").symlink_to("/etc/passwd")
    assert set(take(submission, release).files) == {"helper.py"}


def test_fingerprint_follows_the_content(submission, release):
    hand_in(submission, "one")
    first = fingerprint(submission)
    assert fingerprint(submission) == first
    hand_in(submission, "two")
    assert fingerprint(submission) != first


def test_a_linked_folder_and_a_huge_file_are_not_read_through(submission, tmp_path):
    with (submission.folder / "sparse").open("wb") as file:
        file.truncate(10**12)
    before = fingerprint(submission)
    assert before == fingerprint(submission)
    linked = Submission("eve", "hw1", tmp_path / "submitted" / "eve" / "hw1")
    linked.folder.parent.mkdir()
    linked.folder.symlink_to("/dev")
    assert fingerprint(linked) != before


@pytest.mark.parametrize("name", ["ada ", " ada", "a\nb", b"jos\xe9"])
def test_a_folder_that_cannot_be_a_students_is_named_before_anything_is_graded(tmp_path, name):
    folder = tmp_path / "submitted" / os.fsdecode(name) / "hw1"
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(ValueError, match="cannot be a student's"):
        place(tmp_path, "hw1")


def test_of_a_cell_only_kind_text_and_question_are_kept(submission, release):
    deep = []
    for _ in range(400):
        deep = [deep]
    data = json.loads(nbformat.writes(release))
    data["metadata"] = {"kernelspec": None, "x": float("nan")}
    data["cells"][0] |= {"source": ["import torch\r\n", "a = '\ud800\0'"], "foo": deep}
    data["cells"][0]["metadata"] = {"jupyter": {"source_hidden": True}, "deep": deep}
    data["cells"][1]["metadata"]["nan"] = float("nan")
    data["cells"].append(None)
    hand_in(submission, json.dumps(data))
    notebook = take(submission, release).notebook
    nbformat.validate(notebook)
    assert notebook.cells[0].source == "import torch\na = '\ufffd\ufffd'"
    assert notebook.cells[0].metadata == {}
    assert set(notebook.cells[1].metadata) == {"nbgrader"}
    json.loads(nbformat.writes(notebook), parse_constant=pytest.fail)


def test_thousands_of_foreign_cells_and_long_names_cost_neither_time_nor_pages(release):
    notebook = copy.deepcopy(release)
    notebook.cells[0].source = "np.testing" * 30_000
    notebook.cells += [new_code_cell("1", metadata=graded(f"x{n}")) for n in range(500)]
    repairs, _ = repair(notebook, release)
    assert len(repairs) == 21
    assert "more like these" in repairs[-1]
    started = time.monotonic()
    suspicions(notebook)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("cells", [[new_code_cell("1")] * 3000, [new_code_cell("1\n" * 10**7)]])
def test_a_notebook_without_end_is_refused_at_once(submission, release, cells):
    release.cells += cells
    hand_in(submission, json.dumps(release))
    with pytest.raises(Unreadable, match="MB of text"):
        take(submission, release)


def test_submissions_are_found_by_student(tmp_path):
    with pytest.raises(ValueError, match="submitted/<student>"):
        place(tmp_path, "hw1")
    for student in ("bob", "Zo\u00eb", "ada"):
        (tmp_path / "submitted" / student / "hw1").mkdir(parents=True)
    (tmp_path / "submitted" / "carl" / "hw2").mkdir(parents=True)
    assert [s.student for s in place(tmp_path, "hw1").submissions] == ["Zo\u00eb", "ada", "bob"]


def test_what_looks_like_an_attack_is_pointed_at(release):
    release.cells[1].source = "import os\nx = 1\nos._exit(0)"
    release.cells[5].source = "<script>alert(1)</script>"
    found = suspicions(release)
    assert any(line.startswith("Cell 2, line 3") for line in found)
    assert any("web content" in line for line in found)


def test_the_homework_itself_is_not_suspicious(release):
    assert suspicions(release) == []


def test_what_is_thrown_away_makes_no_notebook_too_large(submission, release):
    release.cells[0].outputs = [
        {"output_type": "stream", "name": "stdout", "text": "x" * 60_000_000}
    ]
    hand_in(submission, json.dumps(release))
    assert take(submission, release).notebook.cells[0].source == "import torch"


def test_pictures_without_end_are_refused(submission, release):
    release.cells[5].attachments = {"a.png": {"image/png": "A" * 60_000_000}}
    hand_in(submission, json.dumps(release))
    with pytest.raises(Unreadable, match="pictures of 60 MB"):
        take(submission, release)
