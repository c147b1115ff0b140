"""Sessions: who has logged in, by a cookie that says nothing by itself. They end with the process."""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_SESSIONS: Final = 1000
MOST_OF_ONE_PERSON: Final = 20


@dataclass(slots=True)
class Session:
    """One browser of one person.

    password_hash: of the password that opened it; another password ends it. csrf: what its forms and scripts send with
    every action.
    """

    person: str
    password_hash: str
    seen_s: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    sockets: int = 0

    def proves(self, csrf: str) -> bool:
        """Return whether a request comes from a page that this session was given."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "replace"))


class Sessions:
    """Used by the event loop's thread alone."""

    def __init__(self, lasts_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts_s, self._clock = lasts_s, clock
        self._by_token: OrderedDict[str, Session] = OrderedDict()  # the least recently used first

    def begin(self, person: str, password_hash: str) -> str:
        """Return the cookie's value of a new session. Beyond the bounds the least recently used one ends."""
        own = [token for token, session in self._by_token.items() if session.person == person]
        for token in own[: max(0, len(own) + 1 - MOST_OF_ONE_PERSON)]:
            del self._by_token[token]
        while len(self._by_token) >= MOST_SESSIONS:
            self._by_token.popitem(last=False)
        token = secrets.token_urlsafe(32)
        self._by_token[token] = Session(person, password_hash, self._clock())
        return token

    def find(self, token: str) -> Session | None:
        """Return the session of a cookie, and begin its time anew; None for one that has ended or never was."""
        session = self._by_token.get(token)
        if session is None:
            return None
        now_s = self._clock()
        if now_s - session.seen_s > self._lasts_s:
            del self._by_token[token]
            return None
        session.seen_s = now_s
        self._by_token.move_to_end(token)
        return session

    def end(self, token: str) -> None:
        """End a session, if there is one."""
        self._by_token.pop(token, None)
