"""What a disk takes: time and size of each role, then of writing, booting and judging it.

    .venv/bin/python benchmarks/disks.py --write

Makes the disk of an image anew. `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import benchmarks_page

from bakehouse.builder.result import Options
from bakehouse.images import get_image
from bakehouse.machines.disk_bake import Order, bake, with_disk


def rows(report: dict[str, Any], whole_s: float) -> list[str]:
    """Roles as they last ran, and steps of the proof, as lines of a table."""
    layers = report["build"]["layers"]
    roles = [
        (layer["name"], layer["seconds"] or layer["built_seconds"], f"{layer['bytes'] / 1e6:.0f}")
        for layer in layers
    ]
    steps = [(f"*{name}*", took, "–") for name, took in report["build"]["proof_seconds"].items()]
    return [
        f"| {name} | {took:.1f} | {took / whole_s:.0%} | {mb} |"
        for name, took, mb in [*roles, *steps]
    ]


def table(image: str, folder: Path, whole_s: float) -> str:
    """The marked part of the page."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    proof = json.loads((folder / "proof.json").read_text(encoding="utf-8"))
    (qcow2,), (raw,) = folder.glob("*.qcow2"), folder.glob("*.raw")
    budget = get_image(image).budget
    limit = f"{budget.minutes:g} minutes and {budget.gb:g} GB" if budget else "none"
    command = f".venv/bin/python benchmarks/disks.py {image} --write"
    what = f"one disk of `{image}`, accelerator {proof['accelerator']},"
    size_mb, used_mb = qcow2.stat().st_size / 1e6, raw.stat().st_blocks * 512 / 1e6
    files = f"qcow2 {size_mb:.0f} MB, raw {used_mb:.0f} MB without its holes"
    return "\n".join([
        benchmarks_page.measured(what, command),
        "",
        "| role, and in italics what the proof does | s | of all | MB |",
        "|---|---|---|---|",
        *rows(report, whole_s),
        f"| all, with writing the disk | {whole_s:.0f} | 100% | {report['size_bytes'] / 1e6:.0f} |",
        "",
        f"On the disk: {files}. Budget of the bake: {limit}.",
    ])  # fmt: skip


def main() -> None:
    """Make the disk, print the table, and with --write put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("image", nargs="?", default="cpu-node")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    image = with_disk(options.image)
    began = time.monotonic()
    # Baked anew, so that the roles have times and sizes of this run.
    folder = bake(Order(image=image, again=True, options=Options(no_cache=True)))
    text = table(image.name, folder, time.monotonic() - began)
    print(text)
    if options.write:
        benchmarks_page.write("disks", text)


if __name__ == "__main__":
    main()
