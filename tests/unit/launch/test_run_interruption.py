"""Signals during a run."""

import os
import signal

import pytest

from bakehouse.launch.interruption import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_told_and_raises_nothing(number: signal.Signals) -> None:
    told: list[str] = []
    with interruptible(lambda: told.append("stop")):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert told == ["stop", "stop"]


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible(lambda: None):
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
