"""The bionemo test case inside its image; each test of in_container/check_bionemo*.py reports.

All of them are slow: a day's work does not build the image.
"""

from pathlib import Path

import pytest
from case_under_test import CaseUnderTest
from unittest_inside import demand_ok, names_of

FILES = ("check_bionemo", "check_bionemo_runs")
AT_MOST_S = 600

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def bionemo() -> CaseUnderTest:
    return CaseUnderTest("bionemo", AT_MOST_S)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in FILES for name in names_of(module)]
)
def test_inside_the_image(module: str, name: str, bionemo: CaseUnderTest) -> None:
    demand_ok(module, name, bionemo.said(module))


def test_a_killed_node_and_a_resume(bionemo: CaseUnderTest, tmp_path: Path) -> None:
    bionemo.demand_resume(tmp_path / "run", after_step=55, resumed_at=50)
