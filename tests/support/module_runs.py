"""Ansible's modules, run in the process of a test."""

from collections.abc import Callable
from typing import Any

RunHere = Callable[..., tuple[int, dict[str, Any]]]
"""Runs a module with these arguments; returns its exit status and its result."""
