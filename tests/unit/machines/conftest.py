"""`bakehouse ami` on an account that is moto's."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import aws_account
import pytest
from command_line import Run, command_line

from bakehouse.commands import ami, diff


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[aws_account.Account]:
    """An empty AWS account; the region is eu-central-1 unless one is given."""
    with aws_account.opened(monkeypatch) as opened:
        monkeypatch.setenv("AWS_REGION", aws_account.HERE)
        yield opened


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `bakehouse ami` in this process: exit status, results, errors."""
    return partial(command_line(monkeypatch, ami, diff, width=300), "ami")


@pytest.fixture
def told(run: Run) -> Callable[..., Any]:
    """Run it with `--json`, which must succeed: its result."""

    def command(*arguments: str) -> Any:
        status, shown, errors = run(*arguments, "--json")
        assert status == 0, errors
        return json.loads(shown)

    return command
