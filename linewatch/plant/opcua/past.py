"""The coils that ended before the bridge was started, from the service's journal."""

from collections.abc import Callable, Iterator
from threading import Event

from linewatch.client import Subscriber
from linewatch.contracts.errors import WireError
from linewatch.plant.settings import FollowedServiceSettings
from linewatch.wire.schema import CoilMessage, StatusMessage, Topic

_POLL_S = 0.2


def past_coils(
    settings: FollowedServiceSettings, stop: Event, journal: Callable[[str | None], object]
) -> Iterator[CoilMessage]:
    """Yield the journal's messages about coils, oldest first, up to now. Waits for a service that does not run yet.

    `journal` gets the journal's id first. Ends early when `stop` is set, or when the service speaks another schema.
    """
    held: list[CoilMessage] = []
    try:
        with Subscriber(
            settings.publish,
            settings.serve,
            (Topic.COIL, Topic.STATUS),
            keys=settings.client_keys,
            since="journal",
            answer_timeout_s=1.0,
        ) as subscriber:
            while not stop.is_set():
                message = subscriber.poll(_POLL_S)
                if isinstance(message, CoilMessage):
                    held.append(message)
                elif isinstance(message, StatusMessage):  # comes behind everything up to it
                    journal(message.journal_id)
                    break
    except WireError:
        return  # the follower tells it
    yield from held
