"""A job as a manifest for Kubernetes: a PyTorchJob, or an Indexed Job with a headless Service."""

import io
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from bakehouse.launch.job import Job
from bakehouse.launch.node_command import PORT, Place
from bakehouse.launch.pod import CHECKPOINTS, pod_spec

Kind = Literal["pytorchjob", "job"]


@dataclass(frozen=True, kw_only=True)
class KubernetesOptions:
    """What only Kubernetes needs to know.

    Attributes:
        kind: PyTorchJob needs Kubeflow's training operator in the cluster; a Job needs nothing.
        namespace: None for the one that kubectl is set to.
        claim: PersistentVolumeClaim for the checkpoints, which all nodes can write to; without one
            they are lost with the pod.
    """

    kind: Kind = "pytorchjob"
    namespace: str | None = None
    claim: str | None = None


def render(job: Job, options: KubernetesOptions) -> str:
    """The complete manifest."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096
    out = io.StringIO()
    out.write(f"# {job.title}\n# Complete as it is: kubectl apply --filename FILE\n")
    for document in documents(job, options):
        out.write("---\n")
        yaml.dump(_with_reasons(document, job), out)
    return out.getvalue()


def documents(job: Job, options: KubernetesOptions) -> list[dict[str, Any]]:
    """The objects of the manifest."""
    if options.kind == "pytorchjob":
        return [_pytorchjob(job, options)]
    return [_service(job, options), _indexed_job(job, options)]


def _metadata(job: Job, options: KubernetesOptions) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": job.name}
    if options.namespace:
        metadata["namespace"] = options.namespace
    return metadata | {"labels": _labels(job)}


def _labels(job: Job) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": job.case.name,
        "app.kubernetes.io/instance": job.name,
        "app.kubernetes.io/managed-by": "bakehouse",
    }


def _pytorchjob(job: Job, options: KubernetesOptions) -> dict[str, Any]:
    # The operator tells every pod its number and the master's address, in these variables.
    command = job.node_command(
        Place(
            nodes=str(job.nodes),
            node="$(RANK)",
            address="$(MASTER_ADDR)",
            port="$(MASTER_PORT)",
            run=job.name,
        ),
        checkpoints=CHECKPOINTS,
    )
    template = {
        "metadata": {"labels": _labels(job)},
        # The operator looks for a container of this name.
        "spec": pod_spec(job, command, name="pytorch", claim=options.claim),
    }
    policy: dict[str, Any] = {"backoffLimit": job.restarts, "cleanPodPolicy": "Running"}
    if job.time_limit_s:
        policy["activeDeadlineSeconds"] = job.time_limit_s
    replicas = {"Master": 1, "Worker": job.nodes - 1}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": _metadata(job, options),
        "spec": {
            "nprocPerNode": str(job.processes_per_node),
            "runPolicy": policy,
            "pytorchReplicaSpecs": {
                name: {"replicas": count, "restartPolicy": "OnFailure", "template": template}
                for name, count in replicas.items()
                if count
            },
        },
    }


def _service(job: Job, options: KubernetesOptions) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(job, options),
        "spec": {
            # Without an address of its own it only gives names to the pods.
            "clusterIP": "None",
            "selector": {"batch.kubernetes.io/job-name": job.name},
            # The pods meet before any of them is ready.
            "publishNotReadyAddresses": True,
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }


def _indexed_job(job: Job, options: KubernetesOptions) -> dict[str, Any]:
    command = job.node_command(
        Place(
            nodes=str(job.nodes),
            node="$(NODE_RANK)",
            address=f"{job.name}-0.{job.name}",
            port=str(PORT),
            run=job.name,
        ),
        checkpoints=CHECKPOINTS,
    )
    pod = pod_spec(job, command, name="training", claim=options.claim)
    path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    pod["containers"][0]["env"].append(
        {"name": "NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": path}}}
    )
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": job.nodes,
        "parallelism": job.nodes,
        # Each node of a failed attempt counts, since all of them fail.
        "backoffLimit": job.restarts * job.nodes,
        "podFailurePolicy": {
            "rules": [
                # A pod that has to make room, or whose machine is taken away, did nothing wrong.
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                }
            ]
        },
    }
    if job.time_limit_s:
        spec["activeDeadlineSeconds"] = job.time_limit_s
    spec["template"] = {
        "metadata": {"labels": _labels(job)},
        # A new pod, perhaps on another machine.
        "spec": {"subdomain": job.name, "restartPolicy": "Never", **pod},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(job, options),
        "spec": spec,
    }


def _with_reasons(node: Any, job: Job, depth: int = 0) -> Any:
    """The same, with the reason of every variable as a comment before it."""
    reasons = {setting.variable: setting.reason for setting in job.environment}
    if isinstance(node, list):
        items = CommentedSeq(_with_reasons(item, job, depth + 1) for item in node)
        for index, item in enumerate(items):
            reason = reasons.get(item.get("name", "")) if isinstance(item, dict) else None
            if reason is not None:
                lines = textwrap.fill(reason, 80)
                items.yaml_set_comment_before_after_key(index, before=lines, indent=2 * depth)
        return items
    if isinstance(node, dict):
        return {key: _with_reasons(value, job, depth + 1) for key, value in node.items()}
    return node
