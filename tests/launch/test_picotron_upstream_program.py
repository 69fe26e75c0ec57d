"""The test case picotron-upstream, in its image, where its source can be had."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

from bakehouse import engine, layout
from bakehouse.launch.case import load_case

CASE = "picotron-upstream"
AT_MOST_S = 900
OF_INSTANCE = {"p5.48xlarge": 8}
MIRROR = "BAKEHOUSE_TEST_GITHUB_MIRROR"
"""Names what stands for https://github.com/; itself where it can be reached."""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseUnderTest]:
    """The case in its image, which is built where the source can be had."""
    mirror = os.environ.get(MIRROR)
    if mirror is None and engine.image(f"bakehouse/{CASE}:latest") is None:
        pytest.skip(f"Picotron's source is on GitHub: name a mirror of it in {MIRROR}")
    with pytest.MonkeyPatch.context() as patched:
        if mirror is not None:
            mirrors = tmp_path_factory.mktemp("mirrors") / "mirrors.yml"
            mirrors.write_text(json.dumps({"https://github.com/": mirror}))
            patched.setenv("BAKEHOUSE_MIRRORS", str(mirrors))
        yield CaseUnderTest(CASE, AT_MOST_S)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("name", names_of("check_picotron_upstream"))
def test_inside_the_image(name: str, case: CaseUnderTest) -> None:
    demand_ok("check_picotron_upstream", name, case.said("check_picotron_upstream"))


@pytest.mark.docker
@pytest.mark.slow
def test_a_run_that_loses_a_node_goes_on_as_if_nothing_were(
    case: CaseUnderTest, tmp_path: Path
) -> None:
    case.demand_resume(tmp_path / "run", after_step=45, resumed_at=30)


def test_splits_are_those_that_launchers_know_and_fit_the_nodes() -> None:
    described = load_case(CASE)
    for name, one in described.configurations.items():
        job = json.loads((layout.CONTAINERS / CASE / one.path).read_text())
        split = job["distributed"]
        assert split["tp_size"] == one.splits.tensor, name
        assert split["pp_size"] == one.splits.pipeline, name
        assert split["cp_size"] == one.splits.context, name
        ranks = (one.nodes or 2) * OF_INSTANCE.get(one.instance or "", 1)
        copies, rest = divmod(ranks, one.splits.processes)
        assert not rest, name
        assert split["cp_size"] == 1 or copies > 1, name
        assert split["use_cpu"] == (one.device == "cpu"), name
