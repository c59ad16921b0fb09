"""Batches on a Ray cluster of two nodes, both on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.checkout import TESTS
from helpers.held_songs import Hold
from helpers.held_workers import command_of_batch, install
from helpers.song_archives import Archive
from viso import batch
from viso.batch.cluster import Cluster

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # Ray's own, at its import and where it starts processes.
    pytest.mark.filterwarnings("ignore"),
]


def patiently(start: Callable[[], Any]) -> Any:
    """Start a node; Ray waits for it no longer than 30 s, which beside other work may be short."""
    for _ in range(3):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    pytest.skip("this machine is too busy for a Ray cluster")


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of a head that takes no work; tests add nodes of one core."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    # The workers import viso from where the tests do, and helpers.held_workers.
    source = Path(batch.__file__).parents[2]
    paths = [str(source), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    memory = {"object_store_memory": 100 * 2**20}
    head = {"num_cpus": 0, "include_dashboard": False, **memory}
    made = patiently(lambda: Nodes(initialize_head=True, head_node_args=head))
    made.add_core = lambda: patiently(lambda: made.add_node(num_cpus=1, **memory))
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def hold(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Hold:
    """Songs wait in their middle while it is closed, so no machine is too fast or too slow."""
    install(archive.out.parent, monkeypatch.setattr)
    return Hold(archive.out.parent)


def songs(archive: Archive, n_songs: int, *, seconds: int = 5) -> None:
    for number in range(n_songs):
        archive.add(f"{number}.flac", n_samples=44_100 * seconds)


def stems(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.flac")}


def test_a_node_dies_and_every_song_comes_out_once(
    archive: Archive, nodes: Any, hold: Hold, tmp_path: Path
) -> None:
    songs(archive, 8)
    there = [nodes.add_core(), nodes.add_core()]
    nodes.wait_for_nodes()
    results, n_jobs, is_dead = [], set(), False
    with Cluster(nodes.address) as cluster:
        assert cluster.n_slots(archive.config) == 2
        plan = archive.plan(jobs=2, threads=1)
        engine = cluster.engine(plan)
        for progress in batch.run(plan, engine=engine):
            n_jobs.add(len(engine.pids))
            results += [progress.result] if progress.result else []
            if results and not is_dead and not hold.is_closed():
                hold.close()
            # Both nodes are in the middle of a song.
            if not is_dead and len(hold.pids()) == 2:
                nodes.remove_node(there[1], allow_graceful=False)
                is_dead = True
                hold.open()
    assert is_dead
    assert 2 in n_jobs
    assert [result.reason for result in results] == [""] * 8
    assert not any(result.is_elsewhere for result in results)
    assert len({result.song for result in results}) == 8
    assert not list(archive.out.rglob(".viso-*"))
    here = tmp_path / "here"
    local = batch.plan([archive.folder], here, config=archive.config, jobs=1, threads=1)
    list(batch.run(local))
    assert stems(archive.out) == stems(here)
    again = archive.plan()
    assert (len(again.tasks), len(again.finished)) == (0, 8)


def test_from_a_store_into_a_store(archive: Archive, nodes: Any, s3: Any, tmp_path: Path) -> None:
    songs(archive, 4)
    for path in archive.folder.glob("*.flac"):
        s3.upload_file(str(path), "music", f"archive/in ä/{path.name}")
    nodes.add_core()
    nodes.wait_for_nodes()
    how = {"config": archive.config, "recursive": True, "manifest": tmp_path / "manifest"}
    with Cluster(nodes.address) as cluster:
        plan = batch.plan(["s3://music/archive"], "s3://music/stems", jobs=1, threads=1, **how)
        steps = batch.run(plan, engine=cluster.engine(plan))
        results = [step.result for step in steps if step.result]
    assert [result.reason for result in results] == [""] * 4
    local = batch.plan([archive.folder], archive.out, config=archive.config, jobs=1, threads=1)
    list(batch.run(local))
    there = {
        one["Key"].removeprefix("stems/in ä/"): s3.get_object(Bucket="music", Key=one["Key"])
        for one in s3.list_objects_v2(Bucket="music", Prefix="stems/in")["Contents"]
    }
    assert {name: found["Body"].read() for name, found in there.items()} == stems(archive.out)
    again = batch.plan(["s3://music/archive"], "s3://music/stems", **how)
    assert (len(again.tasks), len(again.finished)) == (0, 4)


def test_a_cluster_that_is_stopped_leaves_nothing(archive: Archive, nodes: Any) -> None:
    songs(archive, 3)
    nodes.add_core()
    nodes.wait_for_nodes()
    hold = Hold(archive.out.parent)
    hold.close()
    settings = ["--model", archive.model, "--format", "flac", "--bit-depth", "16", "--jobs", "1"]
    words = ["separate", archive.folder, "-o", archive.out, *settings]
    words += ["--engine", "ray", "--address", nodes.address]
    # A process of its own, as Ray may end the one that loses its cluster.
    typed = [sys.executable, "-c", command_of_batch(hold), *map(str, words)]
    running = subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while running.poll() is None and not hold.pids():
            time.sleep(0.1)
        nodes.shutdown()
        said = running.communicate(timeout=400)
    finally:
        running.kill()
        running.wait()
    assert running.returncode in (1, 130), said
    assert "Traceback" not in said[1]
    assert not list(archive.out.rglob(".viso-*"))
    assert len(archive.plan().tasks) == 3


def until_held(steps: Iterator[batch.Progress], hold: Hold) -> None:
    """Let a batch go on until a worker is in the middle of a song."""
    for _ in steps:
        if hold.pids():
            return
    raise AssertionError("the batch ended before a song was held")


def test_a_node_that_dies_at_the_end_leaves_nothing(
    archive: Archive, nodes: Any, hold: Hold
) -> None:
    songs(archive, 3)
    there = nodes.add_core()
    nodes.wait_for_nodes()
    hold.close()
    with Cluster(nodes.address) as cluster:
        plan = archive.plan(jobs=1, threads=1)
        steps = batch.run(plan, engine=cluster.engine(plan))
        until_held(steps, hold)
        # The worker is gone before it can clear up; without its node it would have a moment.
        for pid in hold.pids():
            os.kill(pid, signal.SIGKILL)
        nodes.remove_node(there, allow_graceful=False)
        steps.close()  # type: ignore[attr-defined]
    assert not hold.given_up()
    assert not list(archive.out.rglob(".viso-*"))
    assert len(archive.plan().tasks) == 3


def test_a_batch_that_is_closed_leaves_nothing(archive: Archive, nodes: Any, hold: Hold) -> None:
    songs(archive, 3)
    nodes.add_core()
    nodes.wait_for_nodes()
    hold.close()
    with Cluster(nodes.address) as cluster:
        plan = archive.plan(jobs=1, threads=1)
        steps = batch.run(plan, engine=cluster.engine(plan))
        until_held(steps, hold)
        steps.close()  # type: ignore[attr-defined]
        # By its worker, which was told; the hold has no end.
        assert hold.given_up() == hold.pids()
    assert not list(archive.out.rglob(".viso-*"))
    assert len(archive.plan().tasks) == 3


def test_nodes_that_come_later_are_taken(archive: Archive, nodes: Any, hold: Hold) -> None:
    songs(archive, 6)
    nodes.add_core()
    nodes.wait_for_nodes()
    hold.close()
    most, results, is_added = 0, [], False
    with Cluster(nodes.address) as cluster:
        plan = archive.plan(jobs=4, threads=1)
        engine = cluster.engine(plan)
        for progress in batch.run(plan, engine=engine):
            results += [progress.result] if progress.result else []
            if not is_added and hold.pids():
                nodes.add_core()
                is_added = True
            most = max(most, len(engine.pids))
            if most == 2 and hold.is_closed():
                hold.open()
    assert most == 2
    assert [result.is_done for result in results] == [True] * 6
