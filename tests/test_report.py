"""Pages and tables: nothing of a submission's text is live in them, and the formats are those of the systems."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from mmcourse.course import report
from mmcourse.course.report import Heading, Row

NASTY = '<script>alert(1)</script>" onload="x'
HEADING = Heading(
    "tiny",
    "Three <small> functions",
    (("mean", "Mean size", 2, {"signed": "Negative values cancel."}), ("words", "Words", 5, {})),
)


def result(**changes: Any) -> dict[str, Any]:
    example = {"name": "mean", "got": NASTY, "expected": "3", "why": "off by 1"}
    items = [
        {
            "id": "mean",
            "title": "Mean size",
            "points": 0,
            "out_of": 2,
            "status": "wrong",
            "sentence": "Negative values cancel.",
            "misconception": "signed",
            "example": example,
            "error": "",
        },
        {
            "id": "words",
            "title": "Words",
            "points": 5,
            "out_of": 5,
            "status": "right",
            "sentence": "Right.",
            "misconception": None,
            "example": {"name": "n", "got": "1", "expected": "1", "why": ""},
            "error": "",
        },
    ]
    base = {
        "student": "ada",
        "shown": "ada",
        "file": "ada.ipynb",
        "status": "graded",
        "reason": "",
        "flags": [],
        "items": items,
        "sandbox": True,
        "seconds": 1.25,
    }
    return base | changes


class Tags(HTMLParser):
    """Collects tags and attributes, and that tags close in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "line", "img", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    names = {name for name, _ in tags.tags}
    assert not names & {"script", "img", "iframe", "object", "link", "form", "base"}
    for _, attributes in tags.tags:
        assert not [key for key in attributes if key.startswith("on")]
        assert not re.match(r"(?i)\s*(javascript|data|https?):", attributes.get("href") or "")
    assert "default-src 'none'" in page and 'charset="utf-8"' in page and "width=device-width" in page
    return tags


def test_feedback_is_inert_and_says_what_helps() -> None:
    nasty = result(shown=NASTY, file=NASTY)
    nasty["items"][0] |= {"title": NASTY, "sentence": NASTY + " helps", "error": ""}
    page = report.feedback(HEADING, nasty)
    check_page(page)
    assert "helps" in page and "5 <span" in page and "of 7 points" in page and "off by 1" in page
    nasty["items"][0]["error"] = NASTY + "!!"
    page = report.feedback(HEADING, nasty)
    check_page(page)
    assert "!!" in page and page.count("<pre>") == 1


def test_an_unreadable_submission_is_no_zero() -> None:
    page = report.feedback(HEADING, result(status="unreadable", reason="cut <off>", items=[]))
    check_page(page)
    assert "could not be read.</strong> Cut &lt;off&gt;.</p>" in page and "not a zero" in page and "0 <span" not in page


def test_an_error_comes_first_and_a_long_expected_value_is_left_out() -> None:
    one = result()
    one["items"][0] |= {"status": "error", "error": "ValueError: it is off"}
    page = report.feedback(HEADING, one)
    assert page.index("it is off") < page.index("<dt>expected</dt>") and "alert" not in page
    for long in ("x" * 200, "[1,\n 2]"):
        one["items"][0]["example"]["expected"] = long
        page = report.feedback(HEADING, one)
        assert "it is off" in page and "<dt>" not in page
    one["items"][0]["error"] = ""
    assert "<dd><code>[1,\n 2]</code></dd>" in report.feedback(HEADING, one)


def test_lines_of_a_value_are_kept_on_every_page() -> None:
    one = result()
    one["items"][0]["example"] |= {"got": "['a',\n 'b']"}
    assert re.search(r"dd code\{white-space:pre-wrap\}", report.feedback(HEADING, one))
    test = json.loads(report.gradescope(HEADING, one))["tests"][0]
    assert "  your answer: ['a',\n                'b']\n" in test["output"]


def test_a_right_item_needs_no_example() -> None:
    right = result()
    right["items"] = right["items"][1:]
    assert "<dt>" not in report.feedback(HEADING, right) and "<dt>" in report.feedback(HEADING, result())


@pytest.mark.parametrize("sandbox", [True, False])
def test_every_page_says_where_no_sandbox_was(sandbox: bool) -> None:
    heading = Heading(HEADING.name, HEADING.title, HEADING.items, sandbox)
    one = result(sandbox=sandbox)
    unread = result(sandbox=sandbox, status="unreadable", items=[])
    row = report.row_of(one)
    pages = [
        report.feedback(heading, one),
        report.feedback(heading, unread),
        report.report(heading, [row], {}),
        report.gradescope(heading, one),
        report.gradescope(heading, unread),
        report.moodle(heading, [row]),
        report.canvas(heading, [row]),
    ]
    assert [report.UNSAFE in page for page in pages] == [not sandbox] * len(pages)
    assert report.gradebook(heading, [row]).splitlines()[1].endswith("yes" if sandbox else "NONE")


def test_the_class_report_counts_what_happened() -> None:
    rows = [report.row_of(result(student=f"s{i}", shown=f"s{i}")) for i in range(3)]
    rows.append(Row("x", NASTY, "x.ipynb", "unreadable", "cut off"))
    rows.append(Row("y", "y", "y.ipynb", "not graded", "not graded yet"))
    rows[1].flags = ("a <b>flag</b>",)
    page = report.report(HEADING, rows, {"when": "today <now>"}, unfinished=1)
    check_page(page)
    assert "1 of 5 submissions are still to be graded" in page
    assert "Nobody solved: Mean size." in page
    assert "Negative values cancel." in page and re.search(r'<td class="n">3</td>.*?signed', page)
    assert "cut off" in page and "a &lt;b&gt;flag&lt;/b&gt;" in page and "today &lt;now&gt;" in page
    assert "feedback/s1.html" in page and "feedback/y.html" not in page


def test_the_items_table_counts_before_it_names_and_long_ids_may_break() -> None:
    heading = Heading("tiny", "Tiny", (("a_long_<id>", "Mean size", 2, {}),))
    rows = [
        Row(f"s{i}", f"s{i}", "x", "graded", states={"a_long_<id>": state})
        for i, state in enumerate(["wrong", "no answer", "wrong"])
    ]
    page = report.report(heading, rows, {})
    check_page(page)
    assert "<th>not solved</th>" in page and ">2 not right yet, 1 no answer</td>" in page
    assert '<th class="n id">a_<wbr>long_<wbr>&lt;id&gt;</th>' in page and "th.id{white-space:normal}" in page


@pytest.mark.parametrize(("totals", "most"), [([0], 0.5), ([0, 3, 3], 3), ([0, 55.5, 100], 100), ([20] * 9, 20)])
def test_histogram_counts_everybody_once(totals: list[float], most: float) -> None:
    svg = report._histogram(totals, most)
    assert sum(int(n) for n in re.findall(r"<title>(\d+)</title>", svg)) == len(totals)


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ('=cmd,"x', True),
        ("+1", True),
        ("-1+2", True),
        ("@SUM(A1)", True),
        ("\t=1", True),
        ("\r=1", True),
        ("  =1", True),
        ("＝1", True),
        ("a\n=1", False),
        ("plain, with comma", False),
    ],
)
def test_no_cell_is_a_formula(text: str, safe: bool) -> None:
    (row,) = read(report.table([[text]]))
    assert row[0].startswith("'") is safe
    assert "\n" not in row[0] and "\r" not in row[0] and "\t" not in row[0]


def test_our_own_numbers_stay_numbers() -> None:
    assert read(report.table([[-2, 2.5, 0, 1.0, -0.25]])) == [["-2", "2.5", "0", "1", "-0.25"]]


def test_gradebook_has_a_row_a_student_and_a_column_an_item() -> None:
    rows = [report.row_of(result()), Row("b", "=b", "b.ipynb", "unreadable", "cut off")]
    table = read(report.gradebook(HEADING, rows))
    assert table[0] == ["student", "status", "total", "out_of", "mean", "words", "flags", "reason", "file", "sandbox"]
    assert table[1] == ["ada", "graded", "5", "7", "0", "5", "", "", "ada.ipynb", "yes"]
    assert table[2] == ["'=b", "unreadable", "", "7", "", "", "", "cut off", "b.ipynb", "yes"]


def test_canvas() -> None:
    """Canvas wants "Student" and "ID" first, a last information column "Section", and reads "Points Possible"."""
    names = ["ada", "doe_LATE_123_456_hw", "roejane_77_9_09_text2image", "Points Possible"]
    rows = [report.row_of(result(shown=name)) for name in names] + [Row("u", "u", "u", "unreadable", "cut")]
    table = read(report.canvas(HEADING, rows))
    assert table[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", HEADING.title]
    assert table[1] == ["Points Possible", "", "", "", "", "7"]
    assert table[2] == ["ada", "", "", "ada", "", "5"]
    assert table[3][:2] == ["doe", "123"] and table[4][:2] == ["roejane", "77"]
    assert "Points Possible" not in table[5][0] and table[6][5] == ""


def test_moodle() -> None:
    """Moodle's worksheet import needs Identifier, Grade and Last modified (grade); the gradebook's maps by e-mail."""
    names = ["Ada Lovelace_4711_assignsubmission_file", "ada@example.org"]
    rows = [report.row_of(result(shown=name)) for name in names] + [Row("u", "u", "u", "unreadable", "cut")]
    head, *lines = read(report.moodle(HEADING, rows))
    named = [dict(zip(head, line, strict=True)) for line in lines]
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(head)
    assert (named[0]["Identifier"], named[0]["Full name"]) == ("Participant 4711", "Ada Lovelace")
    assert named[0]["Grade"] == "5" and named[0]["Maximum Grade"] == "7"
    assert named[1]["Email address"] == named[1]["Username"] == "ada@example.org" and named[1]["Identifier"] == ""
    assert named[2]["Grade"] == "" and "cut" in named[2]["Feedback comments"]


def test_gradescope() -> None:
    body = json.loads(report.gradescope(HEADING, result()))
    assert [(t["name"], t["score"], t["max_score"], t["status"]) for t in body["tests"]] == [
        ("Mean size", 0, 2, "failed"),
        ("Words", 5, 5, "passed"),
    ]
    assert "score" not in body and body["stdout_visibility"] == "hidden"  # Gradescope adds the tests up
    assert {t["output_format"] for t in body["tests"]} | {body["output_format"]} == {"text"}
    assert NASTY in body["tests"][0]["output"] and "Negative values cancel." in body["tests"][0]["output"]
    unread = json.loads(report.gradescope(HEADING, result(status="unreadable", reason="cut off", items=[])))
    assert "cut off" in unread["output"] and unread["tests"][0]["max_score"] == 7
