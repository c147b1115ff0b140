"""Every page, one line each, in the order of the navigation."""

from linewatch.hmi.page import Page
from linewatch.hmi.pages.alarms import ALARMS
from linewatch.hmi.pages.engines import ENGINES
from linewatch.hmi.pages.journal import JOURNAL
from linewatch.hmi.pages.live import LIVE
from linewatch.hmi.pages.system import SYSTEM

PAGES: tuple[Page, ...] = (LIVE, ALARMS, JOURNAL, ENGINES, SYSTEM)
