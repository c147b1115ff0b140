"""The truth of a rendered coil: the defects that are really on it, by which a run is judged."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import SourceError
from linewatch.contracts.verdict import StripBox
from linewatch.files import write_output


class TrueDefect(ClosedModel):
    """One defect as it was drawn on the strip."""

    id: int = Field(ge=0, description="consecutive, in order along the strip")
    defect_class: str
    box: StripBox
    area_mm2: float = Field(gt=0)


class TrueRollMark(ClosedModel):
    """One damaged spot on a roll; its marks are among the coil's defects."""

    id: int = Field(ge=0)
    pitch_mm: float = Field(gt=0)
    across_mm: float
    due: int = Field(ge=0, description="turns on the coil, including those without a mark")
    defect_ids: tuple[int, ...] = Field(description="its marks, in order along")


class CoilTruth(ClosedModel):
    """All defects of a coil in order along it. Calling one of `pseudo_defects` is a false call."""

    schema_version: Literal[1] = 1
    coil: str
    seed: int
    lines: int = Field(ge=1)
    length_mm: float = Field(gt=0)
    mm_per_px: float = Field(gt=0)
    mm_per_line: float = Field(gt=0)
    defects: tuple[TrueDefect, ...]
    pseudo_defects: tuple[TrueDefect, ...]
    roll_marks: tuple[TrueRollMark, ...] = ()

    def write(self, path: Path) -> None:
        """Write it as JSON. Raises ConfigError."""
        write_output(path, f"{self.model_dump_json(indent=1)}\n".encode())

    @staticmethod
    def read(path: Path) -> "CoilTruth":
        """Read a file that `write` wrote. Raises SourceError when it is missing or something else."""
        try:
            return CoilTruth.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SourceError(
                f"cannot read {path}: {error.strerror}; expected a coil's truth; make one with `linewatch simulate`"
            ) from None
        except (ValidationError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise SourceError(
                f"found no coil truth in {path} ({reason}), expected one; make it with `linewatch simulate`"
            ) from None
