"""Starting test cases: what a case is, its environment, and the launcher for local docker."""
