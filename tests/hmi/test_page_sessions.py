"""Sessions and rates: bounded, and over when their time is."""

from linewatch.hmi.access.rate_limit import MOST_SENDERS, RateLimit
from linewatch.hmi.access.sessions import MOST_OF_ONE_PERSON, MOST_SESSIONS, Sessions


class Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_session_ends_after_its_last_request() -> None:
    clock = Time()
    sessions = Sessions(60.0, clock)
    token = sessions.begin("a", "hash")
    clock.now_s = 59.0
    found = sessions.find(token)
    assert found is not None
    assert found.person == "a"
    assert found.proves(found.csrf)
    assert not found.proves("")
    assert not found.proves("\ud800")
    clock.now_s = 118.0
    assert sessions.find(token) is not None
    clock.now_s = 179.0
    assert sessions.find(token) is None
    assert sessions.find("") is None


def test_sessions_are_bounded() -> None:
    sessions = Sessions(60.0, Time())
    own = [sessions.begin("a", "hash") for _ in range(MOST_OF_ONE_PERSON + 1)]
    assert sessions.find(own[0]) is None
    assert sessions.find(own[1]) is not None
    for number in range(MOST_SESSIONS):
        sessions.begin(str(number), "hash")
    assert sessions.find(own[-1]) is None


def test_a_sender_may_ask_so_often() -> None:
    clock = Time()
    rate = RateLimit(0.5, 2, clock)
    assert [rate.takes("a") for _ in range(3)] == [True, True, False]
    assert rate.takes("b")
    clock.now_s = 2.0
    assert [rate.takes("a") for _ in range(2)] == [True, False]
    rate.gives_back("a")
    assert [rate.takes("a") for _ in range(2)] == [True, False]
    for number in range(MOST_SENDERS):
        rate.takes(str(number))
    assert len(rate._left) == MOST_SENDERS
