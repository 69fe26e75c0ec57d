"""Environment of a job on a cluster: the rules of one machine, and those of its network."""

from bakehouse.launch.case import Case, Launcher
from bakehouse.launch.environment import Context, Setting, compute
from bakehouse.launch.fabric import fabric_settings
from bakehouse.stacks.stack import load_stack


def job_environment(
    case: Case,
    *,
    stack: str,
    instance: str | None,
    nodes: int,
    launcher: Launcher,
    processors: int | None,
    processes_per_node: int,
    interface: str | None,
) -> list[Setting]:
    """Settings of every process of a job.

    Args:
        case: The test case.
        stack: What the processes run with.
        instance: EC2 instance type of the nodes; None for other machines.
        nodes: How many there are.
        launcher: What starts the job on them.
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
    settings = compute(context)
    if instance is not None:
        settings += fabric_settings(
            instance, load_stack(stack), nodes=nodes, scheduler=launcher, case=case.name
        )[0]
    return settings
