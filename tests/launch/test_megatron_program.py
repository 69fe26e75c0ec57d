"""The megatron-lm test case, tested inside its image, where each test of check_megatron reports."""

import json

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

from bakehouse import layout
from bakehouse.launch.case import load_case

AT_MOST_S = 900
OF_INSTANCE = {"p5.48xlarge": 8}


@pytest.fixture(scope="module")
def output() -> str:
    """What unittest says inside the image."""
    return CaseUnderTest("megatron-lm", AT_MOST_S).said("check_megatron")


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("name", names_of("check_megatron"))
def test_inside_the_image(name: str, output: str) -> None:
    demand_ok("check_megatron", name, output)


def test_the_description_splits_as_the_configurations_do() -> None:
    case = load_case("megatron-lm")
    for name, one in case.configurations.items():
        values = json.loads((layout.CONTAINERS / "megatron-lm" / one.path).read_text())
        splits = (one.splits.tensor, one.splits.pipeline, one.splits.context)
        assert splits == (values["tensor"], values["pipeline"], values["context"]), name


def test_the_batch_of_each_can_be_dealt_to_the_copies_on_its_nodes() -> None:
    case = load_case("megatron-lm")
    for name, one in case.configurations.items():
        values = json.loads((layout.CONTAINERS / "megatron-lm" / one.path).read_text())
        if one.instance is None:
            continue
        copies, rest = divmod((one.nodes or 1) * OF_INSTANCE[one.instance], one.splits.processes)
        assert not rest, name
        assert values["global_batch_size"] % (copies * values["micro_batch_size"]) == 0, name


def test_the_shim_is_imported_only_without_a_gpu() -> None:
    program = (layout.CONTAINERS / "megatron-lm" / "train.py").read_text()
    assert "SHIM = not torch.cuda.is_available()\nif SHIM:\n    import cpu_shim\n" in program
    assert program.count("import cpu_shim") == 1
