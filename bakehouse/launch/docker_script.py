"""A job as a shell script for Docker on one machine: what the launcher does, without Bakehouse."""

import shlex

from bakehouse.launch import local_gpus
from bakehouse.launch.job import Job
from bakehouse.launch.node_command import PORT, Place
from bakehouse.launch.node_size import memory_gib, shared_memory_gib
from bakehouse.launch.shell import render_shell, shell_word

CHECKPOINTS = "/checkpoints"


def render(job: Job) -> str:
    """The complete script."""
    return render_shell(
        "docker.sh.j2",
        job=job,
        # What a model takes on GPUs is not known of its case.
        memory_mib=0 if job.gpus and job.instance is None else memory_gib(job) * 1024,
        shared_memory_gib=shared_memory_gib(job) if job.gpus else 0,
        gpus=[local_gpus.of_node(node, job.gpus) for node in range(job.nodes)],
        checkpoints=(
            shlex.quote(job.checkpoints) if job.checkpoints else f'"$PWD/checkpoints/{job.name}"'
        ),
        commands=[_command(job, node) for node in range(job.nodes)],
    )


def _command(job: Job, node: int) -> list[str]:
    place = Place(
        nodes=str(job.nodes), node=str(node), address="node0", port=str(PORT), run="$name"
    )
    return [shell_word(word) for word in job.node_command(place, checkpoints=CHECKPOINTS)]
