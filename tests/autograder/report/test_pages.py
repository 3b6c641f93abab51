"""The report and the feedback pages say what the records and the gradebook say, and run nothing."""

import csv
import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbgrader import api
from nbgrader.api import Gradebook

from autograder.grading.late import PercentPerDay
from autograder.grading.record import Record, save
from autograder.report import pages
from autograder.report.results import ClassResults, StudentResult, class_results
from autograder.student.exam import Verdict

# nbgrader makes submissions in a way that SQLAlchemy remarks upon.
pytestmark = pytest.mark.filterwarnings("ignore:Object of type")

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\x1b[31m \"'&"
CHECKS = {"returns_to_go": 2, "reinforce_1": 3, "baseline_loss": 4}


def verdict(check: str, outcome: str = "right", mistake: str = "", sentence: str = "") -> Verdict:
    top = CHECKS[check]
    return Verdict(
        check=check,
        title=check.replace("_", " ").capitalize(),
        points=top if outcome == "right" else 0,
        max_points=top,
        outcome=outcome,
        mistake=mistake,
        sentence=sentence or f"{check} is {outcome}.",
        see="02_policy_gradient#C23" if mistake else "",
    )


def notebook(cells: list[dict]) -> str:
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def answer_cell(check: str, source: str, **more: object) -> dict:
    return {
        "cell_type": "code",
        "metadata": {"nbgrader": {"grade_id": f"answer_{check}"}},
        "source": source,
        "outputs": [],
        **more,
    }


def hand_in(course: Path, student: str, text: str, step: str = "submitted") -> None:
    path = course / step / student / "hw1" / "hw1.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def class_records() -> list[Record]:
    """Ada all right, Ben a known mistake and forging, Cem hostile text everywhere, Dee a PDF."""
    gamma = verdict("returns_to_go", "known mistake", "gamma ignored", "Gamma is not used.")
    return [
        Record("hw1", "ada", "graded", verdicts=tuple(verdict(c) for c in CHECKS)),
        Record(
            "hw1",
            "ben",
            "cells failed",
            verdicts=(gamma, verdict("reinforce_1"), verdict("baseline_loss", "unwritten")),
            notices=("A cell tried to change its points.",),
            repairs=("The cell reinforce_1 was put back.",),
            failed_cells=(2,),
        ),
        Record(
            "hw1",
            "cem",
            "killed",
            for_student=HOSTILE,
            for_staff=HOSTILE,
            verdicts=(
                gamma,
                verdict("reinforce_1", "raised", sentence=f"stopped with {HOSTILE}"),
                verdict("baseline_loss"),
            ),
            notices=(HOSTILE,),
        ),
        Record("hw1", "dee", "unreadable", for_staff="It is a PDF."),
    ]


def write_gradebook(path: Path) -> None:
    """The same class in nbgrader's gradebook: three checks, one written answer."""
    with Gradebook(f"sqlite:///{path}") as gradebook:
        gradebook.add_assignment("hw1")
        gradebook.add_notebook("hw1", "hw1")
        for check, top in CHECKS.items():
            gradebook.add_grade_cell(check, "hw1", "hw1", max_score=top, cell_type="code")
        gradebook.add_grade_cell("written_why", "hw1", "hw1", max_score=5, cell_type="markdown")
        gradebook.add_solution_cell("written_why", "hw1", "hw1")
        gradebook.add_student("ada", first_name="Ada", last_name="Ng")
        gradebook.add_student("fay")
        for record in class_records():
            gradebook.update_or_create_student(record.student)
            gradebook.add_submission("hw1", record.student)
            for v in record.verdicts:
                grade = gradebook.find_grade(v.check, "hw1", "hw1", record.student)
                grade.auto_score, grade.needs_manual_grade = v.points, False
        grade = gradebook.find_grade("written_why", "hw1", "hw1", "ada")
        grade.manual_score, grade.needs_manual_grade = 4.5, False
        note = gradebook.find_comment("written_why", "hw1", "hw1", "ada")
        note.manual_comment = f"Well said. {HOSTILE}"
        gradebook.find_comment("written_why", "hw1", "hw1", "dee").auto_comment = "No response."
        gradebook.db.commit()


@pytest.fixture(scope="module")
def gradebook_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, since it takes a second: nbgrader calls `alembic`, which lies beside Python."""
    path = tmp_path_factory.mktemp("books") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        write_gradebook(path)
    return path


@pytest.fixture
def course(tmp_path: Path, gradebook_file: Path) -> Path:
    """The class above, Eva handed in but not graded, Fay in the gradebook only."""
    for record in class_records():
        save(tmp_path, record)
    failed = {"output_type": "error", "ename": "NameError", "evalue": HOSTILE, "traceback": []}
    cells = [
        answer_cell("returns_to_go", f"x = '''{HOSTILE}'''\n"),
        answer_cell("reinforce_1", "def reinforce_1(): ...", outputs=[failed]),
    ]
    hand_in(tmp_path, "ada", notebook([answer_cell("returns_to_go", "def returns_to_go(): ...")]))
    hand_in(tmp_path, "ben", notebook([]))
    hand_in(tmp_path, "ben", notebook(cells), "autograded")
    hand_in(tmp_path, "cem", notebook(cells))
    hand_in(tmp_path, "dee", "%PDF-1.4")
    hand_in(tmp_path, "dee", notebook(cells), "autograded")
    hand_in(tmp_path, "eva", notebook([]))
    shutil.copy(gradebook_file, tmp_path / "gradebook.db")
    return tmp_path


class Tags(HTMLParser):
    """Every tag with its attributes, and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def all_pages(course: Path) -> dict[str, str]:
    """The report as "report", feedback by student."""
    found = {"report": pages.write_all(course, "hw1").report.read_text()}
    for path in course.glob("feedback/*/hw1/hw1.html"):
        found[path.parts[-3]] = path.read_text()
    return found


def feedback(course: Path, student: str) -> str:
    return " ".join(Tags(feedback_page(course, student)).text.split())


def feedback_page(course: Path, student: str) -> str:
    pages.write_all(course, "hw1")
    return pages.feedback_path(course, "hw1", student).read_text()


def one(group: ClassResults, name: str) -> StudentResult:
    (found,) = (student for student in group.students if student.student == name)
    return found


def test_hostile_text_reaches_no_page_as_markup(course: Path) -> None:
    found = all_pages(course)
    assert set(found) == {"report", "ada", "ben", "cem", "dee", "eva"}
    for name, page in found.items():
        tags = Tags(page).tags
        active = {"script", "img", "iframe", "object", "embed", "link", "form", "base"}
        assert not active & {tag for tag, _ in tags}, name
        assert not [a for _, attrs in tags for a in attrs if a.startswith("on")], name
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", page), name
    for name in ("report", "ada", "cem"):
        assert "<script>alert(1)</script>" in Tags(found[name]).text
        assert "[U+202E]gnp.exe[U+001B]" in Tags(found[name]).text


def test_pages_load_nothing(course: Path) -> None:
    for name, page in all_pages(course).items():
        tags = Tags(page).tags
        policy = next(a["content"] for t, a in tags if t == "meta" and "http-equiv" in a)
        assert str(policy).startswith("default-src 'none'"), name
        targets = [v for _, a in tags for k, v in a.items() if k in ("href", "src", "srcset")]
        assert not [v for v in targets if v is None or ":" in v or v.startswith("//")], name
        assert "@import" not in page, name
        assert "url(" not in page, name


def test_links_of_the_report_lead_to_files(course: Path) -> None:
    path = pages.write_all(course, "hw1").report
    links = {str(a["href"]) for t, a in Tags(path.read_text()).tags if t == "a"}
    assert {"hw1.csv", "hw1.json", "../feedback/ben/hw1/hw1.html"} <= links
    assert "../autograded/ben/hw1/hw1.ipynb" in links
    assert [link for link in links if not (path.parent / link).is_file()] == []


def test_a_renamed_notebook_is_reached_through_its_folder(course: Path) -> None:
    own = course / "submitted" / "ada" / "hw1" / "hw1.ipynb"
    own.rename(own.with_name("hw1 (1).ipynb"))
    path = pages.write_all(course, "hw1").report
    links = {a["href"] for t, a in Tags(path.read_text()).tags if t == "a"}
    assert "../submitted/ada/hw1/" in links


def test_what_could_not_be_read_is_not_shown_as_an_answer(course: Path) -> None:
    assert "Your code" in feedback(course, "ben")
    page = feedback(course, "dee")
    assert "could not be read as a notebook" in page
    assert "Your code" not in page
    assert "No response" not in page


def test_a_cell_that_took_the_process_down_is_told_once(course: Path) -> None:
    end = "code cell 1 crashed the Python interpreter"
    save(course, Record("hw1", "ada", "killed", for_student=f"There {end}.", failed_cells=(1, 2)))
    stopped = {"output_type": "error", "ename": "Stopped", "evalue": "This cell", "traceback": []}
    other = stopped | {"ename": "NameError", "evalue": "x"}
    cells = [answer_cell("returns_to_go", "a", outputs=[stopped])]
    cells.append(answer_cell("reinforce_1", "b", outputs=[other]))
    hand_in(course, "ada", notebook(cells), "autograded")
    page = feedback(course, "ada")
    assert page.count(end) == 1
    assert "Code cell 1 stopped" not in page
    assert "Code cell 2 stopped with NameError: x" in page


def test_a_failed_cell_alone_is_a_line_and_not_an_entry(tmp_path: Path) -> None:
    plain = Record("hw1", "ada", "cells failed", failed_cells=(4, 7))
    graver = Record("hw1", "ben", "cells failed", failed_cells=(4,), notices=("It forks.",))
    for record in (plain, graver):
        save(tmp_path, record)
    text = Tags(pages.write_all(tmp_path, "hw1").report.read_text()).text
    assert "Needs a look (1)" in text
    assert "a cell of 1 more stopped with an error" in text
    assert "ada (4, 7)." in text


def test_many_remarks_are_folded_and_none_is_lost(tmp_path: Path) -> None:
    notices = tuple(f"notice number {n}." for n in range(30))
    save(tmp_path, Record("hw1", "ada", "graded", notices=notices))
    page = pages.write_all(tmp_path, "hw1").report.read_text()
    assert "26 more" in page
    assert [n for n in notices if page.count(n) != 1] == []


def test_counts_and_marks(course: Path) -> None:
    group = class_results(course, "hw1")
    assert {s.student: (s.state, s.score, s.waiting) for s in group.students} == {
        "ada": ("graded", 13.5, 0),
        "ben": ("cells failed", 3, 1),
        "cem": ("killed", 4, 1),
        "dee": ("unreadable", 0, 0),
        "eva": ("not graded", 0, 0),
        "fay": ("not handed in", 0, 0),
    }
    assert group.max_score == 14
    assert len(group.submissions) == 5
    assert group.mean == pytest.approx((9 + 3 + 4) / 3)
    assert group.median == 4
    assert [(label, n) for label, n in group.histogram() if n] == [("3", 1), ("4", 1), ("9", 1)]
    (mistake,) = group.mistakes()
    assert (mistake.check, mistake.name) == ("returns_to_go", "gamma ignored")
    assert mistake.students == ("ben", "cem")


def test_histogram_puts_full_marks_in_the_last_bin(tmp_path: Path) -> None:
    for student, right in (("a", True), ("b", False)):
        v = Verdict("f", "F", 25 if right else 0, 25, "right" if right else "wrong", "", ".", "")
        save(tmp_path, Record("hw1", student, "graded", verdicts=(v,)))
    bins = class_results(tmp_path, "hw1").histogram()
    assert bins[0] == ("0-2", 1)
    assert bins[-1] == ("24-25", 1)
    assert sum(n for _, n in bins) == 2


def test_needs_a_look_is_everything_not_plain(course: Path) -> None:
    group = class_results(course, "hw1")
    assert [s.student for s in group.students if s.needs_a_look] == ["ben", "cem", "dee", "eva"]
    assert "A cell tried to change its points." in one(group, "ben").remarks
    assert "The cell reinforce_1 was put back." in one(group, "ben").remarks
    assert one(group, "dee").remarks == ("It is a PDF.",)
    assert one(group, "ada").remarks == ()


def test_a_gradebook_that_differs_from_the_run_is_named(course: Path) -> None:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.find_grade("reinforce_1", "hw1", "hw1", "ada").auto_score = 0
        gradebook.db.commit()
    ada = one(class_results(course, "hw1"), "ada")
    assert ada.remarks == ("reinforce_1: the gradebook has 0 and the run gave 3: grade it again.",)


def test_a_mark_set_by_hand_counts(course: Path) -> None:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.find_grade("returns_to_go", "hw1", "hw1", "ben").manual_score = 1.5
        gradebook.db.commit()
    assert one(class_results(course, "hw1"), "ben").score == 4.5
    assert "A person has set this mark." in feedback(course, "ben")


def test_an_untouched_written_answer_is_not_called_marked(course: Path) -> None:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        grade = gradebook.find_grade("written_why", "hw1", "hw1", "ben")
        grade.auto_score, grade.needs_manual_grade = 0, False  # as nbgrader files "No response."
        gradebook.db.commit()
    group = class_results(course, "hw1")
    outcomes = {s.student: s.marks[-1].outcome for s in group.students}
    assert outcomes["ben"] == "unwritten"
    assert (outcomes["ada"], outcomes["cem"]) == ("marked", "waiting")


def test_a_late_penalty_is_taken_off_and_said(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = PercentPerDay(percent=50)
    monkeypatch.setattr("autograder.grading.late._plugin", lambda config: rule)
    (course / "submitted/ben/hw1/timestamp.txt").write_text("2026-01-01T12:00:00Z")
    (course / "submitted/cem/hw1/timestamp.txt").write_text("03/02/2026")
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.update_or_create_assignment("hw1", duedate="2026-01-01 00:00:00 UTC")
    assert "1.5 taken off for handing in late" in feedback(course, "ben")
    group = class_results(course, "hw1")
    assert one(group, "ben").score == 1.5
    assert "03/02/2026" in " ".join(one(group, "cem").remarks)
    assert "is missing" in " ".join(one(group, "ada").remarks)


def test_a_comment_is_markdown_and_harmless(course: Path) -> None:
    comment = (
        "**Good**, but see [here](https://example.org) and [there](javascript:alert(1)):\n\n"
        f"- one\n- `two`\n\n![x](https://example.org/x.png)\n\n{HOSTILE}"
    )
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.find_comment("written_why", "hw1", "hw1", "ada").manual_comment = comment
        gradebook.db.commit()
    page = feedback_page(course, "ada")
    assert "<strong>Good</strong>" in page
    assert "<li>one</li>" in page
    assert '<a href="https://example.org">here</a>' in page
    tags = {tag: attributes for tag, attributes in Tags(page).tags}
    assert not {"img", "script"} & set(tags)
    assert "javascript:" not in str(Tags(page).tags)


def test_pictures_of_an_answer_are_on_the_students_page(course: Path) -> None:
    cell = {
        "cell_type": "markdown",
        "metadata": {"nbgrader": {"grade_id": "written_why"}},
        "source": "![picture 1](attachment:picture-1.png)",
        "attachments": {"picture-1.png": {"image/png": "iVBORw0KGgoAAAA="}},
    }
    hand_in(course, "ada", notebook([cell]), "autograded")
    page = feedback_page(course, "ada")
    assert '<img src="data:image/png;base64,iVBORw0KGgoAAAA="' in page


def test_csv_and_json_agree(course: Path) -> None:
    pages.write_all(course, "hw1")
    data = json.loads((course / "report" / "hw1.json").read_text())
    with (course / "report" / "hw1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(data["students"]) == 6
    for row, student in zip(rows, data["students"], strict=True):
        assert row["student"] == student["student"]
        assert row["state"] == student["state"]
        assert float(row["score"]) == student["score"]
        assert float(row["coded"]) == student["coded"]
        for name, mark in student["marks"].items():
            assert (float(row[name]) if row[name] else None) == mark["score"]
            assert row[f"{name}: outcome"] == mark["outcome"]
            assert row[f"{name}: mistake"] == mark["mistake"]
        by_hand = [name for name, mark in student["marks"].items() if mark["by_hand"]]
        assert row["marked by hand"] == ", ".join(by_hand)
    assert any(row["marked by hand"] for row in rows)
    assert data["states"] == {
        "graded": 1,
        "cells failed": 1,
        "unreadable": 1,
        "killed": 1,
        "not graded": 1,
        "not handed in": 1,
    }
    assert data["mistakes"][0]["count"] == 2


def test_csv_has_no_formula(tmp_path: Path) -> None:
    save(tmp_path, Record("hw1", "=1+1", "unreadable", for_staff='=HYPERLINK("http://x")'))
    pages.write_all(tmp_path, "hw1")
    with (tmp_path / "report" / "hw1.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=1+1" in cells
    assert not [cell for cell in cells if cell.startswith("=")]


def test_feedback_names_the_mistake_and_where_to_read(course: Path) -> None:
    said = feedback(course, "ben")
    assert "Gamma is not used." in said
    assert "Read: 02_policy_gradient.ipynb, at C23" in said
    assert "3 of 14 points so far" in said
    assert "Code cell 2 stopped with NameError" in said
    assert "The cell reinforce_1 was put back." in said
    assert "not graded yet" in said
    assert "def reinforce_1(): ..." in said
    assert "tried to change its points" not in said  # that is for the staff


def test_feedback_shows_the_marked_answer_with_its_comment(course: Path) -> None:
    said = feedback(course, "ada")
    assert "13.5 of 14 points" in said
    assert "so far" not in said
    assert "Well said. <script>alert(1)" in said
    assert "not graded yet" not in said


def test_a_comment_by_a_person_is_shown_and_the_machines_is_not_said_twice(course: Path) -> None:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.add_solution_cell("answer_returns_to_go", "hw1", "hw1")
        note = api.Comment(
            cell=gradebook.find_solution_cell("answer_returns_to_go", "hw1", "hw1"),
            notebook=gradebook.find_submission_notebook("hw1", "hw1", "ben"),
            auto_comment="Gamma is not used.",
        )
        gradebook.db.add(note)
        gradebook.db.commit()
        assert feedback(course, "ben").count("Gamma is not used.") == 1
        note.manual_comment = "Come and see me."
        gradebook.db.commit()
    assert "Come and see me." in feedback(course, "ben")


def test_feedback_of_one_who_was_not_graded_says_so(course: Path) -> None:
    assert "has not been graded yet" in feedback(course, "eva")


@pytest.mark.parametrize("student", ["..", "a/b", "", "."])
def test_a_student_that_is_no_folder_gets_no_page(course: Path, student: str) -> None:
    with pytest.raises(ValueError, match="folder name"):
        pages.feedback_path(course, "hw1", student)


def test_a_symbolic_link_is_not_read(course: Path) -> None:
    secret = course / "secret.ipynb"
    secret.write_text(notebook([answer_cell("returns_to_go", "the secret")]))
    own = course / "submitted" / "ada" / "hw1" / "hw1.ipynb"
    assert "def returns_to_go" in feedback(course, "ada")
    own.unlink()
    own.symlink_to(secret)
    assert "the secret" not in feedback(course, "ada")


def test_empty_class_is_a_sentence(tmp_path: Path) -> None:
    page = pages.write_all(tmp_path, "hw1").report.read_text()
    assert "No submission of hw1 yet" in page
    assert "course grade hw1" in page
    assert json.loads((tmp_path / "report" / "hw1.json").read_text())["submissions"] == 0
    assert not (tmp_path / "gradebook.db").exists()


def test_progress_counts_everyone_once(course: Path) -> None:
    seen: list[tuple[int, int]] = []
    pages.write_all(course, "hw1", progress=lambda student, done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]


def test_writing_twice_changes_nothing(course: Path) -> None:
    first = all_pages(course)
    assert all_pages(course) == first


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\u200bb", "a[U+200B]b"),
        ("\ud800", "[U+D800]"),
        ("\x00", "[U+0000]"),
        ("\u0645\u2067", "\u0645[U+2067]"),
        ("two\r\nlines", "two\nlines"),
        ("x" * 700, "x" * 600 + " [100 more characters]"),
    ],
)
def test_visible_text_hides_nothing(raw: str, shown: str) -> None:
    assert pages.visible(raw) == shown


def test_imports_that_stopped_many_stand_first_and_what_is_hostile_is_text(tmp_path: Path) -> None:
    for number in range(3):
        save(
            tmp_path,
            Record("hw1", f"s{number}", "cells failed", stopped_at=("import seaborn",)),
        )
    save(tmp_path, Record("hw1", "t", "cells failed", stopped_at=(f"import {HOSTILE}",)))
    page = pages.write_all(tmp_path, "hw1").report.read_text()
    text = " ".join(Tags(page).text.split())
    assert "3 submissions stopped at import seaborn (no module that homework may use" in text
    assert "s0, s1, s2" in text
    assert "1 submission stopped at import <script>" in text
    assert text.index("3 submissions stopped") < text.index("1 submission stopped")
    assert page.index("stopped at") < page.index('class="tiles"')
    assert "<script" not in page
    data = json.loads((tmp_path / "report" / "hw1.json").read_text())
    assert data["stopped_imports"]["import seaborn"] == ["s0", "s1", "s2"]


def test_a_class_whose_imports_went_through_is_not_told_of_any(course: Path) -> None:
    assert "stopped at" not in pages.write_all(course, "hw1").report.read_text()


def test_what_release_feedback_needs_lies_beside_the_page(course: Path) -> None:
    for name in ("timestamp.txt", "submission_secret.txt"):
        (course / "submitted/ada/hw1" / name).write_text(f"{name} of ada")
    pages.write_all(course, "hw1")
    for name in ("timestamp.txt", "submission_secret.txt"):
        assert (course / "feedback/ada/hw1" / name).read_text() == f"{name} of ada"
    assert not (course / "feedback/ben/hw1/timestamp.txt").exists()


def test_nobody_gets_anothers_receipt_by_a_link(course: Path) -> None:
    (course / "submitted/ada/hw1/submission_secret.txt").write_text("of ada")
    (course / "submitted/mal").mkdir()
    (course / "submitted/mal/hw1").symlink_to("../ada/hw1")
    pages.write_all(course, "hw1")
    assert not (course / "feedback/mal/hw1/submission_secret.txt").exists()
