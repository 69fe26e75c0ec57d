"""Prepare a stand-in for a machine: `python -m vendor_mirror STACK SYSTEM`, with tests in the path.

Prints JSON: `image`, the image that answers as the system; `volumes` to mount, as docker writes
them; `variables`, the file with the stack that belongs to the mirror.
"""

import json
import sys

from vendor_mirror import platforms
from vendor_mirror.prepared import prepared, volumes


def main() -> None:
    """Prepare what the command line names."""
    stack, system = sys.argv[1:]
    folder = prepared(stack, system)
    answer = {
        "image": platforms.image(system),
        "volumes": volumes(folder, system),
        "variables": str(folder / "stack.json"),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
