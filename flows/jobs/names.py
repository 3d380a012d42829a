"""The names a request chooses from. Torch-free: the command reads these before any heavy import."""

from __future__ import annotations

from enum import StrEnum


class LearnerName(StrEnum):
    """The few-shot learners."""  # the names of model_zoo.learners; a test holds the two lists equal

    AUTO = "auto"
    MEMORY_BANK = "memory_bank"
    TRANSFER = "transfer"
    IN_CONTEXT = "in_context"
    PROTOTYPICAL = "prototypical"
    MAML = "maml"
    FIRST_ORDER_MAML = "first_order_maml"
    ANIL = "anil"
    REPTILE = "reptile"
    META_SGD = "meta_sgd"
    HYPERNETWORK = "hypernetwork"
    META_SGD_HN = "meta_sgd_hn"
    BMAML = "bmaml"
    ABML = "abml"
    NEURAL_PROCESS = "neural_process"
    MAML_GAN = "maml_gan"
    VAE = "vae"
    LEO = "leo"
    AUTOREGRESSIVE = "autoregressive"


class TrainingDevice(StrEnum):
    """Where the outer loop of meta-training runs. `auto` says which it took; the others never fall back."""

    CPU = "cpu"
    CUDA = "cuda"
    AUTO = "auto"


UNTRAINED = frozenset({LearnerName.AUTO, LearnerName.MEMORY_BANK, LearnerName.TRANSFER})
"""The learners that learn nothing from other lines."""  # those that are not `is_meta` in the learner table


class Scenario(StrEnum):
    """What an evaluation asks of a learner after meta-training; see `flows.jobs.scenarios`."""

    FEW_SHOT = "few-shot"
    DOMAIN_SHIFT = "domain-shift"
    INCREMENTAL = "incremental"
    MULTI_TASK = "multi-task"


class ShiftName(StrEnum):
    """What may change about a line's camera."""  # the names of pipeline.camera_shift.SHIFTS

    LIGHT = "light"
    BLUR = "blur"
    NOISE = "noise"
    CAMERA = "camera"
    MAGNIFICATION = "magnification"


class Protocol(StrEnum):
    """How an evaluation splits lines into those to meta-train on and those to test on."""

    LEAVE_ONE_DATA_SET_OUT = "leave-one-data-set-out"
    LEAVE_ONE_LINE_OUT = "leave-one-line-out"
    TRAIN_TEST = "train-test"
