"""What Ansible prints through Packer, as roles, tasks and their times."""

import re
import time
from collections import deque
from collections.abc import Sequence

from bakehouse.builder.buildkit import OnEvent, Step

_PREFIX = re.compile(r"^(?:==>|-->|  )?\s*[a-z0-9-]+\.[a-z0-9-]+\.[a-z0-9_-]+: ?")
_TASK = re.compile(r"^TASK \[([a-z0-9_]+) : ")


class Output:
    """Reads line by line; a role ends where the next one's first task begins.

    Attributes:
        steps: Roles that have begun, by name.
        lines: The last lines, without Packer's prefix.
        present: The role that runs.
        reached: Name of the last role that began.
    """

    def __init__(self, roles: Sequence[str], on_event: OnEvent) -> None:
        self.steps: dict[str, Step] = {}
        self.lines: deque[str] = deque(maxlen=400)
        self.present: Step | None = None
        self.reached = ""
        self._since = 0.0
        self._roles = set(roles)
        self._on_event = on_event

    def read(self, raw: str) -> None:
        """Take a line of Packer's output."""
        line = _PREFIX.sub("", raw.rstrip("\n"))
        self.lines.append(line)
        task = _TASK.match(line)
        # Tasks of a role that another includes count as the including one's.
        if task is not None and task[1] in self._roles and task[1] not in self.steps:
            self.close_role()
            self._open_role(task[1])
        if line.startswith("PLAY RECAP"):
            self.close_role()
        if self.present is not None:
            self.present.read(time.monotonic() - self._since, line)
            self._on_event("line", self.present, line)

    def close_role(self) -> None:
        """End the present role, if there is one."""
        if self.present is not None:
            self.present.seconds = time.monotonic() - self._since
            self.present.close_task(self.present.seconds)
            self._on_event("done", self.present, "")
            self.present = None

    def _open_role(self, name: str) -> None:
        self._since = time.monotonic()
        self.reached = name
        self.present = self.steps[name] = Step(name=name, marked=True, began_at=time.time())
        self._on_event("start", self.present, "")
