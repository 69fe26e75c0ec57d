"""Runs a file of unittest tests and says at the end how each of them went, as one line of JSON.

    python3 verdicts.py check_train

What tests and libraries print may stand between a test's name and its verdict, so unittest's own
lines cannot be relied on. Standard library only.
"""

# ruff: noqa: N802  # the names are unittest's

import json
import sys
import unittest
from unittest.result import TestResult

MARK = "VERDICTS "
"""What the last line begins with; then an object: `Group.test_name` to its verdict."""


class Verdicts(unittest.TextTestResult):
    """Notes each test's verdict: ok, or what else it is."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.of: dict[str, str] = {}

    def _note(self, test: unittest.TestCase, verdict: str) -> None:
        self.of[".".join(test.id().split(".")[-2:])] = verdict

    def startTest(self, test: unittest.TestCase) -> None:
        """Count it as unfinished, until it says otherwise."""
        super().startTest(test)
        self._note(test, "not finished")

    def addSuccess(self, test: unittest.TestCase) -> None:
        """It passed; parts of it that failed have said so before."""
        super().addSuccess(test)
        self._note(test, "ok")

    def addError(self, test: unittest.TestCase, err: object) -> None:
        """It raised something."""
        super().addError(test, err)
        self._note(test, "error")

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        """It asserted something that is not so."""
        super().addFailure(test, err)
        self._note(test, "failed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """It was left out."""
        super().addSkip(test, reason)
        self._note(test, f"skipped: {reason}")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        """Note a part that went wrong; unittest calls no addSuccess for its whole then."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed")


def main(module: str) -> int:
    """Run a module's tests; returns 0 if all passed."""
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    found: TestResult = unittest.TextTestRunner(resultclass=Verdicts, verbosity=2).run(suite)
    sys.stderr.flush()
    print(f"\n{MARK}{json.dumps(getattr(found, 'of', {}))}", flush=True)
    return 0 if found.wasSuccessful() else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
