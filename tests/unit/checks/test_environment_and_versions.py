"""Checks of what a job needs to start, and of versions against the stack."""

import pytest
from stand_in_machine import Machine

from bakehouse.checks import environment, versions
from bakehouse.checks.host import IDENTITY
from bakehouse.checks.result import Outcome


def outcomes(found: Outcome | list[Outcome]) -> dict[str, str]:
    """Status by suffix."""
    return {o.suffix: o.status for o in (found if isinstance(found, list) else [found])}


def test_a_complete_identity_passes(machine: Machine) -> None:
    machine.identify()
    assert environment.image_identity(machine).status == "pass"


def test_a_missing_or_incomplete_identity_fails(machine: Machine) -> None:
    assert environment.image_identity(machine).status == "fail"
    machine.identify(commit="")
    found = environment.image_identity(machine)
    assert (found.status, found.reason) == ("fail", "without commit")


def test_an_interpreter_that_runs_passes_and_one_that_does_not_fails(machine: Machine) -> None:
    assert environment.python_environment(machine).status == "fail"
    machine.answers["platform.python_version"] = (0, "3.11.2\n", "")
    found = environment.python_environment(machine)
    assert (found.status, found.measured) == ("pass", "3.11.2")


def test_torch_that_imports_passes(machine: Machine) -> None:
    machine.has_torch()
    assert environment.torch_import(machine).status == "pass"
    assert environment.torch_backends(machine).status == "pass"


def test_torch_that_does_not_import_fails_with_its_last_word(machine: Machine) -> None:
    machine.answers["import json, torch"] = (1, "", "Traceback\nImportError: libgomp.so.1\n")
    found = environment.torch_import(machine)
    assert (found.status, found.reason) == ("fail", "ImportError: libgomp.so.1")
    assert environment.torch_backends(machine).status == "skip"


def test_an_image_without_a_training_environment_is_not_asked_for_one(machine: Machine) -> None:
    machine.identify(components=[{"component": "nvidia_driver", "version": "595.91.07"}])
    assert environment.python_environment(machine).status == "skip"
    assert environment.torch_import(machine).status == "skip"


@pytest.mark.parametrize("components", [[], [{"component": "python", "version": "3.11"}]])
def test_an_image_that_may_have_a_python_must_have_one(
    machine: Machine, components: list[dict[str, str]]
) -> None:
    machine.identify(components=components)
    assert environment.python_environment(machine).status == "fail"


@pytest.mark.parametrize("component", ["pytorch", "pytorch_neuron"])
def test_an_image_with_a_pytorch_must_import_it(machine: Machine, component: str) -> None:
    machine.identify(components=[{"component": component, "version": "2.13.0"}])
    assert environment.torch_import(machine).status == "fail"


def test_a_missing_backend_fails(machine: Machine) -> None:
    machine.has_torch(gloo=False)
    assert environment.torch_backends(machine).status == "fail"


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password", "APIKEY"])
def test_a_secret_is_named_and_never_shown(machine: Machine, name: str) -> None:
    machine.environment[name] = "hunter2"
    found = environment.secrets_in_environment(machine)
    assert (found.status, found.measured) == ("fail", name)
    assert "hunter2" not in str(found)


def test_ordinary_variables_are_no_secrets(machine: Machine) -> None:
    machine.environment |= {"PATH": "/bin", "MASTER_PORT": "1", "KEYBOARD": "de"}
    assert environment.secrets_in_environment(machine).status == "pass"


def test_components_of_the_stacks_versions_pass(machine: Machine) -> None:
    machine.identify()
    assert outcomes(versions.components(machine)) == {"pytorch": "pass", "x": "pass"}


@pytest.mark.parametrize("version", ["1.20", "1.3", "11.2", ""])
def test_a_component_of_another_version_fails(machine: Machine, version: str) -> None:
    machine.identify(components=[{"component": "x", "version": version}])
    assert outcomes(versions.components(machine)) == {"x": "fail"}


@pytest.mark.parametrize(("version", "status"), [("1.2", "pass"), ("9", "fail")])
def test_a_component_is_held_against_the_record_it_was_baked_from(
    machine: Machine, version: str, status: str
) -> None:
    machine.identify(
        components=[{"component": "engine", "record": "x_release", "version": version}]
    )
    assert outcomes(versions.components(machine)) == {"engine": status}


def test_no_component_at_all_is_no_pass(machine: Machine) -> None:
    assert outcomes(versions.components(machine)) == {"": "skip"}
    machine.identify(components=[{"component": "stranger", "version": "1"}])
    assert outcomes(versions.components(machine)) == {"": "fail"}


def test_torch_is_compared_as_it_is_now(machine: Machine) -> None:
    machine.has_torch(version="2.12.0")
    assert versions.torch_version(machine).status == "skip"
    machine.identify()
    assert versions.torch_version(machine).status == "fail"
    machine = Machine(root=machine.root)
    machine.has_torch()
    assert versions.torch_version(machine).status == "pass"


@pytest.mark.parametrize(
    ("promised", "version", "status"),
    [
        ("2.14.1", "2.14.1+cu130", "pass"),
        ("2.14.1", "2.14.10+cu130", "fail"),
        ("2.13.0+cpu", "2.13.0", "fail"),
        ("2.13.0+cpu", "2.13.0+cu130", "fail"),
    ],
)
def test_torch_may_say_more_of_its_build_than_the_stack_and_not_less(
    machine: Machine, promised: str, version: str, status: str
) -> None:
    machine.identify(stack={"name": "x", "versions": {"pytorch_release": promised}})
    machine.has_torch(version=version)
    assert versions.torch_version(machine).status == status


def test_an_identity_that_is_no_json_is_a_finding(machine: Machine) -> None:
    machine.write(IDENTITY, "{")
    with pytest.raises(ValueError, match="Expecting"):
        versions.components(machine)
