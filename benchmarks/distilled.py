"""What of a transformer's tokens Lite0's cells tell on lines that nobody learned from, and what a head gains by it.

    python -m benchmarks.distilled LINES [--lines NAME,...] [--draws 2] [--write]

The transformer's weights lie in the home, as vit.md says; its tokens are those of the fused backbone at 256 px. Each
data set is held out in turn: from the images of the others, good and defective, maps are learned from Lite0's cells to
the tokens' principal components (`benchmarks.token_maps`), and one from generated lines alone. What a map tells becomes
a level beside Lite0's, or instead of them, as do the components themselves: the most that such a level can bring.
`auto`'s head adapts to 4 good images, without and with 4 defective ones, the memory bank to the good ones; synthetic
defects, which only choose input sizes, are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.draws import GOOD, JUDGED_AT
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table
from benchmarks.token_maps import COMPONENTS, Cells, Components, Tell, TokenMap, joined, token_maps
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import DEFAULT_SIZE
from model_zoo.heads.invariant_inputs import LevelGroups, level_groups
from model_zoo.heads.memory_bank_head import MemoryBankHead
from model_zoo.learning.auto_head import AutoConfig, Recipe, adaptation
from pipeline.episode_draws import sample_images
from pipeline.episodes import SupportSet, TensorLevels
from pipeline.evaluation import Truth, leave_one_data_set_out, ranking_figures, read_truth, score_levels
from pipeline.feature_store import FeatureStore
from pipeline.features import DEFAULT_BACKBONE, FUSED, BackboneSpec
from pipeline.metrics import paired_bootstrap
from pipeline.product_lines.lines import ProductLine
from pipeline.support import SupportConfig, build_query, build_support
from pipeline.synthetic.lines import generate_line

TRANSFORMER = "vit_small_patch14_dinov2"
QUERY = 60
BANK = "memory bank"
HEADS = {"auto, 0 defects": 0, "auto, 4 defects": 4, BANK: 0}
METRICS = ("image_auroc", "aupro")
LITE0, ALONE, BESIDE = "Lite0", " alone", " beside Lite0"
COMPONENTS_OF = "components of the tokens"
LEARNED = ("ridge", "hidden layer", "hidden layer, generated lines")
_OF_BANK = {LITE0, COMPONENTS_OF + BESIDE, LEARNED[1] + BESIDE}
_CELLS = 4096  # of a line that a map learns from
_GENERATED, _OF_EACH = range(20000, 20112), 2  # generated lines, and good and defective images of each
Figures = dict[str, dict[str, list[list[float]]]]
"""By data set and line, a row a draw."""


class DrawnLine(NamedTuple):
    """A draw of a line as the fused backbone sees it: Lite0's two levels, finest first, and the tokens."""

    line: ProductLine
    support: SupportSet
    query: TensorLevels
    truth: Truth

    def cells(self) -> Cells:
        """A sample of all its images but flips."""
        parts = zip(self.support.good, self.support.defects, self.query, strict=True)
        return Cells.of(tuple(torch.cat(of_level) for of_level in parts), _CELLS, 0)


class Sight(NamedTuple):
    """What a head sees: levels made of the fused backbone's, their groups, and which of them are tokens."""

    levels: Callable[[TensorLevels], TensorLevels]
    groups: LevelGroups
    tokens: tuple[int, ...] = ()

    def of(self, support: SupportSet, defects: int) -> SupportSet:
        """A support with its first defects, seen so."""
        good = self.levels(support.good)
        augmented = self.levels(tuple(level.flatten(0, 1) for level in support.augmented))
        masks = F.adaptive_avg_pool2d(support.defect_masks, (good[0].shape[-2], good[0].shape[-1]))
        seen = replace(
            support,
            good=good,
            augmented=tuple(level.unflatten(0, support.augmented[0].shape[:2]) for level in augmented),
            synthetic=tuple(level[:0] for level in good),
            synthetic_masks=masks[:0],
            defects=self.levels(support.defects),
            defect_masks=masks,
        )
        return seen.with_defects(range(defects))


def drawn(line: ProductLine, backbone: OpenBackbone, store: FeatureStore, seed: int) -> DrawnLine:
    """A draw of 4 good and 4 defective images, and at most `QUERY` to judge by."""
    images = sample_images(line, good=GOOD, defects=max(HEADS.values()), query=QUERY, seed=seed, spare_good=False)
    seen = backbone.preprocess()
    support = build_support(images.good, images.defects, store, seen, SupportConfig(synthetic=0), seed=seed)
    return DrawnLine(line, support, build_query(images.query, store, seen).levels, read_truth(images.query, JUDGED_AT))


def generated(backbone: OpenBackbone) -> Cells:
    """A sample of generated lines' cells, of good and defective images."""
    parts = list[Cells]()
    for seed in _GENERATED:
        line, rng = generate_line(seed, size=backbone.spec.height), np.random.default_rng(seed)
        images = [line.good(rng).image for _ in range(_OF_EACH)] + [line.defective(rng).image for _ in range(_OF_EACH)]
        levels = backbone.extractor.extract(np.stack(images))
        parts.append(Cells.of(tuple(map(torch.from_numpy, levels)), _CELLS // 8, seed))
    return joined(parts)


def sights(spec: BackboneSpec, told: Mapping[str, Tell]) -> dict[str, Sight]:
    """Lite0; the tokens beside it, as the fused backbone has them; what is told of them, whitened like maps."""
    fine, coarse, tokens = level_groups(spec)
    more = ((0, COMPONENTS),)
    found = {
        LITE0: Sight(lambda levels: levels[:2], (fine, coarse)),
        f"tokens{BESIDE}": Sight(lambda levels: levels, (fine, coarse, tokens), (2,)),
    }
    for name, tell in told.items():
        found[name + BESIDE] = Sight(partial(_with, tell, 2), (fine, coarse, more))
        if name in (COMPONENTS_OF, LEARNED[1]):
            found[name + ALONE] = Sight(partial(_with, tell, 0), (more,))
    return found


def _with(tell: Tell, kept: int, levels: TensorLevels) -> TensorLevels:
    return (*levels[:kept], tell(levels))


def judged(one: DrawnLine, found: Mapping[str, Sight], seed: int) -> Iterator[tuple[tuple[str, str], list[float]]]:
    """The metrics of each head with each sight."""
    for head, defects in HEADS.items():
        for name, sight in found.items():
            if head == BANK and name not in _OF_BANK:
                continue
            seen, budget = sight.of(one.support, defects), AutoConfig().bank_budget
            if head == BANK:
                made = MemoryBankHead.of_support(seen, sight.groups, budget=budget, seed=seed, tokens=sight.tokens)
            else:
                recipe = Recipe(groups=sight.groups, config=AutoConfig(), tokens=sight.tokens)
                made = adaptation(seen, recipe, seed=seed).head
            output = score_levels(made.eval(), sight.levels(one.query))
            yield (head, name), metrics(ranking_figures(output, one.truth), METRICS)


def gain_text(of: Figures, over: Figures, metric: int) -> str:
    """The gain over other figures, a mean over data sets, with its interval and the worst of them."""
    gains = [
        fmean(gained)
        for name, lines in of.items()
        if (gained := [mean(lines[at])[metric] - mean(over[name][at])[metric] for at in lines])
        and gained[0] == gained[0]
    ]
    found = paired_bootstrap(gains, seed=0)
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}], worst {100 * min(gains):+.1f}"


def tables(
    figures: Mapping[tuple[str, str], Figures], shares: Mapping[str, Sequence[Sequence[float]]]
) -> list[list[str]]:
    """Means and gains over Lite0 of each head; and how much of the components each map explains, line by line."""
    made = list[list[str]]()
    for head in HEADS:
        rows = []
        for name in (name for of_head, name in figures if of_head == head):
            of = figures[head, name]
            over_sets = mean([mean([mean(draws) for draws in lines.values()]) for lines in of.values()])
            gains = [gain_text(of, figures[head, LITE0], metric) for metric in range(len(METRICS))]
            rows.append([name, percent(over_sets), *(gains if name != LITE0 else ["", ""])])
        made.append(table([head, "image AUROC / AUPRO", "over Lite0: image AUROC", "over Lite0: AUPRO"], rows))
    explained = [[line, *(f"{100 * share:.0f}" for share in mean(of_line))] for line, of_line in shares.items()]
    return [*made, table(["variance between cells that is explained, %", *LEARNED], explained)]


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    study = Study(__file__, options(__doc__, draws=2))
    backbone = open_backbone(f"{DEFAULT_BACKBONE}{FUSED}{TRANSFORMER}", DEFAULT_SIZE, study.settings)
    store = backbone.cached(study.settings)
    figures: dict[tuple[str, str], Figures] = {}
    shares: dict[str, list[list[float]]] = defaultdict(list)
    synthetic = generated(backbone)
    of_generated = Components.of([synthetic])
    beside: tuple[TokenMap, Components] = token_maps([synthetic], of_generated)[1], of_generated
    for seed in study.draws:
        lines = [drawn(line, backbone, store, seed) for line in study.lines]
        for fold in leave_one_data_set_out(study.lines):
            by_set: dict[str, list[Cells]] = defaultdict(list)
            for one in (one for one in lines if one.line in fold.train):
                by_set[one.line.data_set].append(one.cells())
            others = [joined(of_set) for of_set in by_set.values()]
            components = Components.of(others)
            maps = dict(zip(LEARNED, (*((m, components) for m in token_maps(others, components)), beside), strict=True))
            tells: dict[str, Tell] = {COMPONENTS_OF: components.tell, **{name: m.tell for name, (m, _) in maps.items()}}
            for one in (one for one in lines if one.line in fold.test):
                cells = one.cells()
                shares[one.line.name].append([m.explained(of, cells) for m, of in maps.values()])
                for key, found in judged(one, sights(backbone.spec, tells), seed):
                    of_set = figures.setdefault(key, {}).setdefault(one.line.data_set, {})
                    of_set.setdefault(one.line.name, []).append(found)
                    print(seed, one.line.name, *key, percent(found), flush=True)
    study.publish(*tables(figures, shares))


if __name__ == "__main__":
    with torch.no_grad():
        main()
