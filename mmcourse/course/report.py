"""What the grader writes for people: feedback pages, the class report, the gradebook and its formats.

Everything is derived from results, plain dicts as ``course.grade`` keeps them on disk. Pages are single HTML files
without scripts; every text that came from a submission is escaped, and a content policy forbids scripts besides.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmcourse.course.submission import printable

FORMATS = ("csv", "canvas", "moodle", "gradescope")
UNSAFE = (
    "Graded without a sandbox. The code that was handed in ran with the rights of whoever graded it; "
    "scores and files may have been tampered with."
)
LINE = 90  # characters of a page's line
STATUS = {
    "right": "right",
    "wrong": "not right yet",
    "no answer": "no answer",
    "missing": "no answer cell",
    "error": "an error",
    "timeout": "took too long",
    "died": "the kernel died",
    "memory": "too much memory",
    "output": "too much output",
    "no result": "no result",
}


@dataclass
class Row:
    """What is kept of one result while the class is summed up.

    status:  ``graded``, ``unreadable`` (the file), ``failed`` (the grader, which tries again next time) or
             ``not graded`` (left out of this run so far).
    scores:  item id -> points earned; empty unless graded.
    """

    student: str
    shown: str
    file: str
    status: str
    reason: str = ""
    total: float = 0
    scores: dict[str, float] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    misconceptions: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    seconds: float = 0
    sandbox: bool = True


@dataclass(frozen=True)
class Heading:
    """What every page says of the assignment. items: (id, title, points, {misconception: sentence})."""

    name: str
    title: str
    items: tuple[tuple[str, str, int, dict[str, str]], ...]
    sandbox: bool = True

    @property
    def out_of(self) -> int:
        return sum(points for _, _, points, _ in self.items)


def row_of(result: Mapping[str, Any]) -> Row:
    """The light row of a result."""
    items = result.get("items", [])
    return Row(
        student=result["student"],
        shown=result["shown"],
        file=result["file"],
        status=result["status"],
        reason=result.get("reason", ""),
        total=sum(item["points"] for item in items),
        scores={item["id"]: item["points"] for item in items},
        states={item["id"]: item["status"] for item in items},
        misconceptions={item["id"]: item["misconception"] for item in items if item.get("misconception")},
        flags=tuple(result.get("flags", ())),
        seconds=result.get("seconds", 0),
        sandbox=result.get("sandbox", True),
    )


# ---- tables


def number(value: float) -> str:
    """A score without needless digits: 3, 2.5."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def cell(text: object) -> str:
    """A text that no spreadsheet takes for a formula. Numbers are left alone; text that starts like one is quoted."""
    if isinstance(text, (int, float)):
        return number(text)
    clean = re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", str(text))
    risky = clean.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠", "|", "%"))
    return f"'{clean}" if risky or str(text).startswith(("\t", "\r", "\n")) else clean


def table(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, every cell made safe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        writer.writerow([cell(value) for value in row])
    return out.getvalue()


def gradebook(heading: Heading, rows: Sequence[Row]) -> str:
    """gradebook.csv: a row a student, a column an item. Scores of what was not graded are empty, never 0."""
    ids = [item[0] for item in heading.items]
    lines: list[list[object]] = [
        ["student", "status", "total", "out_of", *ids, "flags", "reason", "file", "sandbox"],
    ]
    for row in rows:
        graded = row.status == "graded"
        lines.append(
            [
                row.shown,
                row.status,
                row.total if graded else "",
                heading.out_of,
                *[row.scores.get(name, 0) if graded else "" for name in ids],
                "; ".join(row.flags),
                row.reason,
                row.file,
                "yes" if row.sandbox else "NONE",
            ]
        )
    return table(lines)


def canvas(heading: Heading, rows: Sequence[Row]) -> str:
    """A file for Canvas' gradebook import: one column for the assignment, a row with the points possible.

    Canvas looks students up by ID, then by SIS IDs, then by name. The ID is filled in where the file's name is one
    that Canvas gave to a downloaded submission (``name_[LATE_]student_submission_file``). The import reads nothing of
    the column Section, so that is where a warning stands.
    """
    lines: list[list[object]] = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", heading.title],
        ["Points Possible", "", "", "", "", heading.out_of],
    ]
    for row in rows:
        name, known = _canvas_id(row.shown)
        safe = re.sub("Points Possible", "Points-Possible", name, flags=re.IGNORECASE)
        lines.append(
            [
                safe,
                known,
                "",
                "" if known else safe,
                "" if row.sandbox else UNSAFE,
                row.total if row.status == "graded" else "",
            ]
        )
    return table(lines)


def _canvas_id(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"([^_]+)_(?:LATE_)?(\d+)_\d+_.+", name)
    return (match[1], match[2]) if match else (name, "")


def moodle(heading: Heading, rows: Sequence[Row]) -> str:
    """A file for Moodle: the columns of an assignment's grading worksheet, and a username for the gradebook's import.

    The identifier is filled in where the folder's name is one that Moodle gave to a downloaded submission
    (``Full Name_participant_assignsubmission_file``). Otherwise map "Username" or "Email address" when importing.
    """
    lines: list[list[object]] = [
        [
            "Identifier",
            "Full name",
            "Username",
            "Email address",
            "Grade",
            "Maximum Grade",
            "Last modified (grade)",
            "Feedback comments",
        ]
    ]
    for row in rows:
        match = re.fullmatch(r"(.+?)_(\d+)_assignsubmission_.+", row.shown)
        name = match[1] if match else row.shown
        lines.append(
            [
                f"Participant {match[2]}" if match else "",
                name,
                "" if match else name,
                name if re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", name) else "",
                row.total if row.status == "graded" else "",
                heading.out_of,
                "",
                _in_a_sentence(heading, row),
            ]
        )
    return table(lines)


def _in_a_sentence(heading: Heading, row: Row) -> str:
    if row.status != "graded":
        return f"{row.status}: {row.reason}"
    parts = [
        f"{title}: {number(row.scores.get(name, 0))} of {points} ({STATUS.get(row.states.get(name, ''), '')})"
        for name, title, points, _ in heading.items
    ]
    return "; ".join(parts) + ("" if row.sandbox else f". {UNSAFE}")


def gradescope(heading: Heading, result: Mapping[str, Any]) -> str:
    """results.json of one student, as a Gradescope autograder hands it over. Texts are plain, never HTML."""
    notes = [] if result.get("sandbox", True) else [UNSAFE]
    if result["status"] != "graded":
        says = f"This submission was not graded ({result['status']}): {result.get('reason', '')}"
        tests = [_gradescope_test("Could not be graded: for a person to look at", "1", 0, heading.out_of, says)]
        notes.append(says)
    else:
        tests = []
        for place, item in enumerate(result["items"], start=1):
            says = "\n".join(part for part in _plain(item) if part)
            tests.append(_gradescope_test(item["title"], str(place), item["points"], item["out_of"], says))
    body = {
        "execution_time": round(result.get("seconds", 0)),
        "output": "\n".join(notes),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _gradescope_test(name: str, place: str, score: float, most: float, says: str) -> dict[str, Any]:
    return {
        "name": name,
        "name_format": "text",
        "number": place,
        "score": score,
        "max_score": most,
        "status": "passed" if score >= most > 0 else "failed",
        "output": says,
        "output_format": "text",
        "visibility": "visible",
    }


def _plain(item: Mapping[str, Any]) -> list[str]:
    lines = [item["sentence"]]
    example = item.get("example")
    if example:
        came = [] if item.get("error") else [f"  your answer: {_hang(example['got'])}"]
        lines += [f"{example['name']}:", *came, f"  expected:    {_hang(example['expected'])}"]
    if item.get("error"):
        lines.append(f"error: {item['error']}")
    return lines


def _hang(text: str) -> str:
    """Lines after the first stand below it."""
    return text.replace("\n", "\n" + " " * 15)


# ---- pages

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--soft:#5b6472;--line:#d9dde4;--paper:#fff;--card:#f6f7f9;
--good:#17703f;--goodback:#e3f4ea;--bad:#a3381f;--badback:#fcebe6;--warn:#7a5300;--warnback:#fff3d6;--bar:#3d6fb6}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#a2abba;--line:#3a4250;--paper:#14171d;--card:#1d222b;
--good:#7fd6a3;--goodback:#15311f;--bad:#ff9f86;--badback:#3a1d16;--warn:#f2c867;--warnback:#372a0c;--bar:#6f9fe0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:52rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere}
body.wide{max-width:68rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
h3{font-size:1.05rem;margin:0}p{margin:.5rem 0}.soft{color:var(--soft)}.small{font-size:.875rem}
.score{font-size:1.9rem;font-weight:650;margin:.6rem 0 0}
.card{background:var(--card);border:1px solid var(--line);border-left:.35rem solid var(--line);border-radius:.5rem;
padding:.85rem 1rem;margin:.9rem 0}
.card.right{border-left-color:var(--good)}.card.wrong{border-left-color:var(--bad)}
.head{display:flex;flex-wrap:wrap;gap:.3rem .8rem;align-items:baseline;justify-content:space-between}
.tag{display:inline-block;border-radius:1rem;padding:.05rem .6rem;font-size:.85rem;font-weight:600;white-space:nowrap}
.tag.right{color:var(--good);background:var(--goodback)}.tag.wrong{color:var(--bad);background:var(--badback)}
.note{background:var(--warnback);color:var(--warn);border-radius:.5rem;padding:.7rem 1rem;margin:1rem 0}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.3rem .9rem;margin:.7rem 0 0}
dt{color:var(--soft)}dd{margin:0}
dd code{white-space:pre-wrap}
code,pre{font:.875rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{margin:.6rem 0 0;padding:.6rem .8rem;background:var(--paper);border:1px solid var(--line);border-radius:.4rem;
white-space:pre-wrap}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.925rem;overflow-wrap:break-word}
td:first-child:not(.n){min-width:7.5rem}td.long{min-width:12rem}td.m,th.n,td.n{width:1%}
td.long,.name{max-width:26rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}th.id{white-space:normal}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}
a{color:inherit}svg{display:block;width:100%;min-width:32rem;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg rect.b{fill:var(--bar)}svg line{stroke:var(--line)}
.meter{background:var(--line);border-radius:.3rem;height:.55rem;width:7rem;overflow:hidden;margin-top:.45rem}
.meter i{display:block;height:100%;background:var(--bar)}
.big{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.7rem;margin:1rem 0}
.big div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.big b{display:block;font-size:1.35rem}
@media (max-width:34rem){.m{display:none}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}}
@media print{body{max-width:none;padding:0}.scroll{overflow:visible}h2{break-after:avoid}
.card,tr,.big div{break-inside:avoid}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""


def _page(title: str, body: str, *, wide: bool = False) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{_e(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body{' class=wide' if wide else ''}>\n{body}\n</body></html>\n"
    )


def _e(text: object) -> str:
    return html.escape(str(text))


def _sentence(text: str) -> str:
    """Escaped text, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _e(text))


def _unsafe_note(sandbox: bool) -> str:
    return "" if sandbox else f'<p class="note"><strong>Warning.</strong> {_e(UNSAFE)}</p>'


def feedback(heading: Heading, result: Mapping[str, Any]) -> str:
    """One student's page: what was asked, what their code gave on the public example, points, the sentence that helps.

    A result holds public examples only, so that no secret question or answer can get here.
    """
    parts = [f"<h1>{_e(heading.title)}</h1>", f'<p class="soft">{_e(result["shown"])} · {_e(result["file"])}</p>']
    parts.append(_unsafe_note(result.get("sandbox", True)))
    if result["status"] != "graded":
        word = {"unreadable": "This submission could not be read", "failed": "This submission could not be graded"}
        reason = result.get("reason", "").rstrip(".")
        parts.append(
            f'<p class="score">no score</p><p class="note"><strong>{word[result["status"]]}.</strong> '
            f"{_e(reason[:1].upper() + reason[1:])}.</p>"
            "<p>This is not a zero. Please hand in the notebook again, or ask.</p>"
        )
    else:
        total = sum(item["points"] for item in result["items"])
        parts.append(f'<p class="score">{number(total)} <span class="soft">of {heading.out_of} points</span></p>')
        parts += [_item_card(item) for item in result["items"]]
        parts.append(
            '<p class="soft small">Your functions were also called with inputs that are not shown here. Points are '
            "earned by an item that is right on all of them. Only the answer cells are run: a helper or an import that "
            "an answer needs must stand in its cell.</p>"
        )
    return _page(f"{heading.title}: {result['shown']}", "\n".join(part for part in parts if part))


def _item_card(item: Mapping[str, Any]) -> str:
    kind = "right" if item["status"] == "right" else "wrong"
    parts = [
        f'<section class="card {kind}"><div class="head"><h3>{_e(item["title"])}</h3>'
        f'<span><span class="tag {kind}">{_e(STATUS.get(item["status"], item["status"]))}</span> '
        f"{number(item['points'])} of {number(item['out_of'])}</span></div>"
    ]
    if item["sentence"] and kind == "wrong":
        parts.append(f"<p>{_sentence(item['sentence'])}</p>")
    if item.get("error"):
        parts.append(f"<pre>{_e(item['error'])}</pre>")
    example = item.get("example")
    short = example and len(example["expected"]) <= LINE and "\n" not in example["expected"]
    if example and kind == "wrong" and (short or not item.get("error")):
        rows = [("example", example["name"], True), ("expected", example["expected"], True)]
        if not item.get("error"):
            rows[1:1] = [("your answer", example["got"], True)]
            rows += [("difference", example["why"], False)] if example.get("why") else []
        cells = (f"<dt>{a}</dt><dd>{f'<code>{_e(b)}</code>' if code else _e(b)}</dd>" for a, b, code in rows)
        parts.append(f"<dl>{''.join(cells)}</dl>")
    return "".join(parts) + "</section>"


# ---- the class


def report(heading: Heading, rows: Sequence[Row], about: Mapping[str, str], *, unfinished: int = 0) -> str:
    """report.html over the class. about: lines for the foot, such as versions and the time; unfinished: how many are
    still to be graded."""
    graded = [row for row in rows if row.status == "graded"]
    parts = [f"<h1>{_e(heading.title)}</h1>", '<p class="soft">Class report</p>', _unsafe_note(heading.sandbox)]
    if unfinished:
        parts.append(
            f'<p class="note"><strong>Not finished.</strong> {unfinished} of {len(rows)} submissions are still to be '
            "graded. Run the same command again to go on.</p>"
        )
    flagged = [row for row in rows if row.flags]
    unread = [row for row in rows if row.status in ("unreadable", "failed")]
    totals = sorted(row.total for row in graded)
    figures = [
        (str(len(rows)), "submissions"),
        (str(len(graded)), "graded"),
        (str(len(unread)), "not readable"),
        (str(len(flagged)), "to look at"),
        (f"{number(_mean(totals))} of {heading.out_of}" if totals else "–", "mean score"),
        (number(_median(totals)) if totals else "–", "median score"),
    ]
    parts.append('<div class="big">' + "".join(f"<div><b>{_e(a)}</b>{_e(b)}</div>" for a, b in figures) + "</div>")
    if graded:
        parts += ["<h2>Scores</h2>", _histogram(totals, heading.out_of), "<h2>Items</h2>", _items(heading, graded)]
        parts += ["<h2>Usual wrong answers</h2>", _wrong_answers(heading, graded)]
    if unread:
        parts += ["<h2>Not readable</h2>", "<p>These have no score. They are not zeros.</p>", _reasons(unread)]
    if flagged:
        parts += ["<h2>For a person to look at</h2>", _flags(flagged)]
    parts += ["<h2>Students</h2>", _students(heading, rows)]
    foot = " · ".join(f"{_e(name)}: {_e(value)}" for name, value in about.items())
    parts.append(f'<p class="soft small">{foot}</p>')
    return _page(f"{heading.title}: class report", "\n".join(part for part in parts if part), wide=True)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _median(values: Sequence[float]) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def _histogram(totals: Sequence[float], most: float) -> str:
    """Bars over the scores, at most 20 of them, as SVG."""
    whole = most <= 20
    bins = int(most) + 1 if whole else 20
    counts = [0] * bins
    for total in totals:
        counts[min(bins - 1, int(total) if whole else int(total / most * bins))] += 1
    width, height, left, base = 720, 190, 34, 150
    step = (width - left - 6) / bins
    top = max(counts)
    out = [
        f'<div class="scroll"><svg viewBox="0 0 {width} {height}" role="img" '
        'aria-label="how many students have which score">'
    ]
    for tick in sorted({0, top // 2, top}):
        y = base - 130 * tick / top
        out.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    for index, count in enumerate(counts):
        x, tall = left + index * step, 130 * count / top
        label = str(index) if whole else number(most * index / bins)
        if count:
            out.append(
                f'<rect class="b" x="{x + 0.12 * step:.1f}" y="{base - tall:.1f}" width="{0.76 * step:.1f}" '
                f'height="{tall:.1f}" rx="2"><title>{count}</title></rect>'
            )
        out.append(f'<text x="{x + step / 2:.1f}" y="{base + 17}" text-anchor="middle">{label}</text>')
    out.append(f'<text x="{(left + width) / 2}" y="{base + 36}" text-anchor="middle">points</text></svg></div>')
    return "".join(out)


def _meter(share: float) -> str:
    return f'<div class="meter"><i style="width:{100 * share:.0f}%"></i></div>'


def _items(heading: Heading, graded: Sequence[Row]) -> str:
    lines, nobody = [], []
    for name, title, points, _ in heading.items:
        states = Counter(row.states.get(name, "missing") for row in graded)
        solved = states.pop("right", 0)
        others = ", ".join(f"{count} {STATUS.get(state, state)}" for state, count in states.most_common())
        nobody += [title] if not solved else []
        lines.append(
            f'<tr><td>{_e(title)}<div class="soft small">{_e(name)}</div></td><td class="n">{points}</td>'
            f'<td class="n">{solved} of {len(graded)}</td><td class="m">{_meter(solved / len(graded))}</td>'
            f'<td class="soft long">{_e(others)}</td></tr>'
        )
    note = f'<p class="note">Nobody solved: {_e(", ".join(nobody))}.</p>' if nobody else ""
    head = (
        '<tr><th>item</th><th class="n">points</th><th class="n">solved</th><th class="m"></th><th>not solved</th></tr>'
    )
    return f'{note}<div class="scroll"><table>{head}{"".join(lines)}</table></div>'


def _wrong_answers(heading: Heading, graded: Sequence[Row]) -> str:
    counts = Counter((item, name) for row in graded for item, name in row.misconceptions.items())
    if not counts:
        return '<p class="soft">No answer was one of the known wrong ones.</p>'
    titles = {name: (title, sentences) for name, title, _, sentences in heading.items}
    lines = []
    for (item, name), count in counts.most_common():
        title, sentences = titles.get(item, (item, {}))
        lines.append(
            f'<tr><td class="n">{count}</td><td class="m">{_meter(count / len(graded))}</td><td>{_e(title)}</td>'
            f'<td class="long">{_e(name)}<div class="soft small">{_sentence(sentences.get(name, ""))}</div></td></tr>'
        )
    head = (
        '<tr><th class="n">students</th><th class="m"></th><th>item</th><th>answer, and what they were told</th></tr>'
    )
    return f'<div class="scroll"><table>{head}{"".join(lines)}</table></div>'


def _reasons(rows: Sequence[Row]) -> str:
    lines = "".join(
        f'<tr><td class="name">{_link(row)}</td><td>{_e(row.file)}</td><td class="long">{_e(row.reason)}</td></tr>'
        for row in rows
    )
    return f'<div class="scroll"><table><tr><th>student</th><th>file</th><th>reason</th></tr>{lines}</table></div>'


def _flags(rows: Sequence[Row]) -> str:
    lines = "".join(
        f'<tr><td class="name">{_link(row)}</td><td class="long">{"<br>".join(map(_e, row.flags))}</td></tr>'
        for row in rows
    )
    return (
        "<p>Flags take no points away. They say where to look.</p>"
        f'<div class="scroll"><table><tr><th>student</th><th>what was seen</th></tr>{lines}</table></div>'
    )


def _students(heading: Heading, rows: Sequence[Row]) -> str:
    ids = (_e(name).replace("_", "_<wbr>") for name, _, _, _ in heading.items)  # a long id may be broken
    head = "".join(f'<th class="n id">{name}</th>' for name in ids)
    lines = []
    for row in rows:
        if row.status == "graded":
            points = "".join(f'<td class="n">{number(row.scores.get(i[0], 0))}</td>' for i in heading.items)
            total = number(row.total)
        else:
            points = f'<td colspan="{len(heading.items)}" class="soft">{_e(row.status)}</td>'
            total = "–"
        lines.append(f'<tr><td class="name">{_link(row)}</td><td class="n"><strong>{total}</strong></td>{points}</tr>')
    return (
        f'<div class="scroll"><table><tr><th>student</th><th class="n">total</th>{head}</tr>'
        f"{''.join(lines)}</table></div>"
    )


def _link(row: Row) -> str:
    """A student's name, linked to the feedback page. The file's name is safe by ``submission.safe_name``."""
    from urllib.parse import quote

    name = _e(printable(row.shown))
    return name if row.status == "not graded" else f'<a href="feedback/{_e(quote(row.student))}.html">{name}</a>'
