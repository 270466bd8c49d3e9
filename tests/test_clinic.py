"""The clinic: the patients and their rules, the charts, and the bench, live and plain, without a browser."""

from __future__ import annotations

import asyncio
import base64
import io
import math
import re
import statistics
from typing import Any

import pytest
import torch
from PIL import Image

from mmcourse import clinic, plots, runtime, widgets
from mmcourse.ring import Duel, Log, change, duel, record

SHORT = Duel(steps=60, batch=32, width=16, z=4)


def made(rows: int = 10, **columns: Any) -> Log:
    """A log whose columns are one number, or one for each row."""
    base = {
        "d": 1.0,
        "g": 1.0,
        "penalty": 0.0,
        "real_logit": 0.1,
        "fake_logit": -0.1,
        "accuracy": 0.6,
        "modes": 1,
        "good": 0.1,
    }
    now = base | columns
    return Log(
        {},
        [
            {"step": 10 * (i + 1), **{k: v[i] if isinstance(v, list) else v for k, v in now.items()}}
            for i in range(rows)
        ],
    )


# ---- reading a log


def test_usual_is_the_median_of_the_second_half() -> None:
    assert clinic.usual(made(5, modes=[9, 9, 1, 5, 2]), "modes") == 2  # three rows of five
    assert clinic.usual(made(4, modes=[9, 9, 1, 4]), "modes") == 2.5
    assert clinic.usual(made(1, modes=[3]), "modes") == 3
    values = torch.randn(31, generator=torch.Generator().manual_seed(0)).tolist()
    assert clinic.usual(made(31, d=values), "d") == pytest.approx(statistics.median(values[15:]))
    with pytest.raises(ValueError, match="no column 'x'"):
        clinic.usual(made(4), "x")
    with pytest.raises(ValueError, match="there are none"):
        clinic.usual(Log({}, []), "modes")


def test_the_size_of_logits_knows_no_sign() -> None:
    for real, fake in ((3.0, -5.0), (-3.0, 5.0), (-3.0, -5.0)):
        assert clinic.logit_size(made(6, real_logit=real, fake_logit=fake)) == 4.0
    assert clinic.logit_size(made(4, real_logit=[0.0, 0.0, 1.0, 9.0], fake_logit=0.0)) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("healthy", {"modes": 7, "accuracy": 0.99, "real_logit": 9.0}),
        ("unfinished", {"modes": 6, "accuracy": 0.99}),
        ("unfinished", {"modes": 3}),
        ("won", {"modes": 2, "accuracy": 0.98, "real_logit": 9.0}),
        ("stuck", {"accuracy": 0.97, "real_logit": 9.0}),
        ("stuck", {"accuracy": 0.8}),
        ("runaway", {"accuracy": 0.79, "real_logit": -1.5, "fake_logit": -0.5}),
        ("wandering", {"accuracy": 0.79, "real_logit": 0.9, "fake_logit": -1.0}),
        ("runaway", {"real_logit": math.nan, "fake_logit": math.nan, "accuracy": 0.0, "modes": 0}),
    ],
)
def test_rules(name: str, columns: dict[str, Any]) -> None:
    assert clinic.diagnose(made(8, **columns)) == name


def test_the_first_half_and_the_losses_do_not_matter() -> None:
    early = {"modes": [8] * 5 + [1] * 5, "accuracy": [1.0] * 5 + [0.5] * 5, "real_logit": [50.0] * 5 + [0.1] * 5}
    for d in (0.0, 1.386, -40.0):
        assert clinic.diagnose(made(10, **early, d=d, g=d)) == "wandering"


@pytest.mark.parametrize("name", list(clinic.PATIENTS))
def test_a_patient_is_sick_and_its_cure_is_one_change(name: str) -> None:
    """One real run of each, short; the lesson's own asserts play more seeds and longer."""
    settings = clinic.PATIENTS[name]
    (field,) = clinic.CURES[name]
    assert getattr(settings, field) != clinic.CURES[name][field]
    sick, _ = record(change(settings, {"steps": 500}), every=25)
    assert clinic.diagnose(sick) == name and clinic.usual(sick, "modes") <= 2
    if name in ("wandering", "runaway"):  # those whose cure shows early
        cured, _ = record(change(settings, {"steps": 500, **clinic.CURES[name]}), every=25)
        assert clinic.usual(cured, "modes") >= 7 and clinic.diagnose(cured) == "healthy"


def test_the_stored_ward_says_what_the_lesson_says_of_it() -> None:
    stored = runtime.results("clinic_logs")
    logs = {name: Log(found["settings"], found["rows"]) for name, found in stored["ward"].items()}
    said = {name: clinic.diagnose(log) for name, log in logs.items()}
    assert said == dict(zip("ABCDEF", ["healthy", "stuck", "wandering", "runaway", "won", "wandering"], strict=True))
    slow = logs["F"].settings
    assert slow["lr_g"] == slow["lr_d"] <= 1e-5  # the trap: the rules have no name for it
    cures = stored["cures"]
    assert all(len(row) == 8 for row in cures.values())
    assert max(cures["nothing changed"]) <= 2 and min(cures["D ten times faster"]) >= 7
    last = cures["relativistic, R1, R2"]
    assert min(last[:4]) >= 7 > min(last)  # four seeds would have called it a cure
    assert min(cures["five steps of D"]) >= 7
    assert not [n for n, row in cures.items() if min(row) >= 7 and n not in ("D ten times faster", "five steps of D")]


# ---- charts


def test_charts_draw_every_log_on_one_scale_a_row(tmp_path: Any) -> None:
    calm, wild = made(6), made(6, d=[-40.0, 3, 5, math.nan, 2, 60.0], real_logit=30.0)
    figure = clinic.charts({"calm": calm, "wild": wild}, title="two", path=tmp_path / "a.png")
    assert len(figure.axes) == 10 and [ax.get_title() for ax in figure.axes[:2]] == ["calm", "wild"]
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        assert left.get_ylim() == right.get_ylim()
    assert figure.axes[1].get_ylim()[0] < -40 and figure.axes[1].get_ylim()[1] > 60
    assert figure.axes[0].get_yscale() == "symlog"
    assert figure.axes[4].get_ylim()[1] >= 1 and figure.axes[6].get_ylim()[1] >= 8
    (line,) = figure.axes[6].lines
    assert list(line.get_xdata()) == [10, 20, 30, 40, 50, 60] and set(line.get_ydata()) == {1}
    assert Image.open(tmp_path / "a.png").width <= 800
    quiet = clinic.charts({"calm": calm}, bands=["losses"])
    assert quiet.axes[0].get_yscale() == "linear" and quiet.axes[0].get_ylim()[0] == 0
    assert len(quiet.axes[0].lines) == 2  # no game is known, so there is no level


def test_the_levels_of_a_d_that_cannot_tell() -> None:
    """Closed forms: -log(1/2) for each side, hinge's two margins, and least squares' half way between its 0 and 1."""
    two = math.log(2)
    for game, d, g in (
        ("minimax", 2 * two, -two),
        ("non_saturating", 2 * two, two),
        ("hinge", 2.0, None),
        ("least_squares", 0.25, 0.125),
        ("wasserstein", 0.0, None),
        ("relativistic", two, two),
    ):
        found = clinic.cannot_tell(game)
        assert found == (pytest.approx(d), None if g is None else pytest.approx(g)), game
    assert set(clinic.GAMES) == {"minimax", "non_saturating", "hinge", "least_squares", "wasserstein", "relativistic"}
    assert clinic.cannot_tell("no game") == (None, None)


def test_each_panel_of_losses_has_the_levels_of_its_own_game() -> None:
    logs = {game: Log({"game": game}, made(6).rows) for game in ("non_saturating", "relativistic", "wasserstein")}
    figure = clinic.charts(logs, bands=["losses", "D's accuracy", "modes"])
    levels = [[float(line.get_ydata()[0]) for line in ax.lines[2:]] for ax in figure.axes[:3]]
    assert levels == [pytest.approx([2 * math.log(2), math.log(2)]), pytest.approx([math.log(2)] * 2), [0.0]]
    assert [[float(line.get_ydata()[0]) for line in ax.lines[1:]] for ax in figure.axes[3:6]] == [[0.5]] * 3
    assert [len(ax.lines) for ax in figure.axes[6:]] == [1, 1, 1]


def test_the_foot_of_the_charts_says_which_row_a_line_belongs_to(tmp_path: Any) -> None:
    log = Log({"game": "non_saturating"}, made(6).rows)
    figure = clinic.charts({"one": log}, path=tmp_path / "a.png")
    assert [t.get_text() for t in figure.texts] == ["losses:", "D's logits:", "D's accuracy:"]
    said = [[t.get_text() for t in legend.get_texts()] for legend in figure.legends]
    assert said == [
        ["of D", "of G", "D that cannot tell", "G, when D cannot tell"],
        ["D on real", "D on fakes"],
        ["D that cannot tell"],
    ]
    figure.draw_without_rendering()
    for text, legend in zip(figure.texts, figure.legends, strict=True):
        box, named = legend.get_window_extent(), text.get_window_extent()
        assert named.x1 < box.x0 and box.x1 < figure.bbox.x1 and box.y0 > 0
        assert abs((box.y0 + box.y1) - (named.y0 + named.y1)) < 6
    ticks = clinic.charts({"one": log}, bands=["losses"]).axes[0].get_yticks()
    assert list(ticks) == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("logs", "bands", "match"),
    [({}, ["losses"], "at least one log"), ({"a": made()}, [], "one band"), ({"a": made()}, ["loss"], "got 'loss'")],
)
def test_charts_explain_bad_input(logs: dict[str, Log], bands: list[str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        clinic.charts(logs, bands=bands)
    with pytest.raises(ValueError, match="no column"):
        clinic.charts({"empty": Log({}, [])})


# ---- the bench


@pytest.fixture
def bench() -> clinic.Clinic:
    return clinic.Clinic(SHORT, every=20)


def image_in(bench: clinic.Clinic) -> Image.Image:
    data = re.search(r'src="data:image/png;base64,([^"]+)"', bench.picture_area.value)
    assert data is not None
    return Image.open(io.BytesIO(base64.b64decode(data[1])))


def test_a_started_bench_plays_the_very_run_of_its_knobs(bench: clinic.Clinic) -> None:
    bench.start_button.click()
    assert bench.running and bench.picture_area.value == "" and "Round 0 of 60" in bench.message
    bench.finish()
    log, last = record(SHORT, every=20)
    assert bench.log == log and not bench.running
    assert bench.last is not None and torch.equal(bench.last.points(), last.points())
    assert bench.message.startswith("Finished. Round 60 of 60: ") and clinic.diagnose(log) in bench.message
    assert image_in(bench).width <= 800 and "Round 60 of 60" in bench.picture_area.value


def test_ticks_are_slices_and_the_picture_changes_at_each_look(bench: clinic.Clinic) -> None:
    bench.slice_seconds = 0.0
    bench.start()
    seen = []
    for number in range(1, 60):
        assert bench.tick() is True and bench.last is not None and bench.last.number == number
        seen.append(bench.picture_area.value)
    assert len(set(seen)) == 3 and len(bench.log.rows) == 2  # none, round 20, round 40
    assert bench.tick() is False and bench.tick() is False
    assert [row["step"] for row in bench.log.rows] == [20, 40, 60]


def test_stop_keeps_what_there_is_and_start_begins_anew(bench: clinic.Clinic) -> None:
    bench.slice_seconds = 0.0
    bench.stop_button.click()
    assert "Nothing is running" in bench.message
    bench.start()
    for _ in range(25):
        bench.tick()
    bench.stop_button.click()
    assert bench.message.startswith("Stopped. Round 25 of 60: ") and bench.tick() is False
    assert [row["step"] for row in bench.log.rows] == [20, 25] and image_in(bench)
    kept = bench.log
    bench.start()
    assert bench.log.rows == [] and len(kept.rows) == 2
    bench.tick()
    assert bench.last is not None and bench.last.number == 1


def test_the_event_loop_plays_and_hears_stop_between_slices(bench: clinic.Clinic) -> None:
    """As in a kernel: start gives the loop back at once, a click gets in between, a second start takes over."""

    async def session() -> None:
        bench.set_knobs(change(SHORT, {"steps": 100_000}))
        bench.slice_seconds = 0.01
        bench.start_button.click()
        assert bench.running and bench.last is None
        while not bench.log.rows:
            await asyncio.sleep(0.01)
        bench.stop_button.click()
        at = bench.last.number if bench.last else 0
        await asyncio.sleep(0.08)
        assert bench.last is not None and bench.last.number == at and not bench.running
        bench.start_button.click()
        bench.start_button.click()  # the first of the two is left
        await asyncio.sleep(0.15)
        numbers = [row["step"] for row in bench.log.rows]
        assert numbers == sorted(set(numbers)) and bench.running
        bench.set_knobs(SHORT)
        bench.start()
        while bench.running:
            await asyncio.sleep(0.01)
        assert bench.message.startswith("Finished.")

    asyncio.run(asyncio.wait_for(session(), 20))
    assert bench.log == record(SHORT, every=20)[0]


def test_knobs_of_the_patients_and_of_any_duel(bench: clinic.Clinic) -> None:
    assert bench.knobs == SHORT
    bench.seed.value = 7
    for name in clinic.PATIENTS:
        bench.patient.value = name
        assert bench.knobs == change(clinic.PATIENTS[name], {"seed": 7})
    bench.patient.value = "healthy"
    assert bench.knobs == change(clinic.HEALTHY, {"seed": 7})
    bench.lr_g.value = 1e-5
    assert bench.knobs == change(clinic.HEALTHY, {"seed": 7, "lr_g": 1e-5})
    assert bench.patient.value == "as they stand"  # it is no patient's any more
    bench.patient.value = "runaway"
    bench.seed.value = 8
    assert bench.patient.value == "runaway" and bench.knobs.seed == 8
    odd = Duel(lr_g=3.3e-4, lr_d=0.07, gamma=0.25, penalty="wgan-gp", game="hinge", d_steps=5, seed=12)
    bench.set_knobs(odd)
    assert bench.knobs == odd and not bench.gamma.disabled
    bench.penalty.value = "none"
    assert bench.gamma.disabled
    for wrong in (Duel(d_steps=11), Duel(seed=10_000)):
        with pytest.raises(ValueError, match="the ends of its knob"):
            bench.set_knobs(wrong)
    with pytest.raises(ValueError, match="every"):
        clinic.Clinic(SHORT, every=0)


def test_no_knob_can_ask_for_something_impossible(bench: clinic.Clinic) -> None:
    for knob, value in ((bench.d_steps, 0), (bench.d_steps, 99), (bench.seed, -1), (bench.seed, 10**6)):
        knob.value = value
        assert knob.min <= knob.value <= knob.max
    for game in bench.game.options:
        for penalty in bench.penalty.options:
            bench.game.value, bench.penalty.value = game, penalty
            assert bench.knobs.game == game and bench.knobs.penalty == penalty
    assert set(bench.game.options) == set(clinic.GAMES)


def test_turning_a_knob_counts_from_the_next_start(bench: clinic.Clinic) -> None:
    bench.start()
    bench.lr_g.value = 1e-2
    bench.finish()
    assert bench.settings == SHORT and bench.log.settings["lr_g"] == SHORT.lr_g
    bench.start()
    assert bench.settings.lr_g == 1e-2


def test_a_diverged_run_is_said_and_ends(bench: clinic.Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Duel) -> Any:
        for now in duel(settings):
            if now.number == 30:
                with torch.no_grad():
                    next(now.G.parameters()).fill_(math.nan)
                yield now
                return
            yield now

    monkeypatch.setattr(clinic, "duel", broken)
    bench.start()
    bench.finish()
    assert bench.message.startswith("The run has diverged.") and 'role="alert"' in bench.message_area.value
    assert not bench.running and "Round 20 of 60" in bench.picture_area.value  # the last ring that could be drawn
    bench.start()
    bench.slice_seconds = 0.0
    for _ in range(30):
        bench.tick()
    bench.stop()
    assert "Stopped." in bench.message


def test_a_crash_is_shown_and_raised(bench: clinic.Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(now: Any) -> dict[str, float]:
        raise RuntimeError("out of <memory>")

    bench.start()
    monkeypatch.setattr(clinic, "look", crash)
    with pytest.raises(RuntimeError, match="out of"):
        bench.finish()
    assert "RuntimeError: out of <memory>" in bench.message and "&lt;memory&gt;" in bench.message_area.value
    assert not bench.running


def test_every_control_has_words(bench: clinic.Clinic) -> None:
    knobs = (bench.patient, bench.lr_g, bench.lr_d, bench.d_steps, bench.game, bench.penalty, bench.gamma, bench.seed)
    for control in (*knobs, bench.start_button, bench.stop_button):
        assert control.description and control.tooltip
    bench.start()
    bench.finish()
    assert 'alt="The ring. Round 60' in bench.picture_area.value and 'role="status"' in bench.message_area.value
    with pytest.raises(ValueError, match="before the first round"):
        clinic.Clinic(SHORT).figure()


def test_show_gives_the_bench_when_live_and_a_still_ring_under_papermill(
    bench: clinic.Clinic, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(clinic, "display", shown.append)
    monkeypatch.setattr(widgets, "display", shown.append)
    monkeypatch.setattr(widgets, "in_kernel", lambda: True)
    monkeypatch.setenv("MMCOURSE_UNDER_PAPERMILL", "0")
    bench.show()
    assert shown == [bench.widget] and not bench.running and capsys.readouterr().out == ""
    monkeypatch.setenv("MMCOURSE_UNDER_PAPERMILL", "1")
    bench.show()
    assert isinstance(shown[-1], plots.Sheet) and len(shown) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == bench.message and 2 <= len(said) <= 5 and bench.log == record(SHORT, every=20)[0]
    assert bench.picture_area.value == ""
