"""Watching the nodes of one attempt: what each event means, and when it is time to give up."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from bakehouse import engine
from bakehouse.errors import HostError, RunError
from bakehouse.launch.kill import KillPlan
from bakehouse.launch.node import Ended, Record, last_words
from bakehouse.launch.request import Request
from bakehouse.launch.run_record import Attempt, Killed

GRACE_S = 20.0
"""Seconds that the other nodes have to end by themselves after one has failed."""


class Stopped:
    """The user wants the run to stop."""


Event = Record | tuple[int, Future[Ended]] | Stopped


@dataclass(kw_only=True)
class Watch:
    """One attempt under way.

    Attributes:
        containers: One for each node, in the order of their numbers.
        survivors_s: Seconds in which the other nodes must end by themselves after a kill.
        kill: When to kill which node; None to kill none.
    """

    request: Request
    attempt: Attempt
    containers: list[engine.StartedContainer]
    survivors_s: float
    kill: KillPlan | None
    on_record: Callable[[Record], None]
    on_kill: Callable[[int, int], None]
    ended: dict[int, Ended] = field(default_factory=dict)

    def to_the_end(self, events: SimpleQueue[Event], deadline: float) -> None:
        """Take events until every node has ended, or until it is clear that something is wrong.

        Args:
            events: Records, ends of nodes and the wish to stop, as they come.
            deadline: Monotonic time at which patience ends.

        Raises:
            RunError: A node failed, or did not end in time.
            HostError: The engine was lost, or a log cannot be written.
            KeyboardInterrupt: The user wants to stop.
        """
        while len(self.ended) < len(self.containers):
            limit = min(deadline, self._limit)
            try:
                event = events.get(timeout=max(0.0, limit - time.monotonic()))
            except Empty:
                break
            if isinstance(event, Stopped):
                raise KeyboardInterrupt
            if isinstance(event, dict):
                self._recorded(event)
            else:
                self._node_ended(*event)
        self._judge()

    _limit: float = field(default=float("inf"), init=False)

    def _recorded(self, record: Record) -> None:
        self.attempt.records.append(record)
        self.on_record(record)
        plan = self.kill
        if plan is None or self.attempt.killed is not None or not plan.saw(record):
            return
        if engine.kill(self.containers[plan.node]):
            self.attempt.killed = Killed(
                node=plan.node, after_step=plan.after_step, at_step=plan.step
            )
            self.on_kill(plan.node, plan.step)
            self._limit = time.monotonic() + self.survivors_s

    def _node_ended(self, node: int, future: Future[Ended]) -> None:
        if (error := future.exception()) is not None:
            raise HostError(
                f"node {node} was lost from sight: {error}",
                where=str(self._log(node)),
                remedy="see whether the engine still runs and the disk has space: "
                "docker info; df -h",
            ) from error
        self.ended[node] = future.result()
        self.attempt.exit_statuses[node] = self.ended[node].status
        if self.ended[node].status != 0 and self.attempt.killed is None:
            self._limit = min(self._limit, time.monotonic() + GRACE_S)

    def _judge(self) -> None:
        failed = [node for node, end in self.ended.items() if end.status != 0]
        running = [n for n in range(len(self.containers)) if n not in self.ended]
        if failed and self.attempt.killed is None:
            raise self._failure(failed, running)
        if running:
            raise self._overdue(running)
        if self.kill is not None and self.attempt.killed is None:
            raise RunError(
                f"the training ended at step {self.kill.step}, before node {self.kill.node} "
                f"could be killed after step {self.kill.after_step}",
                where="--kill-after-step",
                remedy="choose an earlier step",
            )
        if self.attempt.killed is None and not self.attempt.events("final"):
            raise RunError(
                "all nodes ended well, but the training never printed its final record",
                where=str(self._log(0)),
                remedy="the entry point must print a JSON line with event: final",
            )

    def _failure(self, failed: list[int], running: list[int]) -> RunError:
        """What went wrong, from the node that it went wrong on and not from those that noticed."""
        errors = self.attempt.events("error")
        if errors:
            return RunError(
                f"the training stopped itself: {errors[0].get('message')}",
                where=str(self._log(failed[0])),
                remedy="correct the configuration or the data; the whole log is there",
            )
        words = {node: last_words(self._log(node)) for node in failed}
        culprits = [node for node in failed if "Connection closed by peer" not in words[node]]
        node = (culprits or failed)[0]
        what = f"node {node} ended with status {self.ended[node].status}"
        if running:
            what += f", node {', '.join(map(str, running))} has not noticed"
        remedy = "the whole log is there"
        if self.ended[node].out_of_memory:
            what += ": one of its processes ran out of memory"
            remedy = "raise resources.memory_gib_per_process in the test case's case.yml"
        return RunError(
            f"{what}; its last lines:\n{words[node]}", where=str(self._log(node)), remedy=remedy
        )

    def _overdue(self, running: list[int]) -> RunError:
        nodes = ", ".join(map(str, running))
        words = last_words(self._log(running[0]))
        if self.attempt.killed is not None:
            what = (
                f"{self.survivors_s:.0f} s after node {self.attempt.killed.node} was killed, "
                f"node {nodes} still runs"
            )
        else:
            what = (
                f"the run did not end within {self.request.timeout_s:.0f} s; still running: {nodes}"
            )
        return RunError(
            f"{what}; the last lines:\n{words}",
            where=str(self._log(running[0])),
            remedy="give it more time with --timeout, or read the log",
        )

    def _log(self, node: int) -> Path:
        return self.request.output / f"node{node}.log"
