"""Signals end a service whatever the main thread does at that moment."""

import os
import signal
import threading

from linewatch.signals import on_end


def test_a_signal_waits_for_no_lock_of_the_main_thread() -> None:
    """`stop` is called, though the main thread holds what it needs at the moment of the signal."""
    lock, stopped, handler = threading.Lock(), threading.Event(), signal.getsignal(signal.SIGTERM)

    def stop() -> None:
        with lock:
            stopped.set()

    with on_end(stop):
        with lock:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(30)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_off_the_main_thread_signals_are_left_alone() -> None:
    handler, during = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with on_end(lambda: None):
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [handler]
