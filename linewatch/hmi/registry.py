"""Every page, one line each, in the order of the navigation."""

from linewatch.hmi.page import Page
from linewatch.hmi.pages.alarms import ALARMS
from linewatch.hmi.pages.coil import COIL_PAGE
from linewatch.hmi.pages.coils import COILS
from linewatch.hmi.pages.compare import COMPARE
from linewatch.hmi.pages.defect import DEFECT
from linewatch.hmi.pages.engines import ENGINES
from linewatch.hmi.pages.journal import JOURNAL
from linewatch.hmi.pages.labels import LABELS
from linewatch.hmi.pages.live import LIVE
from linewatch.hmi.pages.rolls import ROLLS
from linewatch.hmi.pages.system import SYSTEM
from linewatch.hmi.pages.trends import TRENDS

PAGES: tuple[Page, ...] = (
    LIVE,
    ALARMS,
    JOURNAL,
    COILS,
    COIL_PAGE,
    COMPARE,
    TRENDS,
    ROLLS,
    DEFECT,
    LABELS,
    ENGINES,
    SYSTEM,
)
