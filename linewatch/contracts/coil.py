"""A coil's data from the mill (Level 2), and what applies to the coil while it passes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CoilData:
    """One coil's data, from a command or a file. None: not known. The crops are cut off before delivery."""

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
class CoilConditions:
    """The data, recipe and excluded ends that apply to one coil while it passes.

    recipe: its name; None: the default settings. head_mm, tail_mm: lengths of the excluded ends. between: no coil is
    under the camera, only strip between two coils. notes: remarks for an operator, such as why the default applies.
    """

    data: CoilData | None = None
    recipe: str | None = None
    head_mm: float = 0.0
    tail_mm: float = 0.0
    between: bool = False
    notes: tuple[str, ...] = ()

    def excludes(self, along_mm: tuple[float, float], end_mm: float | None = None) -> bool:
        """Return whether all of this stretch lies in an excluded end.

        end_mm: where the coil ends; None: take the length in the coil's data; without it the tail is unknown.
        """
        if end_mm is None and self.data is not None:
            end_mm = self.data.length_mm
        return along_mm[1] <= self.head_mm or (
            self.tail_mm > 0 and end_mm is not None and along_mm[0] >= end_mm - self.tail_mm
        )
