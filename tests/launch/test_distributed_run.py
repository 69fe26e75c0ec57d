"""`bakehouse run`, with real containers: the main way, and the bad days."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from started_runs import LONG_ENOUGH_S, Finished, Runner

from bakehouse import engine

pytestmark = pytest.mark.docker
Wait = Callable[[Callable[[], bool]], None]
QUICK = ("--configuration", "digits-mlp")


def owned_by(pid: int) -> list[str]:
    """Names of containers and networks that a process has made and that are still there."""
    client = engine.connect()
    containers = client.containers.list(all=True, filters={"label": engine.OWNER})
    networks = client.networks.list(filters={"label": engine.OWNER})
    labelled = [(c.name, c.labels) for c in containers]
    labelled += [(n.name, n.attrs.get("Labels") or {}) for n in networks]
    return [
        str(name) for name, labels in labelled if labels[engine.OWNER].split(":")[1] == str(pid)
    ]


def steps_logged(folder: Path) -> bool:
    log = folder / "node0.log"
    return log.exists() and '"event": "step"' in log.read_text()


class TestAKillAndAResume:
    def test_it_ends_well_and_says_so(self, broken_run: Finished) -> None:
        assert broken_run.status == 0, broken_run.stderr
        assert broken_run.record["outcome"] == "done"
        assert "resumed from the checkpoint" in broken_run.stdout

    def test_the_node_was_killed_in_mid_training(self, broken_run: Finished) -> None:
        first = broken_run.record["attempts"][0]
        assert first["killed"]["node"] == 1
        assert first["killed"]["after_step"] == 60
        assert 60 <= first["killed"]["at_step"] < 300
        assert first["exit_statuses"][1] == 128 + signal.SIGKILL
        assert not [r for r in first["records"] if r["event"] == "final"]

    def test_the_surviving_node_ends_by_itself_as_failed(self, broken_run: Finished) -> None:
        assert broken_run.record["attempts"][0]["exit_statuses"][0] == 1

    def test_it_continues_after_the_newest_checkpoint(self, broken_run: Finished) -> None:
        first, second = broken_run.record["attempts"]
        newest = [r["step"] for r in first["records"] if r["event"] == "checkpoint"][-1]
        resumed = next(r for r in second["records"] if r["event"] == "resume")
        assert resumed["step"] == newest
        steps = [r["step"] for r in second["records"] if r["event"] == "step"]
        assert steps == list(range(newest + 1, 301))

    def test_the_steps_done_again_have_equal_losses(self, broken_run: Finished) -> None:
        before, after = (
            {r["step"]: r["loss"] for r in attempt["records"] if r["event"] == "step"}
            for attempt in broken_run.record["attempts"]
        )
        again = before.keys() & after.keys()
        assert again
        assert {s: before[s] for s in again} == {s: after[s] for s in again}

    def test_the_parameters_are_those_of_an_unbroken_run(
        self, broken_run: Finished, unbroken_run: Finished
    ) -> None:
        assert final(broken_run)["parameters_sha256"] == final(unbroken_run)["parameters_sha256"]

    def test_the_accuracy_is_the_promised_one(self, broken_run: Finished) -> None:
        assert final(broken_run)["accuracy"] >= broken_run.record["expected"]["accuracy"] >= 0.95

    def test_four_processes_on_two_nodes_trained(self, broken_run: Finished) -> None:
        for attempt in broken_run.record["attempts"]:
            start = next(r for r in attempt["records"] if r["event"] == "start")
            assert (start["world_size"], start["backend"]) == (4, "gloo")

    def test_logs_and_checkpoints_lie_beside_the_record(self, broken_run: Finished) -> None:
        names = {path.name for path in broken_run.folder.iterdir()}
        assert names == {"run.json", "node0.log", "node1.log", "checkpoints"}
        assert "--- attempt 2 ---" in (broken_run.folder / "node1.log").read_text()
        kept = sorted(path.name for path in (broken_run.folder / "checkpoints").iterdir())
        assert kept == [f"step-{step:08d}.pt" for step in (240, 280, 300)]


def final(run: Finished) -> dict[str, object]:
    return dict(run.record["attempts"][-1]["records"][-1])


def test_json_output_is_one_document_with_the_figures(unbroken_run: Finished) -> None:
    assert unbroken_run.status == 0, unbroken_run.stderr
    figures = json.loads(unbroken_run.stdout)
    assert figures["accuracy"] == final(unbroken_run)["accuracy"]
    assert figures["problems"] == []
    assert (figures["attempts"], figures["resumed_at"]) == (1, None)


def test_each_variable_of_the_environment_has_its_reason(unbroken_run: Finished) -> None:
    environment = unbroken_run.record["environment"]
    assert environment["OMP_NUM_THREADS"]["value"] == "1"
    assert all(setting["reason"] for setting in environment.values())


def test_the_description_of_the_data_is_true(unbroken_run: Finished) -> None:
    from bakehouse.launch.case import load_case

    data = load_case("cpu-ddp").dataset
    start = unbroken_run.record["attempts"][0]["records"][0]
    assert start["samples"] + data.held_out == data.samples
    assert final(unbroken_run)["held_out"] == data.held_out


def test_killing_the_node_that_hosts_the_rendezvous_is_survived(
    runner: Runner, tmp_path: Path
) -> None:
    kill = ("--kill-node", "0", "--kill-after-step", "60")
    run = runner(tmp_path / "run", *QUICK, *kill)
    assert run.status == 0, run.stderr
    assert [a["exit_statuses"][0] for a in run.record["attempts"]] == [137, 0]


def test_divergence_fails_the_run_with_the_reason(diverging: Runner, tmp_path: Path) -> None:
    run = diverging(tmp_path / "run", *QUICK)
    assert run.status == 6
    assert "the training stopped itself: the loss is" in run.stderr
    assert run.record["outcome"] == "failed"
    assert "the loss is" in run.record["error"]
    assert set(run.record["attempts"][0]["exit_statuses"]) == {1}


@pytest.fixture(scope="module")
def diverging(case_image: str) -> Iterator[Runner]:
    """The same image with a learning rate that no training survives."""
    reference = "bakehouse-test/diverging:latest"
    change = "import json, pathlib; path = pathlib.Path('configurations/digits-mlp.json'); "
    change += "values = json.loads(path.read_text()) | {'learning_rate': 1e30}; "
    change += "path.write_text(json.dumps(values))"
    with engine.running_container(case_image, ["python3", "-c", change], user="0") as container:
        assert container.wait(timeout=60)["StatusCode"] == 0
        made = container.commit("bakehouse-test/diverging", "latest", changes="USER 10001:10001")
    yield Runner(reference)
    engine.connect().images.remove(str(made.id), force=True)


def test_sigint_in_mid_run_leaves_nothing(runner: Runner, tmp_path: Path, wait_until: Wait) -> None:
    with runner.start(tmp_path / "run") as process:
        wait_until(lambda: steps_logged(tmp_path / "run"))
        assert len(owned_by(process.pid)) == 3
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: removing containers and network" in stderr
    assert owned_by(process.pid) == []
    assert json.loads((tmp_path / "run" / "run.json").read_text())["outcome"] == "interrupted"


def test_sigkill_in_mid_run_is_swept_up_by_the_next_command(
    runner: Runner, tmp_path: Path, wait_until: Wait
) -> None:
    folder = tmp_path / "run"
    with runner.start(folder) as process:
        wait_until(lambda: steps_logged(folder))
        process.kill()
    left = owned_by(process.pid)
    assert len(left) == 3
    assert json.loads((folder / "run.json").read_text())["outcome"] == "running"
    assert set(left) <= set(engine.sweep())
    assert owned_by(process.pid) == []


def test_a_run_that_takes_too_long_is_ended_and_kept_only_if_asked(
    runner: Runner, tmp_path: Path, kept: Callable[[], list[Any]]
) -> None:
    run = runner(tmp_path / "run", "--timeout", "2", "--keep")
    assert run.status == 6
    assert "the run did not end within 2 s" in run.stderr
    assert run.record["outcome"] == "failed"
    engine.sweep()
    assert [container.status for container in kept()] == ["exited", "exited"]


@pytest.fixture
def kept() -> Iterator[Callable[[], list[Any]]]:
    """Containers that were kept since the test began; removed with their networks at its end."""
    client = engine.connect()
    filters = {"label": engine.KEPT}

    def all_kept() -> list[Any]:
        return [*client.containers.list(all=True, filters=filters)]

    before = {container.id for container in all_kept()}
    networks_before = {network.id for network in client.networks.list(filters=filters)}
    yield lambda: [container for container in all_kept() if container.id not in before]
    for container in all_kept():
        if container.id not in before:
            container.remove(force=True)
    for network in client.networks.list(filters=filters):
        if network.id not in networks_before:
            network.remove()


def test_a_second_run_into_the_same_folder_is_refused(
    runner: Runner, tmp_path: Path, wait_until: Wait
) -> None:
    folder = tmp_path / "run"
    with runner.start(folder, *QUICK) as process:
        wait_until((folder / "run.json").exists)
        second = runner(folder, *QUICK)
        assert second.status == 6
        assert f"another run (process {process.pid})" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_is_named_and_leaves_no_good_looking_run(
    runner: Runner, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        run = runner(folder)
        assert run.status in {3, 6}
        assert "No space left on device" in run.stderr
        assert run.record["outcome"] in {"failed", "running"}
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_of_the_docker_group_owns_what_his_run_wrote(runner: Runner) -> None:
    user, docker_group = 4711, Path("/var/run/docker.sock").stat().st_gid
    home = Path(tempfile.mkdtemp(prefix="bakehouse-user-"))
    os.chown(home, user, user)
    try:
        done = subprocess.run(
            runner.command(home / "run", *QUICK, "--nodes", "1"),
            user=user,
            group=user,
            extra_groups=[docker_group],
            env={**os.environ, "HOME": str(home), "BAKEHOUSE_STATE": str(home / "state")},
            capture_output=True,
            text=True,
            timeout=LONG_ENOUGH_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        owners = {path.stat().st_uid for path in (home / "run").rglob("*")}
        assert owners == {user}
    finally:
        shutil.rmtree(home)
