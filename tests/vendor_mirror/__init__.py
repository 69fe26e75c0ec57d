"""Stand-ins for vendors' repositories, archives and indexes, signed and served from this machine.

They have the vendors' package names, dependencies and paths, and are made from the stack itself, so
that roles run against them through the same mirror variables that closed sites set. What is tested
is our logic (keys, pins, order, idempotence, conflicts, digests), never the vendors' software: each
version says `+fixture`.
"""
