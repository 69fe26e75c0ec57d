"""The torchtitan test case, in its image, where each test of check_torchtitan reports."""

import tomllib

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
    return CaseUnderTest("torchtitan", AT_MOST_S).said("check_torchtitan")


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("name", names_of("check_torchtitan"))
def test_inside_the_image(name: str, output: str) -> None:
    demand_ok("check_torchtitan", name, output)


def test_batches_and_splits_fit_the_nodes_that_each_is_meant_for() -> None:
    case = load_case("torchtitan")
    for name, one in case.configurations.items():
        job = tomllib.loads((layout.CONTAINERS / "torchtitan" / one.path).read_text())
        assert job["parallelism"]["tensor_parallel_degree"] == one.splits.tensor, name
        ranks = (one.nodes or 2) * OF_INSTANCE.get(one.instance or "", 1)
        copies, rest = divmod(ranks, one.splits.processes)
        assert not rest, name
        batch = job["training"]["local_batch_size"] * copies
        assert job["training"]["global_batch_size"] % batch == 0, name


def test_the_shim_is_imported_only_without_a_gpu() -> None:
    program = (layout.CONTAINERS / "torchtitan" / "train.py").read_text()
    assert "SHIM = not torch.cuda.is_available()\nif SHIM:\n    import cpu_shim\n" in program
    assert program.count("import cpu_shim") == 1
