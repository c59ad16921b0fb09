"""Claims of batches whose store answers slowly: nobody else waits for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from viso.batch import claims as claiming
from viso.batch.claims import Claim, Claims
from viso.batch.database import FILE, connected
from viso.batch.owners import Owner
from viso.batch.protocol import Order
from viso.batch.staging import Staged
from viso.stores.address import Address, Location

OUT = Address("memory://stems/slow")
FILES = {"vocals": Path("a/vocals.flac"), "instrumental": Path("a/instrumental.flac")}
DEADLINE_S = 60.0


class Gate:
    """Holds whoever comes through, until it is opened; says when somebody stands there."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self._reached.set()
        assert self._opened.wait(DEADLINE_S)

    @contextmanager
    def holding(self, work: Callable[[], object]) -> Iterator[None]:
        """Run `work` in a thread, which stands at the gate while in the block."""
        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert self._reached.wait(DEADLINE_S)
            yield
        finally:
            self._opened.set()
            thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.fixture
def gate() -> Gate:
    return Gate()


def others_can_write(folder: Path) -> bool:
    """Whether another batch gets the lock without waiting."""
    other = sqlite3.connect(folder / FILE, timeout=0, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        other.close()
    return True


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with connected(folder, is_new=False) as database:
        return database.execute(query).fetchall()


@contextmanager
def batch_of(folder: Path) -> Iterator[tuple[Claims, Owner]]:
    with connected(folder, is_new=True):
        pass
    with Owner(folder) as owner, connected(folder, is_new=False) as database:
        yield Claims(database, OUT, owner=owner, facts="{}"), owner


def claimed(claims: Claims, song: str = "a.flac") -> Claim:
    claim = claims.claim(song, FILES, overwrite=True)
    assert isinstance(claim, Claim)
    return claim


@pytest.mark.parametrize("way", ["fail", "release"])
def test_a_slow_listing_holds_no_lock(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    there = {OUT / FILES["vocals"]}

    def size(place: Location) -> int | None:
        gate.pass_through()
        return 1 if place in there else None

    with batch_of(tmp_path) as (claims, _):
        claim = claimed(claims)
        monkeypatch.setattr(claiming, "_size", size)
        work = {"fail": lambda: claims.fail(claim, kind="a", reason="b"), "release": claims.release}
        with gate.holding(work[way]):
            assert others_can_write(tmp_path)
        assert rows(tmp_path, "SELECT stem FROM files") == [("vocals",)]
        state = {"fail": "failed", "release": "open"}[way]
        assert rows(tmp_path, "SELECT state FROM entries") == [(state,)]


@pytest.mark.parametrize("way", ["fail", "release"])
def test_a_claim_lost_meanwhile_keeps_its_files(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def size(place: Location) -> int | None:
        gate.pass_through()
        return None

    with batch_of(tmp_path) as (claims, _):
        claim = claimed(claims)
        monkeypatch.setattr(claiming, "_size", size)
        work = {"fail": lambda: claims.fail(claim, kind="a", reason="b"), "release": claims.release}
        with gate.holding(work[way]), connected(tmp_path, is_new=False) as database:
            database.execute("UPDATE entries SET owner = 'another'")
        assert len(rows(tmp_path, "SELECT stem FROM files")) == 2
        assert rows(tmp_path, "SELECT state, owner FROM entries") == [("claimed", "another")]


def test_what_a_dead_batch_left_is_removed_without_the_lock(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = []

    def remove(paths: list[Location], pid: int) -> None:
        gate.pass_through()
        removed.append(({str(path) for path in paths}, pid))

    monkeypatch.setattr(claiming, "remove_hidden", remove)
    monkeypatch.setattr(claiming, "runs", lambda _: False)
    with batch_of(tmp_path) as (claims, dead):
        claimed(claims)
        claims.note_workers([4711])
        name = dead.name
        with connected(tmp_path, is_new=False) as database:
            database.execute("UPDATE batches SET beat_s = 0 WHERE owner = ?", (name,))
        found: list[object] = []
        with Owner(tmp_path) as owner, connected(tmp_path, is_new=False) as database:
            next_one = Claims(database, OUT, owner=owner, facts="{}")
            with gate.holding(lambda: found.append(claimed(next_one))):
                assert others_can_write(tmp_path)
        assert len(found) == 1
        assert removed == [({f"{OUT}/{path}" for path in FILES.values()}, 4711)]


def test_a_message_names_the_table_as_the_order_does(tmp_path: Path) -> None:
    targets: dict[str, Location] = {stem: OUT / f"{stem}.flac" for stem in FILES}
    order = Order(
        number=0,
        song=Address("memory://songs/a.flac"),
        targets=targets,
        table=OUT / "confidence.csv",
    )
    here = {stem: tmp_path / f"{stem}.flac" for stem in FILES}
    stage = Staged(order, tmp_path / "song.flac", here, tmp_path / "confidence.csv", None)
    for path in (tmp_path / "confidence.csv", *here.values(), tmp_path / "song.flac"):
        told = stage.renamed(f"{path}: cannot be written")
        assert "memory://" in told
        assert str(tmp_path) not in told
