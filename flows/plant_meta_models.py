"""The plant's own meta-models: learned from the lines of its registry, one live for each learner.

    <home>/meta_models/<learner>/<version>/      a meta-model, and learned_from.json: which images taught it, and how
    <home>/meta_models/<learner>/live.json       the live version and those that were live before; replaced in one step
    <home>/meta_models/<learner>/decisions.json  when each went live, and by which figures
    <home>/meta_models/<learner>/.lock           held by whoever changes them

A version is written before the pointer names it. A line's bundle holds all that it needs of its meta-model, so that no
version is needed for scoring: what is neither live nor in the pointer's history goes with the next promotion.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.bundles.line_folder import LivePointer, read_pointer, write_pointer
from deploy.bundles.version_decisions import Ruling, VersionDecision, add_decision
from flows.meta_train.request import MetaTrainRequest
from pipeline.errors import BundleError
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
            self._remove_all_but({version, *history})
        return version

    def _pointer(self) -> LivePointer | None:
        return read_pointer(self.folder, f"remove {self.folder} and learn the plant's meta-model anew")

    def _remove_all_but(self, kept: set[str]) -> None:
        with storage_errors(self.folder):
            for path in list(self.folder.iterdir()):
                if path.is_dir() and path.name not in kept:
                    shutil.rmtree(path)
