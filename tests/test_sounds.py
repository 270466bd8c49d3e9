"""The world's sounds, heard with Fourier's ears: each fact is measured in the wave, and whole statements read back.

Nothing here learns. A clip is cut in two, each note's lowest strong tone is its pitch, the strokes are counted in its
envelope, its partials are weighed against each other, and the two ears are compared.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, hilbert, sosfiltfilt
from torch import Tensor

from mmcourse import sounds, world
from mmcourse.audio import LENGTH, RATE

Wave = NDArray[Any]

CUT = round(0.61 * RATE)  # between the end of the latest early note and the start of the earliest late one
SEMITONE = 2 ** (1 / 12)
NO_MARKS = butter(3, (200, 2000), "bandpass", fs=RATE, output="sos")
SHAPES_BY_STROKES = {2: "cross", 3: "triangle", 4: "square", 5: "star"}


def row(shape: str = "", colour: str = "", size: str = "", layout: str = "") -> list[int]:
    """The statement about one thing; what is not named is left open."""
    named = zip((world.SHAPES, world.COLOURS, world.SIZES), (shape, colour, size), strict=True)
    facts = [names.index(word) if word else world.OPEN for names, word in named]
    return [1, *facts, -1, -1, -1, world.LAYOUTS.index(layout) if layout else world.OPEN]


def pair(a: list[int], b: list[int], layout: str = "") -> list[int]:
    return [2, *a[1:4], *b[1:4], world.LAYOUTS.index(layout) if layout else world.OPEN]


def heard(rows: list[list[int]] | Tensor, seed: int = 0, *, noise: float = 0.0) -> Wave:
    """Waves (B, 2, N) of statements."""
    g = torch.Generator().manual_seed(seed)
    return sounds.sound(torch.as_tensor(rows), g, noise=noise).double().numpy()


def spectrum(wave: Wave) -> tuple[Wave, Wave]:
    """Frequencies and amplitudes of a wave (N,), by a Fourier transform over the whole of it, padded to half a Hz."""
    return np.fft.rfftfreq(2 * RATE, 1 / RATE), np.abs(np.fft.rfft(wave, 2 * RATE))


def level(wave: Wave, low: float, high: float) -> float:
    """The energy of a wave (N,) between two frequencies."""
    hertz, loud = spectrum(wave)
    return float((loud[(hertz >= low) & (hertz < high)] ** 2).sum())


def pitch(wave: Wave) -> float:
    """The lowest strong tone in Hz between the thud and three octaves above it."""
    hertz, loud = spectrum(wave)
    inside = (hertz > 200) & (hertz < 960)
    first = hertz[inside][loud[inside] > 0.5 * loud[inside].max()][0]
    near = (hertz >= first) & (hertz < first + 40)
    return float(hertz[near][loud[near].argmax()])


def envelope(wave: Wave, tone: float) -> Wave:
    """How loud the tone of this pitch is at every moment, the loudest 1: overtones and marks are filtered out."""
    low, high = max(tone - 90, 170), min(tone * 1.5, tone + 130)
    loud = np.abs(hilbert(sosfiltfilt(butter(3, (low, high), "bandpass", fs=RATE, output="sos"), wave)))
    return loud / loud.max()


def strokes(loud: Wave) -> int:
    """How often an envelope goes from silence, below .35 of its maximum, to a tone, above .6."""
    told = np.sign((loud > 0.6).astype(int) - (loud < 0.35).astype(int))
    told = told[told != 0]
    return int((np.diff(told) > 0).sum())


class Heard(NamedTuple):
    shape: str
    colour: str
    size: str
    place: str


def sounding(wave: Wave) -> bool:
    """Whether a tone stands out of the spectrum of a clip (2, N); in noise the largest of so many numbers does not."""
    loud = spectrum(wave.sum(0))[1]
    return bool(loud.max() > 8 * np.median(loud) + 1e-3)


def decode(wave: Wave) -> Heard:
    """Read one note (2, N), by plain signal processing. All its facts must be told."""
    mono = wave.sum(0)
    tone = pitch(mono)
    colour = world.COLOURS[int(np.abs(np.log2(np.array(sounds.PITCHES) / tone)).argmin())]
    loud = envelope(mono, tone)
    count = strokes(loud)
    held = (loud > 0.9).sum() / (loud > 0.1).sum()  # a steady tone is at its loudest nearly all the time
    shape = SHAPES_BY_STROKES.get(count, "circle" if held > 0.5 else "ring")
    octave = level(mono, 2 * tone - 30, 2 * tone + 30) / level(mono, tone - 30, tone + 30)
    left, right = (level(ear, tone - 40, tone + 40) for ear in wave)
    if left > 4 * right or right > 4 * left:
        place = "left" if left > right else "right"
    else:
        marks = {"top": level(mono, 3260, 3340), "bottom": level(mono, 70, 150)}
        place = max(marks, key=lambda k: marks[k])
        place = place if marks[place] > 0.01 * level(mono, 200, 960) else "centre"
    return Heard(shape, colour, "large" if octave > 0.2 else "small", place)


def read(wave: Wave) -> list[int]:
    """A statement read off a clip (2, N): one note or two, in any order."""
    found = [decode(part) for part in (wave[:, :CUT], wave[:, CUT:]) if sounding(part)]
    if len(found) == 1:
        return row(*found[0])
    first, second = (row(*note[:3]) for note in found)
    places = found[0].place, found[1].place
    if places in (("right", "left"), ("bottom", "top")):
        first, second, places = second, first, (places[1], places[0])
    return pair(first, second, {("left", "right"): "beside", ("top", "bottom"): "stacked"}.get(places, "centre"))


# ---- statements read back


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("objects", [1, 2])
def test_whole_statements_are_read_back_by_plain_signal_processing(objects: int, noise: float) -> None:
    """Every column of every fully told statement, held-out pairs among them: a sound tells all that a caption tells."""
    labels = world.sample_labels(300, torch.Generator().manual_seed(objects), objects=(objects,), split="all")
    found = torch.tensor([read(wave) for wave in heard(labels, 7, noise=noise)])
    right = found == labels
    assert right.all(1).float().mean() >= (0.98 if noise else 1.0), labels[~right.all(1)].tolist()
    assert world.holds_out(labels).sum() > 20


# ---- pitch tells the colour


def test_each_colours_pitch_lies_within_a_third_of_a_semitone() -> None:
    """Small things are pure tones: the Fourier transform's largest peak is the pitch."""
    assert len(sounds.PITCHES) == len(world.COLOURS) == 8
    for k, (colour, right) in enumerate(zip(world.COLOURS, sounds.PITCHES, strict=True)):
        assert right == pytest.approx(262 * 2 ** (3 * k / 12), abs=0.05), "a minor third, three semitones, apart"
        found = []
        for wave in heard([row("circle", colour, "small", "centre")] * 40, seed=k):
            hertz, loud = spectrum(wave[0])
            found.append(hertz[loud.argmax()])
        off = np.log(np.array(found) / right) / math.log(SEMITONE)
        assert np.abs(off).max() < 0.3 + 0.03, colour  # half a Hz is .03 semitones at the lowest pitch
        assert off.min() < -0.15 and off.max() > 0.15, "slightly wrong, and not always the same way"


def test_a_sound_of_a_colour_is_the_same_whatever_else_is_said(rng: torch.Generator) -> None:
    labels = world.sample_labels(200, rng, objects=(1,), split="all")
    for label, wave in zip(labels, heard(labels), strict=True):
        off = math.log(pitch(wave.sum(0)) / sounds.PITCHES[int(label[2])]) / math.log(SEMITONE)
        assert abs(off) < 0.5, world.Statement(*label.tolist())


# ---- rhythm tells the shape


@pytest.mark.parametrize(
    ("shape", "count"), [("circle", 1), ("cross", 2), ("triangle", 3), ("square", 4), ("star", 5), ("ring", 1)]
)
def test_strokes_are_counted_in_the_envelope(shape: str, count: int) -> None:
    assert sounds.STROKES[world.SHAPES.index(shape)] == count
    for colour in world.COLOURS:
        for wave in heard([row(shape, colour, "small", "centre")] * 4, seed=count):
            loud = np.abs(hilbert(wave[0]))
            loud /= np.quantile(loud, 0.999)
            smooth = sosfiltfilt(butter(2, 60, fs=RATE, output="sos"), loud)
            assert len(find_peaks(smooth, height=0.5, prominence=0.4)[0]) == strokes(smooth) == count
            there = np.flatnonzero(smooth > 0.05) / RATE
            assert there[-1] - there[0] < sounds.SECONDS + 0.02


def test_a_ring_swells_and_fades_and_a_circle_is_steady() -> None:
    """The swell is the fourth power of half a sine; flanks of 10 ms aside a circle has one loudness."""
    for shape in ("ring", "circle"):
        for wave in heard([row(shape, "green", "small", "centre")] * 10, seed=4):
            loud = np.abs(hilbert(wave[0]))
            loud /= loud.max()
            long = round(sounds.SECONDS * RATE)
            lags = [np.abs(loud[k : k + long] - _shape_of(shape, long)).mean() for k in range(100, 900, 4)]
            assert min(lags) < 0.02, shape
            assert np.delete(loud, np.arange(np.argmin(lags) * 4 + 100, np.argmin(lags) * 4 + 100 + long)).max() < 0.1


def _shape_of(shape: str, long: int) -> Wave:
    t = (np.arange(long) + 0.5) / long
    if shape == "ring":
        return np.sin(np.pi * t) ** 4
    flank = 0.01 / sounds.SECONDS
    return np.minimum(1, np.minimum(t, 1 - t) / flank)


def test_strokes_begin_at_equal_steps() -> None:
    """Of a square four, an eighth of a second or so apart, each three fifths of its step."""
    step = sounds.SECONDS / 4
    for wave in heard([row("square", "black", "small", "centre")] * 20, seed=1):
        loud = sosfiltfilt(butter(2, 100, fs=RATE, output="sos"), np.abs(hilbert(wave[0])))
        above = np.concatenate([[0], loud > 0.5 * loud.max(), [0]]).astype(int)
        rise, fall = np.flatnonzero(np.diff(above) == 1) / RATE, np.flatnonzero(np.diff(above) == -1) / RATE
        assert np.diff(rise) == pytest.approx([step] * 3, abs=0.004)
        assert fall - rise == pytest.approx([0.6 * step - 0.01] * 4, abs=0.008)


# ---- timbre tells the size


@pytest.mark.parametrize(("size", "strengths"), [("small", (1, 0, 0, 0)), ("large", (0.8, 0.8, 0.7, 0.6))])
def test_small_is_a_pure_tone_and_large_a_full_one(size: str, strengths: tuple[float, ...]) -> None:
    for k, colour in enumerate(world.COLOURS):
        for wave in heard([row("circle", colour, size, "centre")] * 3, seed=k):
            found = partials(wave[0], pitch(wave[0]))
            assert found == pytest.approx([s / strengths[0] for s in strengths], abs=0.03), colour


def partials(wave: Wave, tone: float) -> list[float]:
    """Amplitudes at one to four times a pitch, beside the first."""
    loud = [math.sqrt(level(wave, k * tone - 50, k * tone + 50)) for k in (1, 2, 3, 4)]
    return [x / loud[0] for x in loud]


# ---- the ears and the marks tell the place


def test_left_and_right_are_heard_in_one_ear_and_the_others_in_both() -> None:
    for layout, want in (("left", 1 / 0.12), ("right", 0.12), ("centre", 1), ("top", 1), ("bottom", 1)):
        for wave in heard([row("star", "blue", "large", layout)] * 10, seed=2):
            left, right = np.sqrt((wave**2).mean(1))
            assert left / right == pytest.approx(want, rel=1e-3), layout


def test_a_click_is_the_top_and_a_thud_the_bottom_and_neither_is_elsewhere() -> None:
    """Both last 90 ms at most, at the note's start."""
    for colour in world.COLOURS:
        for layout in world.LAYOUTS[:5]:
            for wave in heard([row("circle", colour, "large", layout)] * 2, seed=3):
                tone = level(wave[0], 200, 960) + level(wave[1], 200, 960)
                mono = wave.sum(0)
                for mark, (low, high) in {"top": (3270, 3330), "bottom": (80, 140)}.items():
                    share = level(mono, low, high) / tone
                    assert share > 0.01 if layout == mark else share < 1e-3, (colour, layout, mark)
    for layout, hertz in (("top", 3300), ("bottom", 110)):
        for wave in heard([row("circle", "red", "small", layout)] * 5, seed=5):
            band = (hertz * 0.8, hertz * 1.2)
            only = sosfiltfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), wave[0])
            freqs, loud = spectrum(only)
            assert freqs[loud.argmax()] == pytest.approx(hertz, abs=4)
            start = np.flatnonzero(np.abs(wave[0]) > 1e-4)[0]
            energy = only**2
            assert energy[max(0, start - 40) : start + round(0.1 * RATE)].sum() > 0.95 * energy.sum()


# ---- two things are two notes


def test_of_two_things_either_may_come_first_and_the_meaning_stays() -> None:
    for layout, places in (("beside", ("left", "right")), ("stacked", ("top", "bottom"))):
        told = pair(row("star", "red", "small"), row("ring", "cyan", "large"), layout)
        a, b = Heard("star", "red", "small", places[0]), Heard("ring", "cyan", "large", places[1])
        orders = []
        for wave in heard([told] * 200, seed=6):
            found = decode(wave[:, :CUT]), decode(wave[:, CUT:])
            assert found in ((a, b), (b, a))
            assert read(wave) == told
            orders.append(found == (a, b))
        assert 70 < sum(orders) < 130, "a fair coin"


def test_one_thing_is_one_note_at_the_beginning() -> None:
    waves = heard([row("circle", "red", "large", "left"), row("ring"), row(layout="top")] * 10)
    assert np.abs(waves[..., CUT:]).max() < 1e-20 < np.abs(waves[..., :CUT]).max((1, 2)).min()


def test_of_two_things_whose_places_are_open_the_one_named_first_comes_first() -> None:
    """Both wander between the ears, so that nothing else tells which is which."""
    told = pair(row("star", "red", "small"), row("ring", "cyan", "large"))
    for wave in heard([told] * 30):
        early, late = wave[:, :CUT], wave[:, CUT:]
        assert decode(early)[:3] == ("star", "red", "small") and decode(late)[:3] == ("ring", "cyan", "large")
        assert _swings(early) >= 4 and _swings(late) >= 2  # a ring is loud for half of its time


# ---- what is open


def _swings(wave: Wave) -> int:
    """How often a note goes from one ear to the other."""
    left, right = (np.sqrt(np.convolve(ear**2, np.ones(160) / 160, "same")) for ear in wave)
    there = left + right > 0.2 * (left + right).max()
    return int((np.diff((left > right)[there].astype(int)) != 0).sum())


def test_an_open_place_wanders_between_the_ears_five_times_a_second() -> None:
    for wave in heard([row("circle", "green", "small")] * 10):
        left, right = np.abs(hilbert(wave[0])), np.abs(hilbert(wave[1]))
        there = np.flatnonzero(left + right > 0.5 * (left + right).max())[100:-100]
        share = left[there] / (left + right)[there]
        assert share.min() == pytest.approx(0.12 / 1.12, abs=0.01)
        assert share.max() == pytest.approx(1 / 1.12, abs=0.01)
        assert _swings(wave) in (4, 5)
        assert level(wave[0], 80, 140) + level(wave[0], 3270, 3330) < 1e-3 * level(wave[0], 200, 960), "no mark"
    for layout in ("left", "right"):
        assert all(_swings(wave) == 0 for wave in heard([row("circle", "green", "small", layout)] * 5))


def test_an_open_colour_is_a_siren_over_all_pitches() -> None:
    for wave in heard([row("circle", size="small", layout="centre")] * 10):
        turn = np.unwrap(np.angle(hilbert(wave[0])))
        loud = np.abs(hilbert(wave[0]))
        there = np.flatnonzero(loud > 0.5 * loud.max())[100:-100]
        hertz = np.diff(turn)[there] * RATE / (2 * np.pi)
        assert hertz.min() == pytest.approx(sounds.PITCHES[0], rel=0.03)
        assert hertz.max() == pytest.approx(sounds.PITCHES[-1], rel=0.03)
        middle = math.sqrt(sounds.PITCHES[0] * sounds.PITCHES[-1])
        assert (np.diff((hertz > middle).astype(int)) != 0).sum() in (4, 5), "up and down, five times a second"


def test_an_open_size_is_hollow() -> None:
    for k, colour in enumerate(world.COLOURS):
        for wave in heard([row("circle", colour, layout="centre")] * 3, seed=k):
            assert partials(wave[0], pitch(wave[0])) == pytest.approx([1, 0, 0.9, 0], abs=0.03), colour


def test_an_open_shape_is_a_breath_about_the_pitch() -> None:
    """A tone keeps nearly all its energy within 10 Hz of its pitch, noise about a pitch does not, but stays near it."""
    for colour in ("red", "green", "black"):
        right = sounds.PITCHES[world.COLOURS.index(colour)]
        near = []
        for shape in ("circle", ""):
            waves = heard([row(shape, colour, "small", "centre")] * 20, seed=8)
            found = []
            for wave in waves:
                tone = right * 2 ** (0.3 / 12)
                narrow = level(wave[0], right / 2 ** (0.3 / 12) - 10, tone + 10)
                wide = level(wave[0], right - 150, right + 150)
                found.append(narrow / wide)
                assert wide > 0.9 * level(wave[0], 20, 3999), colour
            near.append(np.mean(found))
        assert near[0] > 0.97 > 0.75 > near[1], colour
    one, two = heard([row("", "red", "small", "centre")] * 2, seed=9)[:, 0]
    assert abs(np.corrcoef(np.abs(hilbert(one))[:4000], np.abs(hilbert(two))[:4000])[0, 1]) < 0.8, "a fresh breath each"


def test_open_facts_leave_the_other_facts_as_they_are() -> None:
    """With one fact open the others are read as before; what is open is not asked for."""
    labels = world.sample_labels(100, torch.Generator().manual_seed(0), objects=(1,), split="all")
    for column in (3, 7):
        told = labels.clone()
        told[:, column] = world.OPEN
        found = torch.tensor([row(*decode(wave[:, :CUT])) for wave in heard(told, column)])
        assert torch.equal(
            found[:, [k for k in range(8) if k != column]], labels[:, [k for k in range(8) if k != column]]
        )
    # an open colour: strokes of the whole tone, whatever its pitch, and the louder ear
    told = labels.clone()
    told[:, 2], told[:, 3] = world.OPEN, 0
    for label, wave in zip(told.tolist(), heard(told, 2), strict=True):
        loud = np.sqrt(sum(np.abs(hilbert(sosfiltfilt(NO_MARKS, ear))) ** 2 for ear in wave))
        loud = sosfiltfilt(butter(2, 60, fs=RATE, output="sos"), loud)
        assert strokes(loud / loud.max()) == sounds.STROKES[label[1]], label
        left, right = (wave**2).mean(1)
        assert (left > 4 * right, right > 4 * left) == (label[7] == 1, label[7] == 2), label
    # an open shape: the breath's middle is its pitch, more or less, and its size and place are as told
    told = labels.clone()
    told[:, 1] = world.OPEN
    near = []
    for label, wave in zip(told.tolist(), heard(told, 1), strict=True):
        hertz, loud = spectrum(wave.sum(0))
        tone = sounds.PITCHES[label[2]]
        around = (hertz > tone - 120) & (hertz < tone + 120)
        middle = (hertz[around] * loud[around] ** 2).sum() / (loud[around] ** 2).sum()
        near.append(abs(math.log(middle / tone) / math.log(SEMITONE)) < 1.5)
        octave = level(wave.sum(0), 2 * tone - 100, 2 * tone + 100) / level(wave.sum(0), tone - 100, tone + 100)
        assert (octave > 0.2) == (label[3] == 1), label
        left, right = (wave**2).mean(1)
        assert (left > 4 * right, right > 4 * left) == (label[7] == 1, label[7] == 2), label
    assert np.mean(near) > 0.9


# ---- nuisance


def test_loudness_timing_and_pitch_tell_nothing_and_vary() -> None:
    told = pair(row("circle", "red", "small"), row("circle", "blue", "small"), "beside")
    waves = heard([told] * 400, seed=2)
    peak = 20 * np.log10(np.abs(waves).max((1, 2)) / 0.45)
    assert -12 <= peak.min() < -11 and 5 < peak.max() <= 6.001, "18 dB between the faintest and the loudest"
    assert peak.mean() == pytest.approx(-3, abs=1)
    both = np.abs(waves).max(1) / np.abs(waves).max((1, 2))[:, None]
    early = np.array([np.flatnonzero(w[:CUT] > 0.02)[0] for w in both]) / RATE
    late = np.array([np.flatnonzero(w[CUT:] > 0.02)[0] + CUT for w in both]) / RATE
    for starts, low, high in ((early, 0.02, 0.10), (late, 0.66, 0.74)):
        assert low - 0.001 <= starts.min() < low + 0.008 and high - 0.008 < starts.max() <= high + 0.006
    assert abs(np.corrcoef(early, late)[0, 1]) < 0.2, "each note has its own moment"


def test_the_background_noise_is_scaled_and_can_be_left_out(rng: torch.Generator) -> None:
    labels = world.sample_labels(120, rng, split="all")
    none, one, two = (heard(labels, 3, noise=k) for k in (0.0, 1.0, 2.0))
    hiss = one - none
    loud = 20 * np.log10(hiss.std((1, 2)))
    assert -65.3 < loud.min() < -62 and -45 < loud.max() < -41.7
    assert np.abs((two - none) - 2 * hiss).max() < 1e-6
    assert abs(np.corrcoef(hiss[:, 0].ravel(), hiss[:, 1].ravel())[0, 1]) < 0.01, "each ear has its own"
    silent = none[labels[:, 0].numpy() == 1][..., -800:]
    assert np.abs(silent).max() < 1e-20


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_waves_are_finite_in_range_and_never_cut_off(noise: float, rng: torch.Generator) -> None:
    labels = world.sample_labels(600, rng, split="all")
    stated = world.state(labels, rng, leave_out=0.5)
    nothing = torch.tensor([[1] + 7 * [-1], [2] + 7 * [-1]])
    waves = sounds.sound(torch.cat([stated, nothing]), rng, noise=noise)
    assert waves.shape == (602, 2, LENGTH) and waves.dtype == torch.float32
    assert torch.isfinite(waves).all() and waves.abs().amax((1, 2)).min() > 0.1 and waves.abs().max() < 0.96


def test_no_tone_comes_back_from_above_half_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is heard above 3,800 Hz; and with pitches an octave higher the partials that do not fit are left out,
    where they would come back as false low tones."""
    labels = world.sample_labels(200, torch.Generator().manual_seed(5), split="all")
    for wave in heard(labels):
        for ear in wave:
            assert level(ear, 3800, 4001) < 1e-5 * level(ear, 0, 4001)
    monkeypatch.setattr(sounds, "PITCHES", tuple(2 * p for p in sounds.PITCHES))
    for colour in ("purple", "black"):
        for wave in heard([row("circle", colour, "large", "centre")] * 5):
            tone = 2 * 262 * 2 ** (world.COLOURS.index(colour) / 4)
            inside = level(wave[0], tone * 0.95, tone * 1.05) + level(wave[0], 2 * tone * 0.95, 2 * tone * 1.05)
            assert inside > 0.999 * level(wave[0], 0, 4001), colour
            assert 2 * tone * 1.02 < 3800 < 3 * tone
    sizes = heard([row("circle", "", "large", "centre")] * 5)
    full = heard([row("circle", "", "small", "centre")] * 5)
    for siren, pure in zip(sizes, full, strict=True):
        assert level(siren[0], 3800, 4001) < 1e-4 * level(siren[0], 0, 4001)
        assert level(pure[0], 2 * sounds.PITCHES[-1], 4001) < 1e-3 * level(pure[0], 0, 4001)


def test_flanks_are_soft_so_that_nothing_clicks() -> None:
    """A small thing in the centre has no energy far from its pitch."""
    for shape in world.SHAPES:
        for wave in heard([row(shape, "red", "small", "centre")] * 5):
            assert level(wave[0], 1000, 4001) < 1e-4 * level(wave[0], 0, 1000), shape


# ---- randomness, held-out pairs, errors


def test_a_sound_comes_from_its_generator_and_from_nothing_else(rng: torch.Generator) -> None:
    labels = world.sample_labels(20, rng)
    before, kept = torch.get_rng_state(), labels.clone()
    one, again, other = (heard(labels, k, noise=1.0) for k in (1, 1, 2))
    assert np.array_equal(one, again) and torch.equal(torch.get_rng_state(), before) and torch.equal(labels, kept)
    assert (np.abs(one - other).max((1, 2)) > 0.01).all()
    twice = heard(labels[:1].expand(2, -1), 1)
    assert np.abs(twice[0] - twice[1]).max() > 0.01, "two sounds of one statement differ"


def test_any_pair_can_be_heard_and_only_statements_hold_pairs_out() -> None:
    rows = [row(shape, colour, "small", "centre") for colour, shape in world.HELD_OUT]
    assert world.holds_out(torch.tensor(rows)).all()
    assert [read(wave) for wave in heard(rows)] == rows


def good() -> Tensor:
    return torch.tensor([pair(row("star", "black", "large"), row("ring", "red", "small"), "stacked"), row("circle")])


@pytest.mark.parametrize(
    ("column", "value"),
    [(0, 0), (0, 3), (0, -1), (1, 6), (2, 8), (2, -2), (3, 2), (4, 6), (5, 8), (5, -2), (6, 2), (7, 7), (7, -2)],
)
def test_statements_out_of_range_are_refused_with_help(column: int, value: int, rng: torch.Generator) -> None:
    bad = good()
    sounds.sound(bad, rng)
    bad[0, column] = value
    with pytest.raises(ValueError, match="statements: expected rows of world.COLUMNS, count 1 or 2 and -1"):
        sounds.sound(bad, rng)


@pytest.mark.parametrize("bad", [torch.ones(8).long(), torch.ones(2, 7).long(), torch.ones(2, 2, 8).long()])
def test_another_shape_is_refused(bad: Tensor, rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="statements: expected"):
        sounds.sound(bad, rng)


def test_no_statements_make_no_sounds(rng: torch.Generator) -> None:
    assert sounds.sound(torch.zeros(0, 8, dtype=torch.long), rng).shape == (0, 2, LENGTH)


# ---- clips that tell nothing


def test_silence_and_noise_tell_nothing() -> None:
    assert sounds.silence(3).shape == (3, 2, LENGTH) and not sounds.silence(3).any()
    one, again, other = (sounds.white_noise(4, torch.Generator().manual_seed(k)) for k in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other) and one.shape == (4, 2, LENGTH)
    assert one.std().item() == pytest.approx(0.1, rel=0.02) and one.mean().item() == pytest.approx(0, abs=0.002)
    loud = sounds.white_noise(2, torch.Generator().manual_seed(0), loud=3.0)
    assert loud.min() == -1 and loud.max() == 1
    flat = one.double().numpy().reshape(-1, LENGTH)
    bands: Any = [sum(level(w, k, k + 400) for w in flat) for k in range(0, 4000, 400)]
    assert max(bands) / min(bands) < 1.3, "white: as loud in every band"


@pytest.mark.parametrize(
    "row", [(1, 0, 0, 0, -1, -1, -1, world.BESIDE), (2, 0, 0, 0, 1, 1, 1, 1), (2, 0, 0, 0, 1, 1, 1, 0)]
)
def test_a_layout_that_does_not_fit_the_count_is_told(row: tuple[int, ...], rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="not a mixture"):
        sounds.sound(torch.tensor([row]), rng)


def test_floats_are_no_statements(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="expected integers"):
        sounds.sound(torch.ones(1, 8), rng)
