"""Judging what a target has, and telling those that differ."""

from typing import Any

import pytest

from bakehouse.errors import InputError
from bakehouse.stacks.stack import load_stack
from bakehouse.versions import comparison, promises
from bakehouse.versions.comparison import Judged
from bakehouse.versions.components import COMPONENTS, Promises
from bakehouse.versions.reach import Answer
from bakehouse.versions.targets import Target

GPU = Promises.of(load_stack("gpu-cuda13"))


def answer(name: str = "node1", identity: Any = None, **versions: Any) -> Answer:
    """What a target with these versions says."""
    components = {}
    for component in COMPONENTS:
        told = versions.get(component, [])
        each = [told] if isinstance(told, str) else told
        found = [{"version": version, "where": "there"} for version in each]
        reason = "" if found else "nothing at there"
        components[component] = {"found": found, "problems": [], "reason": reason}
    content = {"host": name, "identity": identity, "components": components}
    return Answer(target=Target(name=name, kind="ssh"), seconds=0.1, content=content)


def judged(one: Answer, against: Promises | None = GPU, *, strict: bool = False) -> Judged:
    """Judge it against a stack."""
    return comparison.judge(one, lambda _identity: against, strict=strict)


@pytest.mark.parametrize(
    ("component", "version", "status"),
    [
        ("nvidia_driver", "595.91.07", "agrees"),
        ("nvidia_driver", ["595.91.07", "595.91.06"], "drift"),
        ("nvidia_driver", "595.91", "drift"),
        ("nvidia_fabric_manager", "595.91.07-1ubuntu1", "agrees"),
        ("nvidia_cuda", "13.2", "agrees"),
        ("nvidia_cuda", "13.1", "drift"),
        ("nvidia_cuda", "13", "drift"),
        ("nvidia_cudnn", "9.26.0", "agrees"),
        ("nvidia_cudnn", ["9.26.0", "9.26.0.51-1"], "agrees"),
        ("nvidia_cudnn", "9.2", "drift"),
        ("nvidia_nccl", ["2.30.7", "2.27.3"], "drift"),
        ("torch_nccl", "2.30.7", "agrees"),
        ("torch_nccl", "2.27.3", "drift"),
        ("libfabric", ["2.6.0amzn1.0", "1.17.0"], "agrees"),
        ("libfabric", "2.6.0", "agrees"),
        ("libfabric", "1.17.0", "drift"),
        ("open_mpi", ["4.1.7", "5.0.9amzn1"], "agrees"),
        ("open_mpi", ["4.1.7"], "drift"),
        ("aws_ofi_nccl", ["1.21.1", "1.7.4"], "drift"),
        ("aws_ofi_nccl", "git-6e504db", "drift"),
        ("efa_driver", ["3.1.0", "3.3.0"], "drift"),
        ("pytorch", "2.15.0", "agrees"),
        ("pytorch", "2.15.0+cpu", "agrees"),
        ("slurm", "25.05.3", "present"),
        ("kernel", "6.8.0", "present"),
    ],
)  # fmt: skip
def test_a_version_is_judged_against_the_stack(
    component: str, version: str | list[str], status: str
) -> None:
    told: dict[str, Any] = {component: version}
    one = judged(answer(**told))
    assert one.verdicts[component].status == status
    assert one.status == ("drift" if status == "drift" else "agrees")


ELSEWHERE = {"slurm", "neuronx_cc", "torch_neuronx", *(n for n in COMPONENTS if "neuron_" in n)}
"""Components that the stack for GPUs does not name."""


@pytest.mark.parametrize(
    "name",
    [n for n, c in COMPONENTS.items() if (c.records or c.wheels) and n not in ELSEWHERE],
)
def test_a_component_is_compared_with_a_record_that_there_is(name: str) -> None:
    assert COMPONENTS[name].promised(GPU)


def test_what_is_not_there_is_drift_only_where_it_is_demanded() -> None:
    assert judged(answer()).status == "agrees"
    assert judged(answer()).verdicts["docker"].status == "absent"
    strict = judged(answer(), strict=True)
    assert strict.status == "drift"
    assert strict.verdicts["docker"].status == "missing"
    assert strict.verdicts["slurm"].status == "absent"
    baked = judged(answer(identity={"components": [{"component": "docker", "version": "29"}, 3]}))
    assert baked.bad == ["docker"]


@pytest.mark.parametrize(
    ("system", "version", "status"),
    [
        ("Amazon Linux 2023.12.20260928", "25.0.16", "agrees"),
        ("Amazon Linux 2023.12.20260928", "29.1.3", "drift"),
        ("Ubuntu 24.04.3 LTS", "29.1.3", "agrees"),
        ("Ubuntu 24.04.3 LTS", "25.0.16", "drift"),
    ],
)
def test_amazon_linux_has_an_engine_of_its_own(system: str, version: str, status: str) -> None:
    assert judged(answer(os=system, docker=version)).verdicts["docker"].status == status


def test_what_was_baked_from_amazon_linuxs_record_is_demanded_there() -> None:
    baked = {"component": "docker", "version": "25.0.16", "record": "docker_amazon_linux_release"}
    told = answer(os="Amazon Linux 2023", identity={"components": [baked]})
    assert judged(told).bad == ["docker"]


def test_what_gives_no_version_is_not_taken_as_good() -> None:
    one = answer()
    assert one.content is not None
    one.content["components"]["docker"] = {"found": [], "problems": ["it hangs"], "reason": ""}
    assert judged(one).verdicts["docker"].status == "unclear"
    assert judged(one).bad == ["docker"]
    assert judged(one, None).status == "no stack"
    assert judged(one, None).bad == []


@pytest.mark.parametrize(
    "components", [None, 3, [], {"docker": 3}, {"docker": {"found": [3, {"version": 1}]}}]
)
def test_an_answer_of_another_shape_is_unclear_and_no_traceback(components: Any) -> None:
    one = answer(identity=["x"])
    assert one.content is not None
    one.content["components"] = components
    assert judged(one).verdicts["pytorch"].status == "unclear"


def test_the_stack_is_the_one_that_the_image_names() -> None:
    named = promises.of_identity({"stack": {"name": "gpu-cuda13", "versions": {}}})
    assert named == GPU
    elsewhere = {"stack": {"name": "theirs", "versions": {"docker_release": "29.1.3"}}}
    baked = promises.of_identity(elsewhere)
    assert baked is not None
    assert (baked.name, baked.versions) == ("theirs (as baked)", {"docker_release": "29.1.3"})
    for identity in ({}, {"stack": "x"}, {"stack": {"name": 3}}, {"stack": {"name": "theirs"}}):
        assert promises.of_identity(identity) is None


def test_a_stack_that_cannot_be_read_is_the_failure_of_that_target_only() -> None:
    def broken(_identity: Any) -> Promises:
        raise InputError("the stack is wrong")

    one = comparison.judge(answer(), broken, strict=False)
    assert one.status == "no answer"
    assert "the stack is wrong" in one.as_json()["error"]


def test_equal_targets_are_one_group_and_the_odd_one_is_told() -> None:
    many = [judged(answer(f"node{n}", pytorch="2.15.0")) for n in range(5)]
    odd = judged(answer("odd", pytorch="2.14.0", docker="29.1.3"))
    groups = comparison.group([odd, *many])
    assert [one.names for one in groups] == [[f"node{n}" for n in range(5)], ["odd"]]
    assert comparison.differences(groups[1], groups[0]) == {
        "pytorch": ("2.14.0", "2.15.0"),
        "docker": ("29.1.3", None),
    }


def test_the_json_keeps_its_shape() -> None:
    silent = Answer(target=Target(name="dead", kind="ssh"), seconds=1.0, error=InputError("no"))
    all_judged = [judged(answer("good", docker="29.1.3")), judged(silent)]
    content = comparison.as_json(all_judged, comparison.group(all_judged))
    assert list(content) == ["schema", "targets", "groups", "silent"]
    assert content["schema"] == 1
    assert content["silent"] == ["dead"]
    assert content["groups"] == [{"targets": ["good"], "differs": {}}]
    for target in content["targets"]:
        assert list(target) == [
            "target", "kind", "host", "status", "stack", "image", "seconds", "error", "components",
        ]  # fmt: skip
    good, dead = content["targets"]
    assert (dead["status"], dead["error"], dead["components"]) == ("no answer", "no", {})
    assert set(good["components"]) == set(COMPONENTS)
    assert good["components"]["docker"] == {
        "status": "agrees",
        "version": "29.1.3",
        "expected": "29.1.3",
        "found": [{"version": "29.1.3", "where": "there"}],
        "problems": [],
        "reason": "",
    }
