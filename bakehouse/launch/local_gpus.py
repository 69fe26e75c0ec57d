"""GPUs of this machine, and which of them the container of each node gets."""

from pathlib import Path

from bakehouse.errors import InputError
from bakehouse.launch.case import Device

DEVICES = Path("/dev")


def gpus_here() -> int:
    """How many GPUs of NVIDIA the driver of this machine shows: /dev/nvidia0 and so on."""
    return len(list(DEVICES.glob("nvidia[0-9]*")))


def of_node(node: int, processes: int) -> list[str]:
    """Numbers of the GPUs that a node's container gets: one for each process, none twice."""
    return [str(gpu) for gpu in range(node * processes, (node + 1) * processes)]


def shape(
    device: Device, nodes: int | None, processes: int | None, usual: tuple[int, int]
) -> tuple[int, int]:
    """Nodes and processes of each for a run on this machine.

    Args:
        device: What the configuration trains on.
        nodes: What the user asks for; None for what is usual.
        processes: The same of the processes of a node.
        usual: What the case takes where there are no accelerators. With GPUs it is one node with
            all of them.

    Raises:
        InputError: This machine lacks what the configuration trains on, or has fewer.
    """
    if device == "cpu":
        return nodes or usual[0], processes or usual[1]
    gpus = gpus_here() if device == "gpu" else 0
    if not gpus:
        what = "GPUs, of which this machine has none" if device == "gpu" else "Neuron cores"
        raise InputError(
            f"the configuration trains on {what}; here it cannot",
            where="--model",
            remedy="choose another configuration, or a scheduler with --on",
        )
    wanted = nodes or 1
    each = processes or max(1, gpus // wanted)
    if wanted * each > gpus:
        raise InputError(
            f"{wanted} nodes x {each} processes are more than the {gpus} GPUs of this machine",
            where="--nodes, --nproc",
            remedy="one process for each GPU",
        )
    return wanted, each
