# Part of Bakehouse, under the Apache License 2.0.
"""Ansible filter: an address with its prefix replaced by that of a mirror."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """Return the address with its longest listed prefix replaced."""
    for prefix in sorted(mirrors, key=len, reverse=True):
        if url.startswith(prefix):
            return mirrors[prefix] + url[len(prefix) :]
    return url


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters by name."""
        return {"mirrored": mirrored}
