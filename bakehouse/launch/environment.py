"""Environment variables of the training processes, each from a rule with its reason."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the rules may look at.

    Attributes:
        backend: What carries collectives: gloo or nccl.
        interface: Network interface between the nodes, as the processes see it; None where it is
            not known.
        processors: Processors of one machine.
        processes: Training processes that share these processors.
        threads_per_process: What the test case asks for.
    """

    backend: str
    interface: str | None
    processors: int
    processes: int
    threads_per_process: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One variable, and why it has this value."""

    variable: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one variable gets its value.

    Attributes:
        variable: The environment variable.
        value: Its value in a context; None where the rule does not apply.
        reason: One sentence: what goes wrong without it.
    """

    variable: str
    value: Callable[[Context], str | None]
    reason: str


def _threads(context: Context) -> str:
    share = max(1, context.processors // context.processes)
    return str(min(share, context.threads_per_process))


RULES: tuple[Rule, ...] = (
    Rule(
        variable="OMP_NUM_THREADS",
        value=_threads,
        reason="every process starts as many threads as there are processors unless told "
        "otherwise; several processes on one machine then slow each other down many times",
    ),
    Rule(
        variable="GLOO_SOCKET_IFNAME",
        value=lambda context: context.interface if context.backend == "gloo" else None,
        reason="gloo takes the interface that the host name resolves to, which is the loopback "
        "on some distributions; the other nodes cannot reach that",
    ),
    Rule(
        variable="PYTHONUNBUFFERED",
        value=lambda _: "1",
        reason="the last lines of a process that is killed would be lost in its buffer",
    ),
)


def compute(context: Context) -> list[Setting]:
    """Settings of all rules that apply, in the order of the rules."""
    values = [(rule, rule.value(context)) for rule in RULES]
    return [
        Setting(variable=rule.variable, value=value, reason=rule.reason)
        for rule, value in values
        if value is not None
    ]
