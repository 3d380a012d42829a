"""Will Linewise work on this machine, on which device, and how fast? Torch-free; torch is asked where it is there."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from deploy.bundles.manifest import HEAD
from deploy.bundles.registry import Registry
from deploy.engine.devices import open_device, run_probe
from deploy.engine.limits import available_cpus
from deploy.engine.parity import TOLERANCE, Parity, Sides, compare_outputs
from deploy.engine.scores import HeadOutputs
from deploy.engine.survey import DeviceSurvey, OrtBuild, ort_build, survey_device
from deploy.engine.trial import Specimen, Trial, generated_pair, try_device
from flows.doctor.checks import Check, Verdict, check_installation
from flows.doctor.machine import Machine, describe_machine
from flows.doctor.request import DoctorRequest
from flows.progress import OnProgress, Progress, ignore_progress
from pipeline.errors import LinewiseError
from pipeline.settings import Device, Settings

DEVICES = (Device.CPU, Device.CUDA, Device.TENSORRT)
SECONDS = 3.0
"""How long the speed of a device is measured."""

_OWN_PACKAGES = ("pipeline", "model_zoo", "deploy", "flows")


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """What is there for a device, and what it made of the specimen.

    Args:
        survey: what was found without running anything.
        available: graphs run on it; None: it was not tried.
        problem: why it does not work, or why its scores cannot be trusted.
        parity: how far its scores are from the reference's; None: not compared.
        parity_says: that in a sentence, or why it was not compared.
        images_per_second: measured; None: not measured.
        speed_says: how it was measured, or why it was not.
    """

    survey: DeviceSurvey
    available: bool | None
    problem: LinewiseError | None = None
    parity: Parity | None = None
    parity_says: str
    images_per_second: float | None = None
    speed_says: str

    @property
    def works(self) -> bool | None:
        """Whether Linewise can score on it; None: it was not tried."""
        return None if self.available is None else self.available and self.problem is None

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            **asdict(self.survey),
            "available": self.available,
            "works": self.works,
            "problem": None if self.problem is None else str(self.problem),
            "parity": None if self.parity is None else asdict(self.parity),
            "parity_says": self.parity_says,
            "images_per_second": self.images_per_second,
            "speed_says": self.speed_says,
        }


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything `linewise doctor` found."""

    asked: Device
    machine: Machine
    onnxruntime: OrtBuild
    devices: tuple[DeviceReport, ...]
    checks: tuple[Check, ...]

    @property
    def device_problem(self) -> LinewiseError | None:
        """Why the device that was asked for does not work (auto: the CPU); None: it works."""
        wanted = Device.CPU if self.asked is Device.AUTO else self.asked
        return next(report.problem for report in self.devices if report.survey.device is wanted)

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about all that must be mended; a GPU that is merely not there is no problem unless asked for."""
        found = [check.says for check in self.checks if check.verdict is Verdict.PROBLEM]
        wrong = [report.problem for report in self.devices if report.available and report.problem is not None]
        if self.device_problem is not None and self.device_problem not in wrong:
            wrong.append(self.device_problem)
        return (*found, *map(str, wrong))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary with keys that stay."""
        return {
            "asked": self.asked.value,
            "works": not self.problems,
            "problems": list(self.problems),
            "machine": asdict(self.machine),
            "onnxruntime": asdict(self.onnxruntime),
            "devices": [report.to_json() for report in self.devices],
            "checks": [asdict(check) for check in self.checks],
        }


def run(request: DoctorRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> Diagnosis:
    """Look at everything; try the device that is asked for and the CPU, or with `auto` every one that is there.

    Nothing that is wrong here raises: it is in the diagnosis.
    """

    def tell(done: int) -> None:
        on_progress(Progress(stage="doctor", done=done, total=2 + len(DEVICES), figures={}))

    asked = settings.device_for(request.device)
    tell(0)
    checks = check_installation(settings)
    tell(1)
    reports: list[DeviceReport] = []
    with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
        bench = _Bench(settings, Path(scratch))
        for number, device in enumerate(DEVICES, start=2):
            tell(number)
            wanted = device is Device.CPU or asked in (device, Device.AUTO)
            reports.append(bench.examine(device) if wanted else _left_out(device))
    tell(2 + len(DEVICES))
    return Diagnosis(
        asked=asked, machine=describe_machine(), onnxruntime=ort_build(), devices=tuple(reports), checks=checks
    )


def _left_out(device: Device) -> DeviceReport:
    says = "skipped: another device was asked for"
    return DeviceReport(survey=survey_device(device), available=None, parity_says=says, speed_says=says)


class _Bench:
    """Tries one device after the other, the CPU first: it is the reference of the others, and torch is its own."""

    def __init__(self, settings: Settings, scratch: Path) -> None:
        self._settings = settings
        self._specimen: Specimen | None = None
        self._no_specimen: LinewiseError | None = None
        self._why_none = "skipped: the graphs to measure with could not be made"
        self._without_torch = ""
        self._cpu_scores: HeadOutputs | None = None
        try:
            self._specimen = self._find_specimen(scratch)
        except LinewiseError as error:
            self._no_specimen = error

    def examine(self, device: Device) -> DeviceReport:
        """Survey the device and, where it works, let it score."""
        survey = survey_device(device)
        try:
            resolved = open_device(device, self._settings)
            run_probe(resolved)
        except LinewiseError as error:
            says = "skipped: the device does not work here"
            return DeviceReport(survey=survey, available=False, problem=error, parity_says=says, speed_says=says)
        report = DeviceReport(
            survey=survey,
            available=True,
            problem=self._no_specimen if device is Device.CPU else None,
            parity_says=self._why_none,
            speed_says=self._why_none,
        )
        if self._specimen is None:
            return report
        try:
            trial = try_device(
                self._specimen,
                resolved,
                workers=self._settings.workers or available_cpus(),
                batch=resolved.batch_size,
                seconds=SECONDS,
            )
        except LinewiseError as error:
            return replace(report, problem=error, parity_says="skipped: scoring failed", speed_says="scoring failed")
        report = replace(
            report, images_per_second=trial.images_per_second, speed_says=_speed_says(trial, self._specimen)
        )
        return self._compared(report, trial.scores, self._specimen)

    def _compared(self, report: DeviceReport, scores: HeadOutputs, specimen: Specimen) -> DeviceReport:
        device = report.survey.device
        if device is Device.CPU:
            self._cpu_scores = scores
            reference, name = specimen.torch_scores, "torch"
            if reference is None:
                return replace(report, parity_says=self._without_torch)
        else:
            reference, name = self._cpu_scores, "the CPU"
            if reference is None:
                return replace(report, parity_says="skipped: the CPU gave no scores to compare with")
        sides = Sides(name, device.value, f"do not score on {device} here; check its driver and library versions")
        try:
            parity = compare_outputs(reference, scores, TOLERANCE, sides)
        except LinewiseError as error:
            return replace(report, problem=error, parity_says=str(error))
        says = (
            f"scores within {parity.max_score_error:.1g} and maps within {parity.max_map_error:.1g} of {name}'s "
            f"on {parity.images} generated images (accepted: {parity.tolerance:g})"
        )
        return replace(report, parity=parity, parity_says=says)

    def _find_specimen(self, scratch: Path) -> Specimen | None:
        """Made on the spot where torch is installed, else a registered line's; None, with the reason, without either.

        Raises:
            LinewiseError: torch is there, and what it should make cannot be made or scores otherwise than it.
        """
        registry = Registry(self._settings.home)
        try:
            return import_module("flows.doctor.specimen").fresh_specimen(registry, scratch)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module in _OWN_PACKAGES:
                raise
            self._without_torch = f"skipped: {module} is not installed, so there is nothing to compare the CPU with"
        if (specimen := _registered_specimen(registry)) is None:
            self._why_none = (
                f"skipped: {module} is not installed and no intact line is registered, so there is nothing to measure "
                "with: import a bundle, or pip install 'linewise[full]'"
            )
        return specimen


def _registered_specimen(registry: Registry) -> Specimen | None:
    """The first live line whose bundle and backbone are intact."""
    try:
        lines = registry.lines()
    except LinewiseError:  # the home's own check tells of it
        return None
    for line in lines:
        try:
            deployment = registry.deployment(line)
        except LinewiseError:
            continue
        bundle = deployment.bundle
        return Specimen(
            backbone=deployment.backbone,
            head=bundle.head_path,
            head_sha256=bundle.manifest.files[HEAD],
            origin=f"{line} {bundle.manifest.version} on {deployment.backbone.spec.name}",
            images=generated_pair(deployment.backbone.spec.size)[1],
        )
    return None


def _speed_says(trial: Trial, specimen: Specimen) -> str:
    spec = specimen.backbone.spec
    workers = "1 worker" if trial.workers == 1 else f"{trial.workers} workers"
    return (
        f"{trial.images_per_second:.1f} images/s of {spec.height} x {spec.width} px without decoding "
        f"({workers}, {trial.batch} a batch; {specimen.origin})"
    )
