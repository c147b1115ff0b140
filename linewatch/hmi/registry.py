"""Every page, one line each, in the order of the navigation."""

from linewatch.hmi.page import Page
from linewatch.hmi.pages.coil import COIL_PAGE
from linewatch.hmi.pages.coils import COILS
from linewatch.hmi.pages.compare import COMPARE
from linewatch.hmi.pages.defect import DEFECT
from linewatch.hmi.pages.labels import LABELS
from linewatch.hmi.pages.live import LIVE
from linewatch.hmi.pages.rolls import ROLLS
from linewatch.hmi.pages.trends import TRENDS

PAGES: tuple[Page, ...] = (
    LIVE,
    COILS,
    COIL_PAGE,
    COMPARE,
    TRENDS,
    ROLLS,
    DEFECT,
    LABELS,
)
