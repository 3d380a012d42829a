"""What libjpeg remarks on but decodes all the same: put right where no pixel hangs on it, damage where one does.

    "N extraneous bytes before marker"      in the header; behind the picture, see below     harmless: left out
    "Invalid SOS parameters"                one baseline scan, which has no such parameters  harmless: set right
    "unknown JFIF revision number"          a version that says nothing of the pixels        harmless: set right
    "N extraneous bytes before marker"      among the picture's data, before RST or a scan   damage, or no telling
    "premature end", "bad Huffman code", "found marker instead of RST", all others           damage

A USB camera may fill up its restart intervals, and one whose packets got lost leaves bytes over as well: the remark is
the same, the pixels are right in one and wrong in the other, so both are refused.

libjpeg tells only its first remark. So a harmless one is put right in the bytes, and they are decoded again: what else
is wrong then comes to light.
"""

from __future__ import annotations

import re

from pipeline.imaging.jpeg_segments import BASELINE, END, JpegSegments, read_segments

STRAY_AT_END = 64
"""Behind the picture so many bytes of any value are a camera's: its buffers end at a multiple of 4 to 64 bytes. More of
them is a picture whose data lost their thread, but for a run of one value, which is filling."""

_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_ONE_SCAN = b"\x00\x3f\x00"  # from coefficient 0 to 63, at full precision


def without_remark(data: bytes, remark: str) -> bytes | None:
    """The same picture in bytes that libjpeg does not remark on in this way; None where the remark means damage."""
    segments = read_segments(data)
    if stray := _EXTRANEOUS.search(remark):
        if segments.stray:
            return _without(data, segments)
        at_the_end = int(stray[2], 16) == END[1]
        return _ending_with_the_picture(data, segments.scan, int(stray[1])) if at_the_end else None
    if "Invalid SOS parameters" in remark and segments.frames == (BASELINE,):
        end = segments.scan + 2 + int.from_bytes(data[segments.scan + 2 : segments.scan + 4], "big")
        return data[: end - len(_ONE_SCAN)] + _ONE_SCAN + data[end:]
    if "unknown JFIF revision" in remark and segments.jfif_version is not None:
        return data[: segments.jfif_version] + b"\x01\x02" + data[segments.jfif_version + 2 :]
    return None


def _without(data: bytes, segments: JpegSegments) -> bytes:
    kept, start = [], 0
    for stray in segments.stray:
        kept.append(data[start : stray.start])
        start = stray.stop
    return b"".join((*kept, data[start:]))


def _ending_with_the_picture(data: bytes, scan: int, count: int) -> bytes | None:
    """`count` is what libjpeg has not read ahead yet; what it has, it leaves without a remark."""
    end = data.index(END, scan)  # data of a picture never hold it
    while data[end - 1] == END[0]:  # fill bytes, which belong to the marker
        end -= 1
    stray = data[end - count : end]
    if count > STRAY_AT_END and len(set(stray)) > 1:
        return None
    return data[: end - count] + END
