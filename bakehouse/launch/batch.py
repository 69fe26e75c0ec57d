"""A job as JSON for AWS Batch: a multi-node-parallel job definition, and its submission."""

import json
from dataclasses import dataclass
from typing import Any

from bakehouse.errors import InputError
from bakehouse.launch.job import IMAGE_USER, Job
from bakehouse.launch.node_command import PORT, Place
from bakehouse.launch.node_size import memory_gib, processors, shared_memory_gib
from bakehouse.launch.shell import render_shell, shell_word

CHECKPOINTS = "/checkpoints"
LOST_CHECKPOINTS = "/tmp/checkpoints"  # noqa: S108  # of a container that nobody else enters
MOST_NODES = 1000
"""https://docs.aws.amazon.com/batch/latest/userguide/multi-node-parallel-jobs.html"""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What only AWS Batch needs to know.

    Attributes:
        queue: Job queue.
        execution_role: ARN of the role with which ECS reads secrets and pulls the image.
        job_role: ARN of the role that the processes have.
    """

    queue: str = "bakehouse"
    execution_role: str | None = None
    job_role: str | None = None


def render(job: Job, options: BatchOptions) -> str:
    """Both requests as one JSON object, by the names that they have in AWS's command line."""
    requests = {
        "register-job-definition": definition(job, options),
        "submit-job": submission(job, options),
    }
    return json.dumps(requests, indent=2) + "\n"


def definition(job: Job, options: BatchOptions) -> dict[str, Any]:
    """What `aws batch register-job-definition --cli-input-json` takes.

    Raises:
        InputError: A secret needs a role that is not given, or the job has too many nodes.
    """
    if job.secrets and options.execution_role is None:
        raise InputError(
            "secrets are read by an execution role, and none is given",
            where="--execution-role",
            remedy="give the ARN of a role that may read them",
        )
    if job.nodes > MOST_NODES:
        raise InputError(
            f"AWS Batch runs a job on at most {MOST_NODES} nodes, not {job.nodes}",
            where="--nodes",
        )
    request: dict[str, Any] = {
        "jobDefinitionName": job.name,
        "type": "multinode",
        "nodeProperties": {
            "numNodes": job.nodes,
            "mainNode": 0,
            # Open at its end, so that a submission may ask for another number of nodes.
            "nodeRangeProperties": [{"targetNodes": "0:", "container": _container(job, options)}],
        },
        "retryStrategy": {
            "attempts": job.restarts + 1,
            "evaluateOnExit": [
                # A machine was lost; a training that failed by itself would fail again.
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                {"onReason": "*", "action": "EXIT"},
            ],
        },
        "propagateTags": True,
        "tags": {"bakehouse:case": job.case.name, "bakehouse:configuration": job.configuration},
    }
    if job.time_limit_s:
        request["timeout"] = {"attemptDurationSeconds": job.time_limit_s}
    return request


def submission(job: Job, options: BatchOptions) -> dict[str, Any]:
    """What `aws batch submit-job --cli-input-json` takes: the newest definition of that name."""
    return {"jobName": job.name, "jobQueue": options.queue, "jobDefinition": job.name}


def _container(job: Job, options: BatchOptions) -> dict[str, Any]:
    """One node. Values are literal: nothing expands a variable in an environment of ECS."""
    container: dict[str, Any] = {
        "image": job.image,
        "command": ["bash", "-c", _script(job)],
        "user": str(IMAGE_USER),
        "environment": [
            {"name": setting.variable, "value": setting.value} for setting in job.environment
        ],
        "resourceRequirements": _resources(job),
        "linuxParameters": {
            "sharedMemorySize": shared_memory_gib(job) * 1024,
            "devices": [
                {"hostPath": path, "containerPath": path, "permissions": ["READ", "WRITE"]}
                for path in _devices(job)
            ],
        },
        # EFA and NCCL register memory, which counts as locked.
        "ulimits": [{"name": "memlock", "softLimit": -1, "hardLimit": -1}],
        "volumes": [],
        "mountPoints": [],
    }
    for name, source, target in _folders(job):
        container["volumes"].append({"name": name, "host": {"sourcePath": source}})
        container["mountPoints"].append(
            {"sourceVolume": name, "containerPath": target, "readOnly": name == "data"}
        )
    if job.secrets:
        container["secrets"] = [
            {"name": secret.variable, "valueFrom": secret.place} for secret in job.secrets
        ]
    roles = {"executionRoleArn": options.execution_role, "jobRoleArn": options.job_role}
    container |= {key: value for key, value in roles.items() if value}
    if job.instance_type:
        container["instanceType"] = job.instance_type
    return container


def _script(job: Job) -> str:
    place = Place(
        nodes="$AWS_BATCH_JOB_NUM_NODES",
        node="$AWS_BATCH_JOB_NODE_INDEX",
        address="$head",
        port=str(PORT),
        run="${AWS_BATCH_JOB_ID%%#*}.${AWS_BATCH_JOB_ATTEMPT:-1}",
    )
    # Without a folder of the machine they are lost with the container, but the job runs.
    folder = CHECKPOINTS if job.checkpoints else LOST_CHECKPOINTS
    command = job.node_command(place, checkpoints=folder)
    return render_shell("batch_node.sh.j2", command=[shell_word(word) for word in command])


def _resources(job: Job) -> list[dict[str, str]]:
    needs = {
        "VCPU": processors(job),
        "MEMORY": memory_gib(job) * 1024,
        "GPU": job.gpus,
    }
    return [{"type": kind, "value": str(value)} for kind, value in needs.items() if value]


def _devices(job: Job) -> list[str]:
    efa = [f"/dev/infiniband/uverbs{number}" for number in range(job.efa_interfaces)]
    return efa + [f"/dev/neuron{number}" for number in range(job.neuron_devices)]


def _folders(job: Job) -> list[tuple[str, str, str]]:
    """Volumes, where they are on a machine, and where the processes see them."""
    folders = [("checkpoints", job.checkpoints, CHECKPOINTS), ("data", job.data, job.data)]
    return [(name, source, target) for name, source, target in folders if source and target]
