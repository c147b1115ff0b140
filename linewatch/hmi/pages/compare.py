"""The page of two coils side by side: what differs in grade, coverage and defects, and both maps to one scale."""

from collections.abc import Mapping
from typing import Any

from linewatch.hmi.page import Asked, Page
from linewatch.hmi.texts import N_


async def _context(asked: Asked) -> Mapping[str, Any]:
    return {"one": asked.number("a", 0, 0, 1 << 53), "other": asked.number("b", 0, 0, 1 << 53)}


COMPARE = Page("compare", "/compare", N_("Compare"), context=_context, listed=False)
