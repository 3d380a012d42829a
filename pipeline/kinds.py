"""Which of a line's kinds of defects a flagged image shows, few-shot: the nearest prototype, or none of them.

A defect is described by the features at its cells, their mean in the line's own units (whitened: a difference counts by
how unusual it is on good parts), each level's brought to one length. A kind is the mean of its images, less what all
kinds have in common. An image is given the kind at the smallest cosine distance; how sure that is, and from which
distance on it is none of the kinds, the line's own defects say, each held against prototypes that do not know it.

Source: prototypical networks (Snell et al., NeurIPS 2017), without learning anything; temperature scaling (Guo et al.,
ICML 2017). Measured in `benchmarks/kinds.md`. Torch-free: adaptation and the line run the same code.

Shape letters: K kinds, M defects, D values of a description, H x W the finest grid, C channels of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.features import Levels

Values = NDArray[np.float32]

NONE_OF_THESE = "none of these"
"""Said of an image that is further from every kind than the line's own defects are from theirs."""

_TOP = 0.02  # of the cells of an image: those that show the defect where none is above the pixel threshold
_TEMPERATURES = np.geomspace(0.02, 1.0, 18)
_USUAL_TEMPERATURE, _COUNTS = 0.25, 8.0  # what few defects are drawn to, and as how many defects it counts
_KNOWN = 0.9  # share of the line's own defects that are within the distance
_ENOUGH = 5  # defects that tell such a distance


class SaidKind(NamedTuple):
    """What is said of an image: the kind's name and its probability, or `NONE_OF_THESE` and None."""

    name: str
    probability: float | None


@dataclass(frozen=True)
class Units:
    """A line's units: per level the good parts' mean (C,), and what whitens it (C, C), None: it stays as it is."""

    means: tuple[Values, ...]
    matrices: tuple[Values | None, ...]

    def describe(self, levels_CHW: Levels, weights_HW: Values) -> Values:
        """Of one image (D,), its cells weighted so; (C, h, w) a level."""
        parts: list[Values] = []
        for level, mean, matrix in zip(levels_CHW, self.means, self.matrices, strict=True):
            weights = cv2.resize(weights_HW, (level.shape[2], level.shape[1]), interpolation=cv2.INTER_AREA)
            part: Values = np.tensordot(level, weights / max(float(weights.sum()), 1e-9), 2).astype(np.float32) - mean
            parts.append(_unit(part if matrix is None else matrix @ part))
        return _unit(np.concatenate(parts))


class Prototypes(NamedTuple):
    """What kinds have in common (D,), and the direction from there to each (K, D)."""

    centre: Values
    directions: Values

    @classmethod
    def of(cls, described_MD: Values, kind_M: NDArray[np.int64]) -> Prototypes:
        """Of defects by their kinds 0..K - 1, each of which has one at least."""
        means = np.stack([described_MD[kind_M == kind].mean(0) for kind in range(kind_M.max() + 1)])
        centre = means.mean(0)
        return cls(centre, np.stack([_unit(mean - centre) for mean in means]))

    def distances(self, described_D: Values) -> Values:
        """Cosine distances of a defect to each kind (K,), 0..2."""
        return 1 - self.directions @ _unit(described_D - self.centre)


@dataclass(frozen=True)
class KindsOfDefects:
    """A line's K kinds: their prototypes, and what turns distances to them into words."""

    names: tuple[str, ...]
    units: Units
    prototypes: Prototypes
    temperature: float
    none_from: float

    def distances(self, levels_CHW: Levels, anomaly_map_HW: Values, pixel_threshold: float) -> Values:
        """Of an image to each kind (K,), by the cells that its map marks."""
        return self.prototypes.distances(self.units.describe(levels_CHW, marked_cells(anomaly_map_HW, pixel_threshold)))

    def kind_of(self, levels_CHW: Levels, anomaly_map_HW: Values, pixel_threshold: float) -> SaidKind:
        """Of a flagged image; see `distances`."""
        distances = self.distances(levels_CHW, anomaly_map_HW, pixel_threshold)
        nearest = int(distances.argmin())
        if distances[nearest] > self.none_from:
            return SaidKind(NONE_OF_THESE, None)
        return SaidKind(self.names[nearest], float(_probabilities(distances, self.temperature)[nearest]))


@dataclass(frozen=True)
class LearnedKinds:
    """Kinds, and how well they are told apart: of each kind's images (K, K + 1) what is said of them by prototypes that
    do not know them, the last column `NONE_OF_THESE`. All zero where every kind has one image.
    """

    kinds: KindsOfDefects
    confusion: NDArray[np.int64]


def marked_cells(anomaly_map_HW: Values, pixel_threshold: float) -> Values:
    """Weights of an image's cells: what its map has above the threshold; where it has nothing, 1 at the highest 2 %."""
    above = np.maximum(anomaly_map_HW - np.float32(pixel_threshold), 0)
    return above if above.any() else (anomaly_map_HW >= np.quantile(anomaly_map_HW, 1 - _TOP)).astype(np.float32)


def learn_kinds(names: Sequence[str], units: Units, drawn_MD: Values, mapped_MD: Values) -> LearnedKinds:
    """The kinds of a line's defects.

    Args:
        names: (M,) each defect's kind; at least two differ.
        units: of the descriptions.
        drawn_MD: each defect by its mask where it has one.
        mapped_MD: each as the line will see it, by its map.
    """
    known = tuple(sorted(set(names)))
    kind = np.array([known.index(name) for name in names])
    asked = np.flatnonzero(np.bincount(kind)[kind] > 1)  # without them their kind still has an image
    others = (np.arange(len(kind)) != i for i in asked)
    held_out = [
        Prototypes.of(drawn_MD[known_M], kind[known_M]).distances(mapped_MD[i])
        for i, known_M in zip(asked, others, strict=True)
    ]
    distances = np.array(held_out).reshape(len(asked), len(known))
    none_from = float(np.quantile(distances.min(1), _KNOWN)) if len(asked) >= _ENOUGH else np.inf
    confusion = np.zeros((len(known), len(known) + 1), np.int64)
    for truth, row in zip(kind[asked], distances, strict=True):
        confusion[truth, row.argmin() if row.min() <= none_from else len(known)] += 1
    temperature = _temperature(distances, kind[asked])
    # finite, as a manifest keeps it: no cosine distance is above 2
    kinds = KindsOfDefects(known, units, Prototypes.of(drawn_MD, kind), temperature, min(none_from, 2.0))
    return LearnedKinds(kinds, confusion)


def _probabilities(distances: Values, temperature: float) -> Values:
    """Over the last axis."""
    likelihood = np.exp((distances.min(-1, keepdims=True) - distances) / temperature)
    return likelihood / likelihood.sum(-1, keepdims=True)


def _temperature(distances_nK: Values, truth_n: NDArray[np.int64]) -> float:
    """By which the truth is most probable, a few defects being drawn to the usual one."""

    def cost(temperature: float) -> float:
        probable = _probabilities(distances_nK, temperature)[np.arange(len(truth_n)), truth_n]
        return float(-np.log(probable + 1e-9).sum() + _COUNTS * np.log(temperature / _USUAL_TEMPERATURE) ** 2)

    return float(min(_TEMPERATURES, key=cost))


def _unit(vector: Values) -> Values:
    return (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)
