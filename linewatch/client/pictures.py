"""The newest picture of a service's camera, on request."""

from dataclasses import dataclass

from linewatch.client.connection import Connection
from linewatch.client.keys import ClientKeys
from linewatch.wire.schema import NewestPictureBody


@dataclass(frozen=True, slots=True)
class NewestPicture:
    """A reduced frame as a gray JPEG, and where it lies."""

    about: NewestPictureBody
    jpeg: bytes


class PictureRequester(Connection):
    """Connected to a service's serve socket; used and closed by one thread, after the one that made it is done."""

    def __init__(self, endpoint: str, answer_timeout_s: float = 5.0, *, keys: ClientKeys | None = None) -> None:
        """endpoint: the service's [wire] serve. Raises WireError for an invalid endpoint or key."""
        super().__init__(endpoint, "serve", answer_timeout_s, keys)

    def newest(self) -> NewestPicture | None:
        """Return the newest picture; None while the service has none. Raises RefusedError or NoAnswerError.

        The service makes pictures only while somebody asks: the first request brings an old one, or none.
        """
        found = self._requester.picture()
        return NewestPicture(*found) if found is not None else None
