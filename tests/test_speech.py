"""Spoken digits out of a made-up archive: found, checked, fetched, split; and the real set where it lies."""

from __future__ import annotations

import hashlib
import http.server
import io
import math
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from mmcourse import audio, speech
from mmcourse.speech import SPEAKERS, Clips, SpeechMissing, leave_out, pair, spoken_digits

TAKES = 6  # of each digit and speaker in the made-up set: five for testing, one for training
Fill = Callable[..., Path]


def tone(digit: int, speaker: int, take: int) -> torch.Tensor:
    """A wave that tells what it is: the digit by its pitch, the speaker by its loudness, the take by its length."""
    n = torch.arange(400 + 100 * take)
    return (0.2 + 0.1 * speaker) * torch.sin(2 * math.pi * (300 + 100 * digit) * n / audio.RATE)


def takes() -> dict[str, bytes]:
    return {
        f"{digit}_{name}_{take}.wav": audio.wav_bytes(tone(digit, k, take))
        for digit in range(10)
        for k, name in enumerate(SPEAKERS)
        for take in range(TAKES)
    }


CLIPS = takes()


def packed(clips: dict[str, bytes], *, folder: str = "recordings/") -> bytes:
    """An archive, with things in it that are no clips."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in clips.items():
            archive.writestr(folder + name, data)
        archive.writestr(f"{folder}readme.txt", "no clip")
        archive.writestr(f"{folder}0_nobody_0.wav", "no clip")
        archive.writestr("0_george_1.wav", "a clip's name outside the folder")
    return out.getvalue()


def plainly(clips: dict[str, bytes]) -> str:
    """The digest, said once more: sorted lines of name, space and sha256, each with its end of line."""
    whole = hashlib.sha256()
    for name in sorted(clips):
        whole.update(name.encode() + b" " + hashlib.sha256(clips[name]).hexdigest().encode() + b"\n")
    return whole.hexdigest()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty data folder, an empty cache, no network; the made-up set counts as the right one."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MMCOURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MMCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MMCOURSE_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(speech, "COUNT", len(CLIPS))
    monkeypatch.setattr(speech, "DIGEST", plainly(CLIPS))
    monkeypatch.setattr(speech, "URL", "http://127.0.0.1:9/closed.zip")  # no test leaves this machine
    speech._decoded.cache_clear()
    yield tmp_path / "data"
    speech._decoded.cache_clear()


def put(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "fsdd.zip").write_bytes(content)
    return folder / "fsdd.zip"


# ---- what comes out


def test_every_clip_comes_with_its_digit_its_speaker_and_its_take(data: Path) -> None:
    put(data, packed(dict(sorted(CLIPS.items(), reverse=True))))
    clips = spoken_digits("all")
    assert len(clips) == 360 and clips.names == SPEAKERS == tuple(sorted(SPEAKERS))
    assert clips.waves.shape == (360, 1, audio.LENGTH) and clips.waves.dtype == torch.float32
    assert all(x.shape == (360,) and x.dtype == torch.int64 for x in (clips.digits, clips.speakers, clips.index))
    seen = set()
    for wave, digit, speaker, take in zip(clips.waves, clips.digits, clips.speakers, clips.index, strict=True):
        want = tone(int(digit), int(speaker), int(take))
        assert (wave[0, : len(want)] - want).abs().max() < 2 / 32768
        assert wave[0, len(want) :].abs().max() == 0
        seen.add((int(digit), int(speaker), int(take)))
    assert len(seen) == 360


def test_the_first_five_takes_are_for_testing(data: Path) -> None:
    put(data, packed(CLIPS))
    train, test, whole = (spoken_digits(split) for split in ("train", "test", "all"))
    assert train.index.unique().tolist() == [5] and test.index.unique().tolist() == [0, 1, 2, 3, 4]
    assert (len(train), len(test), len(whole)) == (60, 300, 360) and len(spoken_digits()) == 60
    for field in fields(Clips)[:4]:
        parts = [getattr(clips, field.name) for clips in (train, test)]
        assert torch.equal(torch.cat(parts), getattr(whole, field.name))
    assert train.digits.tolist() == [d for d in range(10) for _ in SPEAKERS]
    assert train.speakers.tolist() == list(range(6)) * 10
    with pytest.raises(ValueError, match="split: expected one of train, test, all; got 'tset'. Did you mean 'test'"):
        spoken_digits("tset")


def test_a_long_clip_is_cut_to_its_loudest_stretch(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = torch.cat([torch.zeros(9000), tone(3, 5, 0).repeat(26), torch.zeros(9000)])
    long[0] = 0.5
    clips = {**CLIPS, "3_theo_0.wav": audio.wav_bytes(long)}
    monkeypatch.setattr(speech, "DIGEST", plainly(clips))
    put(data, packed(clips))
    test = spoken_digits("test")
    row = ((test.digits == 3) & (test.speakers == 4) & (test.index == 0)).nonzero().item()
    assert test.waves[row].abs().max() == pytest.approx(long.abs().max().item(), abs=1e-3)
    assert test.waves[row].square().mean() > 0.9 * tone(3, 5, 0).square().mean()


def test_rows_are_picked_together(data: Path) -> None:
    put(data, packed(CLIPS))
    clips, rows = spoken_digits("test"), torch.tensor([7, 250, 7])
    for picked in (clips.pick(rows), clips.pick(slice(3, 9, 2)), clips.pick(clips.digits == 4)):
        for wave, digit, speaker, take in zip(picked.waves, picked.digits, picked.speakers, picked.index, strict=True):
            want = tone(int(digit), int(speaker), int(take))
            assert (wave[0, : len(want)] - want).abs().max() < 2 / 32768
        assert picked.names == SPEAKERS
    assert len(clips.pick(rows)) == 3 and torch.equal(clips.pick(rows).index, clips.index[rows])
    assert len(clips.pick(slice(3, 9, 2))) == 3 and len(clips.pick(clips.digits == 4)) == 30


@pytest.mark.parametrize("speaker", [2, "lucas"])
def test_a_speaker_is_left_out_whole(data: Path, speaker: int | str) -> None:
    put(data, packed(CLIPS))
    clips = spoken_digits("all")
    train, held_out = leave_out(clips, speaker)
    assert (len(train), len(held_out)) == (300, 60)
    assert set(held_out.speakers.tolist()) == {2} and set(train.speakers.tolist()) == {0, 1, 3, 4, 5}
    assert torch.equal(held_out.waves, clips.waves[clips.speakers == 2])
    assert torch.equal(clips.of_speaker(speaker).digits, held_out.digits)
    assert torch.equal(clips.without_speaker(speaker).waves, train.waves)


def test_a_speaker_who_is_not_there_is_told(data: Path) -> None:
    put(data, packed(CLIPS))
    clips = spoken_digits("all")
    for ask in (clips.of_speaker, clips.without_speaker, lambda who: leave_out(clips, who)):
        for wrong in (-1, 6):
            with pytest.raises(ValueError, match=f"speaker: expected a number from 0 to 5 or a name, got {wrong}"):
                ask(wrong)
        with pytest.raises(ValueError, match="speaker: expected one of george, .*Did you mean 'theo'"):
            ask("teo")
    with pytest.raises(ValueError, match="60 clips would be left to train on and 0 held out for speaker 'theo'"):
        leave_out(clips.of_speaker("george"), "theo")
    with pytest.raises(ValueError, match="0 clips would be left"):
        leave_out(clips.of_speaker("george"), 0)


# ---- where it is looked for


def test_the_data_folder_comes_before_the_cache_and_nothing_is_written(data: Path, tmp_path: Path) -> None:
    put(tmp_path / "cache", b"not looked at")
    put(data, packed(CLIPS))
    assert len(spoken_digits()) == 60
    assert [p.name for p in data.iterdir()] == ["fsdd.zip"] and len(list((tmp_path / "cache").iterdir())) == 1


def test_the_cache_is_looked_into_where_the_data_folder_has_none(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "cache", packed(CLIPS))
    assert len(spoken_digits("test")) == 300
    monkeypatch.delenv("MMCOURSE_DATA")
    assert len(spoken_digits("test")) == 300


@pytest.mark.parametrize("folder", ["recordings/", "free-spoken-digit-dataset-1.0.10/recordings/", "a/b/recordings/"])
def test_the_folder_recordings_may_lie_anywhere(data: Path, folder: str) -> None:
    put(data, packed(CLIPS, folder=folder))
    assert len(spoken_digits("all")) == 360


def test_an_archive_is_read_once(data: Path) -> None:
    path = put(data, packed(CLIPS))
    first = spoken_digits()
    path.write_bytes(path.read_bytes()[:100])
    assert spoken_digits().waves.data_ptr() == first.waves.data_ptr()


def test_offline_nothing_is_fetched_and_the_way_by_hand_is_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("urllib.request.urlopen", forbidden)
    told = "not on this machine, and it was not to be fetched. Fetch http://127.* put it as fsdd.zip into .*cache"
    with pytest.raises(SpeechMissing, match=told):
        spoken_digits()
    monkeypatch.setenv("MMCOURSE_OFFLINE", "0")
    with pytest.raises(SpeechMissing, match=told):
        spoken_digits(offline=True)
    for value in ("0", ""):
        monkeypatch.setenv("MMCOURSE_OFFLINE", value)
        with pytest.raises(AssertionError, match="the network was asked"):
            spoken_digits()
    monkeypatch.setenv("MMCOURSE_OFFLINE", "1")
    with pytest.raises(AssertionError, match="the network was asked"):
        spoken_digits(offline=False)
    assert not list((tmp_path / "cache").iterdir())


# ---- what is not the set


def test_the_digest_is_of_names_and_bytes_and_of_no_order() -> None:
    clips = {"b.wav": b"two", "a.wav": b"one"}
    assert speech.digest(clips) == plainly(clips) == speech.digest(dict(sorted(clips.items())))
    others = ({"a.wav": b"two", "b.wav": b"one"}, {"a.wav": b"one"}, {"c.wav": b"two", "a.wav": b"one"})
    assert len({speech.digest(clips), *map(speech.digest, others)}) == 4


def damaged() -> dict[str, tuple[bytes, str]]:
    """Kinds of wrong archives, and what is said of each."""
    good, name = packed(CLIPS), "4_theo_3.wav"
    flipped = bytearray(good)
    flipped[good.index(CLIPS[name]) + 60] ^= 1
    locked = bytearray(good)
    for start in (m.start() for m in re.finditer(rb"PK\x01\x02", good)):
        locked[start + 8] |= 1  # the directory says that a password is needed
    changed = CLIPS[name][:-2] + b"\x01\x00"
    fewer = {key: value for key, value in CLIPS.items() if key != name}
    return {
        "one clip fewer": (packed(fewer), "expected 360 spoken digits in recordings/, got 359 clips"),
        "one clip more": (packed({**CLIPS, "4_theo_30.wav": CLIPS[name]}), "got 361 clips"),
        "none in the folder": (packed(CLIPS, folder="sounds/"), "got 0 clips"),
        "another take": (packed({**fewer, "4_theo_30.wav": CLIPS[name]}), "expected the digest .*, got [0-9a-f]{64}"),
        "a changed clip": (packed({**CLIPS, name: changed}), "are not those of version 1.0.10: expected the digest"),
        "two clips swapped": (packed({**CLIPS, name: CLIPS["4_theo_2.wav"], "4_theo_2.wav": CLIPS[name]}), "digest"),
        "a flipped bit": (bytes(flipped), "is no archive that can be read .*CRC"),
        "a locked one": (bytes(locked), "is no archive that can be read .*password"),
        "half of it": (good[: len(good) // 2], "is no archive that can be read"),
        "no archive": (b"<html>please log in</html>", "is no archive that can be read"),
        "nothing": (b"", "is no archive that can be read"),
        "a huge clip": (packed({**CLIPS, name: bytes(1_000_001)}), f"got {name} of more than 1,000,000 bytes"),
    }


@pytest.mark.parametrize("kind", damaged())
def test_what_is_not_the_set_is_refused_by_its_name_and_with_the_cure(data: Path, kind: str) -> None:
    content, told = damaged()[kind]
    path = put(data, content)
    with pytest.raises(SpeechMissing, match=told) as caught:
        spoken_digits()
    assert str(caught.value).startswith(str(path)) and "Delete it and try again." in str(caught.value)
    path.write_bytes(packed(CLIPS))
    assert len(spoken_digits()) == 60  # the refusal is not remembered


def test_a_huge_clip_is_refused_before_it_is_unpacked(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(data, damaged()["a huge clip"][0])

    def unpacked(*_: object, **__: object) -> bytes:
        raise AssertionError("something was unpacked")

    monkeypatch.setattr(zipfile.ZipFile, "read", unpacked)
    with pytest.raises(SpeechMissing, match="of more than 1,000,000 bytes"):
        spoken_digits()


# ---- the network


@pytest.fixture
def serve(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Serve bytes on this machine under the set's address; the list tells what was asked for."""
    servers: list[http.server.HTTPServer] = []

    def start(content: bytes, *, status: int = 200, promised: int | None = None) -> list[str]:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if promised is None else promised))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(http.server.HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(speech, "URL", f"http://127.0.0.1:{servers[-1].server_port}/v1.0.10.zip")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_set_is_fetched_once_and_kept(
    serve: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = packed(CLIPS, folder="free-spoken-digit-dataset-1.0.10/recordings/")
    asked = serve(content)
    assert len(spoken_digits(offline=False)) == 60
    said = capsys.readouterr().out
    assert f"is fetched once, into {tmp_path / 'cache'}" in said and f"\r{len(content) / 1e6:.1f} MB" in said
    speech._decoded.cache_clear()
    assert len(spoken_digits("test", offline=False)) == 300 and asked == ["/v1.0.10.zip"]
    assert capsys.readouterr().out == ""
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["fsdd.zip"]
    assert (tmp_path / "cache" / "fsdd.zip").read_bytes() == content


@pytest.mark.parametrize("kind", ["no archive", "half of it", "a changed clip", "nothing"])
def test_what_came_and_is_not_the_set_is_not_kept(serve: Callable[..., list[str]], tmp_path: Path, kind: str) -> None:
    content, told = damaged()[kind]
    serve(content)
    with pytest.raises(SpeechMissing, match=told) as caught:
        spoken_digits(offline=False)
    assert str(caught.value).startswith(speech.URL) and "Try again. Fetch " in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_a_download_that_breaks_off_is_not_kept(serve: Callable[..., list[str]], tmp_path: Path) -> None:
    content = packed(CLIPS)
    serve(content[:50_000], promised=len(content))
    with pytest.raises(SpeechMissing, match="Try again"):
        spoken_digits(offline=False)
    assert not list((tmp_path / "cache").iterdir())


def test_a_refusal_a_closed_door_and_an_endless_answer_are_told(
    serve: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpeechMissing, match="could not be fetched (.*refused.*). Fetch http"):
        spoken_digits(offline=False)
    serve(b"gone", status=404)
    with pytest.raises(SpeechMissing, match="could not be fetched .*404.* by hand"):
        spoken_digits(offline=False)
    serve(packed(CLIPS))
    monkeypatch.setattr(speech, "LARGEST_FILE", 10_000)
    with pytest.raises(SpeechMissing, match="could not be fetched .more than 0 MB came"):
        spoken_digits(offline=False)
    assert not list((tmp_path / "cache").iterdir())


def test_a_server_that_says_nothing_is_not_waited_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(speech, "URL", f"http://127.0.0.1:{silent.getsockname()[1]}/v1.0.10.zip")
        monkeypatch.setattr(speech, "TIMEOUT", 0.2)
        start = time.monotonic()
        with pytest.raises(SpeechMissing, match="could not be fetched .*timed out"):
            spoken_digits(offline=False)
        assert time.monotonic() - start < 5


def test_a_full_disk_leaves_nothing_in_the_cache(
    serve: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    serve(packed(CLIPS))
    monkeypatch.setattr("mmcourse.runtime.os.fsync", full)
    with pytest.raises(SpeechMissing, match="No space left on device"):
        spoken_digits(offline=False)
    assert not list((tmp_path / "cache").iterdir())


# ---- pairs


def test_a_clip_is_paired_with_every_picture_of_its_class_alike(rng: torch.Generator) -> None:
    labels = torch.tensor([3, 0, 1, 3, 3, 0, 9, 3])
    digits = torch.tensor([3, 0, 9]).repeat(8000)
    rows = pair(digits, labels, rng)
    assert rows.dtype == torch.int64 and rows.shape == digits.shape and torch.equal(labels[rows], digits)
    for digit, pictures in ((3, [0, 3, 4, 7]), (0, [1, 5]), (9, [6])):
        drawn = torch.bincount(rows[digits == digit], minlength=8)
        share = 8000 / len(pictures)
        assert drawn.nonzero().flatten().tolist() == pictures
        assert (drawn[pictures] - share).abs().max() < 5 * math.sqrt(share)


def test_pairs_come_from_their_generator_and_from_nothing_else() -> None:
    labels, digits = torch.arange(10).repeat(50), torch.arange(10).repeat(7)
    before = torch.get_rng_state()
    one, again, other = (pair(digits, labels, torch.Generator().manual_seed(k)) for k in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert len(pair(digits[:0], labels, torch.Generator())) == 0


def test_a_class_without_a_picture_and_labels_of_no_use_are_refused(rng: torch.Generator) -> None:
    labels = torch.tensor([0, 1, 1, 3])
    with pytest.raises(ValueError, match="no picture has the class 2, 7. Give pictures of every class"):
        pair(torch.tensor([0, 7, 2, 7, 3]), labels, rng)
    with pytest.raises(ValueError, match="no picture has the class 1"):
        pair(torch.tensor([1]), labels[:0], rng)
    for wrong in (torch.tensor([[1]]), torch.tensor([1.0]), torch.tensor([-1]), torch.tensor(1)):
        with pytest.raises(ValueError, match="clip_digits: expected classes"):
            pair(wrong, labels, rng)
        with pytest.raises(ValueError, match="picture_labels: expected classes"):
            pair(labels, wrong, rng)


# ---- the real set


@pytest.fixture
def real(data_dir: Path) -> None:
    if not (data_dir / "fsdd.zip").is_file():
        pytest.skip("MMCOURSE_DATA has no fsdd.zip, the Free Spoken Digit Dataset")


def test_the_spoken_digits_are_the_published_ones(real: None) -> None:
    train, test, whole = (spoken_digits(split, offline=True) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(whole)) == (2700, 300, 3000)
    of_each = torch.bincount(6 * whole.digits + whole.speakers, minlength=60)
    assert of_each.tolist() == [50] * 60
    assert torch.bincount(6 * test.digits + test.speakers).tolist() == [5] * 60
    assert test.index.max() == 4 and train.index.min() == 5 and train.index.max() == 49
    assert whole.waves.shape == (3000, 1, audio.LENGTH) and whole.waves.abs().max() <= 1
    assert (whole.waves.square().mean((1, 2)) > 1e-6).all()  # nobody is silent
    held_out = leave_out(whole, "yweweler")[1]
    assert len(held_out) == 500


def test_a_real_clip_is_the_files_own_samples(real: None, data_dir: Path) -> None:
    """Read by the standard library's own reader: 16 bits, 32768 is full scale."""
    import wave

    test = spoken_digits("test", offline=True)
    row = ((test.digits == 7) & (test.speakers == 1) & (test.index == 3)).nonzero().item()
    with zipfile.ZipFile(data_dir / "fsdd.zip") as archive:
        inside = next(name for name in archive.namelist() if name.endswith("recordings/7_jackson_3.wav"))
        with archive.open(inside) as stream, wave.open(stream) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            want = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16) / 32768
    assert torch.equal(test.waves[row, 0, : len(want)], want) and test.waves[row, 0, len(want) :].abs().max() == 0
