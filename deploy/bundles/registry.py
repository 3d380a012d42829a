"""The registry: every version of every line's bundle, and which one is live.

    <home>/backbones/<fingerprint>/     backbone.onnx, backbone.json: shared by every line that was adapted on it
    <home>/lines/<slug>/<version>/      a bundle
    <home>/lines/<slug>/live.json       the live version and those that were live before; replaced in one step
    <home>/lines/<slug>/decisions.json  which versions were promoted, held or rolled back, by whom and why
    <home>/lines/<slug>/.lock           held by whoever changes the line; the kernel frees it when its holder dies

Readers take no lock: a bundle appears whole, and so does the pointer. A line's slug is its name, percent-encoded, so
that "mvtec/pill" is one folder and no name leads anywhere else.
"""

# Longer than the others: all that changes a line's folder does so under its lock, in one class.

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.bundles.backbone_shelf import LOCK, BackboneShelf
from deploy.bundles.bundle import Bundle, load_bundle, read_manifest, sign_bundle, write_bundle
from deploy.bundles.line_folder import LIVE, LivePointer, line_of, read_pointer, slug, write_pointer
from deploy.bundles.manifest import FILE_NAME, INT8_ENDING, BundleDraft, BundleManifest
from deploy.bundles.packs import Deployment, open_packed, write_pack
from deploy.bundles.version_decisions import Ruling, VersionDecision, add_decision, read_decisions, rolled_back
from pipeline.errors import BundleError, ConfigError, StorageError
from pipeline.features import BackboneArtefact
from pipeline.storage import file_lock, new_folder, storage_errors, sweep_partials

_HISTORY_LENGTH = 20


@dataclass(frozen=True)
class VersionRecord:
    """One version of a line, as listed: only its manifest was read. `problem` says why there is no manifest."""

    version: str
    path: Path
    created_at: datetime
    live: bool
    manifest: BundleManifest | None
    problem: str | None = None


class Registry:
    """The bundles and backbones below one home folder. Nothing is made there before something is added.

    Args:
        home: the folder; `backbones/` and `lines/` lie below it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._backbones = BackboneShelf(home / "backbones")

    # Lines and versions

    def lines(self) -> list[str]:
        """Names of the lines that have a version, sorted."""
        folder = self.home / "lines"
        with storage_errors(folder):
            names = [line_of(path) for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        return sorted(name for name in names if name is not None and self._versions_of(name))

    def versions(self, line: str) -> list[VersionRecord]:
        """The versions of a line, oldest first. A damaged one is listed with its problem.

        Raises:
            ConfigError: no such line.
        """
        live = self.live_version(line)
        return sorted(
            (self._record(self._line_folder(line) / version, version == live) for version in self._known(line)),
            key=lambda record: (record.created_at, record.version),
        )

    def new_version(self, line: str) -> str:
        """A name for the next version of a line: the time in UTC, so that names sort and mean something elsewhere."""
        return self._new_version(line)

    def _new_version(self, line: str, ending: str = "") -> str:
        taken = self._versions_of(line)
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        stamps = [stamp, *(f"{stamp}-{number}" for number in range(2, len(taken) + 3))]
        return next(name for stamp in stamps if (name := f"{stamp}{ending}") not in taken)

    def add(self, draft: BundleDraft, files: Mapping[str, bytes | Path]) -> Bundle:
        """Write a new version of the line that the draft names. It is not live before `promote`.

        Raises:
            ConfigError: the line's name cannot be used.
            StorageError: that version is there already, or the disk is full or read-only. Nothing is left behind.
        """
        if draft.version == LIVE:
            raise ConfigError("a version name", f"{LIVE!r}, which the registry uses itself", "choose another")
        with self._writing(draft.line) as folder:
            return write_bundle(folder / draft.version, draft, files)

    def add_next(self, draft: BundleDraft, files: Mapping[str, bytes | Path]) -> Bundle:
        """As `add`, under a name of the registry's own, which ends as that of any version with an int8 backbone does:
        the draft's is another's by now where two end in one second.

        Raises:
            ConfigError: the line's name cannot be used.
            StorageError: the disk is full or read-only. Nothing is left behind.
        """
        with self._writing(draft.line) as folder:
            version = self._new_version(draft.line, INT8_ENDING if draft.int8 is not None else "")
            named = draft.model_copy(update={"version": version})
            return write_bundle(folder / named.version, named, files)

    def bundle(self, line: str, version: str) -> Bundle:
        """A version of a line, every byte checked.

        Raises:
            ConfigError: no such line or version.
            BundleError: it is damaged, or lies under another line's or version's name.
        """
        bundle = load_bundle(self._folder_of(line, version))
        if (bundle.manifest.line, bundle.manifest.version) != (line, version):
            got = f"version {bundle.manifest.version} of {bundle.manifest.line}"
            remedy = "move the folder back to its own name"
            raise BundleError(f"version {version} of {line} at {bundle.path}", got, remedy)
        return bundle

    # What is live

    def live_version(self, line: str) -> str | None:
        """Name of the live version, None when none is. Cheap: ask again to notice a promotion.

        Raises:
            ConfigError: no such line.
            BundleError: the pointer is damaged.
        """
        pointer = self._pointer(line)
        return pointer.version if pointer else None

    def live(self, line: str) -> Bundle:
        """The live version of a line, every byte checked.

        Raises:
            ConfigError: no such line, or none of its versions is live.
            BundleError: it is damaged.
        """
        return self.bundle(line, self._live(line))

    def promote(self, line: str, version: str, *, by: str | None = None, why: str = "") -> Bundle:
        """Make a version live, once it and its backbone were checked. Promoting the live one changes nothing.

        It is noted with who did it and why: the version counts as rolled back no longer, if it did.

        Raises:
            ConfigError: no such line or version.
            BundleError: the version or its backbone is damaged or missing; what was live stays live.
            StorageError: the pointer cannot be written; what was live stays live.
        """
        self._known(line)
        with file_lock(self._line_folder(line) / LOCK):
            return self._make_live(line, version, by=by, why=(why,) if why else ())

    def promote_instead(self, line: str, version: str, live: str | None, *, by: str, why: tuple[str, ...]) -> str:
        """Make a version live by itself, as `promote`, if `live` still is and nobody rolled the version back.

        Returns:
            Why it was not done, in a sentence without a full stop; empty: it is live.

        Raises:
            ConfigError, BundleError, StorageError: as `promote` says, or the decisions are damaged.
        """
        self._known(line)
        with file_lock(self._line_folder(line) / LOCK):
            if version in rolled_back(self.decisions(line)):
                return f"{version} was rolled back: only a person may promote it again"
            if (now := self.live_version(line)) != live:
                return f"{now or 'no version'} went live meanwhile, and {version} was not compared with it"
            self._make_live(line, version, by=by, why=why)
        return ""

    def hold(self, line: str, version: str, *, by: str, why: tuple[str, ...]) -> None:
        """Note why a version is not promoted; what is live stays live.

        Raises:
            ConfigError: no such line.
            BundleError, StorageError: the note cannot be read or written.
        """
        live = self.live_version(line)
        with file_lock(self._line_folder(line) / LOCK):
            held = VersionDecision(version=version, ruling=Ruling.HELD, by=by, why=why, live=live)
            add_decision(self._line_folder(line), held)

    def roll_back(self, line: str, *, by: str | None = None, why: str = "") -> Bundle:
        """Make the previously live version live again; calling it once more goes one further back.

        The version that was live is noted as rolled back: nothing makes it live again by itself.

        Raises:
            ConfigError: no such line, or no version was live before.
            BundleError: that version or its backbone is damaged; what was live stays live.
        """
        self._known(line)
        with file_lock(self._line_folder(line) / LOCK):
            pointer = self._pointer(line)
            if pointer is None or not pointer.history:
                remedy = "promote the version you want by name"
                raise ConfigError(f"a version of {line} that was live before", "none", remedy)
            *history, version = pointer.history
            bundle = self.deployment(line, version).bundle
            self._note(line, pointer.version, Ruling.ROLLED_BACK, by=by, why=(why,) if why else ())
            self._point(line, version, tuple(history))
        return bundle

    def decisions(self, line: str) -> tuple[VersionDecision, ...]:
        """What was decided about the line's versions, the latest last.

        Raises:
            BundleError, StorageError: as `read_decisions` says.
        """
        return read_decisions(self._line_folder(line))

    # Backbones

    def backbone_folder(self, fingerprint: str) -> Path:
        """See `BackboneShelf.folder`."""
        return self._backbones.folder(fingerprint)

    def backbones(self) -> list[str]:
        """See `BackboneShelf.fingerprints`."""
        return self._backbones.fingerprints()

    def backbone(self, fingerprint: str) -> BackboneArtefact:
        """See `BackboneShelf.backbone`."""
        return self._backbones.backbone(fingerprint)

    def add_backbone(self, artefact: BackboneArtefact) -> BackboneArtefact:
        """See `BackboneShelf.add`."""
        return self._backbones.add(artefact)

    # Out of the registry and back

    def deployment(self, line: str, version: str | None = None) -> Deployment:
        """A version (None: the live one) with its backbone, both checked: what scoring needs.

        Raises:
            ConfigError: no such line or version.
            BundleError: either is damaged or missing.
        """
        bundle = self.live(line) if version is None else self.bundle(line, version)
        first = bundle.manifest.first_look
        return Deployment(
            bundle,
            self.backbone(bundle.manifest.backbone.fingerprint),
            None if first is None else self.backbone(first.backbone.fingerprint),
        )

    def pack(self, line: str, destination: Path, version: str | None = None) -> Path:
        """Write a version (None: the live one) and its backbone into a new folder that scores anywhere.

        Raises:
            ConfigError, BundleError, StorageError: as `deployment` and `deploy.bundles.packs.write_pack` say.
        """
        return write_pack(self.deployment(line, version), destination)

    def add_packed(self, folder: Path) -> Bundle:
        """Take a pack's version and backbone into this registry, byte for byte. It is not live before `promote`.

        Raises:
            BundleError: the pack is damaged.
            StorageError: that version is there already, or the disk is full or read-only.
        """
        packed = open_packed(folder)
        self.add_backbone(packed.backbone)
        if packed.first_backbone is not None:
            self.add_backbone(packed.first_backbone)
        manifest = packed.bundle.manifest
        line_folder = self._line_folder(manifest.line)
        with file_lock(line_folder / LOCK), new_folder(line_folder / manifest.version) as partial:
            packed.bundle.copy_to(partial)
        return self.bundle(manifest.line, manifest.version)

    def sign(self, line: str, version: str | None, key_file: Path) -> str:
        """Sign a version (None: the live one); returns its name. Raises as `live` and `sign_bundle` do."""
        version = version or self._live(line)
        sign_bundle(self._folder_of(line, version), key_file)
        return version

    # Below

    @contextmanager
    def _writing(self, line: str) -> Iterator[Path]:
        """The line's folder, which nobody else changes meanwhile."""
        folder = self._line_folder(line)
        with file_lock(folder / LOCK):
            with storage_errors(folder):
                sweep_partials(folder)  # what a killed writer left
            yield folder

    def _live(self, line: str) -> str:
        if (version := self.live_version(line)) is None:
            remedy = f"promote one of its versions ({', '.join(self._known(line))})"
            raise ConfigError(f"a live version of {line}", "none", remedy)
        return version

    def _folder_of(self, line: str, version: str) -> Path:
        if version not in (known := self._known(line)):
            raise ConfigError(f"a version of {line} ({', '.join(known)})", repr(version), "name one of these")
        return self._line_folder(line) / version

    def _line_folder(self, line: str) -> Path:
        return self.home / "lines" / slug(line)

    def _versions_of(self, line: str) -> list[str]:
        """Names of the version folders, sorted. What is half written begins with a dot."""
        folder = self._line_folder(line)
        with storage_errors(folder):
            if not folder.is_dir():
                return []
            return sorted(path.name for path in folder.iterdir() if path.is_dir() and FILE_NAME.fullmatch(path.name))

    def _known(self, line: str) -> list[str]:
        versions = self._versions_of(line)
        if not versions:
            known = ", ".join(self.lines())
            there = f"a line of the registry at {self.home} ({known or 'it has none yet'})"
            raise ConfigError(there, repr(line), "name one of these" if known else "adapt a line first")
        return versions

    def _record(self, path: Path, live: bool) -> VersionRecord:
        try:
            manifest = read_manifest(path).manifest
        except (BundleError, StorageError) as error:
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            return VersionRecord(path.name, path, changed, live, None, str(error))
        return VersionRecord(path.name, path, manifest.created_at, live, manifest)

    def _make_live(self, line: str, version: str, *, by: str | None, why: tuple[str, ...]) -> Bundle:
        """Under the line's lock: check the version, point to it and note it."""
        bundle = self.deployment(line, version).bundle
        try:
            pointer = self._pointer(line)
        except BundleError:
            pointer = None  # promoting is the remedy for a damaged pointer; only its history is lost
        if pointer is None or pointer.version != version:
            history = (*pointer.history, pointer.version)[-_HISTORY_LENGTH:] if pointer else ()
            self._note(line, version, Ruling.PROMOTED, by=by, why=why, live=pointer.version if pointer else None)
            self._point(line, version, history)
        return bundle

    def _note(
        self,
        line: str,
        version: str,
        ruling: Ruling,
        *,
        by: str | None,
        why: tuple[str, ...],
        live: str | None = None,
    ) -> None:
        decision = VersionDecision(version=version, ruling=ruling, by=by, why=why, live=live)
        add_decision(self._line_folder(line), decision)

    def _pointer(self, line: str) -> LivePointer | None:
        self._known(line)
        return read_pointer(self._line_folder(line))

    def _point(self, line: str, version: str, history: tuple[str, ...]) -> None:
        pointer = LivePointer(version=version, since=datetime.now(UTC), history=history)
        write_pointer(self._line_folder(line), pointer)
