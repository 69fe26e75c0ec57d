"""The page about the last whole test session says what its record says."""

from pathlib import Path

from summarise_tests import read, render

RECORD = """<?xml version="1.0"?>
<testsuites><testsuite>
  <testcase classname="tests.unit.test_a" name="test_one" time="1.5"/>
  <testcase classname="tests.unit.test_a" name="test_two" time="0.5">
    <failure message="no"/></testcase>
  <testcase classname="tests.roles.test_b" name="test_three" time="90">
    <skipped message="no such engine"/></testcase>
  <testcase classname="tests.roles.test_b" name="test_four" time="60">
    <error message="x"/></testcase>
</testsuite></testsuites>
"""


def test_every_test_is_counted_where_it_belongs(tmp_path: Path) -> None:
    record = tmp_path / "all.xml"
    record.write_text(RECORD)
    page = render(read(record))
    assert "| tests/unit | 1 | 1 | 0 |" in page
    assert "| tests/roles | 0 | 1 | 1 |" in page
    assert "| **all** | 1 | 2 | 1 |" in page
    assert "- `tests.unit.test_a::test_two`" in page
    assert "- no such engine (1)" in page
    assert page.index("90 s `tests.roles.test_b::test_three`") < page.index("60 s")
