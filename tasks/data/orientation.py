"""Photographs that an EXIF tag turns, and whether what is marked in them was turned as well.

Cameras store the picture as the sensor lay and say in a tag how it is to be looked at. Some tools
show, and mark, the picture upright, others as it is stored. Where height and width change places
(tags 5 to 8) the size that the marks speak of tells which; where they do not (upside down, a
mirror image, a square) nothing in the data does.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from PIL import Image

Size = tuple[int, int]  # height, width
Turned = Literal["auto", "upright", "stored"]

_TAG: Final = 0x0112
_ACROSS: Final = (5, 6, 7, 8)  # height and width change places
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACK: Final = {**_UPRIGHT, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


class SizeError(ValueError):
    """A picture that is not the one its annotation speaks of; the message is the reason."""


class Marks(NamedTuple):
    """What is known of the picture that masks or boxes were made on.

    Attributes:
        size: Height and width in pixels, None where nothing says them.
        turned: ``upright`` or ``stored``; ``auto``: the size decides.
    """

    size: Size | None
    turned: Turned = "auto"


class View(NamedTuple):
    """How a picture is looked at.

    Attributes:
        size: Its height and width in pixels then.
        transpose: What brings the decoded picture there, None for nothing.
        across: Whether that makes height and width change places.
    """

    size: Size
    transpose: Image.Transpose | None = None
    across: bool = False

    def apply(self, image: Image.Image) -> Image.Image:
        """A picture, or one of its channels, as it is looked at."""
        return image if self.transpose is None else image.transpose(self.transpose)


def tag_of(image: Image.Image) -> int:
    """The tag of an opened picture: 2 to 8 turn it, 1 does not; a tag of no meaning is 1."""
    tag = image.getexif().get(_TAG, 1)
    return tag if tag in _UPRIGHT else 1


def view_of(image: Image.Image, marks: Marks | None) -> View:
    """How to look at an opened picture so that its marks lie where they belong.

    Args:
        image: Opened, its pixels not yet read.
        marks: Of it; None where nothing is marked: it is turned upright.

    Raises:
        SizeError: It is of another size than its marks, or they do not tell whether they are
            turned.
    """
    tag = tag_of(image)
    given = (image.height, image.width)
    other = given[::-1] if tag in _ACROSS else given
    turned_by_reader = image.format == "TIFF"  # Pillow turns those itself as it reads them
    upright, stored = (given, other) if turned_by_reader else (other, given)
    if _is_upright(tag, upright, stored, marks):
        step = None if turned_by_reader else _UPRIGHT.get(tag)
        return View(upright, step, step is not None and tag in _ACROSS)
    step = _BACK.get(tag) if turned_by_reader else None
    return View(stored, step, step is not None and tag in _ACROSS)


def _is_upright(tag: int, upright: Size, stored: Size, marks: Marks | None) -> bool:
    """Whether marks were made on the upright picture."""
    if marks is None:
        return True
    size, turned = marks
    fits = {"upright": size in (None, upright), "stored": size in (None, stored)}
    if not (fits[turned] if turned != "auto" else any(fits.values())):
        shown = stored if turned == "stored" else upright
        assert size is not None
        raise SizeError(
            f"its size is {shown[1]}x{shown[0]}, but its annotation is for "
            f"{size[1]}x{size[0]} pixels"
        )
    if tag == 1 or turned != "auto":
        return turned != "stored"
    if all(fits.values()):
        raise SizeError(
            f"its EXIF tag turns it (orientation {tag}), and nothing tells whether its "
            "annotation is turned as well: set data.exif to upright or stored"
        )
    return fits["upright"]
