"""Environment of a job on a cluster: the rules of one machine, and those of its network."""

from bakehouse.launch.case import Case
from bakehouse.launch.environment import Context, Setting, compute


def job_environment(
    case: Case,
    *,
    instance: str | None,
    processors: int | None,
    processes_per_node: int,
    interface: str | None,
) -> list[Setting]:
    """Settings of every process of a job.

    Args:
        case: The test case.
        instance: EC2 instance type of the nodes; None for other machines.
        processors: Of one node; None where they are not known.
        processes_per_node: Training processes that share them.
        interface: Network interface between the nodes; None where only the node itself knows it.
    """
    threads = case.resources.threads_per_process
    context = Context(
        backend=case.parallelism.backend,
        interface=interface,
        processors=processors or threads * processes_per_node,
        processes=processes_per_node,
        threads_per_process=threads,
    )
    return [*compute(context), *_fabric(instance, case.stack)]


def _fabric(instance: str | None, stack: str) -> list[Setting]:
    """What EFA and NCCL need on an instance type."""
    del instance, stack
    return []
