"""Bus bandwidth of each collective beside that of an all-reduce of the same size, in one run.

    .venv/bin/python benchmarks/collectives.py --write

Two processes in the image `cpu`, over gloo; `bakehouse bench collectives` measures. `--write` puts
the table into docs/benchmarks.md.
"""

import argparse
import json
import subprocess
import sys

import benchmarks_page

from bakehouse.bench.plot import size_text

SIZES = (2**10, 2**16, 2**20, 2**24)


def measured() -> dict[tuple[str, int], float]:
    """Bus bandwidth in GB/s by operation and size.

    Raises:
        subprocess.CalledProcessError: It failed, or a number arrived that was wrong.
    """
    command = [sys.executable, "-m", "bakehouse", "bench", "collectives", "--json"]
    sizes = ["--least", str(SIZES[0]), "--most", str(SIZES[-1])]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["measurements"]
    return {(one["operation"], one["bytes"]): one["busbw"] for one in found}


def main() -> None:
    """Measure, print, and with --write rewrite the marked part of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = measured()
    operations = list(dict.fromkeys(operation for operation, _ in found))
    rows = [("operation", *map(size_text, SIZES)), ("---",) * (len(SIZES) + 1)]
    for operation in operations:
        cells = [_cell(found, operation, size) for size in SIZES]
        rows.append((operation, *cells))
    command = ".venv/bin/python benchmarks/collectives.py --write"
    what = benchmarks_page.measured("one run, two processes over gloo", command)
    text = "\n".join([what, "", *(f"| {' | '.join(row)} |" for row in rows)])
    print(text)
    if options.write:
        benchmarks_page.write("collectives", text)


def _cell(found: dict[tuple[str, int], float], operation: str, size: int) -> str:
    busbw, reference = found[operation, size], found["all_reduce", size]
    return f"{busbw:.3g} GB/s" + (
        "" if operation == "all_reduce" else f", {busbw / reference:.2f}×"
    )


if __name__ == "__main__":
    main()
