"""Whether a number of processes fits a configuration and a machine."""

from bakehouse.errors import InputError
from bakehouse.launch.case import Case, Device
from bakehouse.stacks.instances import Instance


def check_splits(case: Case, configuration: str, nodes: int, processes_per_node: int) -> None:
    """Refuse a world size that a configuration cannot be split over.

    Raises:
        InputError: It is no multiple of the processes that one copy of the model takes.
    """
    splits = case.configuration(configuration).splits
    world_size = nodes * processes_per_node
    if world_size % splits.processes:
        cut = " x ".join(f"{axis} {size}" for axis, size in splits.model_dump().items() if size > 1)
        raise InputError(
            f"{nodes} nodes x {processes_per_node} processes are {world_size}, but a copy of "
            f"{configuration} takes {splits.processes} processes ({cut})",
            where="--nodes, --nproc",
            remedy=f"choose nodes and processes whose product is a multiple of {splits.processes}",
        )


def room(instance: Instance, device: Device) -> tuple[int, str]:
    """How many processes an instance has room for, and what each of them takes."""
    if instance.gpus:
        return instance.gpus, "GPUs"
    if device == "neuron" or (device != "cpu" and instance.neuron_cores):
        return instance.neuron_cores, "Neuron cores"
    if device == "gpu":
        return 0, "GPUs"
    return instance.vcpus, "processors"


def check_room(name: str, instance: Instance, device: Device, processes_per_node: int) -> None:
    """Refuse more processes than an instance has accelerators, or processors where it has none.

    Raises:
        InputError: There are too many, or the instance has nothing that the training can run on.
    """
    places, what = room(instance, device)
    if places == 0 or (device == "neuron") != (what == "Neuron cores"):
        raise InputError(
            f"the configuration trains on {_DEVICES[device]}, of which {name} has none",
            where="--instance",
            remedy="choose another instance type, or another configuration with --model",
        )
    if processes_per_node > places:
        raise InputError(
            f"{processes_per_node} processes are more than the {places} {what} of {name}",
            where="--nproc",
            remedy=f"at most {places}; take more nodes with --nodes",
        )


_DEVICES = {"cpu": "processors", "gpu": "GPUs", "neuron": "Neuron cores"}
