"""The system page: the stages of the service, what they handle and by when, and everything that they depend on."""

from linewatch.hmi.faults import FAULTS
from linewatch.hmi.page import Answer, Asked, Data, Page
from linewatch.hmi.texts import N_


async def _faults(asked: Asked) -> Answer:
    """What each event of the log means, and what to do, in the person's language."""
    return {event: [asked.text(what), asked.text(remedy)] for event, (what, remedy) in FAULTS.items()}


SYSTEM = Page("system", "/system", N_("System"), data=(Data("/system/faults", _faults),))
