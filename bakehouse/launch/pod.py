"""The pod of one node: what a Job and a PyTorchJob of Kubernetes have in common."""

from typing import Any

from bakehouse.launch.job import IMAGE_USER, Job
from bakehouse.launch.node_command import PORT
from bakehouse.launch.node_size import memory_gib, processors, shared_memory_gib

CHECKPOINTS = "/checkpoints"
DATA = "/data"
HUGE_PAGES_MIB = 5120
"""What AWS tells pods with EFA to ask for: https://docs.aws.amazon.com/eks/latest/userguide/node-efa.html"""


def pod_spec(job: Job, command: list[str], *, name: str, claim: str | None) -> dict[str, Any]:
    """Specification of a pod, without its restart policy.

    Args:
        job: What to run.
        command: Arguments; Kubernetes itself expands `$(VARIABLE)` in them.
        name: Name of the container.
        claim: PersistentVolumeClaim for the checkpoints; None for a folder that goes with the pod.
    """
    spec: dict[str, Any] = {
        # The training asks nothing of the cluster.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": IMAGE_USER,
            "runAsGroup": IMAGE_USER,
            # Else the claim's folder would belong to root.
            "fsGroup": IMAGE_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, command, name)],
        "volumes": _volumes(job, claim),
    }
    if job.instance_type:
        spec["nodeSelector"] = {"node.kubernetes.io/instance-type": job.instance_type}
    devices = [device for device, _ in _devices(job) if device != "vpc.amazonaws.com/efa"]
    if devices:
        spec["tolerations"] = [
            {"key": device, "operator": "Exists", "effect": "NoSchedule"} for device in devices
        ]
    return spec


def _container(job: Job, command: list[str], name: str) -> dict[str, Any]:
    environment: list[dict[str, Any]] = [
        {"name": setting.variable, "value": setting.value} for setting in job.environment
    ]
    for secret in job.secrets:
        source, _, key = (secret.place or f"{job.name}/{secret.variable}").partition("/")
        environment.append(
            {
                "name": secret.variable,
                "valueFrom": {"secretKeyRef": {"name": source, "key": key}},
            }
        )
    mounts: list[dict[str, Any]] = [
        {"name": "checkpoints", "mountPath": CHECKPOINTS},
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108  # what NCCL uses
    ]
    if job.data:
        mounts.append({"name": "data", "mountPath": DATA, "readOnly": True})
    return {
        "name": name,
        "image": job.image,
        # A name of this machine alone must not be looked for in somebody else's registry.
        "imagePullPolicy": "Never" if job.image_is_local else "IfNotPresent",
        "command": command,
        "workingDir": job.folder,
        "env": environment,
        "ports": [{"name": "pytorchjob-port", "containerPort": PORT}],
        "resources": _resources(job),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _volumes(job: Job, claim: str | None) -> list[dict[str, Any]]:
    kept: dict[str, Any] = (
        {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    )
    volumes: list[dict[str, Any]] = [
        {"name": "checkpoints", **kept},
        {
            "name": "shared-memory",
            "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared_memory_gib(job)}Gi"},
        },
    ]
    if job.data:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": job.data}})
    return volumes


def _devices(job: Job) -> list[tuple[str, int]]:
    counts = [
        ("nvidia.com/gpu", job.gpus),
        ("aws.amazon.com/neuron", job.neuron_devices),
        ("vpc.amazonaws.com/efa", job.efa_interfaces),
    ]
    return [(name, count) for name, count in counts if count]


def _resources(job: Job) -> dict[str, Any]:
    devices = {name: str(count) for name, count in _devices(job)}
    if job.efa_interfaces:
        devices["hugepages-2Mi"] = f"{HUGE_PAGES_MIB}Mi"
    memory = f"{memory_gib(job)}Gi"
    # No limit of processors: throttling one process makes all others wait.
    return {
        "requests": {"cpu": str(processors(job)), "memory": memory, **devices},
        "limits": {"memory": memory, **devices},
    }
