"""The two streams of the command line: results on stdout, progress and errors on stderr."""

from rich.console import Console

results = Console(soft_wrap=True)
progress = Console(stderr=True, soft_wrap=True, highlight=False)
