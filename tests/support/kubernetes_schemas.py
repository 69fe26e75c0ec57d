"""Strict validation of manifests, offline: no field may be unknown, and no kind either.

Kubernetes' own kinds: its published schemas, by release. PyTorchJob: the models that Kubeflow
generates from its API and publishes with its SDK; the pods in it are Kubernetes' own again. Neither
knows which values some fields may have, nor anything of a cluster's admission.
"""

import re
from typing import Any

import kubernetes_validate
from kubeflow.training import models

RELEASES = ("1.31", "1.32", "1.33", "1.34")
PRIMITIVES = {"str": str, "int": int, "bool": bool}
CLEAN_POD_POLICIES = {"All", "Running", "None"}
RESTART_POLICIES = {"Always", "OnFailure", "Never", "ExitCode"}


class Fault(AssertionError):  # noqa: N818
    """A manifest that a cluster would refuse, or about which nobody here knows."""


def check(document: dict[str, Any], release: str) -> None:
    """Refuse what is not exactly as the schema of its kind says."""
    if document.get("kind") == "PyTorchJob":
        _check_pytorchjob(document, release)
    else:
        _check_builtin(document, release)


def _check_builtin(document: dict[str, Any], release: str) -> None:
    try:
        kubernetes_validate.validate(document, release, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        raise Fault(f"no schema of {document.get('apiVersion')} {document.get('kind')}") from error
    except kubernetes_validate.ValidationError as error:
        raise Fault(f"{list(error.path)}: {error.message}") from error


def _check_pytorchjob(document: dict[str, Any], release: str) -> None:
    if document["apiVersion"] != "kubeflow.org/v1":
        raise Fault(f"no schema of {document['apiVersion']} PyTorchJob")
    _check_model(document, "KubeflowOrgV1PyTorchJob", ("PyTorchJob",))
    policy = document["spec"]["runPolicy"].get("cleanPodPolicy", "None")
    if policy not in CLEAN_POD_POLICIES:
        raise Fault(f"cleanPodPolicy: {policy}")
    for name, replica in document["spec"]["pytorchReplicaSpecs"].items():
        if name not in {"Master", "Worker"} or replica["restartPolicy"] not in RESTART_POLICIES:
            raise Fault(f"pytorchReplicaSpecs: {name}, {replica['restartPolicy']}")
        pods = {"apiVersion": "v1", "kind": "PodTemplate", "template": replica["template"]}
        _check_builtin(pods, release)


def _check_model(value: Any, kind: str, path: tuple[str, ...]) -> None:
    where = ".".join(path)
    if kind in PRIMITIVES:
        if type(value) is not PRIMITIVES[kind]:
            raise Fault(f"{where}: {value!r} is no {kind}")
    elif match := re.fullmatch(r"dict\(str, (\w+)\)", kind):
        for name, item in value.items():
            _check_model(item, match[1], (*path, name))
    elif kind.startswith("KubeflowOrg"):
        model = getattr(models, kind)
        types = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
        for name, item in value.items():
            if name not in types:
                raise Fault(f"{where}: there is no field {name}")
            _check_model(item, types[name], (*path, name))
    elif not kind.startswith("V1"):  # Kubernetes' own are checked by its own schemas
        raise Fault(f"{where}: nobody here knows what a {kind} is")
