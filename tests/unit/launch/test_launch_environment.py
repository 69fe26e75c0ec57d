"""The rules that environment variables come from."""

from dataclasses import replace

import pytest

from bakehouse.launch.environment import RULES, Context, compute

LAPTOP = Context(backend="gloo", interface="eth0", processors=2, processes=4, threads_per_process=1)


def values(context: Context) -> dict[str, str]:
    return {setting.variable: setting.value for setting in compute(context)}


def test_each_rule_has_its_own_variable_and_a_reason() -> None:
    assert len({rule.variable for rule in RULES}) == len(RULES)
    assert all(len(rule.reason) > 20 for rule in RULES)


@pytest.mark.parametrize(
    ("processors", "processes", "wanted", "threads"),
    [(2, 4, 1, "1"), (2, 4, 8, "1"), (64, 4, 8, "8"), (64, 4, 32, "16"), (64, 4, 1, "1")],
)
def test_threads_never_exceed_the_share_nor_what_the_case_wants(
    processors: int, processes: int, wanted: int, threads: str
) -> None:
    context = replace(
        LAPTOP, processors=processors, processes=processes, threads_per_process=wanted
    )
    assert values(context)["OMP_NUM_THREADS"] == threads


def test_the_interface_is_told_to_gloo_and_to_nothing_else() -> None:
    assert values(LAPTOP)["GLOO_SOCKET_IFNAME"] == "eth0"
    assert "GLOO_SOCKET_IFNAME" not in values(replace(LAPTOP, backend="nccl"))
