"""The command line, run in the process of a test: one of its own costs half a second."""

import io
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
from rich.console import Console

from bakehouse import cli, console

Run = Callable[..., tuple[int, str, str]]
"""Runs `bakehouse` with these arguments; returns its exit status, results and errors."""


def command_line(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType, width: int = 120) -> Run:
    """`bakehouse`, of which a test sees what these modules and the frame show.

    Args:
        monkeypatch: Of the test.
        modules: Those that a command shows something with.
        width: Of the terminal, in characters.
    """

    def run(*arguments: str) -> tuple[int, str, str]:
        streams = {"results": io.StringIO(), "progress": io.StringIO()}
        for name, stream in streams.items():
            made = Console(file=stream, width=width, soft_wrap=True)
            for module in (console, cli, *modules):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, made)
        monkeypatch.setattr(sys, "argv", ["bakehouse", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        status = ended.value.code
        assert isinstance(status, int)
        return status, streams["results"].getvalue(), streams["progress"].getvalue()

    return run
