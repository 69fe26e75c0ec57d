"""What the launcher makes of what the nodes do."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import pytest

from bakehouse import engine
from bakehouse.errors import HostError, RunError
from bakehouse.launch import attempt as attempt_module
from bakehouse.launch.attempt import Event, Stopped, Watch
from bakehouse.launch.case import load_case
from bakehouse.launch.kill import KillPlan
from bakehouse.launch.node import Ended
from bakehouse.launch.request import Request
from bakehouse.launch.run_record import Attempt

START = {"event": "start", "step": 0}
FINAL = {"event": "final", "step": 2}
CHECKPOINT = {"event": "checkpoint", "step": 1}


def step(number: int) -> dict[str, Any]:
    return {"event": "step", "step": number, "loss": 1.0}


def end(node: int, status: int, *, out_of_memory: bool = False) -> tuple[int, Future[Ended]]:
    future: Future[Ended] = Future()
    future.set_result(Ended(status=status, out_of_memory=out_of_memory))
    return node, future


def lost(node: int) -> tuple[int, Future[Ended]]:
    future: Future[Ended] = Future()
    future.set_exception(ConnectionError("the engine hung up"))
    return node, future


class Kills(list[str]):
    """Names of containers that were killed."""


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Kills:
    done = Kills()

    def kill(container: str) -> bool:
        done.append(container)
        return True

    monkeypatch.setattr(engine, "kill", kill)
    return done


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attempt_module, "GRACE_S", 0.1)
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 5


class Setup:
    """Two nodes whose events are written down beforehand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.attempt = Attempt(attempt=1, started="")
        self.attempt.exit_statuses = [None, None]

    def log(self, node: int, text: str) -> None:
        (self.folder / f"node{node}.log").write_text(text)

    def watch(
        self, *events: Event, kill: KillPlan | None = None, patience_s: float = 0.2
    ) -> Attempt:
        queue: SimpleQueue[Event] = SimpleQueue()
        for event in events:
            queue.put(event)
        watch = Watch(
            request=self._request(),
            attempt=self.attempt,
            containers=cast("list[engine.StartedContainer]", ["container0", "container1"]),
            survivors_s=0.1,
            kill=kill,
            on_record=lambda _: None,
            on_kill=lambda _node, _step: None,
        )
        watch.to_the_end(queue, time.monotonic() + patience_s)
        return self.attempt

    def _request(self) -> Request:
        return Request(
            case=load_case("cpu-ddp"),
            image="image",
            image_id="sha256:0",
            image_user="10001:10001",
            configuration="digits-cnn",
            nodes=2,
            processes_per_node=2,
            kill_node=None,
            kill_after_step=None,
            output=self.folder,
            timeout_s=7.0,
            keep=False,
        )


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_a_training_that_ends_well(setup: Setup) -> None:
    seen = setup.watch(START, step(1), step(2), FINAL, end(1, 0), end(0, 0))
    assert seen.exit_statuses == [0, 0]
    assert [record["event"] for record in seen.records] == ["start", "step", "step", "final"]


def test_a_training_without_final_record_is_no_success(setup: Setup) -> None:
    with pytest.raises(RunError, match="never printed its final record"):
        setup.watch(START, step(1), end(0, 0), end(1, 0))


def test_the_node_at_fault_is_shown_and_not_the_one_that_noticed(setup: Setup) -> None:
    setup.log(0, "[rank0]: RuntimeError: Connection closed by peer\n")
    setup.log(1, "[rank2]: ValueError: a cosmic ray\n")
    with pytest.raises(RunError, match="node 1 ended with status 1") as caught:
        setup.watch(START, end(0, 1), end(1, 1))
    assert "a cosmic ray" in str(caught.value)
    assert str(setup.folder / "node1.log") in str(caught.value)


def test_the_reason_that_the_training_gives_comes_first(setup: Setup) -> None:
    error = {"event": "error", "status": 3, "message": "the loss is nan at step 2"}
    with pytest.raises(RunError, match="stopped itself: the loss is nan at step 2"):
        setup.watch(START, error, end(0, 1), end(1, 1))


def test_memory_that_ran_out_is_named(setup: Setup) -> None:
    with pytest.raises(RunError, match="ran out of memory") as caught:
        setup.watch(START, end(0, 1, out_of_memory=True), end(1, 1))
    assert "memory_gib_per_process" in str(caught.value)


def test_after_a_failure_the_others_are_not_waited_for_long(setup: Setup) -> None:
    setup.log(1, "[rank2]: boom\n")
    with pytest.raises(RunError, match="node 1 ended with status 1, node 0 has not noticed"):
        setup.watch(START, end(1, 1), patience_s=600)
    assert setup.attempt.exit_statuses == [None, 1]


def test_patience_ends_with_the_last_lines(setup: Setup) -> None:
    setup.log(0, "waiting for node 1\n")
    with pytest.raises(RunError, match="did not end within 7 s; still running: 0, 1") as caught:
        setup.watch(START)
    assert "waiting for node 1" in str(caught.value)


def test_a_lost_engine_is_the_hosts_fault(setup: Setup) -> None:
    with pytest.raises(HostError, match="node 1 was lost from sight: the engine hung up"):
        setup.watch(START, lost(1))


def test_the_wish_to_stop_is_granted(setup: Setup) -> None:
    with pytest.raises(KeyboardInterrupt):
        setup.watch(START, Stopped(), step(1))
    assert len(setup.attempt.records) == 1


KILLED_RUN = (START, step(1), CHECKPOINT, step(2), step(3), step(4))


def test_a_kill_that_the_others_notice_is_a_success(setup: Setup, kills: Kills) -> None:
    plan = KillPlan(node=1, after_step=2)
    seen = setup.watch(*KILLED_RUN, end(1, 137), end(0, 1), kill=plan)
    assert kills == ["container1"]
    assert seen.killed is not None
    assert (seen.killed.node, seen.killed.after_step, seen.killed.at_step) == (1, 2, 3)
    assert seen.exit_statuses == [1, 137]


def test_a_survivor_that_does_not_notice_is_an_error(setup: Setup, kills: Kills) -> None:
    with pytest.raises(RunError, match=r"s after node 1 was killed, node 0 still runs"):
        setup.watch(*KILLED_RUN, end(1, 137), kill=KillPlan(node=1, after_step=2), patience_s=600)
    assert kills


def test_a_failure_before_the_kill_is_a_failure(setup: Setup, kills: Kills) -> None:
    with pytest.raises(RunError, match="node 0 ended with status 1"):
        setup.watch(START, end(0, 1), end(1, 1), kill=KillPlan(node=1, after_step=2))
    assert not kills


def test_a_training_that_is_over_before_the_kill_is_an_error(setup: Setup, kills: Kills) -> None:
    plan = KillPlan(node=1, after_step=50)
    with pytest.raises(RunError, match="ended at step 2, before node 1 could be killed"):
        setup.watch(START, step(1), step(2), FINAL, end(0, 0), end(1, 0), kill=plan)
    assert not kills
