"""A session that was started in the background still tests what an interrupt does."""

import signal
import subprocess
import sys

SAY = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"


def test_programs_that_tests_start_do_not_ignore_an_interrupt() -> None:
    said = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
