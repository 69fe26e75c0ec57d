"""What each role wrote: the files of a machine by the moment in which each was last changed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bakehouse.builder.buildkit import Step

Execute = Callable[[Sequence[str]], tuple[int, str]]

# By tenths of a second, since there are roles that take less than one. A file with several names
# counts once. Logs are daemons', not roles', and image_cleanup empties them.
_SCRIPT = r"""
find / -xdev -path /var/log -prune -o -printf '%C@ %b %n %D:%i\n' 2>/dev/null | awk '
$3 == 1 || !seen[$4]++ { split($1, at, "."); sum[at[1] "." substr(at[2], 1, 1)] += $2 }
END { for (moment in sum) printf "%s %.0f\n", moment, sum[moment] * 512 }'
"""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What stands on a machine's root device, logs left out.

    Attributes:
        bytes: All of it; 0 where the machine cannot say.
        clock_ahead_s: By how much the machine's clock is ahead of this host's.
        at: Bytes last changed since a moment, by when they were, in seconds of this host's clock.
    """

    bytes: int
    clock_ahead_s: float = 0.0
    at: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def measure(execute: Execute, since: float) -> Written:
    """Ask a machine.

    Args:
        execute: Runs a command there.
        since: Seconds of this host's clock; of what was changed before only the sum is kept.
    """
    _, listing = execute(["sh", "-c", _SCRIPT])
    moments = [line.split() for line in listing.splitlines() if len(line.split()) == 2]
    ahead = _clock_ahead(execute)
    at: dict[str, int] = {}
    for moment, size in moments:
        here = float(moment) - ahead
        if here >= since:
            key = f"{here:.1f}"
            at[key] = at.get(key, 0) + int(size)
    total = sum(int(size) for _, size in moments)
    return Written(bytes=total, clock_ahead_s=round(ahead, 3), at=dict(sorted(at.items())))


def by_role(at: Mapping[str, int], steps: Mapping[str, Step]) -> dict[str, int]:
    """Bytes by role: a file is the role's that was the last to begin before it was changed.

    So what a later role changes again is the later one's, and what was changed before the first
    role is nobody's.
    """
    found = dict.fromkeys(steps, 0)
    began = sorted((step.began_at, name) for name, step in steps.items())
    for moment, size in at.items():
        roles = [name for begin, name in began if begin <= float(moment)]
        if roles:
            found[roles[-1]] += size
    return found


def _clock_ahead(execute: Execute) -> float:
    """Seconds by which the machine's clock is ahead; 0 where it does not say."""
    before = time.time()
    status, text = execute(["date", "+%s.%N"])
    after = time.time()
    try:
        return float(text) - (before + after) / 2 if status == 0 else 0.0
    except ValueError:
        return 0.0
