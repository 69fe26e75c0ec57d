"""The command that starts one node's processes: the same for every scheduler."""

from dataclasses import dataclass

from bakehouse.launch.case import Case

PORT = 29400
"""Where the nodes meet, if the scheduler gives each of them an address of its own."""
COLLECTIVE_S = 60
"""Seconds that a process waits for the others before it gives up and ends."""
JOIN_S = 120
"""Seconds in which all nodes must have met on one machine."""
CLUSTER_JOIN_S = 900
"""The same on a cluster, where one node may be pulling the image when another has begun."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a node stands among the others.

    All are texts, since each scheduler has its own way to fill them in when the job runs.

    Attributes:
        nodes: How many there are.
        node: Number of this one, from 0.
        address: Address of node 0.
        port: Port on which node 0 listens.
        run: What tells this attempt from all others.
    """

    nodes: str
    node: str
    address: str
    port: str
    run: str


def node_command(
    case: Case,
    configuration: str,
    processes: str,
    place: Place,
    *,
    checkpoints: str,
    join_s: int = CLUSTER_JOIN_S,
) -> list[str]:
    """Arguments that start the processes of one node.

    Ranks follow the numbers of the nodes, not the order in which these arrive: a restart gives
    every node its own ranks again, and rank 0 is always on node 0.

    Raises:
        InputError: The case has no such configuration.
    """
    starter = ["torchrun"] if case.start == "torchrun" else ["python3", "-m", "training.start"]
    # Both starters take these; torchrun alone knows of attempts and of patience.
    starter += [
        f"--nnodes={place.nodes}",
        f"--nproc-per-node={processes}",
        f"--node-rank={place.node}",
        f"--master-addr={place.address}",
        f"--master-port={place.port}",
    ]
    if case.start == "torchrun":
        starter += [f"--rdzv-id={place.run}", f"--rdzv-conf=timeout={join_s}", "--max-restarts=0"]
    return [
        *starter,
        case.entry_point,
        f"--configuration={case.configuration(configuration).path}",
        f"--checkpoints={checkpoints}",
        f"--timeout-s={COLLECTIVE_S}",
    ]
