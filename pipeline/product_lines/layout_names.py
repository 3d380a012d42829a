"""What people call the folders of good parts, of defective ones and of masks, beside the names that are read.

Another name is never taken in silence for the one that is read: what it holds is left out or refused, and it is told
how to call it.
"""

from __future__ import annotations

GOOD = "good"
DEFECT = "defect"
MASKS = "masks"
REGION_FILES = ("region.png", "region.json")
"""What the file is called that draws a line's region of interest, in the line's own folder."""

_SAID = {
    GOOD: "good goods ok okay pass passed normal normals sound accept accepted defect_free no_defect non_defective "
    "io i.o. gut gutteile",
    DEFECT: "defect defects defective defectives bad ng n.g. nok n.ok not_ok not_good ko fail failed failure failures "
    "fault faults faulty reject rejects rejected scrap broken anomaly anomalies anomalous abnormal "
    "nio n.i.o. schlecht ausschuss fehler defekt defekte",
    MASKS: "mask masks ground_truth groundtruth gt label labels annotation annotations segmentation segmentations",
}
_MEANT = {name: meant for meant, names in _SAID.items() for name in names.split()}
_REGION = frozenset({"region", "regions", "roi", "region_of_interest"})
_SURELY_MASKS = frozenset({"mask", "masks", "ground_truth", "groundtruth", "gt"})  # a kind of defect may be "label"


def meant_by(name: str) -> str | None:
    """The folder that a person who writes `name` means: "good", "defect" or "masks"; None: no idea."""
    return _MEANT.get(_plain(name))


def surely_masks(name: str) -> bool:
    """Whether a folder of that name holds masks, also where kinds of defects stand."""
    return _plain(name) in _SURELY_MASKS


def means_region(name: str) -> bool:
    """Whether a person who calls a file so, its suffix aside, means a line's region of interest."""
    return _plain(name) in _REGION


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")
