"""Whether a run like the one that is asked for has been done already."""

import json

from bakehouse.launch.request import Request
from bakehouse.launch.run_record import FILE_NAME, RunRecord


def same_run(request: Request) -> RunRecord | None:
    """The finished run in the output folder, if it was of this image and asked the same; else None.

    A record that cannot be read, or that an older version of this program wrote, is no such run.
    """
    try:
        text = (request.output / FILE_NAME).read_text(encoding="utf-8")
        record = RunRecord.from_json(json.loads(text))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    same = (
        record.outcome == "done"
        and record.image_id == request.image_id
        and record.configuration == request.configuration
        and record.nodes == request.nodes
        and record.processes_per_node == request.processes_per_node
        and record.expected == request.expected
        and _kills(record) == _wanted_kills(request)
    )
    return record if same else None


def _kills(record: RunRecord) -> list[tuple[int, int]]:
    killed = [attempt.killed for attempt in record.attempts]
    return [(k.node, k.after_step) for k in killed if k is not None]


def _wanted_kills(request: Request) -> list[tuple[int, int]]:
    if request.kill_node is None or request.kill_after_step is None:
        return []
    return [(request.kill_node, request.kill_after_step)]
