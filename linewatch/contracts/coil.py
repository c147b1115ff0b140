"""What the mill knows of a coil beside its pictures (Level 2), and how the coil is inspected for it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CoilData:
    """One coil's data. None: not told. The crops are cut off before delivery."""

    coil: str
    steel_grade: str | None = None
    product: str | None = None
    customer: str | None = None
    thickness_mm: float | None = None
    width_mm: float | None = None
    length_mm: float | None = None
    head_crop_mm: float | None = None
    tail_crop_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """By what one coil is inspected while it passes.

    recipe: its name; None: the default. head_mm, tail_mm: the excluded ends. between: no coil is under the camera, only
    strip between two. notes: what somebody should know, such as why it is the default.
    """

    data: CoilData | None = None
    recipe: str | None = None
    head_mm: float = 0.0
    tail_mm: float = 0.0
    between: bool = False
    notes: tuple[str, ...] = ()

    def excludes(self, along_mm: tuple[float, float], end_mm: float | None = None) -> bool:
        """Whether all of this stretch lies in an excluded end.

        end_mm: where the coil ends; without it, where Level 2 says that it will; if it does not, no tail is known.
        """
        if end_mm is None and self.data is not None:
            end_mm = self.data.length_mm
        return along_mm[1] <= self.head_mm or (
            self.tail_mm > 0 and end_mm is not None and along_mm[0] >= end_mm - self.tail_mm
        )
