"""Whether another version went live while a run goes on with the one that it began with. Torch-free."""

from __future__ import annotations

import time

from deploy.bundles.bundle import Bundle
from deploy.bundles.registry import Registry
from pipeline.errors import LinewiseError

_LOOK_SECONDS = 1.0


class PromotionNotice:
    """Looks at the registry at most once a second, when it is asked. For one thread.

    Args:
        registry: where the line is live.
        bundle: the version that scores.
    """

    def __init__(self, registry: Registry, bundle: Bundle) -> None:
        self._registry = registry
        self._manifest = bundle.manifest
        self._due = 0.0
        self._remarks: tuple[str, ...] = ()

    def remarks(self) -> tuple[str, ...]:
        """One sentence while another version is live, or nobody can say; else none."""
        if (now := time.monotonic()) >= self._due:
            self._due = now + _LOOK_SECONDS
            self._remarks = self._look()
        return self._remarks

    def _look(self) -> tuple[str, ...]:
        line, version = self._manifest.line, self._manifest.version
        try:
            live = self._registry.live_version(line)
        except LinewiseError as error:
            return (f"Whether another version of {line} is live cannot be looked up: {error}.",)
        if live == version:
            return ()
        went = "no version is" if live is None else f"{live} is"
        return (
            f"This run goes on with version {version} of {line}, but {went} live now: "
            "begin it again, or take score-plant, which changes over by itself.",
        )
