"""How a person's own tables and images are read, where a good guess is not enough."""

from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.data.look import parsed_bands, parsed_stretch


class Reading(BaseModel):
    """What a person says of their data set; the defaults guess, and say what they guessed.

    Each field is an option of the command line and a setting of the page, and is kept in the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Literal["given", "random"] = Field(
        default="given", description="The split that the data set gives, where it gives one; or a random one"
    )
    image_column: str = Field(default="", description="Column that names the images; none: the one that fits")
    label_columns: str = Field(
        default="", description="Columns of labels with commas between; none: those that can be labels"
    )
    ignore_columns: str = Field(default="", description="Columns that are no labels, with commas between")
    separator: str = Field(
        default="",
        description="Between the labels of one cell: a mark, space, tab, or none where each cell is one "
        "label; if not given, the one that fits",
    )
    unknown: Literal["refuse", "no"] = Field(
        default="refuse", description="A flag that is -1 or empty: refuse the table, or take it as no"
    )
    near_equal: Literal["keep", "join"] = Field(
        default="keep", description="Labels such as Tree and tree: keep them apart, or join them"
    )
    bands: str = Field(
        default="",
        description="Bands as red, green and blue: 4,3,2 or B04,B03,B02; all, or all:4,3,2 with those shown; "
        "none: the first three",
    )
    stretch: str = Field(
        default="dataset", description="Of deep images to 8 bits: dataset, image, none, or LOW:HIGH"
    )
    limit: str = Field(
        default="",
        description="For a first look: so many images, or a share such as 10%, drawn within each part of the "
        "split and the same for every seed; none: all",
    )
    country: str = Field(
        default="", description="BigEarthNet: patches of these countries only, with commas between"
    )

    @field_validator("bands")
    @classmethod
    def _known_bands(cls, value: str) -> str:
        parsed_bands(value)
        return value

    @field_validator("stretch")
    @classmethod
    def _known_stretch(cls, value: str) -> str:
        parsed_stretch(value)
        return value

    @field_validator("limit", mode="before")
    @classmethod
    def _known_limit(cls, value: object) -> object:
        value = str(value) if isinstance(value, int) else value
        return "" if isinstance(value, str) and not parsed_limit(value) else value

    @property
    def text(self) -> str:
        """What differs from the defaults, as text; empty for the defaults."""
        changed = self.model_dump(exclude_defaults=True)
        return "".join(f"\0{name}={value}" for name, value in sorted(changed.items()))


def parsed_limit(text: str) -> int | Fraction:
    """The number of images that a person gives, 0 for all; or their share.

    Raises:
        ValueError: If it is neither.
    """
    plain = text.strip().replace(",", "").replace("_", "")
    try:
        if not plain.endswith("%"):
            if (count := int(plain or "0")) >= 0:
                return count
        elif 0 < (share := Fraction(plain.removesuffix("%").strip()) / 100) <= 1:
            return share
    except (ValueError, ZeroDivisionError):
        pass
    raise ValueError(f"need a number of images such as 20000, or a share such as 10%, got {text!r}")


READ = Reading()
