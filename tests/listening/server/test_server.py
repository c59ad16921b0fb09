"""A listening test on a server: links, answers, privacy, limits, what is refused."""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers.listening_server import MAKER, answer_to, ask, new_key, pages_of, running
from helpers.simulated_listeners import make_song
from viso.cli import app
from viso.errors import ConfigError, DataError
from viso.listening import (
    Answers,
    BuildSettings,
    Listener,
    ListeningTest,
    build_test,
    read_answers,
    read_results,
    stimulus_path,
)
from viso.listening.definition import Kind

pytest.importorskip("fastapi", reason="needs the extra [web]")
pytest.importorskip("uvicorn", reason="needs the extra [web]")
from viso.listening.server import Entrance

SYSTEMS = {"alpha": 20.0, "beta": 6.0}
Built = tuple[Path, ListeningTest]


def build(folder: Path, kind: Kind = "mushra", **changes: object) -> Built:
    songs = [make_song(folder, f"song {i}", SYSTEMS, seed=10 * i) for i in range(2)]
    settings = BuildSettings(kind=kind, duration_s=1.2, seed=7, anchors=False, **changes)
    return folder / "test", build_test(songs, folder / "test", settings=settings)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(
        tmp_path_factory.mktemp("served"),
        title="Voices <b>&</b>",
        consent="I agree that my answers are kept.",
        questions=("target",),
        asks_age=True,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


@pytest.fixture
def base(built: Built, data: Path) -> Iterator[str]:
    with running(*built, data) as address:
        yield address


def begin(base: str, key: str, **about: str) -> Any:
    reply = ask(base, "POST", "/api/session", key=key, body={"agrees": True, **about})
    assert reply.status == 200, reply
    return reply.json


def answer_all(base: str, key: str) -> None:
    told = ask(base, "GET", "/api/session", key=key).json
    for page in pages_of(told):
        body = answer_to(told, page)
        assert ask(base, "POST", "/api/answers", key=key, body=body).status == 200


def test_a_session_from_consent_to_results(
    built: Built, base: str, data: Path, tmp_path: Path
) -> None:
    test, key = built[1], new_key()
    welcome = ask(base, "GET", "/api/test").json
    assert welcome["title"] == "Voices <b>&</b>" and "trials" not in welcome
    assert ask(base, "POST", "/api/session", key=key, body={"agrees": False}).status == 422
    assert ask(base, "GET", "/api/session", key=key).status == 404
    told = begin(base, key, age="25 to 34", device="never asked for")
    pages = pages_of(told)
    assert len(pages) == 7 and told["answered"] == []
    first = answer_to(told, pages[0])
    assert ask(base, "POST", "/api/answers", key=key, body=first).json["stored"] == "stored"
    # On another device, later.
    again = ask(base, "GET", "/api/session", key=key).json
    assert again["answered"] == [list(pages[0])] and again["test"] == told["test"]
    assert ask(base, "GET", "/api/maker", key=MAKER).json["listeners"][0]["n_answered"] == 1
    with pytest.raises(DataError, match="none of 1 listeners has finished"):
        read_results([data], test)
    answer_all(base, key)
    assert ask(base, "GET", "/api/session", key=key).json["is_finished"]
    lines = ask(base, "GET", "/api/maker/results", key=MAKER)
    assert "attachment" in lines.headers["content-disposition"]
    saved = tmp_path / "answers.jsonl"
    saved.write_bytes(lines.body)
    direct = read_results([data], test)
    assert read_results([saved], test) == direct == read_results([data, saved], test)
    assert direct.listeners == (
        Listener(test=test.id, listener=told["name"], order=0, age="25 to 34"),
    )
    assert len(direct.ratings) == 4  # two trials, two questions, no training
    expected = {
        (page[0], page[1]): answer_to(told, page)["ratings"] for page in pages if page[0][0] == "t"
    }
    assert {(r.trial, r.question): r.ratings for r in direct.ratings} == expected


def test_an_answer_counts_once(built: Built, base: str, data: Path) -> None:
    key = new_key()
    told = begin(base, key)
    page = pages_of(told)[-1]
    body = answer_to(told, page)

    def send(values: object) -> str:
        return str(ask(base, "POST", "/api/answers", key=key, body=values).json["stored"])

    assert [send(body), send(body)] == ["stored", "known"]
    other = {**body, "ratings": dict.fromkeys(body["ratings"], 1.0)}
    assert send(other) == "another"
    records, n_unfinished = read_answers(data, built[1], with_unfinished=True)
    assert n_unfinished == 1
    kept = [r for r in records if not isinstance(r, Listener)]
    assert [r.ratings for r in kept if hasattr(r, "ratings")] == [body["ratings"]]
    # Beginning again neither begins anew nor takes another order.
    assert begin(base, key)["answered"] == [list(page)]


def test_a_file_that_fails_is_told(base: str, data: Path) -> None:
    key = new_key()
    told = begin(base, key)
    page = pages_of(told)[0]
    with closing(sqlite3.connect(data)) as file, file:
        file.execute("ALTER TABLE answers RENAME TO elsewhere")
    reply = ask(base, "POST", "/api/answers", key=key, body=answer_to(told, page))
    assert reply.status == 503 and "cannot store it now" in reply.json["detail"]
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    with closing(sqlite3.connect(data)) as file, file:
        file.execute("ALTER TABLE elsewhere RENAME TO answers")
    file.close()
    reply = ask(base, "POST", "/api/answers", key=key, body=answer_to(told, page))
    assert reply.json["stored"] == "stored"


@pytest.mark.parametrize("kind", ["abx", "preference"])
def test_pairs_are_stored_as_they_were_heard(tmp_path: Path, data: Path, kind: Kind) -> None:
    folder, test = build(tmp_path, kind)
    with running(folder, test, data) as base:
        for _ in range(4):
            key = new_key()
            told = begin(base, key)
            answer_all(base, key)
            page = pages_of(told)[-1]
            body = answer_to(told, page)
            swapped = {**body, "a": body["b"], "b": body["a"]}
            assert ask(base, "POST", "/api/answers", key=key, body=swapped).status == 422
    assert len(read_results([data], test).choices) == 8


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trial": "t99"}, "no page"),
        ({"question": "taste"}, "no page"),
        ({"ratings": None}, "ratings"),
        ({"ratings": {"0123456789ab": 5}}, "in trial"),
        ({"ratings": "loud"}, "ratings"),
        ({"seconds": -1}, "seconds"),
        ({"listener": "somebody else"}, "listener"),
    ],
)
def test_answers_that_do_not_fit(
    base: str, data: Path, change: dict[str, object], told: str
) -> None:
    key = new_key()
    session = begin(base, key)
    body = answer_to(session, pages_of(session)[-1])
    for values in (body, {**body, "ratings": dict.fromkeys(body["ratings"], 100.5)}):
        reply = ask(base, "POST", "/api/answers", key=key, body={**values, **change})
        assert reply.status == 422 and told in reply.body.decode()
    for number in (b"NaN", b"1e999"):
        ratings = b", ".join(b'"%s": %s' % (n.encode(), number) for n in body["ratings"])
        sent = b'{"trial": "t01", "question": "overall", "ratings": {%s}}' % ratings
        assert ask(base, "POST", "/api/answers", key=key, body=sent).status == 422
    assert ask(base, "GET", "/api/session", key=key).json["answered"] == []


def test_a_link_is_needed_and_cannot_be_guessed(built: Built, base: str) -> None:
    sound = f"/stimuli/{built[1].stimulus_ids[0]}.flac"
    for path in (sound, "/api/session"):
        assert ask(base, "GET", path).status == 401
        assert ask(base, "GET", path, key="short-but-16-long").status == 401
        assert ask(base, "GET", path, key=new_key()).status == 404
    assert ask(base, "POST", "/api/answers", key=new_key(), body={"trial": "t01"}).status == 404
    keys = ask(base, "POST", "/api/maker/links", key=MAKER, body={"count": 200}).json["keys"]
    assert len(set(keys)) == 200
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22,}", key) for key in keys)  # 128 bits
    invited = ask(base, "GET", "/api/session", key=keys[0]).json
    assert not invited["has_begun"] and "trials" not in invited["test"]
    assert ask(base, "GET", sound, key=keys[0]).status == 404
    begin(base, keys[0])
    found = ask(base, "GET", sound, key=keys[0])
    assert found.body == stimulus_path(built[0], built[1].stimulus_ids[0]).read_bytes()
    for odd in ("../test.toml", "..%2Ftest.toml", "test", "%2e%2e/results"):
        reply = ask(base, "GET", f"/stimuli/{odd}.flac", key=keys[0])
        assert reply.status == 404 and b"alpha" not in reply.body


def test_pages_tell_no_key(built: Built, base: str) -> None:
    key = new_key()
    begin(base, key)
    seen = b"".join(
        ask(base, "GET", path, key=key).body
        for path in ("/", "/maker", "/listen.js", "/served.js", "/api/test", "/api/session")
    ).decode()
    for secret in (*SYSTEMS, "song 0", MAKER, '"reference"', "low-pass"):
        assert secret not in seen.replace('"reference":', "")


def test_an_error_repeats_nothing_that_was_sent(base: str, tmp_path: Path, built: Built) -> None:
    key = new_key()
    begin(base, key)
    for body in ({"trial": [MAKER]}, {"trial": "t01", "ratings": MAKER}, {"trial": MAKER}):
        reply = ask(base, "POST", "/api/answers", key=key, body=body)
        assert reply.status == 422 and MAKER not in reply.body.decode()
    reply = ask(base, "GET", f"/api/maker/results?unfinished={MAKER}", key=MAKER)
    assert reply.status == 422 and MAKER not in reply.body.decode()
    # The maker's own link, given where the address belongs.
    for address in (f"https://listen.example.org/maker#{MAKER}", f"https://me:{MAKER}@listen.org/"):
        words = ["listen", "serve", str(built[0]), "--address", address]
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, ConfigError)
        assert "not where listeners reach it" in str(result.exception)
        assert MAKER not in f"{result.exception}{result.output}"


def test_many_who_begin_from_one_address(built: Built, data: Path) -> None:
    with running(*built, data, entrance=Entrance(per_hour=3)) as base:
        body, keys = {"agrees": True}, [new_key() for _ in range(4)]

        def status(key: str) -> int:
            return ask(base, "POST", "/api/session", key=key, body=body).status

        refusal = ask(base, "POST", "/api/session", key=new_key(), body={"agrees": False})
        assert refusal.status == 422  # counts for nothing
        assert [status(key) for key in keys] == [200, 200, 200, 429]
        reply = ask(base, "POST", "/api/session", key=keys[3], body=body)
        assert int(reply.headers["retry-after"]) <= 3600 and "personal link" in reply.json["detail"]
        # Who has begun goes on, and who has a link of the maker's begins.
        assert status(keys[0]) == 200
        made = ask(base, "POST", "/api/maker/links", key=MAKER, body={"count": 1}).json["keys"]
        assert status(made[0]) == 200
        assert len(ask(base, "GET", "/api/maker", key=MAKER).json["listeners"]) == 4


def test_wrong_tokens_wait_even_at_once(base: str) -> None:
    def status(token: str) -> int:
        return ask(base, "GET", "/api/maker", key=token).status

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(status, [f"wrong-token-number-{i:03}" for i in range(64)]))
    # Three cost nothing; what comes while the address waits is not looked at.
    assert set(found) == {403, 429} and found.count(403) < 16


def test_the_maker_removes_listeners(base: str, data: Path, built: Built) -> None:
    keys = [new_key() for _ in range(3)]
    names = [begin(base, key)["name"] for key in keys]
    answer_all(base, keys[2])

    def remove(names: object, key: str = MAKER) -> Any:
        return ask(base, "POST", "/api/maker/remove", key=key, body={"names": names})

    assert remove([names[0]], key=new_key()).status == 403
    for odd in ([], ["x"], "all", [1]):
        assert remove(odd).status == 422
    assert remove([names[0], "0" * 16]).json == {"removed": 1}
    assert names[0].encode() not in data.read_bytes()
    assert ask(base, "GET", "/api/session", key=keys[0]).status == 404

    def run(*words: str) -> Any:
        found = ["listen", "remove", str(built[0]), *words, "--data", str(data)]
        return CliRunner().invoke(app, found)

    # Also while the server runs.
    assert "nobody was removed" in str(run(names[2], names[0]).exception)
    assert "name listeners, or give" in str(run().exception)
    assert "name listeners, or give" in str(run(names[2], "--unanswered").exception)
    assert "1 removed, 1 left" in run("--unanswered").output
    assert ask(base, "GET", "/api/session", key=keys[1]).status == 404
    assert ask(base, "GET", "/api/session", key=keys[2]).json["is_finished"]
    assert "1 removed, 0 left" in run(names[2]).output
    assert read_answers(data, built[1], with_unfinished=True) == ([], 0)
    gone = CliRunner().invoke(app, ["listen", "remove", str(built[0]), "x", "--data", "none"])
    assert "none: no such file" in str(gone.exception) and not Path("none").exists()


def test_only_the_maker_sees_progress(base: str) -> None:
    for path in ("/api/maker", "/api/maker/results"):
        assert ask(base, "GET", path).status == 401
        assert ask(base, "GET", path, key="x" * len(MAKER)).status == 403
    body = {"count": 1}
    assert ask(base, "POST", "/api/maker/links", key=new_key(), body=body).status == 403
    told = ask(base, "GET", "/api/maker", key=MAKER).json
    assert told["n_waiting"] == 0 and told["listeners"] == [] and told["n_pages"] == 7
    for count in (0, 1001):
        body = {"count": count}
        assert ask(base, "POST", "/api/maker/links", key=MAKER, body=body).status == 422


def test_what_is_deleted_is_gone(base: str, data: Path) -> None:
    keys = [new_key(), new_key()]
    names = [begin(base, key, age="65 or older")["name"] for key in keys]
    for key in keys:
        answer_all(base, key)
    assert all(name.encode() in data.read_bytes() for name in names)
    assert ask(base, "DELETE", "/api/session", key=keys[0]).status == 204
    assert ask(base, "DELETE", "/api/session", key=keys[0]).status == 204
    # Not even as a free page of the file.
    left = b"".join(path.read_bytes() for path in data.parent.glob("results.sqlite*"))
    assert names[0].encode() not in left and names[1].encode() in left
    assert ask(base, "GET", "/api/session", key=keys[0]).status == 404
    listeners = ask(base, "GET", "/api/maker", key=MAKER).json["listeners"]
    assert [listener["name"] for listener in listeners] == [names[1]]
    # The order that is free is heard by the next one, so that all stay balanced.
    begin(base, new_key())
    with closing(sqlite3.connect(data)) as file, file:
        assert sorted(file.execute("SELECT place FROM listeners")) == [(0,), (1,)]
    file.close()


def test_nothing_personal_is_stored(built: Built, base: str, data: Path) -> None:
    key = new_key()
    before = datetime.now(UTC)
    begin(base, key, device="never asked for")
    answer_all(base, key)
    stored = data.read_bytes()
    for secret in (key, "127.0.0.1", "never asked for", "python", "localhost"):
        assert secret.encode() not in stored
    assert stat.S_IMODE(data.stat().st_mode) == 0o600
    file = sqlite3.connect(data)
    try:
        (row,) = file.execute("SELECT consent, began_at, finished_at, about FROM listeners")
    finally:
        file.close()
    assert row[0] == built[1].consent and row[3] == "{}"
    assert abs(datetime.fromisoformat(row[1]) - before) < timedelta(minutes=5)
    assert row[2] >= row[1]


def test_a_file_that_others_could_read(built: Built, data: Path) -> None:
    Answers(data, built[1]).close()
    data.chmod(0o644)  # as a copy has it
    Answers(data, built[1]).close()
    assert stat.S_IMODE(data.stat().st_mode) == 0o600
    theirs = data.with_name("notes.txt")
    theirs.write_text("no database " * 100)
    theirs.chmod(0o644)
    with pytest.raises(DataError, match="name another file"):
        Answers(theirs, built[1])
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o644
    link = data.with_name("link.sqlite")
    for target in (data, data.with_name("none")):
        link.symlink_to(target)
        with pytest.raises(ConfigError, match=r"link.sqlite: a link"):
            Answers(link, built[1])
        link.unlink()
    assert not data.with_name("none").exists()


def test_a_foreign_page_is_refused(base: str) -> None:
    own = base.rstrip("/")
    key = new_key()

    def post(status: int, path: str = "/api/session", body: object = None, **headers: str) -> None:
        sent = {"agrees": True} if body is None else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = ask(base, "POST", path, key=key, body=sent, headers=named)
        assert reply.status == status, (headers, reply)

    post(403, Origin="https://evil.example")
    post(403, Origin="null")
    post(403, Sec_Fetch_Site="cross-site")
    post(403, Sec_Fetch_Site="same-site")
    post(415, Content_Type="text/plain")
    post(415, Content_Type="application/x-www-form-urlencoded")
    post(413, body=b'{"agrees": true, "device": "' + b"x" * 70_000 + b'"}')
    post(422, body=b'{"agrees": tr')
    post(422, body={"agrees": True, "is_maker": True})
    post(421, Host="evil.example")
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1"):
        assert ask(base, "GET", "/", headers={"Host": host}).status == 421
    deletion = {"Origin": "https://evil.example"}
    assert ask(base, "DELETE", "/api/session", key=key, headers=deletion).status == 403
    assert ask(base, "GET", "/api/session", key=key).status == 404  # nobody has begun
    assert ask(base, "GET", "/", headers={"Host": "localhost:8010"}).status == 200
    post(200, Origin=own, Sec_Fetch_Site="same-origin")


def test_a_host_of_its_own_name(built: Built, data: Path) -> None:
    with running(*built, data, names=("listen.example.org",)) as base:
        assert ask(base, "GET", "/", headers={"Host": "Listen.example.org"}).status == 200
        # Behind a proxy that asks for an address in figures.
        headers = {"Origin": "https://listen.example.org"}
        body = {"agrees": True}
        reply = ask(base, "POST", "/api/session", key=new_key(), body=body, headers=headers)
        assert reply.status == 200


@pytest.mark.parametrize("path", ["/", "/maker", "/listen.js", "/api/test", "/nothing", "/docs"])
def test_every_answer_is_guarded(base: str, path: str) -> None:
    reply = ask(base, "GET", path)
    assert reply.status == (404 if path in ("/nothing", "/docs") else 200)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] in ("no-store", "no-cache")
    assert "set-cookie" not in reply.headers


def test_pages_hold_no_script_of_their_own() -> None:
    from viso.listening.server import app as module

    folder = Path(module.__file__).parent / "page"
    for path in folder.iterdir():
        text = path.read_text()
        assert not re.search(r"https?://|@import|url\(|innerHTML|eval\(", text), path.name
        if path.suffix == ".html":
            assert re.findall(r"<script(?! src=)|<style| on[a-z]+=| style=", text) == []


def test_who_may_begin(built: Built, tmp_path: Path) -> None:
    past, future = (datetime.now(UTC) + timedelta(hours=h) for h in (-1, 1))
    body = {"agrees": True}

    def status(base: str, key: str) -> int:
        return ask(base, "POST", "/api/session", key=key, body=body).status

    data = tmp_path / "open.sqlite"
    key = new_key()
    with running(*built, data, entrance=Entrance(most=2, closes_at=future)) as base:
        assert [status(base, k) for k in (key, key, new_key(), new_key())] == [200, 200, 200, 403]
    with running(*built, data, entrance=Entrance(closes_at=past)) as base:
        assert ask(base, "GET", "/api/test").json["is_closed"]
        assert [status(base, new_key()), status(base, key)] == [403, 200]
        answer_all(base, key)  # who has begun may finish
        assert ask(base, "GET", "/api/maker", key=MAKER).json["is_closed"]
    with running(*built, tmp_path / "invited", entrance=Entrance(is_open=False)) as base:
        assert "instructions" not in ask(base, "GET", "/api/test").json
        assert status(base, key) == 404
        links = {"count": 1}
        made = ask(base, "POST", "/api/maker/links", key=MAKER, body=links).json["keys"]
        assert status(base, made[0]) == 200


def test_files_that_are_no_answers(built: Built, tmp_path: Path) -> None:
    test = built[1]
    other = test.model_copy(update={"id": "ffffffffffff"})
    Answers(tmp_path / "other.sqlite", other).close()
    (tmp_path / "text.sqlite").write_text("no database " * 100)
    with closing(sqlite3.connect(tmp_path / "foreign.sqlite")) as file, file:
        file.execute("CREATE TABLE songs (name TEXT)")
    file.close()
    for name, message in (
        ("other", "of test ffffffffffff, but this is test"),
        ("text", "not a database"),
        ("foreign", "name another file"),
    ):
        path = tmp_path / f"{name}.sqlite"
        before = path.read_bytes()
        with pytest.raises(DataError, match=message) as caught:
            Answers(path, test)
        assert str(path) in str(caught.value)
        with pytest.raises(DataError, match=rf"{name}.sqlite: ") as caught:
            read_results([path], test)
        assert path.read_bytes() == before
    with pytest.raises(DataError, match=r"none.sqlite: no such file"):
        read_results([tmp_path / "none.sqlite"], test)
    with pytest.raises(ConfigError, match="cannot be written"):
        Answers(tmp_path / "no" / "folder.sqlite", test)


def test_analyse_reads_what_is_stored(built: Built, base: str, data: Path, tmp_path: Path) -> None:
    runner = CliRunner()

    def run(*words: object) -> Any:
        return runner.invoke(app, ["listen", "analyse", *map(str, (built[0], *words))])

    key = new_key()
    begin(base, key)
    answer_all(base, key)
    late = new_key()
    told = begin(base, late)
    for page in pages_of(told)[:5]:
        assert ask(base, "POST", "/api/answers", key=late, body=answer_to(told, page)).status == 200
    # Ratings by the names of files are careless, so that nobody passes the screening.
    careless = run(data)
    assert "none of the 1 listeners passes" in str(careless.exception)
    everybody = run(data, "--unfinished")
    assert "none of the 2 listeners passes" in str(everybody.exception)
