"""The plant's own meta-models: learned from the lines of its registry, one live for each learner.

    <home>/meta_models/<learner>/<version>/      a meta-model, and learned_from.json: which images taught it, and how
    <home>/meta_models/<learner>/live.json       the live version and those that were live before; replaced in one step
    <home>/meta_models/<learner>/decisions.json  when each went live, and by which figures
    <home>/meta_models/<learner>/.lock           held by whoever changes them

A version is written before the pointer names it. A line's bundle holds all that it needs of its meta-model, so that no
version is needed for scoring: what is neither live, nor in the pointer's history, nor rolled back goes with the next
promotion. One that was rolled back is kept to be told from others: nothing automatic makes it, or one that was learned
from the same, live again.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.bundles.line_folder import LIVE, LivePointer, read_pointer, write_pointer
from deploy.bundles.version_decisions import Ruling, VersionDecision, add_decision, read_decisions, rolled_back
from flows.meta_train.request import MetaTrainRequest
from pipeline.errors import BundleError, ConfigError
from pipeline.meta_model import MetaModel, load_meta_model, save_meta_model
from pipeline.settings import Settings
from pipeline.storage import file_lock, replace_file, storage_errors, sweep_partials

_LEARNED_FROM = "learned_from.json"
_HISTORY_LENGTH = 20


class LearnedFrom(BaseModel):
    """What a meta-model was learned from: the settings, and the sha256 of each line's images, sorted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: MetaTrainRequest
    lines: dict[str, tuple[str, ...]]

    def is_like(self, other: LearnedFrom) -> bool:
        """Whether the same comes of both, wherever the lines' folder lies."""
        anywhere = self.settings.model_copy(update={"lines": other.settings.lines})
        return (anywhere, self.lines) == (other.settings, other.lines)


class PlantMetaModels:
    """The plant's own meta-models of one learner. Nothing is made in the home before one is promoted.

    Args:
        settings: of the home.
        learner: its name.
    """

    def __init__(self, settings: Settings, learner: str) -> None:
        self.folder = settings.home / "meta_models" / learner

    def live_version(self) -> str | None:
        """Name of the live version, None: none is.

        Raises:
            BundleError, StorageError: the pointer is damaged, or cannot be read.
        """
        pointer = self._pointer()
        return pointer.version if pointer else None

    def live(self) -> MetaModel | None:
        """The live meta-model, every byte checked; None: none is live.

        Raises:
            BundleError, StorageError: it is damaged, or cannot be read.
        """
        version = self.live_version()
        return None if version is None else self.meta_model(version)

    def meta_model(self, version: str) -> MetaModel:
        """A version, every byte checked.

        Raises:
            BundleError: it is damaged, or not there.
        """
        return load_meta_model(self.folder / version)

    def learned_from(self, version: str) -> LearnedFrom:
        """What a version was learned from.

        Raises:
            BundleError, StorageError: the note is damaged, or cannot be read.
        """
        path = self.folder / version / _LEARNED_FROM
        with storage_errors(path):
            encoded = path.read_bytes()
        try:
            return LearnedFrom.model_validate_json(encoded)
        except ValidationError as error:
            remedy = f"remove {self.folder} and learn the plant's meta-model anew"
            raise BundleError(f"what a meta-model was learned from in {path}", "something else", remedy) from error

    def rolled_back(self) -> tuple[str, ...]:
        """The versions that were rolled back and that no person made live since, sorted; those that are still kept.

        Raises:
            BundleError, StorageError: the decisions are damaged, or cannot be read.
        """
        return tuple(sorted(one for one in rolled_back(read_decisions(self.folder)) if (self.folder / one).is_dir()))

    def promote_instead(
        self, model: MetaModel, learned_from: LearnedFrom, live: str | None, *, by: str, why: tuple[str, ...]
    ) -> str | None:
        """Keep a meta-model and make it live, if `live` still is.

        Returns:
            The name of its version; None: another went live meanwhile, and nothing was changed.

        Raises:
            BundleError: the pointer or the decisions are damaged.
            StorageError: the home cannot be written; what was live stays live.
        """
        with file_lock(self.folder / ".lock"):
            pointer = self._pointer()
            if (pointer.version if pointer else None) != live:
                return None
            with storage_errors(self.folder):
                sweep_partials(self.folder)
            version = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{model.identifier.rpartition('-')[2]}"
            save_meta_model(model, self.folder / version)
            note = f"{learned_from.model_dump_json(indent=2)}\n"
            replace_file(self.folder / version / _LEARNED_FROM, note.encode())
            add_decision(
                self.folder, VersionDecision(version=version, ruling=Ruling.PROMOTED, by=by, why=why, live=live)
            )
            history = (*pointer.history, pointer.version)[-_HISTORY_LENGTH:] if pointer else ()
            write_pointer(self.folder, LivePointer(version=version, since=datetime.now(UTC), history=history))
            self._remove_all_but({version, *history, *self.rolled_back()})
        return version

    def roll_back(self, version: str | None = None, *, by: str | None = None, why: str = "") -> tuple[str, str | None]:
        """Make the version live that was live before, or another that is kept; the live one counts as rolled back.

        Returns:
            The version that was live, and the one that is now; None: there was none before, and none is.

        Raises:
            ConfigError: none is live, or the version that is asked for is live or not kept.
            BundleError: that version is damaged; what was live stays live.
            StorageError: the home cannot be written; what was live stays live.
        """
        learner = self.folder.name
        pointer = self._pointer()
        if pointer is None:
            remedy = "let meta-train-plant learn one first"
            raise ConfigError(f"a live meta-model of {learner} to roll back", "none", remedy)
        with file_lock(self.folder / ".lock"):
            pointer = self._pointer() or pointer
            kept = sorted({*pointer.history, *self.rolled_back()} - {pointer.version})
            if version is not None and version not in kept:
                got = f"{version}, which is live" if version == pointer.version else repr(version)
                there = f"another kept meta-model of {learner} ({', '.join(kept) or 'there is none'})"
                raise ConfigError(there, got, "name one of these, or none for the one before")
            history = pointer.history
            if version is None:
                version, history = (history[-1], history[:-1]) if history else (None, ())
            elif version in history:
                history = history[: history.index(version)]
            if version is not None:
                self.meta_model(version)
            reasons = (why,) if why else ()
            note = VersionDecision(version=pointer.version, ruling=Ruling.ROLLED_BACK, by=by, why=reasons)
            barred = version in self.rolled_back()
            add_decision(self.folder, note)
            if version is None:
                with storage_errors(self.folder):
                    (self.folder / LIVE).unlink()
                return pointer.version, None
            if barred:  # a person's word
                again = VersionDecision(
                    version=version, ruling=Ruling.PROMOTED, by=by, why=reasons, live=pointer.version
                )
                add_decision(self.folder, again)
            write_pointer(self.folder, LivePointer(version=version, since=datetime.now(UTC), history=history))
        return pointer.version, version

    def _pointer(self) -> LivePointer | None:
        return read_pointer(self.folder, f"remove {self.folder} and learn the plant's meta-model anew")

    def _remove_all_but(self, kept: set[str]) -> None:
        with storage_errors(self.folder):
            for path in list(self.folder.iterdir()):
                if path.is_dir() and path.name not in kept:
                    shutil.rmtree(path)
