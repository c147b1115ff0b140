"""Every page, one line each, in the order of the navigation."""

from linewatch.hmi.page import Page
from linewatch.hmi.pages.live import LIVE

PAGES: tuple[Page, ...] = (LIVE,)
