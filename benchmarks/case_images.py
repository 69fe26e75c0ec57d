"""What the image of each test case adds to its base, and how long that takes.

    .venv/bin/python benchmarks/case_images.py --write

Neither bases nor downloads of wheels are counted: every case is built once, then its layer again
without a cache. `--write` puts the table into docs/benchmarks.md.
"""

import argparse

import benchmarks_page

from bakehouse import engine
from bakehouse.builder.build import build_lineage
from bakehouse.builder.result import Options
from bakehouse.images import Image, latest, load_images

HEADINGS = ("image", "base", "adds", "of its base", "build", "of its base's build")


def size(name: str) -> int:
    """Bytes of an image, all layers together."""
    found = engine.image(latest(name))
    if found is None:
        raise RuntimeError(f"there is no image {name}")
    return int(found.attrs["Size"])


def row(image: Image) -> tuple[str, ...]:
    """Build an image twice, and say what its own layer costs."""
    build_lineage(image.name, Options())
    *below, own = build_lineage(image.name, Options(no_cache=True))
    base = str(image.parent)
    base_seconds = sum(layer.built_seconds for result in below for layer in result.layers)
    added = size(image.name) - size(base)
    return (
        f"`{image.name}`",
        f"`{base}`",
        f"{added / 1e6:.1f} MB",
        f"{added / size(base):.3f}×",
        f"{own.seconds:.0f} s",
        f"{own.seconds / base_seconds:.2f}×" if base_seconds else "not known here",
    )


def main() -> None:
    """Measure, print, and with --write rewrite the marked part of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("images", nargs="*", help="default: every test case")
    options = parser.parse_args()
    cases = [image for image in load_images().values() if image.kind == "case"]
    wanted = [image for image in cases if image.name in (options.images or [i.name for i in cases])]
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(row, wanted)]
    command = [".venv/bin/python", "benchmarks/case_images.py", *options.images, "--write"]
    measured = benchmarks_page.measured("one run", " ".join(command))
    text = "\n".join([measured, "", *(f"| {' | '.join(cells)} |" for cells in rows)])
    print(text)
    if options.write:
        benchmarks_page.write("case_images", text)


if __name__ == "__main__":
    main()
