"""`bakehouse ami` on an account that is moto's."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import aws_account
import pytest
from rich.console import Console

from bakehouse import cli, console
from bakehouse.commands import ami, diff

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[aws_account.Account]:
    """An empty AWS account; the region is eu-central-1 unless one is given."""
    with aws_account.opened(monkeypatch) as opened:
        monkeypatch.setenv("AWS_REGION", aws_account.HERE)
        yield opened


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `bakehouse ami` in this process: exit status, results, errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        streams = {"results": io.StringIO(), "progress": io.StringIO()}
        for name, stream in streams.items():
            made = Console(file=stream, width=300, soft_wrap=True)
            for module in (console, ami, diff, cli):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, made)
        monkeypatch.setattr(sys, "argv", ["bakehouse", "ami", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        status = ended.value.code
        assert isinstance(status, int)
        return status, streams["results"].getvalue(), streams["progress"].getvalue()

    return command


@pytest.fixture
def told(run: Run) -> Callable[..., Any]:
    """Run it with `--json`, which must succeed: its result."""

    def command(*arguments: str) -> Any:
        status, shown, errors = run(*arguments, "--json")
        assert status == 0, errors
        return json.loads(shown)

    return command
