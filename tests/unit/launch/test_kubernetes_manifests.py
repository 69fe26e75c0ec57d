"""The manifests, validated strictly against the schemas of the supported releases."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes_schemas import RELEASES, Fault, check
from ruamel.yaml import YAML

from bakehouse.launch.case import case_names, load_case
from bakehouse.launch.job import prepare
from bakehouse.launch.kubernetes import Kind, KubernetesOptions, render
from bakehouse.stacks.instances import load_instances

pytestmark = pytest.mark.lengthy

KINDS: tuple[Kind, ...] = ("pytorchjob", "job")
CASES = [name for name in case_names() if "kubernetes" in load_case(name).launchers]


def manifest(case: str, kind: Kind, **options: Any) -> list[dict[str, Any]]:
    job = prepare(case, "kubernetes", image="registry.example/image:1", **options)
    wanted = KubernetesOptions(kind=kind, claim="fsx", namespace="team")
    text = render(job, wanted)
    return [dict(document) for document in YAML(typ="safe").load_all(text)]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_every_document_of_every_case_fits_the_schemas(case: str, kind: Kind, release: str) -> None:
    options = {"secrets": ["HF_TOKEN=hub/token"], "data": "corpus", "time_limit_s": 3600}
    documents = manifest(case, kind, **options)
    assert [d["kind"] for d in documents] == {
        "pytorchjob": ["PyTorchJob"],
        "job": ["Service", "Job"],
    }[kind]
    for document in documents:
        check(document, release)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("instance", [name for name in load_instances() if name != "trn1.32xlarge"])
def test_every_instance_type_fits_the_schemas(instance: str, kind: Kind) -> None:
    for document in manifest("cpu-ddp", kind, instance=instance, processes_per_node=1):
        check(document, RELEASES[-1])


def misspelt(document: dict[str, Any]) -> None:
    pods(document)["spec"]["containers"][0]["volumeMount"] = []


def of_another_type(document: dict[str, Any]) -> None:
    pods(document)["spec"]["containers"][0]["ports"][0]["containerPort"] = "29400"


def without_containers(document: dict[str, Any]) -> None:
    del pods(document)["spec"]["containers"]


def of_an_unknown_kind(document: dict[str, Any]) -> None:
    document["kind"] = "PyTorchJobs"


def misspelt_policy(document: dict[str, Any]) -> None:
    policy = document["spec"].get("runPolicy", document["spec"])
    policy["backofLimit"] = policy.pop("backoffLimit")


def number_as_text(document: dict[str, Any]) -> None:
    policy = document["spec"].get("runPolicy", document["spec"])
    policy["backoffLimit"] = "3"


def pods(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]
    replicas = spec.get("pytorchReplicaSpecs")
    found: dict[str, Any] = replicas["Worker"]["template"] if replicas else spec["template"]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spoil",
    [
        misspelt,
        of_another_type,
        without_containers,
        of_an_unknown_kind,
        misspelt_policy,
        number_as_text,
    ],
)
def test_a_spoilt_manifest_is_refused(kind: Kind, spoil: Callable[[dict[str, Any]], None]) -> None:
    document = copy.deepcopy(manifest("cpu-ddp", kind)[-1])
    check(document, "1.33")
    spoil(document)
    with pytest.raises(Fault):
        check(document, "1.33")


def test_a_misspelt_field_of_the_pytorchjob_itself_is_refused() -> None:
    document = manifest("cpu-ddp", "pytorchjob")[0]
    document["spec"]["pytorchReplicas"] = document["spec"].pop("pytorchReplicaSpecs")
    with pytest.raises(Fault, match="there is no field pytorchReplicas"):
        check(document, "1.33")


@pytest.mark.parametrize("kind", KINDS)
def test_pods_ask_for_what_the_instance_has(kind: Kind) -> None:
    spec = pods(manifest("cpu-ddp", kind, instance="p5.48xlarge")[-1])["spec"]
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "8"
    assert limits["vpc.amazonaws.com/efa"] == "32"
    assert limits["hugepages-2Mi"] == "5120Mi"
    assert spec["nodeSelector"] == {"node.kubernetes.io/instance-type": "p5.48xlarge"}
    memory = next(volume for volume in spec["volumes"] if volume["name"] == "shared-memory")
    assert memory["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_no_root_and_see_no_folder_of_the_machine(kind: Kind) -> None:
    spec = pods(manifest("cpu-ddp", kind, instance="p5.48xlarge")[-1])["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


def test_a_job_of_one_node_has_no_workers() -> None:
    document = manifest("cpu-ddp", "pytorchjob", nodes=1)[0]
    assert list(document["spec"]["pytorchReplicaSpecs"]) == ["Master"]
    check(document, "1.33")


def test_each_node_of_an_indexed_job_knows_its_number_and_the_first_ones_name() -> None:
    service, job = manifest("cpu-ddp", "job", nodes=4)
    name = job["metadata"]["name"]
    container = pods(job)["spec"]["containers"][0]
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (4, 4)
    assert "--node-rank=$(NODE_RANK)" in container["command"]
    assert "NODE_RANK" in {variable["name"] for variable in container["env"]}
    # As Kubernetes calls the first pod of a job in the domain of its service.
    assert f"--master-addr={name}-0.{name}" in container["command"]
    assert pods(job)["spec"]["subdomain"] == service["metadata"]["name"] == name
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_an_image_of_this_machine_is_not_looked_for_in_a_registry() -> None:
    job = prepare("cpu-ddp", "kubernetes")
    for document in YAML(typ="safe").load_all(render(job, KubernetesOptions(kind="job"))):
        if document["kind"] == "Job":
            assert pods(document)["spec"]["containers"][0]["imagePullPolicy"] == "Never"


def test_hyperpods_names_of_instance_types_are_kept_for_the_selector() -> None:
    spec = pods(manifest("cpu-ddp", "job", instance="ml.p5.48xlarge")[-1])["spec"]
    assert spec["nodeSelector"] == {"node.kubernetes.io/instance-type": "ml.p5.48xlarge"}
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"
