"""The names of the learners. Torch-free: the command reads these before any heavy import."""

from __future__ import annotations

from enum import StrEnum


class LearnerName(StrEnum):
    """The few-shot learners."""  # the names of model_zoo.learner_table; a test holds the two lists equal

    AUTO = "auto"
    SHARED_DIRECTION = "shared_direction"
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


UNTRAINED = frozenset({LearnerName.AUTO, LearnerName.MEMORY_BANK, LearnerName.TRANSFER})
"""The learners that learn nothing from other lines."""  # those that are not `is_meta` in the learner table
