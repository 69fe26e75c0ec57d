"""How much of a machine the processes of one node take."""

from bakehouse.launch.job import Job

SHARE = 0.9
"""Of a machine's memory: kubelet, system and daemons keep up to 8.5 GiB on the largest machines."""


def memory_gib(job: Job) -> int:
    """Memory of a node's processes together: their share of the machine, or what the case asks."""
    if job.instance is None:
        return max(1, round(job.case.resources.memory_gib_per_process * job.processes_per_node))
    return int(job.instance.memory_gib * SHARE * machine_share(job))


def machine_share(job: Job) -> float:
    """Part of a machine that a job takes: that of the accelerators, or all."""
    if job.instance is None:
        return 1.0
    if job.gpus:
        return job.gpus / job.instance.gpus
    if job.neuron_devices:
        return job.neuron_devices / job.instance.neuron_devices
    return 1.0


def processors(job: Job) -> int:
    """Processors of a node's processes together; a twentieth of a machine stays for its daemons."""
    if job.instance is None:
        return job.case.resources.threads_per_process * job.processes_per_node
    return max(1, int(job.instance.vcpus * 0.95 * machine_share(job)))


def shared_memory_gib(job: Job) -> int:
    """Size of /dev/shm, where 64 MiB, the usual, end NCCL and data loaders: part of the memory."""
    return max(1, memory_gib(job) // 8)
