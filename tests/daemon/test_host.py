"""What the host tells of its disk, and that a disk that hangs keeps nobody waiting."""

import threading

from linewatch.daemon.host import FreeSpace, free_mb


class SettableClock:
    ns = 0

    def now_ns(self) -> int:
        return self.ns


def test_a_disk_that_hangs_is_not_known_and_nobody_waits_for_it(tmp_path) -> None:
    asked, answers = threading.Semaphore(0), threading.Semaphore(0)

    def measure_mb() -> float | None:
        asked.release()
        answers.acquire()
        return free_mb(tmp_path)

    clock = SettableClock()
    with FreeSpace(measure_mb, clock) as space:
        asked.acquire()
        assert space.mb() is None  # not answered yet
        answers.release()
        asked.acquire()  # asked again: the first answer is in
        assert space.mb() > 0
        clock.ns += 60_000_000_000  # the second never comes
        assert space.mb() is None
        answers.release(2)


def test_a_folder_that_is_not_there_has_no_known_space(tmp_path) -> None:
    assert free_mb(tmp_path / "none") is None
