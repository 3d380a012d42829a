"""What a file is that is called an image and is none that is read."""

from __future__ import annotations

from pipeline.errors import ImageError

_OTHER_FORMATS = {
    "WebP": (8, b"WEBP"),
    "HEIC": (4, b"ftyphe"),
    "HEIF": (4, b"ftypmif1"),
    "AVIF": (4, b"ftypavif"),
    "JPEG 2000": (4, b"jP  "),
    "GIF": (0, b"GIF8"),
}
"""Images that are not read, by what stands at a place of theirs."""
_LFS_POINTER = b"version https://git-lfs"  # what a checkout has instead of a file that was not fetched


def refused_contents(data: bytes) -> ImageError:
    """The sentence on contents that are no JPEG, PNG, BMP or TIFF."""
    if data.startswith(_LFS_POINTER):
        return ImageError("an image", "Git LFS's pointer to one", "fetch the images themselves: git lfs pull")
    names = (name for name, (place, mark) in _OTHER_FORMATS.items() if data.startswith(mark, place))
    name = next(names, f"other contents (the file begins with {data[:8]!r})")
    return ImageError("a JPEG, PNG, BMP or TIFF image", name, "save the image in one of these formats")
