"""The launcher for local docker: each node is a container, on a network of its own.

Every entry point takes `--configuration FILE --checkpoints FOLDER --timeout-s SECONDS`.
"""

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol
from uuid import uuid4

from bakehouse import engine
from bakehouse.errors import BakehouseError, HostError
from bakehouse.launch import local_gpus
from bakehouse.launch.attempt import Event, Stopped, Watch
from bakehouse.launch.environment import Context, Setting, compute
from bakehouse.launch.interruption import interruptible
from bakehouse.launch.job import DOCKER_INTERFACE
from bakehouse.launch.kill import KillPlan
from bakehouse.launch.node import Ended, follow
from bakehouse.launch.node_command import COLLECTIVE_S, JOIN_S, PORT, Place, node_command
from bakehouse.launch.request import Request
from bakehouse.launch.run_record import Attempt, RunRecord, begin, claimed, refuse_foreign

CHECKPOINTS = "/checkpoints"


class Watcher(Protocol):
    """Who is told how a run goes."""

    def began(self, attempt: int) -> None:
        """All nodes are being started."""

    def saw(self, record: dict[str, Any]) -> None:
        """The training printed a record."""

    def killed(self, node: int, step: int) -> None:
        """A node was killed on purpose."""

    def stopping(self) -> None:
        """The user wants to stop; containers and network are being removed."""


def launch(request: Request, watcher: Watcher) -> RunRecord:
    """Run a test case to its end and write run.json, logs and checkpoints.

    Raises:
        InputError: The output folder is not ours to empty.
        RunError: A node failed, or the run took too long; says so with the last lines of its log.
        HostError: The engine or the disk failed.
        KeyboardInterrupt: SIGINT or SIGTERM came; everything is removed.
    """
    engine.sweep()
    refuse_foreign(request.output)
    events: SimpleQueue[Event] = SimpleQueue()
    with claimed(request.output), interruptible(lambda: events.put(Stopped())):
        record = _new_record(request)
        with _concluded(record, request.output):
            begin(request.output, record)
            run = _Run(request, record, watcher, events)
            with engine.network(run.name, keep=request.keep):
                run.all_attempts()
    return record


@contextmanager
def _concluded(record: RunRecord, output: Path) -> Iterator[None]:
    began = time.monotonic()
    record_outcome = record.outcome
    try:
        yield
        record_outcome = "done"
    except KeyboardInterrupt:
        record_outcome = "interrupted"
        raise
    except BakehouseError as error:
        record_outcome, record.error = "failed", str(error)
        raise
    finally:
        # Any other exception is a defect of ours: `running`, which nobody takes for a good run.
        record.outcome, record.seconds = record_outcome, round(time.monotonic() - began, 3)
        if output.is_dir():
            record.write(output)


class _Run:
    """One run under way."""

    def __init__(
        self, request: Request, record: RunRecord, watcher: Watcher, events: SimpleQueue[Event]
    ) -> None:
        self.request, self.record, self.watcher, self.events = request, record, watcher, events
        self.name = f"bakehouse-{request.case.name}-{uuid4().hex[:8]}"
        self.deadline = time.monotonic() + request.timeout_s
        self.checkpoints = request.output / "checkpoints"
        self.user = _make_checkpoints(self.checkpoints, request.image_user)

    def _kill_plan(self) -> KillPlan | None:
        if self.request.kill_node is None or self.request.kill_after_step is None:
            return None
        return KillPlan(node=self.request.kill_node, after_step=self.request.kill_after_step)

    def all_attempts(self) -> None:
        """One attempt, or with a kill two.

        Raises:
            RunError, HostError, KeyboardInterrupt: As `launch`.
        """
        plan = self._kill_plan()
        self._attempt(kill=plan)
        if plan is not None:
            self._attempt(kill=None)

    def _attempt(self, *, kill: KillPlan | None) -> None:
        number = len(self.record.attempts) + 1
        attempt = Attempt(attempt=number, started=_now())
        attempt.exit_statuses = [None] * self.request.nodes
        self.record.attempts.append(attempt)
        self.watcher.began(number)
        began = time.monotonic()
        # The containers go first: then their output ends, and with it the threads.
        with ThreadPoolExecutor(self.request.nodes) as threads, ExitStack() as containers:
            try:
                started = [
                    self._start(node, number, threads, containers)
                    for node in range(self.request.nodes)
                ]
                watch = Watch(
                    request=self.request,
                    attempt=attempt,
                    containers=started,
                    survivors_s=COLLECTIVE_S + 30,
                    kill=kill,
                    on_record=self.watcher.saw,
                    on_kill=self.watcher.killed,
                )
                watch.to_the_end(self.events, self.deadline)
            except KeyboardInterrupt:
                self.watcher.stopping()
                raise
            finally:
                attempt.seconds = round(time.monotonic() - began, 3)
        self.record.write(self.request.output)

    def _start(
        self, node: int, attempt: int, threads: ThreadPoolExecutor, containers: ExitStack
    ) -> engine.StartedContainer:
        request = self.request
        container = containers.enter_context(
            engine.running_container(
                request.image,
                self._command(node, attempt),
                keep=request.keep,
                name=f"{self.name}-attempt{attempt}-node{node}",
                environment={s.variable: s.value for s in self.record.environment}
                | {name: os.environ[name] for name in request.secrets},
                volumes={str(self.checkpoints): {"bind": CHECKPOINTS, "mode": "rw"}},
                user=self.user,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                **_resources(request, node),
                **engine.endpoint(self.name, f"node{node}"),
            )
        )
        if request.keep:  # what is kept is not removed, but it must end
            containers.callback(engine.kill, container)
        log = request.output / f"node{node}.log"
        with log.open("a", encoding="utf-8") as file:
            file.write(f"--- attempt {attempt} ---\n")
        future = threads.submit(follow, container, log, self.events.put)
        future.add_done_callback(partial(self._ended, node))
        return container

    def _ended(self, node: int, future: Future[Ended]) -> None:
        self.events.put((node, future))

    def _command(self, node: int, attempt: int) -> list[str]:
        request = self.request
        place = Place(
            nodes=str(request.nodes),
            node=str(node),
            address="node0",
            port=str(PORT),
            run=f"{self.name}-{attempt}",
        )
        return node_command(
            request.case,
            request.configuration,
            str(request.processes_per_node),
            place,
            checkpoints=CHECKPOINTS,
            join_s=JOIN_S,
        )


def _new_record(request: Request) -> RunRecord:
    return RunRecord(
        case=request.case.name,
        configuration=request.configuration,
        image=request.image,
        image_id=request.image_id,
        started=_now(),
        nodes=request.nodes,
        processes_per_node=request.processes_per_node,
        environment=_environment(request),
        expected=request.expected,
    )


def _environment(request: Request) -> list[Setting]:
    return compute(
        Context(
            backend=request.case.parallelism.backend,
            interface=DOCKER_INTERFACE,
            processors=len(os.sched_getaffinity(0)),
            processes=request.nodes * request.processes_per_node,
            threads_per_process=request.case.resources.threads_per_process,
        )
    )


def _resources(request: Request, node: int) -> dict[str, Any]:
    """What a node's container gets. What a model takes on GPUs is not known of its case."""
    processes = request.processes_per_node
    if request.gpus:
        gpus = engine.gpus(local_gpus.of_node(node, processes))
        return {"device_requests": gpus, "shm_size": f"{processes}g"}
    memory = request.case.resources.memory_gib_per_process * processes
    return {"mem_limit": f"{memory * 1024:.0f}m"}


def _make_checkpoints(folder: Path, image_user: str) -> str:
    """Make the folder writable for the user in the containers; return that user.

    Root hands the folder to the image's own user; anybody else lets the containers run as himself,
    so that the files are his to remove.
    """
    try:
        folder.mkdir()
        if os.geteuid() == 0 and (match := re.fullmatch(r"(\d+)(?::(\d+))?", image_user)):
            user, group = int(match[1]), int(match[2] or match[1])
            os.chown(folder, user, group)
            return f"{user}:{group}"
    except OSError as error:
        raise HostError(f"the folder cannot be made: {error}", where=str(folder)) from error
    return f"{os.getuid()}:{os.getgid()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
