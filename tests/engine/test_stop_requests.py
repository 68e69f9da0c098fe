"""Signals are noted, and handed back to whom they were before."""

import os
import signal
import threading

import pytest

from rs4d.engine import StopRequests, TrainingStopped

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='sends signals')


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted(signum: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signum)
    with StopRequests() as requests:
        assert requests.agreed() == 0
        os.kill(os.getpid(), signum)
        assert requests.agreed() == signum
        # The same key press, once more by the launcher.
        os.kill(os.getpid(), signum)
    assert signal.getsignal(signum) is before
    assert 'saving after this step' in capfd.readouterr().err


def test_a_second_key_press_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('rs4d.engine.stop_requests._ONE_KEY_PRESS_S', -1.0)
    with StopRequests():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_has_nothing_to_finish_is_interrupted_at_once() -> None:
    with StopRequests() as requests:
        with pytest.raises(TrainingStopped) as stopped, requests.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.value.signum == signal.SIGTERM


def test_outside_of_the_main_thread_nothing_is_noted() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with StopRequests() as requests:
            seen.append(requests.agreed())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]
    assert signal.getsignal(signal.SIGINT) is before
