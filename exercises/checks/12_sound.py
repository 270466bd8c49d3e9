"""What is asked in exercises 12, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse.audio import FLOOR
from mmcourse.course.exercise import Item, Misconception

# ------------------------------------------------------------------------------------------------- frame_hop


def probe_frame_hop(answer: Any, seed: int) -> dict[str, Any]:
    """A hop that divides the wave and one that does not; frames with gaps; a wave shorter than a hop."""
    import torch

    g = torch.Generator().manual_seed(seed)
    cases = {
        "they overlap": (2, 11, 6, 3),
        "a hop that divides the wave": (1, 12, 8, 4),
        "a hop of one sample": (1, 6, 4, 1),
        "gaps between frames": (2, 14, 4, 5),
        "shorter than a hop": (1, 7, 6, 9),
    }
    out: dict[str, Any] = {}
    for name, (b, n, n_fft, hop) in cases.items():
        wave = (0.1 + 0.8 * torch.rand(b, n, generator=g)) * (2 * torch.randint(2, (b, n), generator=g) - 1)
        out[name] = torch.as_tensor(answer(wave.clone(), n_fft, hop)).detach().clone()
    return out


def _frames(padded: Tensor, n_fft: int, hop: int) -> Tensor:
    return padded.unfold(1, n_fft, hop).clone()


def frames_not_padded(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(wave, n_fft, hop)


def frames_exchanged(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (hop // 2, hop // 2)), hop, n_fft)


def frames_exchanged_late(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2)), hop, n_fft)


def frames_end_to_end(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2)), n_fft, n_fft)


def frames_cut_in_pieces(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(wave, n_fft, n_fft)


def frames_cut_in_pieces_and_filled(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (0, -wave.shape[1] % n_fft)), n_fft, n_fft)


def frames_begin_there(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (0, n_fft)), n_fft, hop)[:, : 1 + wave.shape[1] // hop]


def frames_end_there(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft - 1, 1)), n_fft, hop)[:, : 1 + wave.shape[1] // hop]


def frames_padded_on_both_sides_whole(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft, n_fft)), n_fft, hop)


def frames_padded_in_front(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, 0)), n_fft, hop)


def frames_one_sample_early(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2 - 1, n_fft // 2 + 1)), n_fft, hop)


def frames_one_too_few(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2)), n_fft, hop)[:, : wave.shape[1] // hop]


def frames_rounded_up(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2)), n_fft, hop)[:, : -(-wave.shape[1] // hop)]


def frames_one_too_many(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2 + hop)), n_fft, hop)


def frames_mirrored(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2), mode="reflect"), n_fft, hop)


def frames_held(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2), mode="replicate"), n_fft, hop)


def frames_round_and_round(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2), mode="circular"), n_fft, hop)


def frames_in_columns(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2)), n_fft, hop).transpose(1, 2)


def frames_windowed(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2)), n_fft, hop) * torch.hann_window(n_fft)


def frames_in_one_row(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    return _frames(F.pad(wave, (n_fft // 2, n_fft // 2)), n_fft, hop).flatten(0, 1)


def frames_by_places(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    n = wave.shape[1]
    middles = hop * torch.arange(1 + n // hop)
    places = middles[:, None] + torch.arange(n_fft) - n_fft // 2  # (T, n_fft)
    inside = (places >= 0) & (places < n)
    return torch.where(inside, wave[:, places.clamp(0, n - 1)], torch.zeros(()))


def frames_one_by_one(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    n, half = wave.shape[1], n_fft // 2
    out = torch.zeros(len(wave), 1 + n // hop, n_fft)
    for t in range(out.shape[1]):
        for k in range(n_fft):
            if 0 <= t * hop - half + k < n:
                out[:, t, k] = wave[:, t * hop - half + k]
    return out


FRAME_HOP = Item(
    id="frame_hop",
    title="A wave in frames",
    points=2,
    answer="frame_hop",
    probe=probe_frame_hop,
    misconceptions=(
        Misconception(
            "no padding",
            frames_not_padded,
            "Frames are missing: you cut only where a whole frame fits into the wave. The first frame is centred on "
            "sample 0, so half of it lies before the wave. Fill up with silence first.",
        ),
        Misconception(
            "hop and length exchanged",
            frames_exchanged,
            "You take the hop for the length of a frame and the length for the hop. `n_fft` is how many samples a "
            "frame holds, `hop` is how far the next one is.",
        ),
        Misconception(
            "length and step exchanged",
            frames_exchanged_late,
            "Your padding is right, and then the frames are `hop` samples long and `n_fft` apart. In which order does "
            "`unfold` want its length and its step?",
        ),
        Misconception(
            "end to end",
            frames_end_to_end,
            "You lay the frames end to end: each begins where the last one stopped. They begin `hop` samples apart, so "
            "they overlap, or leave a gap.",
        ),
        Misconception(
            "cut in pieces",
            frames_cut_in_pieces,
            "You cut the wave into pieces that lie end to end, and what is left at its end is lost. Frames are centred "
            "on every `hop`-th sample, whatever their length, with silence in front and behind.",
        ),
        Misconception(
            "cut in pieces and filled up",
            frames_cut_in_pieces_and_filled,
            "You fill the wave up to a whole number of frames and cut it into pieces that lie end to end. Frames are "
            "centred on every `hop`-th sample, so they overlap, or leave a gap.",
        ),
        Misconception(
            "frames begin there",
            frames_begin_there,
            "Your frame t begins at sample t * hop. It should be centred there, so that half of it lies before that "
            "sample.",
        ),
        Misconception(
            "frames end there",
            frames_end_there,
            "Your frame t ends with sample t * hop. It should be centred there: its place `n_fft // 2` holds that "
            "sample.",
        ),
        Misconception(
            "a whole frame of padding",
            frames_padded_on_both_sides_whole,
            "You put a whole frame of silence in front and behind. Then the first frame hears nothing at all. Half a "
            "frame puts its middle on sample 0.",
        ),
        Misconception(
            "padded in front alone",
            frames_padded_in_front,
            "You put silence in front alone. The last frames reach beyond the end of the wave as well, and without "
            "silence behind they are left out.",
        ),
        Misconception(
            "one sample off",
            frames_one_sample_early,
            "Your frames are one sample off: place `n_fft // 2 - 1` holds sample t * hop. Places are counted from 0. "
            "How many zeros come before sample 0 in the first frame?",
        ),
        Misconception(
            "one frame too few",
            frames_one_too_few,
            "The last frame is missing. Frames are centred on 0, hop, 2 * hop and so on up to N. That is one more than "
            "the number of hops that fit.",
        ),
        Misconception(
            "rounded up",
            frames_rounded_up,
            "Your number of frames is N / hop rounded up. That is right as long as the hop does not divide N. Where it "
            "does, one more frame is centred on the very end.",
        ),
        Misconception(
            "one frame too many",
            frames_one_too_many,
            "There is one frame too many: the last one is centred beyond the end of the wave. There are 1 + N // hop.",
        ),
        Misconception(
            "mirrored",
            frames_mirrored,
            "You fill up with the wave mirrored at its ends, which is what some libraries do when they are told "
            "nothing. A sound is then heard before it begins. Outside the wave is silence, 0.",
        ),
        Misconception(
            "the last value held",
            frames_held,
            "You hold the first and the last sample outside the wave. That is no silence: it is a step, with a tone at "
            "0 Hz. Fill up with 0.",
        ),
        Misconception(
            "round and round",
            frames_round_and_round,
            "Your wave goes round: its end is heard before its beginning. Outside the wave is silence, 0.",
        ),
        Misconception(
            "frames in columns",
            frames_in_columns,
            "The numbers are right, and the last two axes are exchanged: your frames stand in columns. Asked is a row "
            "for each frame.",
        ),
        Misconception(
            "a window already",
            frames_windowed,
            "The frames are the right ones, and you have multiplied them by a window. It comes in the next exercise; "
            "here samples stay as they are.",
        ),
        Misconception(
            "all frames in one row",
            frames_in_one_row,
            "The frames of all waves stand in one long row. Keep the batch as the first axis: each wave has its own "
            "frames.",
        ),
    ),
    also_right=(frames_by_places, frames_one_by_one),
    rtol=1e-6,
    atol=1e-6,
)

# --------------------------------------------------------------------------------------------------- log_mel


def probe_log_mel(answer: Any, seed: int) -> dict[str, Any]:
    """Loud noise; a loud clip beside a faint one with a silent frame, where the floor matters; another length."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, shape, m, floor in (("loud", (2, 3, 16), 4, -60.0), ("loud, faint, silent", (2, 4, 16), 3, -80.0)):
        frames = 0.3 * torch.randn(*shape, generator=g)
        filters = torch.rand(m, 9, generator=g) + 0.05
        if floor == -80.0:
            frames[1] *= torch.tensor([2e-3, 2e-4, 5e-4, 0.0])[:, None]  # from above the floor to nothing
        out[name] = torch.as_tensor(answer(frames, filters, floor)).detach().clone()
    frames = 0.2 * torch.randn(1, 2, 12, generator=g)
    frames[0, 1] *= 1e-6
    out["another length"] = torch.as_tensor(answer(frames, torch.rand(5, 7, generator=g) + 0.05, -70.0)).clone()
    return out


def _power(frames: Tensor, window: Tensor | None = None) -> Tensor:
    """(B, n_fft // 2 + 1, T)."""
    window = torch.hann_window(frames.shape[2]) if window is None else window
    return torch.fft.rfft(frames * window).abs().square().transpose(1, 2) * (2 / window.sum()) ** 2


def _decibels(bands: Tensor, floor: float) -> Tensor:
    return 10 * bands.clamp(min=10 ** (floor / 10)).log10()


def mel_amplitude(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames).sqrt(), floor)


def mel_twenty(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return (20 * torch.log10(filters @ _power(frames))).clamp(min=floor)


def mel_amplitude_bands(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return (20 * torch.log10(filters @ _power(frames).sqrt())).clamp(min=floor)


def mel_no_floor(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return 10 * torch.log10(filters @ _power(frames))


def mel_natural(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return (10 * torch.log(filters @ _power(frames))).clamp(min=floor)


def mel_bel(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return torch.log10(filters @ _power(frames)).clamp(min=floor)


def mel_log_first(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return (filters @ _decibels(_power(frames), floor)).clamp(min=floor)


def mel_no_window(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames, torch.ones(frames.shape[2])), floor)


def mel_window_in_the_factor(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    n = frames.shape[2]
    factor = (n / torch.hann_window(n).sum()) ** 2
    return _decibels(filters @ _power(frames, torch.ones(n)) * factor, floor)


def mel_symmetric_window(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames, torch.hann_window(frames.shape[2], periodic=False)), floor)


def mel_no_factor(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    window = torch.hann_window(frames.shape[2])
    return _decibels(filters @ _power(frames) / (2 / window.sum()) ** 2, floor)


def mel_factor_not_squared(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    window = torch.hann_window(frames.shape[2])
    return _decibels(filters @ _power(frames) / (2 / window.sum()), floor)


def mel_real_part(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    window = torch.hann_window(frames.shape[2])
    power = torch.fft.rfft(frames * window).real.square() * (2 / window.sum()) ** 2
    return _decibels(filters @ power.transpose(1, 2), floor)


def mel_floor_below_the_loudest(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    bands = filters @ _power(frames)
    return 10 * torch.log10(torch.maximum(bands, bands.max() * 10 ** (floor / 10)))


def mel_floor_below_each_loudest(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    decibels = _decibels(filters @ _power(frames), -200.0)
    return torch.maximum(decibels, decibels.amax((1, 2), keepdim=True) + floor)


def mel_own_floor(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames), -100.0)


def mel_loudest_is_zero(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    bands = filters @ _power(frames)
    return _decibels(bands / bands.max(), floor)


def mel_each_clip_to_zero(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    bands = filters @ _power(frames)
    return _decibels(bands / bands.amax((1, 2), keepdim=True), floor)


def mel_adds_the_floor(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return 10 * torch.log10(filters @ _power(frames) + 10 ** (floor / 10))


def mel_fixed_floor(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames), FLOOR)


def mel_floor_as_of_amplitude(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames), floor / 2)


def mel_small_number(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return 10 * torch.log10(filters @ _power(frames) + 1e-10)


def mel_silence_is_zero(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames), floor) - floor


def mel_time_first(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames), floor).transpose(1, 2)


def mel_upside_down(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    return _decibels(filters @ _power(frames), floor).flip(1)


def mel_by_sums(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    n = frames.shape[2]
    turn = torch.arange(n // 2 + 1, dtype=torch.float64)[:, None] * torch.arange(n) * (2 * torch.pi / n)  # (bins, n)
    window = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(n, dtype=torch.float64) / n)
    x = frames.double() * window / window.mean() / n * 2
    power = (x @ turn.cos().T) ** 2 + (x @ turn.sin().T) ** 2
    return torch.einsum("mk,btk->bmt", filters.double(), power).log10().mul(10).clamp(min=floor)


def mel_frame_by_frame(frames: Tensor, filters: Tensor, floor: float) -> Tensor:
    window = torch.hann_window(frames.shape[2])
    out = torch.full((len(frames), len(filters), frames.shape[1]), floor)
    for b in range(len(frames)):
        for t in range(frames.shape[1]):
            found = torch.fft.fft(window * frames[b, t])[: filters.shape[1]]
            bands = filters.mv(found.real**2 + found.imag**2) * 4 / window.sum() ** 2
            heard = bands > 0
            out[b, heard, t] = torch.maximum(10 * bands[heard].log10(), torch.tensor(floor))
    return out


LOG_MEL = Item(
    id="log_mel",
    title="A mel spectrogram in decibels",
    points=3,
    answer="log_mel",
    probe=probe_log_mel,
    misconceptions=(
        Misconception(
            "amplitude for power",
            mel_amplitude,
            "You sum amplitudes and take 10 log10 of them. Decibels with a 10 are of power, and power is the square of "
            "the absolute value.",
        ),
        Misconception(
            "20 log10 of power",
            mel_twenty,
            "You take 20 log10 of a power, so every sound is twice as far from full scale. The 20 belongs to "
            "amplitudes, where it does the squaring; your powers are squared already.",
        ),
        Misconception(
            "bands of amplitudes",
            mel_amplitude_bands,
            "You sum amplitudes and square the sum, by the 20 before the logarithm. Powers add up, amplitudes of "
            "different tones do not. Square before you sum the bands.",
        ),
        Misconception(
            "log of 0",
            mel_no_floor,
            "All is right for loud sounds. But silence has power 0, whose logarithm is minus infinity, and faint "
            "sounds fall below the floor. Where does `floor` come in?",
        ),
        Misconception(
            "natural logarithm",
            mel_natural,
            "This is the natural logarithm. In torch, `log` is to base e, and decibels are to base 10.",
        ),
        Misconception(
            "bels",
            mel_bel,
            "You return bels: the logarithm to base 10, without the factor. A decibel is a tenth of it, so there are "
            "10 times as many.",
        ),
        Misconception(
            "log before the bands",
            mel_log_first,
            "You take the logarithm of every bin and then sum the bands. A sum of decibels is a product of powers. Sum "
            "powers into bands first, and take the logarithm last.",
        ),
        Misconception(
            "no window",
            mel_no_window,
            "The window is missing. A frame that is cut off hard holds tones that nobody played, all over the "
            "spectrum. Multiply by `torch.hann_window(n_fft)` first, and use its sum for the factor.",
        ),
        Misconception(
            "window in the factor alone",
            mel_window_in_the_factor,
            "Your factor has the window's sum, but the frames were never multiplied by the window. Step 1 comes before "
            "the Fourier transform.",
        ),
        Misconception(
            "symmetric window",
            mel_symmetric_window,
            "Your window is the symmetric one, which ends with 0 as it begins. `torch.hann_window(n_fft)`, told "
            "nothing else, is periodic: the next 0 would come one place later. It is a little different.",
        ),
        Misconception(
            "no factor",
            mel_no_factor,
            "The factor is missing, so your numbers depend on how long a frame is. With it a full-scale tone has power "
            "1, which is 0 dB.",
        ),
        Misconception(
            "factor not squared",
            mel_factor_not_squared,
            "You multiply the power by 2 over the window's sum. That is the factor of the amplitude. What is the "
            "factor of its square?",
        ),
        Misconception(
            "real part alone",
            mel_real_part,
            "You square the real part alone. Then a tone's power depends on when its wave begins. The absolute value "
            "of a complex number takes both parts.",
        ),
        Misconception(
            "a floor below the loudest",
            mel_floor_below_the_loudest,
            "Your floor lies so many decibels below the loudest sound of the batch. A clip would change with the clips "
            "beside it. The floor is absolute: `floor` decibels for all.",
        ),
        Misconception(
            "a floor below each clip's loudest",
            mel_floor_below_each_loudest,
            "Your floor lies so many decibels below each clip's loudest sound, so a faint clip gets a deeper one. The "
            "floor is absolute: `floor` decibels for all.",
        ),
        Misconception(
            "a floor of one's own",
            mel_own_floor,
            "You keep the logarithm finite by a smallest power of your own, 1e-10, which is -100 dB. The floor that is "
            "asked for is `floor`. Which power is that?",
        ),
        Misconception(
            "the batch's loudest is 0 dB",
            mel_loudest_is_zero,
            "You divide by the loudest band of the batch. A clip would change with the clips beside it, and a faint "
            "batch would look loud. Here 0 dB is full scale, whatever was played.",
        ),
        Misconception(
            "each clip's loudest is 0 dB",
            mel_each_clip_to_zero,
            "You bring each clip's loudest band to 0 dB. The tower of lesson 12 does this later, by itself. Here 0 dB "
            "is full scale, and a faint clip stays faint.",
        ),
        Misconception(
            "floor added",
            mel_adds_the_floor,
            "You add the floor's power to every band. Silence is right then, but faint sounds come out too loud. The "
            "floor is a smallest value, not something to add.",
        ),
        Misconception(
            "always -80",
            mel_fixed_floor,
            "Your floor is always -80 dB. It is given as `floor`, and other calls ask for other floors.",
        ),
        Misconception(
            "floor of an amplitude",
            mel_floor_as_of_amplitude,
            "Your smallest power is 10 to the floor over 20. That is the amplitude at the floor, and its decibels are "
            "only half as low. Solve floor = 10 log10(p) for p.",
        ),
        Misconception(
            "a small number added",
            mel_small_number,
            "You add 1e-10 before the logarithm. That keeps it finite, but it is a floor of your own, at -100 dB. The "
            "one that is asked for is `floor`.",
        ),
        Misconception(
            "silence is 0",
            mel_silence_is_zero,
            "Your decibels are counted from the floor upwards, so that silence is 0. Here they are counted from full "
            "scale downwards: silence is `floor`.",
        ),
        Misconception(
            "time first",
            mel_time_first,
            "The numbers are right, and the last two axes are exchanged. Bands are rows and time runs along them: "
            "(B, M, T).",
        ),
        Misconception(
            "high bands first",
            mel_upside_down,
            "Your bands are upside down, as in a picture with high tones on top. Here row 0 is the first row of "
            "`filters`.",
        ),
    ),
    also_right=(mel_by_sums, mel_frame_by_frame),
    rtol=1e-4,
    atol=1e-3,
)

# --------------------------------------------------------------------------------------------- audio_encoder


def probe_audio_encoder(answer: Any, seed: int) -> dict[str, Any]:
    """A clip, the same clip later and with more silence behind; clips without any silence; nothing but silence."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, m, c, k, w in (("a clip", 4, 5, 4, 3), ("longer patterns", 3, 4, 3, 5)):
        patterns, reading = torch.randn(c, m, w, generator=g), torch.randn(k, c, generator=g)
        patterns[0] = -patterns[0].abs()  # fits no sound at all
        patterns[1] = patterns[1] + 0.5
        sound = -75 + 60 * torch.rand(3, m, 5, generator=g)
        sound[1, :, 1:3] -= 3
        if name == "a clip":
            clip = torch.full((3, m, 8), -80.0)
            clip[:, :, 1:6] = sound
            out[name] = torch.as_tensor(answer(clip.clone(), patterns.clone(), reading.clone())).detach().clone()
            later = clip.roll(1, 2)
            out["the same, later"] = torch.as_tensor(answer(later, patterns.clone(), reading.clone())).detach().clone()
            longer = torch.cat([clip, torch.full((3, m, 4), -80.0)], 2)
            given = longer, patterns.clone(), reading.clone()
            out["the same, and silence"] = torch.as_tensor(answer(*given)).detach().clone()
            quiet = clip.clone()
            quiet[1] = -80.0
            out["one is silent"] = torch.as_tensor(answer(quiet, patterns.clone(), reading.clone())).detach().clone()
        whole = sound.clone()
        name = "sound to both ends" if name == "a clip" else name
        out[name] = torch.as_tensor(answer(whole, patterns, reading)).detach().clone()
    return out


def _fits(spectra: Tensor, patterns: Tensor) -> Tensor:
    return torch.relu(F.conv1d(spectra + 80, patterns, padding=patterns.shape[2] - 1))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


def ear_mean(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_fits(spectra, patterns).mean(2) @ reading.T)


def ear_mean_of_fitting(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    fits = _fits(spectra, patterns)
    return _unit(fits.sum(2) / (fits > 0).sum(2).clamp(min=1) @ reading.T)


def ear_last(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_fits(spectra, patterns)[:, :, -1] @ reading.T)


def ear_first(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_fits(spectra, patterns)[:, :, 0] @ reading.T)


def ear_middle(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_fits(spectra, patterns)[:, :, (spectra.shape[2] + patterns.shape[2]) // 2 - 1] @ reading.T)


def ear_best_place(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    fits = _fits(spectra, patterns)
    at = fits.sum(1).argmax(1)
    return _unit(fits[torch.arange(len(at)), :, at] @ reading.T)


def ear_every_place(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(torch.einsum("kc,bct->bkt", reading, _fits(spectra, patterns)))


def ear_best_of_readings(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(torch.einsum("kc,bct->bkt", reading, _fits(spectra, patterns)).amax(2))


def ear_best_of_vectors(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_unit(torch.einsum("kc,bct->bkt", reading, _fits(spectra, patterns))).amax(2))


def ear_not_normalised(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _fits(spectra, patterns).amax(2) @ reading.T


def ear_normalised_over_the_batch(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return F.normalize(_fits(spectra, patterns).amax(2) @ reading.T, dim=0)


def ear_normalised_as_a_whole(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    x = _fits(spectra, patterns).amax(2) @ reading.T
    return x / x.norm()


def ear_normalised_early(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_fits(spectra, patterns).amax(2)) @ reading.T


def ear_by_the_sum(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return F.normalize(_fits(spectra, patterns).amax(2) @ reading.T, p=1, dim=1)


def ear_nan(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    x = _fits(spectra, patterns).amax(2) @ reading.T
    return x / x.norm(dim=1, keepdim=True)


def ear_raw_decibels(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return ear_right_of(spectra - 80, patterns, reading)


def ear_raw_decibels_as_many_frames(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(torch.relu(F.conv1d(spectra, patterns, padding="same")).amax(2) @ reading.T)


def ear_flat(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_fits(spectra, patterns).flatten(1))


def ear_floor_added(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return ear_right_of(spectra - 160, patterns, reading)


def ear_no_padding(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(torch.relu(F.conv1d(spectra + 80, patterns)).amax(2) @ reading.T)


def ear_as_many_frames(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(torch.relu(F.conv1d(spectra + 80, patterns, padding="same")).amax(2) @ reading.T)


def ear_no_relu(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(F.conv1d(spectra + 80, patterns, padding=patterns.shape[2] - 1).amax(2) @ reading.T)


def ear_absolute(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(F.conv1d(spectra + 80, patterns, padding=patterns.shape[2] - 1).abs().amax(2) @ reading.T)


def ear_own_loudness(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return ear_right_of(spectra - spectra.amin((1, 2), keepdim=True) - 80, patterns, reading)


def ear_right_of(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    return _unit(_fits(spectra, patterns).amax(2) @ reading.T)


def ear_by_unfolding(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    w = patterns.shape[2]
    loud = F.pad(spectra, (w, w), value=FLOOR) / 80 + 1  # in [0, 1]; more silence changes nothing
    places = loud.unfold(2, w, 1)  # (B, M, T + W + 1, W)
    fits = torch.einsum("bmtw,cmw->bct", places, patterns).max(dim=2).values.clamp(min=0)
    x = fits @ reading.T
    return x / x.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)


def ear_clip_by_clip(spectra: Tensor, patterns: Tensor, reading: Tensor) -> Tensor:
    out = []
    for clip in spectra:
        fits = F.conv_transpose1d((clip + 80)[None], patterns.flip(2).transpose(0, 1))[0]  # (C, T + W - 1)
        x = reading.mv(fits.max(1).values.relu())
        out.append(x / x.norm() if x.any() else x)
    return torch.stack(out)


AUDIO_ENCODER = Item(
    id="audio_encoder",
    title="What was heard, not when",
    points=3,
    answer="audio_encoder",
    probe=probe_audio_encoder,
    misconceptions=(
        Misconception(
            "mean over time",
            ear_mean,
            "You take the mean over all frames, silence included, or their sum. Each pattern then counts by how long "
            "it lasted, and not by how well it fitted once. Keep the best fit.",
        ),
        Misconception(
            "mean of what fits",
            ear_mean_of_fitting,
            "You take the mean over the places where something fits. Silence behind the sound then changes nothing, "
            "but one good fit among many weak ones fades away. Keep the best fit of each pattern.",
        ),
        Misconception(
            "last place",
            ear_last,
            "You read the last place alone. There is often nothing but silence, and what came before is forgotten. "
            "Take the maximum over all places.",
        ),
        Misconception(
            "first place",
            ear_first,
            "You read the first place alone. A sound that begins later is not heard at all. Take the maximum over all "
            "places.",
        ),
        Misconception(
            "middle place",
            ear_middle,
            "You read the middle of the clip alone. Move the sound by one frame, and another vector comes out. Take "
            "the maximum over all places.",
        ),
        Misconception(
            "one best place",
            ear_best_place,
            "You read the one place where all patterns together fit best. Each pattern has a best place of its own: "
            "one may fit at the start, another at the end. Take a maximum for each pattern.",
        ),
        Misconception(
            "every place",
            ear_every_place,
            "You return a vector for each place, so the axis of time is still there. One vector a clip: keep each "
            "pattern's best fit before you read.",
        ),
        Misconception(
            "best of what was read",
            ear_best_of_readings,
            "You read every place and take the maximum of what was read. That may be below 0 in a clip without "
            "silence, and 0 as soon as silence follows. Take the maximum of the fits, and read afterwards.",
        ),
        Misconception(
            "best of unit vectors",
            ear_best_of_vectors,
            "You bring each place's vector to length 1 and take the maximum of these. A faint place then counts as "
            "much as a clear one. First the best fits, then reading, and the length last.",
        ),
        Misconception(
            "not normalised",
            ear_not_normalised,
            "Your vectors have any length. In the shared space every vector has length 1, and similarity is the angle "
            "alone.",
        ),
        Misconception(
            "normalised over the batch",
            ear_normalised_over_the_batch,
            "You bring the wrong thing to length 1: each number over the batch, and not each vector. A clip would "
            "change with the clips beside it. Which axis runs along one vector?",
        ),
        Misconception(
            "normalised as a whole",
            ear_normalised_as_a_whole,
            "You divide by one length for the whole batch. Each clip's vector has a length of its own.",
        ),
        Misconception(
            "normalised before reading",
            ear_normalised_early,
            "You bring the fits to length 1 and read them afterwards. `reading` changes the length again. Normalise "
            "last.",
        ),
        Misconception(
            "sum of absolute values",
            ear_by_the_sum,
            "The sum of your vectors' absolute values is 1. Their length is the root of the sum of squares.",
        ),
        Misconception(
            "NaN for silence",
            ear_nan,
            "All is right but for the silent clip: you divide 0 by a length of 0. Let it stay 0, or take a function "
            "that looks after this.",
        ),
        Misconception(
            "decibels with zeros around",
            ear_raw_decibels,
            "You convolve decibels as they are. The zeros that the convolution puts around the clip are then the "
            "loudest sound there is, 0 dB. Subtract `FLOOR` first, so that silence is 0.",
        ),
        Misconception(
            "decibels with a few zeros around",
            ear_raw_decibels_as_many_frames,
            "You convolve decibels as they are, with zeros around the clip. In decibels 0 is the loudest sound there "
            "is. Subtract `FLOOR` first, so that silence is 0, and put W - 1 frames of it on both sides.",
        ),
        Misconception(
            "all places side by side",
            ear_flat,
            "You lay the fits at all places side by side, in one long vector. Its length depends on the clip's, and a "
            "sound that comes later lands elsewhere. Keep each pattern's best fit, and read those.",
        ),
        Misconception(
            "floor added",
            ear_floor_added,
            "You add `FLOOR` where it must be subtracted: it is -80, so every sound lies far below 0 after your "
            "step 1.",
        ),
        Misconception(
            "no padding",
            ear_no_padding,
            "Your convolution has no padding. A pattern that reaches beyond an end of the clip is not found, and with "
            "more silence around the same sound it would be. Put W - 1 frames of silence on both sides.",
        ),
        Misconception(
            "half the padding",
            ear_as_many_frames,
            "You put so much silence around the clip that the number of frames stays the same. A sound at the very end "
            "then changes when silence follows. With W - 1 frames on both sides, all places are there from the start.",
        ),
        Misconception(
            "no ReLU",
            ear_no_relu,
            "The ReLU is missing. A pattern that never fits then gives a number below 0 in a clip full of sound, and 0 "
            "as soon as there is silence.",
        ),
        Misconception(
            "absolute fits",
            ear_absolute,
            "You take the absolute value of the fits. A pattern whose opposite is heard does not fit at all: 0, which "
            "is what ReLU makes of it.",
        ),
        Misconception(
            "each clip's own silence",
            ear_own_loudness,
            "You subtract each clip's faintest number. In a clip without a silent frame this is a sound. Silence is "
            "`FLOOR`, for all clips alike.",
        ),
    ),
    also_right=(ear_by_unfolding, ear_clip_by_clip),
    rtol=1e-4,
    atol=2e-5,
)

# ----------------------------------------------------------------------------------------------------- align


def probe_align(answer: Any, seed: int) -> dict[str, Any]:
    """Batches in which digits come twice and three times: the loss, its slopes at sounds and at pictures."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    batches = {
        "six pairs": ([7, 2, 7, 5, 2, 7], 4, 4.0),
        "four digits": ([0, 1, 2, 3], 5, 10.0),
        "one digit twice": ([3, 8, 3], 3, 2.5),
    }
    for name, (given, k, scale) in batches.items():
        digits = (torch.tensor(given) + int(torch.randint(10, (1,), generator=g))) % 10
        digits = digits[torch.randperm(len(digits), generator=g)]
        b = len(digits)
        heard = torch.randn(b, k, generator=g) * (0.5 + 2 * torch.rand(b, 1, generator=g))
        pictures = 0.5 * heard + torch.randn(b, k, generator=g) * (0.5 + torch.rand(b, 1, generator=g))
        heard.requires_grad_(True)
        pictures.requires_grad_(True)
        loss = torch.as_tensor(answer(heard * 1, pictures * 1, digits.clone(), scale))
        out[f"loss of {name}"] = loss.detach().clone()
        slopes: Any = [None, None]
        if loss.requires_grad:
            slopes = torch.autograd.grad(loss.sum(), [heard, pictures], allow_unused=True)
        for kind, slope in zip(("sounds", "pictures"), slopes, strict=True):
            out[f"{name}, slope at the {kind}"] = "no slope" if slope is None else slope.clone()
    return out


def _same_digit(digits: Tensor) -> Tensor:
    return digits.unsqueeze(1).eq(digits.unsqueeze(0))


def _one_way(logits: Tensor, true: Tensor) -> Tensor:
    return -(logits.softmax(1) * true).sum(1).log().mean()


def _both_ways(logits: Tensor, true: Tensor) -> Tensor:
    return (_one_way(logits, true) + _one_way(logits.T, true.T)) / 2


def _cosines(heard: Tensor, pictures: Tensor, scale: float) -> Tensor:
    return scale * (_unit(heard) @ _unit(pictures.detach()).T)


def align_duplicates(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _both_ways(_cosines(heard, pictures, scale), torch.eye(len(digits)))


def align_sounds_only(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _one_way(_cosines(heard, pictures, scale), _same_digit(digits))


def align_pictures_only(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _one_way(_cosines(heard, pictures, scale).T, _same_digit(digits))


def align_thaws(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _both_ways(scale * (_unit(heard) @ _unit(pictures).T), _same_digit(digits))


def align_freezes_the_ear(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _both_ways(scale * (_unit(heard.detach()) @ _unit(pictures).T), _same_digit(digits))


def align_freezes_all(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return align_by_probabilities(heard, pictures, digits, scale).detach()


def align_not_normalised(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _both_ways(scale * (heard @ pictures.detach().T), _same_digit(digits))


def align_heard_not_normalised(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _both_ways(scale * (heard @ _unit(pictures.detach()).T), _same_digit(digits))


def align_pictures_not_normalised(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return _both_ways(scale * (_unit(heard) @ pictures.detach().T), _same_digit(digits))


def align_normalised_over_the_batch(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    logits = scale * F.normalize(heard, dim=0) @ F.normalize(pictures.detach(), dim=0).T
    return _both_ways(logits, _same_digit(digits))


def align_mean_of_logarithms(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    logits, true = _cosines(heard, pictures, scale), _same_digit(digits).float()
    true = true / true.sum(1, keepdim=True)
    return -(true * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum(1).mean() / 2


def align_sum_of_logarithms(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    logits, true = _cosines(heard, pictures, scale), _same_digit(digits).float()
    return -(true * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum(1).mean() / 2


def align_digits_as_columns(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    _, column = digits.unique(return_inverse=True)
    logits = _cosines(heard, pictures, scale)
    return (F.cross_entropy(logits, column) + F.cross_entropy(logits.T, column)) / 2


def align_partners_alone(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    logits, same = _cosines(heard, pictures, scale), _same_digit(digits)
    logits = logits.masked_fill(same & ~torch.eye(len(digits), dtype=torch.bool), float("-inf"))
    return _both_ways(logits, torch.eye(len(digits)))


def align_others_alone(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    others = _same_digit(digits) & ~torch.eye(len(digits), dtype=torch.bool)
    return _both_ways(_cosines(heard, pictures, scale), others)


def align_divides(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return align_by_probabilities(heard, pictures, digits, 1 / scale)


def align_no_scale(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return align_by_probabilities(heard, pictures, digits, 1.0)


def align_sum_of_directions(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return 2 * align_by_probabilities(heard, pictures, digits, scale)


def align_sum_over_the_batch(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return len(digits) * align_by_probabilities(heard, pictures, digits, scale)


def align_sign(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return -align_by_probabilities(heard, pictures, digits, scale)


def align_pulls_alone(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return (1 - (_unit(heard) * _unit(pictures.detach())).sum(1)).mean()


def align_distance(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    return F.mse_loss(heard, pictures.detach())


def align_by_probabilities(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    a, b = heard / heard.norm(dim=1, keepdim=True), pictures.data / pictures.data.norm(dim=1, keepdim=True)
    logits = torch.einsum("ik,jk->ij", a, b) * scale
    true = _same_digit(digits)
    rows, columns = (logits.softmax(1) * true).sum(1), (logits.softmax(0) * true).sum(0)
    return -0.5 * (rows.log().mean() + columns.log().mean())


def align_in_a_loop(heard: Tensor, pictures: Tensor, digits: Tensor, scale: float) -> Tensor:
    with torch.no_grad():
        fixed = pictures.clone()
    logits = F.cosine_similarity(heard[:, None], fixed[None], dim=2) * scale
    total = torch.zeros(())
    for i, digit in enumerate(digits.tolist()):
        true = digits == digit
        for row in (logits[i], logits[:, i]):
            total = total + row.logsumexp(0) - row[true].logsumexp(0)
    return total / (2 * len(digits))


ALIGN = Item(
    id="align",
    title="Into a space that is already there",
    points=3,
    answer="align",
    probe=probe_align,
    misconceptions=(
        Misconception(
            "duplicates are negatives",
            align_duplicates,
            "Your loss takes picture i as the only true one of sound i. Other pictures of the same digit are pushed "
            "away, although they are just as right. Compare the digits.",
        ),
        Misconception(
            "from sounds to pictures only",
            align_sounds_only,
            "This is one direction: each sound chooses among pictures. Nobody asks the pictures yet. Where does the "
            "second softmax run?",
        ),
        Misconception(
            "from pictures to sounds only",
            align_pictures_only,
            "This is one direction: each picture chooses among sounds. Nobody asks the sounds yet. Where does the "
            "second softmax run?",
        ),
        Misconception(
            "the frozen tower learns",
            align_thaws,
            "The number is right, but the gradient also reaches the pictures. The frozen tower would move, and all "
            "that was built on its space would no longer fit. Detach what it gave.",
        ),
        Misconception(
            "the ear is frozen",
            align_freezes_the_ear,
            "The number is right, but you detached the wrong side: the gradient reaches the pictures, and the ear "
            "never learns.",
        ),
        Misconception(
            "nothing learns",
            align_freezes_all,
            "The number is right, but it carries no gradient at all. Only the pictures are frozen. What cuts the graph "
            "for the sounds: a detach, an item(), a no_grad?",
        ),
        Misconception(
            "not normalised",
            align_not_normalised,
            "The inner product of vectors of any length is no cosine: a long vector is similar to everything. Bring "
            "every vector to length 1 first.",
        ),
        Misconception(
            "sounds not normalised",
            align_heard_not_normalised,
            "The pictures have length 1, and the sounds have any length. The ear could make its logits larger just by "
            "longer vectors. Bring both to length 1.",
        ),
        Misconception(
            "pictures not normalised",
            align_pictures_not_normalised,
            "The sounds have length 1, and the pictures have any length. A long picture would be similar to every "
            "sound. Bring both to length 1.",
        ),
        Misconception(
            "normalised over the batch",
            align_normalised_over_the_batch,
            "You bring the wrong thing to length 1: each number over the batch, and not each vector. Which axis runs "
            "along one vector?",
        ),
        Misconception(
            "a mean of logarithms",
            align_mean_of_logarithms,
            "You take the logarithm of each partner's probability and average these. That asks every partner for an "
            "equal share. Asked is the logarithm of their probability taken together.",
        ),
        Misconception(
            "a sum of logarithms",
            align_sum_of_logarithms,
            "You add the logarithms of all partners' probabilities. A sound with three partners then counts three "
            "times. Add the probabilities first, and take one logarithm.",
        ),
        Misconception(
            "digits as columns",
            align_digits_as_columns,
            "You use the digits as if they were numbers of columns, as a classifier does. Column j belongs to picture "
            "j of this batch, not to the digit j.",
        ),
        Misconception(
            "other partners left out",
            align_partners_alone,
            "You leave the other pictures of the same digit out of the batch. They are not pushed away then, but they "
            "do not count as right either. Their probability belongs to the partners' sum.",
        ),
        Misconception(
            "own partner left out",
            align_others_alone,
            "You leave picture i out of the partners of sound i. It is another thing than the sound, and it is right. "
            "A digit that comes once has no partner then, and the loss is infinite.",
        ),
        Misconception(
            "divides by the scale",
            align_divides,
            "You divide by the scale. It is a factor here, the inverse of a temperature: a large one makes the "
            "softmax sharp.",
        ),
        Misconception(
            "no scale",
            align_no_scale,
            "The scale is missing. Cosines lie between -1 and 1, and a softmax over such small numbers can never be "
            "sure of anything.",
        ),
        Misconception(
            "a sum of directions",
            align_sum_of_directions,
            "Both directions are right, and your loss is twice the one asked for: it is their sum. Asked is their "
            "mean.",
        ),
        Misconception(
            "a sum over the batch",
            align_sum_over_the_batch,
            "You sum over the batch. A larger batch would mean larger steps. Take the mean over the sounds and the "
            "mean over the pictures.",
        ),
        Misconception(
            "sign",
            align_sign,
            "The sign is wrong: this grows when partners become probable, and to minimise it drives them apart. The "
            "loss is minus the logarithm.",
        ),
        Misconception(
            "pulls and never pushes",
            align_pulls_alone,
            "You pull each sound to its own picture and push nothing away. An ear that gives the same vector for every "
            "digit would do quite well. Let each sound choose among all pictures.",
        ),
        Misconception(
            "distance",
            align_distance,
            "You take the square distance of each sound to its own picture. Nothing is pushed away, and the other "
            "pictures of the digit do not count. Asked is the contrastive loss.",
        ),
    ),
    also_right=(align_by_probabilities, align_in_a_loop),
    rtol=1e-4,
    atol=2e-5,
)

# ------------------------------------------------------------------------------------------------- close_gap


def probe_close_gap(answer: Any, seed: int) -> dict[str, Any]:
    """A batch, one sound alone and a larger space; whether what was given stays as it is."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, k in (("a batch", 4, 5), ("one sound", 1, 4), ("a larger space", 3, 7)):
        aside, towards = 0.6 * torch.randn(1, k, generator=g), 0.6 * torch.randn(1, k, generator=g)
        heard, known_heard, known_text = (
            torch.nn.functional.normalize(torch.randn(n, k, generator=g) + gap, dim=1)
            for n, gap in ((b, aside), (k, aside), (k, towards))
        )
        given = heard.clone(), known_heard.clone(), known_text.clone()
        out[name] = torch.as_tensor(answer(*given)).detach().clone()
        same = all(map(torch.equal, given, (heard, known_heard, known_text)))
        out[f"{name}, afterwards"] = "unchanged" if same else "changed"
    return out


def gap_sign(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard + known_heard.mean(0) - known_text.mean(0))


def gap_taken_off_only(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_heard.mean(0))


def gap_put_in_only(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard + known_text.mean(0))


def gap_both_taken_off(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_heard.mean(0) - known_text.mean(0))


def gap_both_added(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard + known_heard.mean(0) + known_text.mean(0))


def gap_text_taken_off(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_text.mean(0))


def gap_nothing(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard)


def gap_not_normalised(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return heard - known_heard.mean(0) + known_text.mean(0)


def gap_wrong_axis(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_heard.mean(1) + known_text.mean(1))


def gap_one_number(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_heard.mean() + known_text.mean())


def gap_batch_mean(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - heard.mean(0) + known_text.mean(0))


def gap_batch_for_text(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_heard.mean(0) + heard.mean(0))


def gap_unit_means(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - F.normalize(known_heard.mean(0), dim=0) + F.normalize(known_text.mean(0), dim=0))


def gap_normalised_between(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(_unit(heard - known_heard.mean(0)) + known_text.mean(0))


def gap_normalised_early(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_heard.mean(0)) + known_text.mean(0)


def gap_normalised_over_the_batch(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return F.normalize(heard - known_heard.mean(0) + known_text.mean(0), dim=0)


def gap_also_spread(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    scaled = (heard - known_heard.mean(0)) / known_heard.std(0) * known_text.std(0)
    return _unit(scaled + known_text.mean(0))


def gap_sum(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    return _unit(heard - known_heard.sum(0) + known_text.sum(0))


def gap_overwrites(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    heard -= known_heard.mean(0)
    heard += known_text.mean(0)
    return _unit(heard)


def gap_row_by_row(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    before = sum(known_heard) / len(known_heard)
    after = sum(known_text) / len(known_text)
    moved = [row - before + after for row in heard]
    return torch.stack([row / row.dot(row) ** 0.5 for row in moved])


def gap_by_products(heard: Tensor, known_heard: Tensor, known_text: Tensor) -> Tensor:
    m, n = len(known_heard), len(known_text)
    x = heard.addmm(torch.full((len(heard), m), -1 / m), known_heard)
    x = x.addmm(torch.full((len(heard), n), 1 / n), known_text)
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)


CLOSE_GAP = Item(
    id="close_gap",
    title="Close the gap",
    points=2,
    answer="close_gap",
    probe=probe_close_gap,
    misconceptions=(
        Misconception(
            "wrong sign",
            gap_sign,
            "You move the sounds the wrong way: the gap becomes twice as wide. Take the sounds' mean off and put the "
            "captions' mean in.",
        ),
        Misconception(
            "taken off only",
            gap_taken_off_only,
            "You take the sounds' mean off and put nothing in its place. The sounds now lie around 0, where captions "
            "do not lie. Add the captions' mean.",
        ),
        Misconception(
            "put in only",
            gap_put_in_only,
            "You add the captions' mean, and the sounds' own mean is still there. Take it off first.",
        ),
        Misconception(
            "both taken off",
            gap_both_taken_off,
            "You take both means off. The captions' mean is where the sounds should go, so it is added.",
        ),
        Misconception(
            "both added",
            gap_both_added,
            "You add both means. The sounds' mean is where the sounds should no longer be, so it is taken off.",
        ),
        Misconception(
            "the captions' mean taken off",
            gap_text_taken_off,
            "You take the captions' mean off the sounds. That is what one would do to captions. Off the sounds comes "
            "the sounds' mean, and the captions' mean is added.",
        ),
        Misconception(
            "nothing moved",
            gap_nothing,
            "You return the sounds as they were. Length 1 alone closes no gap: they must be moved.",
        ),
        Misconception(
            "not normalised",
            gap_not_normalised,
            "The move is right, and afterwards your vectors have any length. In the shared space every vector has "
            "length 1.",
        ),
        Misconception(
            "mean over the wrong axis",
            gap_wrong_axis,
            "You take the mean along each vector: one number for each training sound. These happen to be as many as a "
            "vector has numbers, so torch subtracts them without a word. A mean vector is taken over the rows.",
        ),
        Misconception(
            "one number",
            gap_one_number,
            "Your means are single numbers, over everything. All of a vector's numbers then move alike. A mean vector "
            "has a number for each place: take it over the rows.",
        ),
        Misconception(
            "the batch's own mean",
            gap_batch_mean,
            "You take off the mean of the batch that is corrected. What becomes of a sound then depends on the sounds "
            "beside it, and one sound alone becomes 0. Use the mean of `known_heard`.",
        ),
        Misconception(
            "the batch's mean for the captions",
            gap_batch_for_text,
            "You put the mean of the batch that is corrected where the captions' mean belongs. The sounds stay among "
            "sounds. Use the mean of `known_text`.",
        ),
        Misconception(
            "means of length 1",
            gap_unit_means,
            "You bring the means to length 1 before you use them. A mean of unit vectors is shorter than 1, and just "
            "as much of it is in each vector. Use it as it is.",
        ),
        Misconception(
            "normalised in between as well",
            gap_normalised_between,
            "You bring the vectors to length 1 in between, before the captions' mean is added. What tells one sound "
            "from another is then blown up. Normalise once, at the end.",
        ),
        Misconception(
            "normalised too early",
            gap_normalised_early,
            "You bring the vectors to length 1 before you add the captions' mean, which changes the length again. "
            "Normalise at the end.",
        ),
        Misconception(
            "normalised over the batch",
            gap_normalised_over_the_batch,
            "You bring the wrong thing to length 1: each number over the batch, and not each vector. Which axis runs "
            "along one vector?",
        ),
        Misconception(
            "spread as well",
            gap_also_spread,
            "You also fit the spread of every number to the captions. That is a stronger change than the one asked "
            "for: only the means are exchanged.",
        ),
        Misconception(
            "sums for means",
            gap_sum,
            "You use sums where means are asked for. The larger the training set, the further your sounds move.",
        ),
        Misconception(
            "overwrites the sounds",
            gap_overwrites,
            "What you return is right, and the sounds that you were given have moved. Corrected twice, they would be "
            "wrong. Write into a tensor of your own.",
        ),
    ),
    also_right=(gap_row_by_row, gap_by_products),
    rtol=1e-4,
    atol=1e-5,
)

# --------------------------------------------------------------------------------------------- speaker_split


def probe_speaker_split(answer: Any, seed: int) -> dict[str, Any]:
    """All digits of all speakers; a table with gaps; a side without clips, and digits without a picture."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, digits, speakers, takes in (("all clips", 3, 4, 2), ("some clips", 4, 3, 3)):
        clips = torch.cartesian_prod(torch.arange(digits), torch.arange(speakers), torch.arange(takes))
        clips = clips[torch.randperm(len(clips), generator=g)]
        if name == "some clips":
            clips = clips[:20]
        labels = torch.arange(digits).repeat_interleave(8)
        kept = torch.cat([torch.arange(8) < many for many in (3, 5, 1, 4)[:digits]])
        order = torch.randperm(len(labels), generator=g)
        labels, kept = labels[order], kept[order]
        noise = (2 * torch.randint(64, (len(clips),), generator=g) + 1) / 128
        noise[:2] = torch.tensor([0.0, 127 / 128])
        held_out = int(torch.randint(min(digits, speakers), (1,), generator=g))
        given = clips.clone(), held_out, labels.clone(), kept.clone(), noise.clone()
        train, test = (torch.as_tensor(part).clone() for part in answer(*given))
        rows = [part[:, 0].clamp(0, len(clips) - 1) for part in (train, test)]
        shown = [part[:, 1].clamp(0, len(labels) - 1) for part in (train, test)]
        for column, what in ((1, "voice"), (2, "take"), (0, "digit")):
            heard = [set(clips[part, column].tolist()) for part in rows]
            out[f"{name}: a {what} on both sides"] = bool(heard[0] & heard[1])
        out[f"{name}: a clip on both sides"] = bool(set(rows[0].tolist()) & set(rows[1].tolist()))
        out[f"{name}: a picture on both sides"] = bool(set(shown[0].tolist()) & set(shown[1].tolist()))
        out[f"{name}: trained with a kept picture"] = bool(kept[shown[0]].any())
        out[f"{name}: tested with another"] = not bool(kept[shown[1]].all())
        out[f"{name}: a pair of two digits"] = bool((clips[torch.cat(rows), 0] != labels[torch.cat(shown)]).any())
        out[f"{name}: training"], out[f"{name}: testing"] = train, test
    clips = torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(2))
    labels, kept = torch.tensor([0, 1, 0, 1]), torch.tensor([False, False, True, True])
    alone = clips[clips[:, 1] == 1]
    errors = {
        "a speaker whom nobody knows": (clips, 5, labels, kept),
        "a speaker who is alone": (alone, 1, labels, kept),
        "no picture of a 1 to train on": (clips, 0, labels, torch.tensor([False, True, True, True])),
        "no picture of a 0 to test on": (clips, 0, labels, torch.tensor([False, False, False, True])),
    }
    for name, (table, held_out, shown, put_by) in errors.items():
        noise = torch.full((len(table),), 0.25)
        try:
            got = answer(table.clone(), held_out, shown.clone(), put_by.clone(), noise)
            out[name] = f"it returned {len(got[0])} and {len(got[1])} pairs"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


def _pairs(rows: Tensor, digits: Tensor, allowed: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
    """Pairs (A, 2) of the clips in these rows; the picture that the noise tells, of those that are allowed."""
    out = []
    for i in rows.tolist():
        fit = (allowed & (labels == digits[i])).nonzero()[:, 0]
        if not len(fit):
            raise ValueError("no picture")
        out.append([i, int(fit[int(noise[i] * len(fit))])])
    return torch.tensor(out)


def _of_sides(testing: Tensor) -> tuple[Tensor, Tensor]:
    train, test = (~testing).nonzero()[:, 0], testing.nonzero()[:, 0]
    if not len(train) or not len(test):
        raise ValueError("a side without clips")
    return train, test


def _paired(testing: Tensor, clips: Tensor, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    train, test = _of_sides(testing)
    digits = clips[:, 0]
    return _pairs(train, digits, ~kept, labels, noise), _pairs(test, digits, kept, labels, noise)


def _refuses(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> Tensor:
    """The clips that are for testing, where the split and the pairs are possible at all."""
    testing = clips[:, 1] == held_out
    _paired(testing, clips, labels, kept, noise)
    return testing


def split_at_random(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    many = int(_refuses(clips, held_out, labels, kept, noise).sum())
    testing = torch.zeros(len(clips), dtype=torch.bool)
    testing[torch.randperm(len(clips), generator=torch.Generator().manual_seed(0))[:many]] = True
    return _paired(testing, clips, labels, kept, noise)


def split_by_take(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    _refuses(clips, held_out, labels, kept, noise)
    return _paired(clips[:, 2] == 0, clips, labels, kept, noise)


def split_by_digit(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    _refuses(clips, held_out, labels, kept, noise)
    return _paired(clips[:, 0] == held_out, clips, labels, kept, noise)


def split_trains_on_all(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    _, test = split_by_masks(clips, held_out, labels, kept, noise)
    return _pairs(torch.arange(len(clips)), clips[:, 0], ~kept, labels, noise), test


def split_turned_round(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    return _paired(~_refuses(clips, held_out, labels, kept, noise), clips, labels, kept, noise)


def split_test_first(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = split_by_masks(clips, held_out, labels, kept, noise)
    return test, train


def split_pairs_first(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = _of_sides(_refuses(clips, held_out, labels, kept, noise))
    every = torch.ones_like(kept)
    return (
        _pairs(train, clips[:, 0], every, labels, noise),
        _pairs(test, clips[:, 0], every, labels, noise),
    )


def split_same_pictures(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = _of_sides(_refuses(clips, held_out, labels, kept, noise))
    return _pairs(train, clips[:, 0], ~kept, labels, noise), _pairs(test, clips[:, 0], ~kept, labels, noise)


def split_pictures_turned_round(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    testing = _refuses(clips, held_out, labels, kept, noise)
    return _paired(testing, clips, labels, ~kept, noise)


def split_any_digit(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    testing = _refuses(clips, held_out, labels, kept, noise)
    return _paired(testing, 0 * clips, 0 * labels, kept, noise)


def split_first_picture(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    return split_by_masks(clips, held_out, labels, kept, 0 * noise)


def split_one_after_another(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = split_by_masks(clips, held_out, labels, kept, noise)
    for part, allowed in ((train, ~kept), (test, kept)):
        for digit in range(10):
            fit = (allowed & (labels == digit)).nonzero()[:, 0]
            rows = (clips[part[:, 0], 0] == digit).nonzero()[:, 0]
            if len(rows):
                part[rows, 1] = fit[torch.arange(len(rows)) % len(fit)]
    return train, test


def split_rounds(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    train, test = split_by_masks(clips, held_out, labels, kept, noise)
    for part, allowed in ((train, ~kept), (test, kept)):
        for j, i in enumerate(part[:, 0].tolist()):
            fit = (allowed & (labels == clips[i, 0])).nonzero()[:, 0]
            part[j, 1] = fit[round(float(noise[i]) * (len(fit) - 1))]
    return train, test


def split_noise_of_the_side(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    both = []
    for rows, allowed in zip(_of_sides(_refuses(clips, held_out, labels, kept, noise)), (~kept, kept), strict=True):
        moved = noise.clone()
        moved[rows] = noise[: len(rows)]
        both.append(_pairs(rows, clips[:, 0], allowed, labels, moved))
    return both[0], both[1]


def split_place_in_the_list(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = split_by_masks(clips, held_out, labels, kept, noise)
    for part, allowed in ((train, ~kept), (test, kept)):
        for j, i in enumerate(part[:, 0].tolist()):
            part[j, 1] = int(noise[i] * int((allowed & (labels == clips[i, 0])).sum()))
    return train, test


def split_rows_of_the_kept(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = split_by_masks(clips, held_out, labels, kept, noise)
    for part, allowed in ((train, ~kept), (test, kept)):
        part[:, 1] = (allowed.cumsum(0) - 1)[part[:, 1]]
    return train, test


def split_rows_of_the_side(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = split_by_masks(clips, held_out, labels, kept, noise)
    for part in (train, test):
        part[:, 0] = torch.arange(len(part))
    return train, test


def split_pictures_in_front(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    train, test = split_by_masks(clips, held_out, labels, kept, noise)
    return train.flip(1), test.flip(1)


def split_empty_sides(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    testing = clips[:, 1] == held_out
    parts = [
        _pairs(rows.nonzero()[:, 0], clips[:, 0], allowed, labels, noise)
        for rows, allowed in ((~testing, ~kept), (testing, kept))
    ]
    return parts[0], parts[1]


def _lenient(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor, borrow: bool
) -> tuple[Tensor, Tensor]:
    both = []
    for rows, allowed in zip(_of_sides(clips[:, 1] == held_out), (~kept, kept), strict=True):
        found = []
        for i in rows.tolist():
            own = labels == clips[i, 0]
            fit = (allowed & own).nonzero()[:, 0]
            if not len(fit) and borrow:
                fit = own.nonzero()[:, 0]
            if len(fit):
                found.append([i, int(fit[int(noise[i] * len(fit))])])
        both.append(torch.tensor(found))
    return both[0], both[1]


def split_drops_clips(
    clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    return _lenient(clips, held_out, labels, kept, noise, False)


def split_borrows(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    return _lenient(clips, held_out, labels, kept, noise, True)


def split_by_masks(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """All at once: the number of a picture among those that fit is a running count."""
    testing = clips[:, 1] == held_out
    if not testing.any() or testing.all():
        raise ValueError("a side without clips")
    fit = (clips[:, :1] == labels) & (testing[:, None] == kept)  # (N, M)
    many = fit.sum(1)
    if (many == 0).any():
        raise ValueError("a clip without a picture")
    number = (noise * many).floor().long()
    chosen = (fit & (fit.cumsum(1) == number[:, None] + 1)).long().argmax(1)
    table = torch.stack([torch.arange(len(clips)), chosen], 1)
    return table[~testing], table[testing]


def split_by_lists(clips: Tensor, held_out: int, labels: Tensor, kept: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    pictures = list(zip(labels.tolist(), kept.tolist(), strict=True))
    train: list[tuple[int, int]] = []
    test: list[tuple[int, int]] = []
    for i, (digit, speaker, _) in enumerate(clips.tolist()):
        mine = [j for j, picture in enumerate(pictures) if picture == (digit, speaker == held_out)]
        if not mine:
            raise ValueError("no picture of this digit")
        (test if speaker == held_out else train).append((i, mine[int(noise[i].item() * len(mine))]))
    if not (train and test):
        raise ValueError("nobody on one side")
    return torch.tensor(train), torch.tensor(test)


SPEAKER_SPLIT = Item(
    id="speaker_split",
    title="A voice that was never heard",
    points=3,
    answer="speaker_split",
    probe=probe_speaker_split,
    misconceptions=(
        Misconception(
            "a random split",
            split_at_random,
            "You split clips at random, so every voice is on both sides. An ear that knows voices by heart would do "
            "well in such a test. All clips of `held_out` are for testing, and no others.",
        ),
        Misconception(
            "split by take",
            split_by_take,
            "You split by take: every voice is in training with some takes and in testing with others. That tells how "
            "the ear does with known voices. Split by the speaker, column 1.",
        ),
        Misconception(
            "split by digit",
            split_by_digit,
            "You compare `held_out` with the digit. Then one digit is never heard in training, and all voices are on "
            "both sides. The speaker stands in column 1.",
        ),
        Misconception(
            "trains on all",
            split_trains_on_all,
            "Your test is right, but its clips are in training as well. What is held out must not be heard: train on "
            "the other speakers alone.",
        ),
        Misconception(
            "trains on one voice",
            split_turned_round,
            "You train on the voice that is to be held out and test on all others. The speaker `held_out` is for "
            "testing.",
        ),
        Misconception(
            "testing first",
            split_test_first,
            "Both tables are right, and they come in the wrong order. First training, then testing.",
        ),
        Misconception(
            "pairs before the split",
            split_pairs_first,
            "You pair each clip with any picture of its digit, without a look at `kept`. The same picture can then be "
            "in training and in the test. Split the pictures too, and pair within each side.",
        ),
        Misconception(
            "test with training pictures",
            split_same_pictures,
            "The voices are split, and both sides use the pictures for training. The test would know its pictures "
            "already. A clip for testing gets one that is kept.",
        ),
        Misconception(
            "pictures turned round",
            split_pictures_turned_round,
            "You train with the pictures that are kept for testing, and test with the others. Where `kept` is True, a "
            "picture is for testing.",
        ),
        Misconception(
            "any digit",
            split_any_digit,
            "You take any picture of the right side, whatever digit it shows. A clip and its picture must show the "
            "same digit, or there is nothing to learn.",
        ),
        Misconception(
            "always the first",
            split_first_picture,
            "You always take the first picture that fits, and the noise is not used. The ear would see one handwriting "
            "for each digit.",
        ),
        Misconception(
            "one after another",
            split_one_after_another,
            "You go through the pictures of a digit one after another. That pairs well, but the order is not random. "
            "The noise tells which picture it is.",
        ),
        Misconception(
            "rounded",
            split_rounds,
            "You round `noise * (n - 1)`. The first and the last picture then come half as often as the others. Take "
            "the whole part of `noise * n`.",
        ),
        Misconception(
            "noise counted within the side",
            split_noise_of_the_side,
            "You take the noise by a clip's place on its side. Each clip has its own number: that of row i of `clips` "
            "is `noise[i]`.",
        ),
        Misconception(
            "place among those that fit",
            split_place_in_the_list,
            "The second column tells a place among the pictures that fit. Asked is the picture's row in `labels`, so "
            "look up which row stands at this place.",
        ),
        Misconception(
            "place among the side's pictures",
            split_rows_of_the_kept,
            "The second column counts within the pictures of one side, as after `labels[kept]`. Asked is the row in "
            "`labels` as it was given.",
        ),
        Misconception(
            "clips counted anew",
            split_rows_of_the_side,
            "The first column counts the clips of each side from 0. Asked is the row in `clips` as it was given, or "
            "nobody finds the clip again.",
        ),
        Misconception(
            "pictures in front",
            split_pictures_in_front,
            "The pairs are right, and their columns are exchanged. First the clip's row, then the picture's.",
        ),
        Misconception(
            "an empty side",
            split_empty_sides,
            "Your pairs are right. But for a speaker whom nobody knows the test is empty, and nobody is told. Raise "
            "`ValueError` where a side has no clip.",
        ),
        Misconception(
            "clips dropped",
            split_drops_clips,
            "Your pairs are right as long as there are pictures. A clip without one is dropped without a word, and a "
            "whole digit can go missing. Raise `ValueError`.",
        ),
        Misconception(
            "pictures borrowed",
            split_borrows,
            "Where a side has no picture of a digit, you take one of the other side. Then it is on both sides. Raise "
            "`ValueError` instead.",
        ),
    ),
    also_right=(split_by_masks, split_by_lists),
    rtol=0.0,
    atol=0.0,
)

ITEMS: list[Item] = [FRAME_HOP, LOG_MEL, AUDIO_ENCODER, ALIGN, CLOSE_GAP, SPEAKER_SPLIT]
