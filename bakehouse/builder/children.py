"""Programs that must not outlive us."""

import shutil
from collections.abc import Sequence


def bound(command: Sequence[str]) -> list[str]:
    """The command, ended by the kernel (SIGTERM) should we be killed while it runs."""
    guard = shutil.which("setpriv")
    return [guard, "--pdeathsig", "TERM", *command] if guard else list(command)
