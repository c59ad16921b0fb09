"""The command line as a person meets it: outputs, errors of one line, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.held_songs import Hold, held_viso
from helpers.small_models import segment_network, song
from viso.audio import read, write
from viso.cli import app
from viso.cli import separate as separating
from viso.models import registry

VISO = [sys.executable, "-c", "from viso.cli import main; main()"]


def viso(*words: object, cwd: Path, **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*VISO, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=120, **how
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "my song.flac", song(2, 60_000), rate_hz=44_100)
    return tmp_path


def files_below(folder: Path) -> set[str]:
    """All files, and the folders that hold none."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


def test_a_song_becomes_two_stems(folder: Path, mask_model: Path) -> None:
    result = viso("separate", "my song.flac", "--model", mask_model, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "real time" in result.stdout
    assert "on cpu" in result.stdout
    assert "exactly" in result.stdout
    mixture, _ = read(folder / "my song.flac")
    parts = [read(folder / "separated/my song" / f"{s}.wav")[0] for s in ("vocals", "instrumental")]
    assert np.array_equal(parts[0] + parts[1], mixture)


def test_json_says_everything_on_one_line(folder: Path, mask_model: Path) -> None:
    result = viso(
        "separate", "my song.flac", "nothing.wav", "--model", mask_model, "--json",
        "--format", "flac", "--start", "0.5", "--duration", "0.5", cwd=folder,
    )  # fmt: skip
    assert result.returncode == 1
    good, bad = map(json.loads, result.stdout.splitlines())
    assert good["ok"] is True
    assert good["n_samples"] == 22_050
    assert good["largest_error"] == 0.0
    assert Path(good["stems"]["vocals"]).suffix == ".flac"
    assert bad["ok"] is False
    assert bad["error"] == "AudioError"
    assert "nothing.wav" in bad["reason"]


def test_template_and_stems(folder: Path, mask_model: Path) -> None:
    result = viso(
        "separate", "my song.flac", "--model", mask_model, "--stems", "vocals", "-o", "out",
        "--template", "{name} ({stem}, {model}).{ext}", "--quiet", cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert files_below(folder / "out") == {"my song (vocals, tiny).wav"}


def test_all_stems_of_a_model(folder: Path, tmp_path: Path) -> None:
    model = segment_network(tmp_path / "band.onnx", of_samples=0.2)
    words = ("separate", "my song.flac", "--model", model, "--stems")
    result = viso(*words, "all", "-o", "out", cwd=folder)
    assert result.returncode == 0, result.stderr
    names = {f"my song/{stem}.wav" for stem in ("vocals", "drums", "bass", "other")}
    assert files_below(folder / "out") == names
    assert "vocals + drums + bass + other = mixture, exactly" in result.stdout
    result = viso(*words, "drums,instrumental", "-o", "two", "--jobs", 1, cwd=folder)
    assert result.returncode == 0, result.stderr
    found = {file for file in files_below(folder / "two") if file.endswith(".wav")}
    assert found == {"my song/drums.wav", "my song/instrumental.wav"}
    result = viso(*words, "guitar", "-o", "out", cwd=folder)
    assert result.returncode == 2
    said = " ".join(result.stderr.replace("│", "").split())
    assert "the model offers vocals, drums, bass, other, instrumental" in said


def test_a_long_separation_says_so_when_it_begins(
    folder: Path, mask_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    write(folder / "longer.wav", song(2, 200_000), rate_hz=44_100)
    words = ["separate", "longer.wav", "--model", str(mask_model)]
    assert "to go" not in CliRunner().invoke(app, [*words, "-o", "short"]).stderr
    monkeypatch.setattr(separating, "_LONG_S", 0.0)
    told = CliRunner().invoke(app, [*words, "-o", "long"]).stderr
    assert re.fullmatch(
        r"longer\.wav: about \d+ s to go at \S+x real time, in \S+ [MG]B of memory\n", told
    )
    assert CliRunner().invoke(app, [*words, "-o", "quiet", "--quiet"]).stderr == ""


def test_blends_and_the_wiener_filter(folder: Path, mask_model: Path) -> None:
    result = viso(
        "separate", "my song.flac", "--model", f"{mask_model}*1+viso-cnn*3", "--wiener", "1",
        "--wiener-window", "1", "--confidence", "--template", "{stem} {model}.{ext}", cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "with tiny*0.25+viso-cnn*0.75 and a Wiener filter (1x) on cpu" in result.stdout
    names = {"vocals tiny 0.25+viso-cnn 0.75.wav", "instrumental tiny 0.25+viso-cnn 0.75.wav"}
    assert files_below(folder / "separated") == {*names, "confidence tiny 0.25+viso-cnn 0.75.csv"}
    mixture, _ = read(folder / "my song.flac")
    parts = [read(folder / "separated" / name)[0] for name in names]
    assert np.abs(parts[0] + parts[1] - mixture).max() == 0


def test_json_names_the_filter(folder: Path, mask_model: Path) -> None:
    words = ["separate", "my song.flac", "--model", f"{mask_model}+viso", "--wiener", "2", "--json"]
    record = json.loads(viso(*words, cwd=folder).stdout)
    assert record["model"] == "tiny+viso"
    assert record["wiener"] == 2
    assert record["model_sha256"].count("+") == 1


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--model", "viso+nobody"], "nobody: no packaged model", 1),
        (["--model", "viso*2+viso-cnn"], "one weight", 1),
        (["--model", "viso*a+viso-cnn*b"], "no weight", 1),
        (["--wiener", "-1"], "--wiener", 2),
        (["--wiener-window", "0.1"], "--wiener-window", 2),
    ],
)
def test_impossible_blends_and_filters(
    folder: Path, words: list[str], said: str, code: int
) -> None:
    result = viso("separate", "my song.flac", *words, cwd=folder)
    assert result.returncode == code
    assert said in result.stderr
    assert not (folder / "separated").exists()


def test_one_bad_song_stops_nothing(folder: Path, mask_model: Path) -> None:
    (folder / "bad.mp3").write_text("not a song", encoding="utf-8")
    result = viso("separate", "bad.mp3", "my song.flac", "--model", mask_model, cwd=folder)
    assert result.returncode == 1
    assert (folder / "separated/my song/vocals.wav").exists()
    assert not (folder / "separated/bad").exists()


def test_two_songs_never_share_a_file(folder: Path, mask_model: Path) -> None:
    write(folder / "my song.wav", song(1, 5000), rate_hz=44_100)
    words = ["separate", "--model", mask_model, "my song.flac", "my song.wav"]
    result = viso(*words, "my song.flac", cwd=folder)
    assert result.returncode == 0, result.stderr
    stems = [folder / "separated" / name / "vocals.wav" for name in ("my song", "my song.wav")]
    assert [read(path)[0].shape[1] for path in stems] == [60_000, 5000]
    again = viso(*words, cwd=folder)
    assert again.returncode == 1
    assert again.stderr.count("already there; add --overwrite") == 2
    assert len(list((folder / "separated").iterdir())) == 2


@pytest.mark.parametrize("batch", [[], ["--jobs", "1"]])
def test_one_after_the_other_they_never_share_a_file(
    folder: Path, mask_model: Path, batch: list[str]
) -> None:
    """What stands there says which song it was made from; one by one as in a batch."""
    write(folder / "my song.wav", song(1, 5000), rate_hz=44_100)
    words = ["--model", mask_model, "--format", "flac"]
    assert viso("separate", "my song.flac", *words, cwd=folder).returncode == 0
    first = (folder / "separated/my song/vocals.flac").read_bytes()
    for _ in range(2):  # the second time it is the song's own
        result = viso("separate", "my song.wav", *words, *batch, "--overwrite", cwd=folder)
        assert result.returncode == 0, result.stderr
        assert (folder / "separated/my song/vocals.flac").read_bytes() == first
        assert read(folder / "separated/my song.wav/vocals.flac")[0].shape[1] == 5000
    assert len([path for path in (folder / "separated").iterdir() if path.is_dir()]) == 2


def test_a_song_of_the_same_name_elsewhere(folder: Path, mask_model: Path) -> None:
    (folder / "b").mkdir()
    write(folder / "b/my song.flac", song(1, 5000), rate_hz=44_100)
    words = ["separate", "my song.flac", "b/my song.flac", "--model", mask_model]
    assert viso(*words, cwd=folder).returncode == 0
    first = (folder / "separated/my song/vocals.wav").read_bytes()
    alone = viso("separate", "b/my song.flac", "--model", mask_model, "--overwrite", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    assert (folder / "separated/my song/vocals.wav").read_bytes() == first
    assert len(list((folder / "separated").iterdir())) == 2


def test_stems_of_an_earlier_version_are_replaced_only_if_asked(
    folder: Path, mask_model: Path
) -> None:
    words = ["separate", "my song.flac", "--model", mask_model]
    assert viso(*words, cwd=folder).returncode == 0
    write(folder / "my song.flac", song(1, 5000), rate_hz=44_100)
    refused = viso(*words, cwd=folder)
    assert refused.returncode == 1
    assert "already there; add --overwrite" in refused.stderr
    assert viso(*words, "--overwrite", cwd=folder).returncode == 0
    assert read(folder / "separated/my song/vocals.wav")[0].shape[1] == 5000


def test_a_template_that_leaves_a_song_no_name(folder: Path, mask_model: Path) -> None:
    write(folder / "other.wav", song(1, 5000), rate_hz=44_100)
    words = ["--model", mask_model, "--template", "{stem}.{ext}"]
    result = viso("separate", "my song.flac", "other.wav", *words, cwd=folder)
    assert result.returncode == 1
    assert "other.wav: its stems would replace a song, those of another song" in result.stderr
    assert read(folder / "separated/vocals.wav")[0].shape[1] == 60_000


# Bad input: a named error on one line, exit code 1, no output


def make_bad(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.wav"
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path = folder / "text.mp3"
        path.write_text("la la la\n" * 200, encoding="utf-8")
    elif kind == "truncated":
        path = folder / "truncated.flac"
        path.write_bytes((folder / "my song.flac").read_bytes()[:-20_000])
    elif kind == "nan":
        audio = song(2, 30_000)
        write(path, audio, rate_hz=44_100, bit_depth="float")
        data = bytearray(path.read_bytes())
        data[-4000:-3996] = np.array([np.nan], np.float32).tobytes()
        path.write_bytes(bytes(data))
    elif kind == "zero channels":
        write(path, song(1, 3000), rate_hz=44_100, bit_depth="16")
        data = bytearray(path.read_bytes())
        at = data.index(b"fmt ") + 10
        data[at : at + 2] = b"\0\0"
        path.write_bytes(bytes(data))
    elif kind == "no sample":
        write(path, song(1, 3000), rate_hz=44_100, bit_depth="16")
        data = bytearray(path.read_bytes())
        at = data.index(b"data")
        path.write_bytes(bytes(data[: at + 4]) + b"\0\0\0\0")
    return path


@pytest.mark.parametrize(
    "kind",
    ["directory", "empty", "text", "truncated", "nan", "zero channels", "no sample", "missing"],
)
def test_bad_songs(folder: Path, mask_model: Path, kind: str) -> None:
    path = make_bad(folder, kind)
    before = files_below(folder)
    result = viso("separate", path, "--model", mask_model, "-o", "out", cwd=folder)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stderr.startswith("error: ")
    assert path.name in result.stderr
    assert result.stdout == ""
    assert files_below(folder) == before


@pytest.mark.parametrize("kind", ["no model", "no card", "wrong card", "missing", "unknown name"])
def test_bad_models(folder: Path, mask_model: Path, kind: str) -> None:
    path = folder / "model.onnx"
    if kind == "no model":
        path.write_bytes(b"nothing of the kind")
    elif kind in ("no card", "wrong card"):
        import onnx
        from onnx import helper

        model = onnx.load(mask_model)
        helper.set_model_props(model, {})
        onnx.save(model, path)
        if kind == "wrong card":
            path.with_suffix(".toml").write_text("name = 'x'\nchunk_frames = 9\n", encoding="utf-8")
    name = "viso-unheard-of" if kind == "unknown name" else str(path)
    result = viso("separate", "my song.flac", "--model", name, "-o", "out", cwd=folder)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert Path(name).stem in result.stderr
    assert not (folder / "out").exists()


def test_a_stem_never_replaces_its_own_song(tmp_path: Path, mask_model: Path) -> None:
    path = tmp_path / "vocals.wav"
    write(path, song(2, 5000), rate_hz=44_100)
    before = path.read_bytes()
    result = viso(
        "separate", path, "--model", mask_model, "-o", tmp_path, "--template", "{stem}.{ext}",
        "--overwrite", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    assert "would replace a song" in result.stderr
    assert path.read_bytes() == before
    assert files_below(tmp_path) == {"vocals.wav"}


def test_a_full_disk(folder: Path, mask_model: Path) -> None:
    import resource

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = viso(
        "separate", "my song.flac", "--model", mask_model, cwd=folder, preexec_fn=small_files_only
    )
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "separated" in result.stderr
    assert files_below(folder) == {"my song.flac"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(folder: Path, mask_model: Path) -> None:
    (folder / "out").mkdir(mode=0o500)
    result = viso("separate", "my song.flac", "--model", mask_model, "-o", "out", cwd=folder)
    assert result.returncode == 1
    assert "out" in result.stderr


def test_an_output_folder_that_is_a_file(folder: Path, mask_model: Path) -> None:
    (folder / "out").write_text("in the way", encoding="utf-8")
    result = viso("separate", "my song.flac", "--model", mask_model, "-o", "out", cwd=folder)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert (folder / "out").read_text(encoding="utf-8") == "in the way"


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "wma"],
        ["--bit-depth", "12"],
        ["--stems", "drums"],
        ["--template", "{composer}.wav"],
        ["--template", "{}.wav"],
        ["--template", "{name:d}.wav"],
        ["--template", "../{stem}.{ext}"],
        ["--bitrate", "320k"],
        ["--format", "mp3", "--bitrate", "banana"],
        ["--format", "flac", "--bit-depth", "float"],
        ["--device", "tpu"],
        ["--start", "-1"],
    ],
)
def test_wrong_usage_is_exit_code_2(folder: Path, words: list[str]) -> None:
    result = viso("separate", "my song.flac", *words, cwd=folder)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert words[-2] in result.stderr
    assert files_below(folder) == {"my song.flac"}


def test_a_later_song_is_not_overwritten(folder: Path, mask_model: Path) -> None:
    later = folder / "separated/my song/vocals.wav"
    later.parent.mkdir(parents=True)
    write(later, song(1, 5000), rate_hz=44_100)
    before = later.read_bytes()
    result = viso(
        "separate", "my song.flac", later, "--model", mask_model, "--overwrite", cwd=folder
    )
    assert result.returncode == 0, result.stderr
    assert later.read_bytes() == before


def test_names_of_any_bytes_and_any_length(folder: Path, mask_model: Path) -> None:
    name = os.fsdecode(b"caf\xe9 [bold] :cat:.flac")
    (folder / "my song.flac").rename(folder / name)
    long = "x" * 240 + ".flac"
    (folder / long).write_bytes((folder / name).read_bytes())
    for words in (["--json"], []):
        result = viso(
            "separate", name, long, "--model", mask_model, "-o", f"out{len(words)}",
            "--template", "{name} - {stem}.{ext}", *words, cwd=folder,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert len(list((folder / f"out{len(words)}").iterdir())) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path,
    mask_model: Path,
    number: signal.Signals,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    write(tmp_path / "long.wav", song(2, 44_100 * 10), rate_hz=44_100, bit_depth="16")
    hold = Hold(tmp_path_factory.mktemp("beside"))
    hold.close()
    typed = ["separate", "long.wav", "--model", str(mask_model)]
    process = subprocess.Popen(
        [sys.executable, "-c", held_viso(hold), *typed],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it starts in the background ignore SIGINT, these tests perhaps.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not hold.pids():
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert files_below(tmp_path) == {"long.wav"}


def test_models_are_listed_with_their_cards(tmp_path: Path, mask_model: Path) -> None:
    shown = viso("models", mask_model, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "tiny" in shown.stdout
    assert "MIT" in shown.stdout
    record = json.loads(viso("models", mask_model, "--json", cwd=tmp_path).stdout)
    assert record["spectral"]["n_fft"] == 512
    assert record["bytes"] == mask_model.stat().st_size


def test_the_cards_of_a_blend(tmp_path: Path) -> None:
    lines = viso("models", "viso*3+viso-cnn*1", "--json", cwd=tmp_path).stdout.splitlines()
    parts = {card["name"]: card["share"] for card in map(json.loads, lines)}
    assert parts == {"viso": 0.75, "viso-cnn": 0.25}
    told = viso("models", "viso+viso-cnn", cwd=tmp_path).stdout
    assert told.count("0.5 of the blend") == told.count("   licence ") == 2
    assert "share" not in json.loads(viso("models", "viso", "--json", cwd=tmp_path).stdout)


@pytest.fixture
def stems(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "songs" / name).mkdir(parents=True)
        for seed, stem in enumerate(("vocals", "bass", "other")):
            path = tmp_path / "songs" / name / f"{stem}.wav"
            write(path, song(2, 50_000, seed=seed), rate_hz=44_100)
    scores = {"songs/a": {"vocals_usdr": 1.5, "instrumental_usdr": 2.5}}
    (tmp_path / "other.json").write_text(json.dumps(scores), encoding="utf-8")
    (tmp_path / "genres.csv").write_text("Track Name,Genre\na,Rap\n", encoding="utf-8")
    return tmp_path


def test_evaluate_as_json(stems: Path, mask_model: Path) -> None:
    result = viso(
        "evaluate", mask_model, "--data", "songs", "--baseline", "other.json",
        "--baseline-name", "rival", "--genres", "genres.csv", "--no-bss", "--json", cwd=stems,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    rows = {
        (row["stem"], row["system"]): row
        for row in found
        if "genre" not in row and row["metric"] == "usdr"
    }
    assert {row["genre"] for row in found if "genre" in row} == {"Rap", "other"}
    assert {system for _, system in rows} > {"mixture", "tiny", "rival", "ideal Wiener filter"}
    assert rows["vocals", "rival"]["median"] == 1.5
    assert rows["vocals", "rival"]["n_songs"] == 1
    assert rows["vocals", "ideal ratio mask"]["median"] > rows["vocals", "mixture"]["median"] + 3


def test_evaluate_a_blend_with_and_without_a_filter(stems: Path, mask_model: Path) -> None:
    words = ["evaluate", f"{mask_model}+viso", "--wiener", "1", "--data", "songs", "--no-bss"]
    told = viso(*words, "--no-oracles", "-o", "report", "--residuals", cwd=stems)
    assert told.returncode == 0, told.stderr
    assert "tiny+viso against tiny+viso, Wiener 1" in told.stdout
    assert "residuals/a - tiny+viso, Wiener 1.wav" in files_below(stems / "report")


def test_evaluate_in_words_and_as_a_report(stems: Path, mask_model: Path) -> None:
    (stems / "made/a").mkdir(parents=True)
    (stems / "made/b").mkdir()
    for name in ("a", "b"):
        write(stems / f"made/{name}/vocals.wav", song(2, 50_000, seed=9), rate_hz=44_100)
    words = [
        "evaluate", mask_model, "made", "--data", "songs", "--genres", "genres.csv",
        "--no-oracles", "-o", "report", "--residuals",
    ]  # fmt: skip
    told = viso(*words, cwd=stems)
    assert told.returncode == 0, told.stderr
    for expected in ("by genre", "Rap", "tiny against made", "usdr", "sir", "gnsdr", "report.html"):
        assert expected in told.stdout
    assert {"report.html", "songs.csv", "summary.json"} < files_below(stems / "report")
    assert "residuals/a - tiny.wav" in files_below(stems / "report")
    page = (stems / "report/report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    (stems / "report/report.html").unlink()
    again = viso(*words, cwd=stems)
    assert again.stdout == told.stdout
    assert (stems / "report/report.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(("words", "said"), [
    (["--data", "nowhere"], "nowhere: No such file"),
    (["--baseline", "genres.csv"], "no baseline scores"),
    (["--residuals"], "--out"),
    (["--baseline", "other.json", "--baseline-name", "mixture"], "another row has this name"),
])  # fmt: skip
def test_evaluations_that_cannot_be(
    stems: Path, mask_model: Path, words: list[str], said: str
) -> None:
    data = [] if "--data" in words else ["--data", "songs"]
    result = viso("evaluate", mask_model, *data, *words, cwd=stems)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_spectrogram_draws_a_picture(folder: Path, mask_model: Path) -> None:
    result = viso("spectrogram", "my song.flac", "-o", "p.png", "--model", mask_model, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")


def test_version(tmp_path: Path) -> None:
    from viso import __version__

    assert viso("--version", cwd=tmp_path).stdout == f"viso {__version__}\n"


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = viso("--help", cwd=tmp_path).stdout
    for command in ("separate", "models", "evaluate", "spectrogram", "train", "export", "data"):
        assert command in shown


def test_confidence_on_the_command_line(tmp_path: Path, mask_model: Path) -> None:
    write(tmp_path / "song.wav", song(2, 100_000), rate_hz=44_100)
    words = ["separate", "song.wav", "--model", mask_model, "--confidence"]
    told = viso(*words, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert files_below(tmp_path / "separated") == {
        "song/vocals.wav",
        "song/instrumental.wav",
        "song/confidence.csv",
    }
    assert "estimated SDR: vocals" in told.stdout
    assert len((tmp_path / "separated/song/confidence.csv").read_text().splitlines()) == 4
    record = json.loads(viso(*words, "--json", "-o", "b", "--start", "1", cwd=tmp_path).stdout)
    table = tmp_path / record["confidence"]
    assert table.read_text().splitlines()[1].startswith("1.000,")
    again = viso(*words, cwd=tmp_path)
    assert again.returncode == 1
    assert "is already there" in again.stderr


def test_one_template_for_two_files_is_refused(tmp_path: Path, mask_model: Path) -> None:
    write(tmp_path / "song.wav", song(2, 1000), rate_hz=44_100)
    words = ["separate", "song.wav", "--model", mask_model, "--template", "{name}.{ext}"]
    refused = viso(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "would replace a song, those of another song, or one another" in refused.stderr


def test_models_are_a_line_each_and_a_card_by_name() -> None:
    listed = CliRunner().invoke(app, ["models"])
    assert listed.exit_code == 0
    lines = [line.split() for line in listed.output.splitlines()]
    for name in registry.packaged():
        (line,) = (line for line in lines if line[:1] == [name])
        assert re.fullmatch(r"2 -?\d+\.\d dB \d+\.\d MB", " ".join(line[1:6]))
    assert "trained on" not in listed.output
    assert "trained on" in CliRunner().invoke(app, ["models", "viso"]).output
    cards = CliRunner().invoke(app, ["models", "--json"]).output.splitlines()
    assert {json.loads(card)["name"] for card in cards} >= set(registry.packaged())
