"""Checks of a machine against what was promised: standard library, Python 3.9 or newer."""
