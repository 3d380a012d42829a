"""`python -m model_zoo.backbones.pin_channel_std NAME ...`: measure the backbones' channel deviations and pin them."""

from __future__ import annotations

import json
import sys

from model_zoo.backbones.backbone import unscaled_backbone
from model_zoo.backbones.channel_std import PINNED, STD_IMAGES, measured_steps, pinned

_SIZE = 256


def main(names: list[str]) -> None:
    """Measure the named backbones at 256 px, and add them to the file."""
    entries: dict[str, object] = dict(pinned())
    for name in names:
        backbone = unscaled_backbone(name, size=_SIZE)
        steps = [[int(step) for step in level] for level in measured_steps(backbone, _SIZE)]
        entries[backbone.spec.weights_sha256] = {"name": name, "images": STD_IMAGES, "steps": steps}
    PINNED.write_text(json.dumps(entries) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
