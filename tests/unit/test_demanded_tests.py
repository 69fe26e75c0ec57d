"""CI demands every test of an ordinary day: one that finds a reason not to run fails there."""

import pytest

SKIPS = """
import pytest
def test_lacks_something():
    pytest.skip("no such thing here")
@pytest.mark.slow
def test_is_for_another_day():
    assert False
"""


def test_a_reason_not_to_run_is_a_failure_where_all_is_demanded(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.makepyfile(SKIPS)
    monkeypatch.delenv("BAKEHOUSE_REQUIRE_ALL", raising=False)
    session.runpytest_subprocess().assert_outcomes(skipped=2)
    monkeypatch.setenv("BAKEHOUSE_REQUIRE_ALL", "1")
    result = session.runpytest_subprocess()
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*demanded, but *no such thing here*"])


def test_a_host_need_not_have_everything(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.makepyfile(SKIPS)
    monkeypatch.setenv("BAKEHOUSE_REQUIRE_ALL", "1")
    session.runpytest_subprocess("--hosts=local://").assert_outcomes(skipped=2)
