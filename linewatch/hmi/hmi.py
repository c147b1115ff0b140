"""What the pages share: the configuration, the view of the service, the history, commands, people and sessions."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from linewatch.hmi.access.people import People
from linewatch.hmi.access.sessions import Sessions
from linewatch.hmi.commands import PersonCommands
from linewatch.hmi.feed.hub import Hub
from linewatch.hmi.feed.live_view import LiveView
from linewatch.hmi.feed.pictures import NewestPictures
from linewatch.hmi.records import Records
from linewatch.hmi.settings import HmiSettings


@dataclass(frozen=True, slots=True)
class Hmi:
    """Made once by `linewatch.hmi.serve`; a page reaches it by `asked.hmi`."""

    settings: HmiSettings
    view: LiveView
    hub: Hub
    pictures: NewestPictures
    records: Records
    commands: PersonCommands
    people: People
    sessions: Sessions
    classes: tuple[str, ...]  # in the order of the taxonomy

    @property
    def zone(self) -> ZoneInfo:
        """The plant's time zone."""
        return ZoneInfo(self.settings.time_zone)
