"""The error of a picture that cannot be read."""

from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause


class PictureError(SourceError):
    """A picture that is damaged, or of a kind that is not read. `cause`: what a frame of it is missed for."""

    def __init__(self, reason: str, cause: Cause = Cause.CORRUPT) -> None:
        super().__init__(reason)
        self.cause = cause
