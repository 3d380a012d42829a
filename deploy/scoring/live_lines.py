"""The lines of a plant with what is live for each: opened once, and changed when another bundle is promoted.

Lines may be registered at any time. The registry may lie on a share and hold hundreds of lines: it is listed at most
once a second, and in at most a fiftieth of the time.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from deploy.bundles.bundle import Bundle
from deploy.bundles.line_folder import LIVE, slug
from deploy.bundles.manifest import BackboneRecord
from deploy.bundles.packs import require_backbone
from deploy.bundles.registry import Registry
from deploy.engine.devices import ResolvedDevice
from deploy.engine.runtime import ScoringEngine
from deploy.engine.two_looks import TwoLooksEngine
from deploy.scoring.line_engine import LineEngine, add_first_look
from pipeline.errors import LinewiseError, StorageError
from pipeline.features import BackboneSpec

log = logging.getLogger(__name__)

_LIST_SECONDS = 1.0
_LIST_SHARE = 1 / 50

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class LiveLine:
    """A line at one bundle. The bundle's id is its head's name in the engine, so that bundles never mix."""

    line: str
    bundle: Bundle
    engine: LineEngine

    @property
    def head(self) -> str:
        """The head's name in the engine."""
        return self.bundle.id


class LiveLines:
    """Opens lines on shared engines: one for each backbone, whatever number of lines uses it. For one thread.

    Args:
        registry: where the bundles are.
        device: where all of them run.
    """

    def __init__(self, registry: Registry, device: ResolvedDevice) -> None:
        self._registry = registry
        self._device = device
        self._engines: dict[tuple[str, str], ScoringEngine] = {}
        self._two_looks: dict[tuple[int, int], TwoLooksEngine] = {}
        self._stamps: dict[str, _Stamp | None] = {}
        self._names: frozenset[str] = frozenset()
        self._due = 0.0
        self.problems: list[str] = []

    @property
    def engines(self) -> int:
        """How many backbones are open."""
        return len(self._engines)

    def names(self) -> frozenset[str]:
        """The registered lines, as known a second ago; the same object while nothing is new. No line is forgotten.

        Raises:
            StorageError: the registry cannot be listed, and never could. Later that is among the `problems`.
        """
        if (began := time.monotonic()) >= self._due:
            try:
                names = self._names.union(self._registry.lines())
            except StorageError as error:
                if not self._names:
                    raise
                names = self._names
                self._say(f"Lines that are new could not be looked for: {error}")
            if names != self._names:
                self._names = names
            now = time.monotonic()
            self._due = now + max(_LIST_SECONDS, (now - began) / _LIST_SHARE)
        return self._names

    def is_untried(self, line: str) -> bool:
        """Whether `open` was never asked for what is live now. Costs one `stat`."""
        return line not in self._stamps or self._stamp(line) != self._stamps[line]

    def open(self, line: str) -> LiveLine:
        """The live bundle of a line, every byte checked, with its head opened.

        Raises:
            ConfigError: no such line, or no version of it is live.
            BundleError: the bundle or its backbone is damaged.
        """
        self._stamps[line] = self._stamp(line)  # before reading: a promotion meanwhile is seen later
        bundle = self._registry.live(line)
        return LiveLine(line, bundle, self._opened(bundle))

    def promoted(self, current: Bundle) -> LiveLine | None:
        """What is live instead of `current`, opened beside it; None while nothing else is. Costs one `stat`.

        A new bundle that is damaged or cannot be opened is a problem, logged and kept in `problems`; the current one
        goes on, and nothing is tried again before the next promotion.
        """
        line, version = current.manifest.line, current.manifest.version
        if not self.is_untried(line):
            return None
        self._stamps[line] = self._stamp(line)
        try:
            if self._registry.live_version(line) == version:
                return None  # rolled back and forth: what is live is open
            return self.open(line)
        except LinewiseError as error:
            self._say(f"{line}: {error}. Scoring goes on with version {version}, which was live before")
            return None

    def close(self, old: Bundle) -> None:
        """Let go of a head that nothing is scored with any more."""
        self._line_engine_of(old).remove_head(old.id)

    def _opened(self, bundle: Bundle) -> LineEngine:
        manifest = bundle.manifest
        own = self._engine_of(bundle, manifest.backbone, manifest.spec)
        own.add_head(bundle.id, bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
        engine = self._line_engine_of(bundle)
        if isinstance(engine, TwoLooksEngine) and manifest.first_look is not None:
            add_first_look(engine, bundle.id, bundle, manifest.first_look)
        return engine

    def _line_engine_of(self, bundle: Bundle) -> LineEngine:
        manifest = bundle.manifest
        engine = self._engine_of(bundle, manifest.backbone, manifest.spec)
        if manifest.first_look is None:
            return engine
        first = self._engine_of(bundle, manifest.first_look.backbone, manifest.first_look.spec)
        return self._two_looks.setdefault((id(first), id(engine)), TwoLooksEngine(first, engine))

    def _engine_of(self, bundle: Bundle, wanted: BackboneRecord, spec: BackboneSpec) -> ScoringEngine:
        key = (wanted.fingerprint, wanted.onnx_sha256)
        if key not in self._engines:
            backbone = self._registry.backbone(wanted.fingerprint)
            require_backbone(backbone, wanted, spec, bundle)
            self._engines[key] = ScoringEngine(backbone, self._device, threads=1)  # one CPU a worker
        return self._engines[key]

    def _say(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            log.error("%s", problem)

    def _stamp(self, line: str) -> _Stamp | None:
        """What changes whenever the pointer is written, which is a new file each time."""
        try:
            status = (self._registry.home / "lines" / slug(line) / LIVE).stat()
        except OSError:
            return None  # reading it will say why
        return status.st_mtime_ns, status.st_ino, status.st_size
