"""A test for listeners: the static page, webMUSHRA's configuration, the command line."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from helpers.simulated_listeners import make_song, taste
from viso.audio import read
from viso.cli import app
from viso.errors import ConfigError, DataError
from viso.listening import (
    BuildSettings,
    ListeningTest,
    Ratings,
    as_lines,
    build_test,
    export,
    export_page,
    export_webmushra,
    load_test,
    order_of,
    read_results,
    stimulus_path,
)
from viso.listening.definition import ANCHORS, Kind
from viso.listening.export import PAGE_FILES

SYSTEMS = {"alpha": 20.0, "beta": 6.0}
PAGE = Path(export.__file__).parent / "page"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for index in range(2):
        make_song(folder, f"song {index}", SYSTEMS, seed=10 * index)
    return folder


@pytest.fixture(scope="module")
def built(data: Path) -> tuple[Path, ListeningTest]:
    songs = [make_song(data, f"song {i}", SYSTEMS, seed=10 * i) for i in range(2)]
    settings = BuildSettings(
        duration_s=1.2, seed=7, questions=("target",), consent='I <agree>: "yes"', asks_age=True
    )
    return data / "test", build_test(songs, data / "test", settings=settings)


def told_by(folder: Path) -> dict[str, Any]:
    script = (folder / "test.js").read_text()
    found: dict[str, Any] = json.loads(script.removeprefix("window.visoTest = ").rstrip(";\n"))
    return found


def test_the_page_is_whole_and_blind(built: tuple[Path, ListeningTest], tmp_path: Path) -> None:
    source, test = built
    export_page(source, tmp_path / "page", n_orders=5)
    page = told_by(tmp_path / "page")
    names = {path.name for path in (tmp_path / "page").iterdir()}
    assert names == {*PAGE_FILES, "stimuli", "test.js"}
    for trial in page["trials"]:
        for stimulus in [*trial["stimuli"], trial["reference"]]:
            assert stimulus_path(tmp_path / "page", stimulus).is_file()
    assert len(page["orders"]) == 5
    assert page["orders"][3]["trials"] == list(order_of(test, 3).trials)
    every = "".join(p.read_text() for p in (tmp_path / "page").iterdir() if p.is_file())
    for secret in (*SYSTEMS, *ANCHORS, "song 0"):
        assert secret not in every


def test_the_page_asks_nothing_of_the_world() -> None:
    for name in PAGE_FILES:
        text = (PAGE / name).read_text()
        assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text), name
        assert "innerHTML" not in text and "eval(" not in text
    assert sorted(path.name for path in PAGE.iterdir()) == sorted(PAGE_FILES)
    scripts = re.findall(r'src="([^"]+)"', (PAGE / "index.html").read_text())
    assert {"test.js", *(name for name in PAGE_FILES if name.endswith(".js"))} == set(scripts)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_scripts_are_javascript() -> None:
    for name in PAGE_FILES:
        if name.endswith(".js"):
            subprocess.run(["node", "--check", str(PAGE / name)], check=True, timeout=60)


def test_embedded_stimuli_are_the_same(built: tuple[Path, ListeningTest], tmp_path: Path) -> None:
    import base64

    source, test = built
    export_page(source, tmp_path / "page", n_orders=1, embedded=True)
    assert told_by(tmp_path / "page")["embedded"]
    stimulus_id = test.stimulus_ids[0]
    script = (tmp_path / "page" / "stimuli" / f"{stimulus_id}.js").read_text()
    text = re.search(r'= "([^"]+)";', script)
    assert text is not None
    assert base64.b64decode(text[1]) == stimulus_path(source, stimulus_id).read_bytes()


def test_pages_that_cannot_be(built: tuple[Path, ListeningTest], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 orders"):
        export_page(built[0], tmp_path / "page", n_orders=0)
    with pytest.raises(ConfigError, match="no address"):
        export_page(built[0], tmp_path / "page", post="javascript:alert(1)")
    (tmp_path / "page").write_text("mine")
    with pytest.raises(ConfigError, match="already there"):
        export_page(built[0], tmp_path / "page")
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_webmushra_configuration(built: tuple[Path, ListeningTest], tmp_path: Path) -> None:
    source, test = built
    configuration = yaml.safe_load(export_webmushra(source, tmp_path / "wm").read_text())
    assert configuration["testId"] == test.id
    welcome, *training, rated, finish = configuration["pages"]
    assert welcome["type"] == "generic" and "I &lt;agree&gt;: &quot;yes&quot;" in welcome["content"]
    assert finish["type"] == "finish" and finish["writeResults"] is True
    assert [question["name"] for question in finish["questionnaire"]] == ["listener", "age"]
    # Training asks both questions of its first song.
    assert rated[0] == "random" and len(rated) == 1 + 2 * 2 and len(training) == 2 + 1
    for page in [*training, *rated[1:]]:
        assert page["type"] == "mushra"
        assert page["createAnchor35"] is False and page["showConditionNames"] is False
        assert len(page["stimuli"]) == 6  # the hidden reference is added by webMUSHRA
        sounds = [read(tmp_path / "wm" / path) for path in page["stimuli"].values()]
        reference, rate_hz = read(tmp_path / "wm" / page["reference"])
        for audio, own_hz in sounds:
            assert audio.shape == reference.shape and own_hz == rate_hz
        flac = read(stimulus_path(source, Path(page["reference"]).stem))[0]
        assert np.array_equal(reference, flac)


# The keys of its documentation for experimenters; ``questionnaire`` from its own example
# configuration with a questionnaire. True are those that every page of a kind needs.
WEBMUSHRA = {
    "configuration": {
        "testname": True, "testId": True, "bufferSize": True, "stopOnErrors": True,
        "showButtonPreviousPage": True, "remoteService": True, "pages": True,
    },
    "generic": {"type": True, "id": True, "name": True, "content": True},
    "mushra": {
        "type": True, "id": True, "name": True, "content": True, "showWaveform": True,
        "enableLooping": True, "strict": False, "reference": True, "createAnchor35": True,
        "createAnchor70": True, "randomize": False, "showConditionNames": False, "stimuli": True,
    },
    "paired_comparison": {
        "type": True, "id": True, "name": True, "unforced": False, "content": True,
        "showWaveform": True, "enableLooping": True, "reference": True, "stimuli": True,
    },
    "finish": {
        "type": True, "name": True, "content": True, "showResults": True, "writeResults": True,
        "questionnaire": False,
    },
}  # fmt: skip


def assert_documented(kind: str, found: dict[str, Any]) -> None:
    keys = WEBMUSHRA[kind]
    assert set(found) <= set(keys), kind
    assert {key for key, is_needed in keys.items() if is_needed} <= set(found), kind


def flat(pages: list[Any]) -> list[Any]:
    return [one for page in pages for one in (flat(page) if isinstance(page, list) else [page])]


@pytest.mark.parametrize("kind", ["mushra", "abx"])
def test_webmushra_knows_every_key(tmp_path: Path, kind: Kind) -> None:
    songs = [make_song(tmp_path, "song 0", SYSTEMS)]
    settings = BuildSettings(kind=kind, duration_s=1.2, asks_device=True, asks_age=True)
    build_test(songs, tmp_path / "test", settings=settings)
    path = export_webmushra(tmp_path / "test", tmp_path / "wm")
    configuration = yaml.safe_load(path.read_text())
    assert_documented("configuration", configuration)
    assert configuration["bufferSize"] in (256, 512, 1024, 2048, 4096, 8192, 16384)
    *pages, last = flat(configuration["pages"])
    assert last["type"] == "finish"
    assert configuration["pages"][-2][0] == "random"  # only as an array's first element
    pages = [page for page in pages if page != "random"]
    assert len({page["id"] for page in pages}) == len(pages)
    for page in [*pages, last]:
        assert_documented(page["type"], page)
        for key, value in page.items():
            is_switch = key.startswith(("show", "create", "enable", "write", "random", "strict"))
            assert isinstance(value, bool) == is_switch, key
        sounds = [*page.get("stimuli", {}).values(), *filter(None, [page.get("reference")])]
        for sound in sounds:
            assert sound.startswith("configs/") and (tmp_path / "wm" / sound).is_file()
            assert sound.endswith(".wav")
    for question in last["questionnaire"]:
        assert set(question) == {"type", "label", "name"} and question["type"] == "text"


def test_webmushra_results_come_back(built: tuple[Path, ListeningTest], tmp_path: Path) -> None:
    test = built[1]
    records = [r for r in taste(test, {}, n_listeners=2) if isinstance(r, Ratings)]
    rows = [
        {
            "session_test_id": test.id,
            "listener": record.listener,
            "age": "",
            "trial_id": f"{record.trial}-{record.question}",
            "rating_stimulus": "reference" if s.role == "reference" else f"s{s.id}",
            "rating_score": record.ratings[s.id],
            "rating_time": 1,
            "rating_comment": "",
        }
        for record in records
        for s in next(t for t in test.rated if t.name == record.trial).stimuli
    ]
    path = tmp_path / "mushra.csv"

    def save(lines: list[dict[str, Any]]) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(lines)

    save(rows)
    found = read_results([path], test).ratings
    plain = [r.model_copy(update={"listener": r.listener.replace("-", "_")}) for r in records]
    assert list(found) == plain
    save(rows[:-1])
    with pytest.raises(DataError, match=r"mushra.csv: .* is missing from trial"):
        read_results([path], test)
    save([*rows, rows[0]])
    with pytest.raises(DataError, match=r"mushra.csv: line .* twice"):
        read_results([path], test)
    save([{**rows[0], "rating_score": "loud"}])
    with pytest.raises(DataError, match=r"mushra.csv: no ratings of webMUSHRA"):
        read_results([path], test)


def test_webmushra_takes_abx_and_no_preference(data: Path, tmp_path: Path) -> None:
    songs = [make_song(tmp_path, "song 0", SYSTEMS)]
    short = {"duration_s": 1.2}
    build_test(songs, tmp_path / "abx", settings=BuildSettings(kind="abx", **short))
    path = export_webmushra(tmp_path / "abx", tmp_path / "wm")
    pages = yaml.safe_load(path.read_text())["pages"]
    assert pages[1]["type"] == "paired_comparison" and len(pages[1]["stimuli"]) == 1
    build_test(songs, tmp_path / "p", settings=BuildSettings(kind="preference", **short))
    with pytest.raises(ConfigError, match="webMUSHRA has no page for preference"):
        export_webmushra(tmp_path / "p", tmp_path / "wm-p")
    assert not (tmp_path / "wm-p").exists()


def test_command_line(data: Path, tmp_path: Path) -> None:
    runner = CliRunner()

    def run(*words: object) -> str:
        result = runner.invoke(app, ["listen", *(str(word) for word in words)])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    test, page = tmp_path / "test", tmp_path / "page"
    told = run(
        "build", data / "alpha", f"second={data / 'beta'}", "--data", data / "truth", "-o", test,
        "--duration", 1.2, "--seed", 3,
    )  # fmt: skip
    assert "2 trials of 7 stimuli" in told and "seed 3" in told
    assert set(load_test(test).systems) == {"alpha", "second"}
    run("export", test, "-o", page, "--orders", 4)
    assert len(told_by(page)["orders"]) == 4
    results = tmp_path / "results.jsonl"
    quality = {"alpha": 80.0, "second": 40.0}
    results.write_text(as_lines(taste(load_test(test), quality, n_listeners=6)))
    told = run("analyse", test, results, "-o", tmp_path / "report")
    assert "alpha against second" in told or "second against alpha" in told
    html = (tmp_path / "report" / "report.html").read_text()
    assert html.count("<svg") == 5
    summary = json.loads(run("analyse", test, results, "--json"))
    assert summary["n_listeners"] == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "nowhere", "--data", "truth"], "nowhere: no such folder"),
        (["build", "alpha", "alpha", "--data", "truth"], "another system is called 'alpha'"),
        (["build", "alpha", "--data", "truth", "--kind", "opera"], "kind"),
        (["build", "alpha", "--data", "truth", "--duration", "0.1"], "duration_s"),
        (["build", "alpha", "--data", "truth", "--consent", "none.txt"], "cannot be read"),
    ],
)
def test_wrong_usage_is_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(data)
    result = CliRunner().invoke(app, ["listen", *words, "-o", str(tmp_path / "test")])
    assert isinstance(result.exception, ConfigError | DataError)
    assert message in str(result.exception)
    assert not (tmp_path / "test").exists()
