"""Images of a plant that no usable line belongs to: counted, told, and taken up when there is one after all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from deploy.scoring.sources.plant_folder import PlantFolder, PlantItem

GONE = ""
"""Stands for the folder of images that are no longer there: "." is a folder, in which images may lie."""


class PassedOver:
    """What a run left out so far. Memory grows with the folders, not with the images.

    Args:
        source: whose images they are.
    """

    def __init__(self, source: PlantFolder) -> None:
        self._source = source
        self._by_folder: Counter[str] = Counter()
        self._gone = 0
        self.images = 0
        """How many images that is."""

    def add(self, item: PlantItem) -> None:
        """Leave an image out."""
        self._by_folder[item.folder] += 1
        self.images += 1

    def take_up(self, usable: Callable[[str], bool]) -> None:
        """Have the images given again whose line is usable now, where the source can. Only where it has no more items.

        Args:
            usable: asked for a line's name.
        """
        found = {folder: self._source.find(folder)[0] for folder in self._by_folder}
        lines = {line for line in found.values() if line is not None and usable(line)}
        folders = {folder for folder, line in found.items() if line in lines}
        if folders and (given := self._source.again(folders)) is not None:
            self._gone += max(0, sum(self._by_folder.pop(folder) for folder in folders) - given)
            self.images -= given

    def sentences(self, unusable: Mapping[str, str]) -> dict[str, str]:
        """Why, by the first folder that leads to no usable line; under `GONE` what is said of images that are gone.

        Args:
            unusable: sentence by line, for those that could not be opened.
        """
        told: dict[str, str] = {}
        if self._gone:
            told[GONE] = (
                f"{self._gone} images were removed or written over before their line had a bundle to score with"
            )
        for folder in self._by_folder:
            line, place = self._source.find(folder)
            if line is None:
                remedy = "adapt the line, or name the folder as the registry does"
                told[place] = (
                    "no registered line for images beside the lines' folders: move them to their line's"
                    if place == "."
                    else f"no registered line for the folder {place}: {remedy}"
                )
            else:
                too_early = f"images of {line} came before it could be used: score the folder again"
                told[place] = unusable.get(line, too_early)
        return told
