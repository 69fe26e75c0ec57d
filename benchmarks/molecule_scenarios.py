"""How long molecule's scenarios take together, and what running them our way saves.

    .venv/bin/python benchmarks/molecule_scenarios.py --write

A sample of scenarios runs one at a time with plain Ansible, then two at a time with Mitogen as
every day; then all scenarios run as every day. A first run makes the mirrors and images that the
scenarios share, and is not counted. `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import os
import subprocess
import sys
import time

import benchmarks_page

from bakehouse import layout

SAMPLE = ("base", "docker", "fetch", "node_exporter", "nvidia_dcgm", "packages")
PLAIN = {"BAKEHOUSE_MOLECULE_STRATEGY": "linear", "BAKEHOUSE_MOLECULE_AT_ONCE": "1"}
AIM_S = 20 * 60


def seconds(scenarios: tuple[str, ...], environment: dict[str, str]) -> float:
    """Run scenarios, and return the time.

    Raises:
        subprocess.CalledProcessError: One of them failed: a time would mean nothing.
    """
    tests = [
        f"tests/roles/test_molecule.py::test_role_in_its_scenario[{scenario}]"
        for scenario in scenarios
    ]
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests],
        cwd=layout.ROOT,
        env=os.environ | environment,
        check=True,
    )
    return time.monotonic() - begin


def main() -> None:
    """Measure, print, and with --write rewrite the marked part of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    folders = (layout.ROOT / "molecule").glob("*/molecule.yml")
    every = tuple(sorted({path.parent.name for path in folders} - {"default"}))
    seconds(SAMPLE, {})
    plain, ours = seconds(SAMPLE, PLAIN), seconds(SAMPLE, {})
    whole = seconds(every, {})
    command = ".venv/bin/python benchmarks/molecule_scenarios.py --write"
    rows = [
        (f"{len(SAMPLE)} scenarios, one at a time, plain Ansible", f"{plain:.0f} s", "1"),
        ("the same, two at a time, Mitogen", f"{ours:.0f} s", f"{ours / plain:.2f}×"),
        (f"all {len(every)} scenarios, so", f"{whole / 60:.1f} min", f"aim: ≤ {AIM_S // 60} min"),
    ]
    lines = [benchmarks_page.measured("one run", command), "", "| what | time | |", "|---|---|---|"]
    text = "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
    print(text)
    if options.write:
        benchmarks_page.write("molecule_scenarios", text)


if __name__ == "__main__":
    main()
