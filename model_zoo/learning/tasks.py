"""Episodes as a learned head sees them: inputs and targets, ready for losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model_zoo.heads.invariant_inputs import HeadInputs, InvariantConfig, InvariantInputs, LevelGroups, concatenate
from model_zoo.heads.task_head import Targets
from pipeline.episodes import Episode, QuerySet, SupportSet
from pipeline.patch_samples import fewer_in_full

CPU = torch.device("cpu")
_HELD = 64  # good images that a learner adapts to: its time grows with them, while the bank knows all others, too


class TaskInputs(NamedTuple):
    """Head inputs of B images and what they ought to score."""

    inputs: HeadInputs
    targets: Targets

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> TaskInputs:
        """The same on a device, its floating-point inputs as `dtype`; what is there already is not copied."""
        inputs, targets = self
        return TaskInputs(
            HeadInputs(
                inputs.scalars.to(device, dtype),
                tuple(residual.to(device, dtype) for residual in inputs.residuals),
                inputs.log_base.to(device, dtype),
                inputs.nearest.to(device),
            ),
            Targets(*(column.to(device) for column in targets)),
        )


class PreparedTask(NamedTuple):
    """An episode after the part that no outer step changes. Stored in float16 on the CPU; `unpack` gives float32."""

    support: TaskInputs
    query: TaskInputs

    def unpack(self, device: torch.device = CPU) -> PreparedTask:
        """The task in float32, on the device that is to learn from it."""
        return PreparedTask(self.support.to(device), self.query.to(device))


def prepare_task(episode: Episode, groups: LevelGroups, config: InvariantConfig) -> PreparedTask:
    """The inputs and targets of an episode, in float16 to halve the memory of many episodes."""
    inputs, support, *_ = prepare_support(episode.support, groups, config, seed=0)
    task = PreparedTask(support, query_task(inputs, episode.query))
    return PreparedTask(task.support.to(CPU, torch.float16), task.query.to(CPU, torch.float16))


class PreparedSupport(NamedTuple):
    """A support set after the part that no learner changes: the inputs it fixes, and its task of B images.

    real: (B,) bool, the real defects. halves: (B,) int64, the half that an image is in for cross-validation: 0 or 1, -1
    for a good image that both need.
    """

    inputs: InvariantInputs
    task: TaskInputs
    real: Tensor
    halves: Tensor


@dataclass(frozen=True)
class SupportPreparation:
    """What learners do to a support alike: those with equal groups and budgets of the inputs share it."""

    groups: LevelGroups
    config: InvariantConfig

    def __call__(self, support: SupportSet, seed: int) -> PreparedSupport:
        """See `prepare_support`."""
        return prepare_support(support, self.groups, self.config, seed=seed)


def prepare_support(support: SupportSet, groups: LevelGroups, config: InvariantConfig, *, seed: int) -> PreparedSupport:
    """Build the inputs from a support set and see the support, at most 64 good images of it, through them."""
    support = fewer_in_full(support, _HELD, seed=seed)
    inputs = InvariantInputs(support, groups, config, seed=seed)
    task = support_task(inputs, support)
    real = torch.arange(len(task.targets.labels)) >= support.k + len(support.synthetic_parents)
    return PreparedSupport(inputs, task, real, _halves(support))


def support_task(inputs: InvariantInputs, support: SupportSet) -> TaskInputs:
    """What a learner adapts from: LOO good images, synthetic defects on them, and the real defects.

    Good images are seen against the others' bank: against their own their residuals would vanish. Real defects count
    twice as much as a good image, synthetic ones half as much once there are real ones.
    """
    parts, targets = [inputs.leave_one_out(support)], [_good_targets(support.k, inputs)]
    N, M = len(support.synthetic_parents), support.m
    if N:
        parts.append(inputs.of_synthetic(support))
        every = torch.ones(N, dtype=torch.bool)
        targets.append(Targets(support.synthetic_masks, every, every, torch.full((N,), 0.5 if M else 1.0)))
    if M:
        parts.append(inputs.of_defects(support))
        labels = torch.ones(M, dtype=torch.bool)
        targets.append(Targets(support.defect_masks, labels, support.has_mask, torch.full((M,), 2.0)))
    return TaskInputs(concatenate(parts), Targets(*(torch.cat(column) for column in zip(*targets, strict=True))))


def query_task(inputs: InvariantInputs, query: QuerySet) -> TaskInputs:
    """What an outer loss judges by."""
    weight = torch.ones(len(query.labels))
    return TaskInputs(inputs.of_query(query.levels), Targets(query.masks, query.labels, query.has_mask, weight))


def subset(task: TaskInputs, rows: Tensor) -> TaskInputs:
    """Some images of a task."""
    inputs, targets = task
    return TaskInputs(
        HeadInputs(
            inputs.scalars[rows],
            tuple(residual[rows] for residual in inputs.residuals),
            inputs.log_base[rows],
            inputs.nearest[rows],
        ),
        Targets(*(column[rows] for column in targets)),
    )


def blanked(task: TaskInputs, keep: Sequence[Tensor]) -> TaskInputs:
    """A task with input channels multiplied by 0 or 1: `keep` holds (1, D, 1, 1) of the scalars, then each level's."""
    inputs = task.inputs
    return TaskInputs(
        inputs._replace(
            scalars=inputs.scalars * keep[0],
            residuals=tuple(residual * mask for residual, mask in zip(inputs.residuals, keep[1:], strict=True)),
        ),
        Targets(*task.targets),
    )


def sampled_task(
    task: PreparedTask, query_images: int, channel_dropout: float, generator: torch.Generator
) -> PreparedTask:
    """What one outer step takes of a task: a balanced subset of the query, and some input channels blanked alike.

    Args:
        task: unpacked, on the device that learns from it.
        query_images: half of them defective where there are enough.
        channel_dropout: probability that a channel is blanked.
        generator: on the CPU.
    """
    labels = task.query.targets.labels
    rows = []
    for wanted in (~labels, labels):
        of_kind = wanted.nonzero()[:, 0]
        chosen = torch.randperm(len(of_kind), generator=generator)[: query_images // 2]
        rows.append(of_kind[chosen.to(labels.device)])
    query = subset(task.query, torch.cat(rows))
    keep = [
        (torch.rand(1, channels, 1, 1, generator=generator) >= channel_dropout).float().to(labels.device)
        for channels in (query.inputs.scalars.shape[1], *(r.shape[1] for r in query.inputs.residuals))
    ]
    return PreparedTask(blanked(task.support, keep), blanked(query, keep))


def _halves(support: SupportSet) -> Tensor:
    """The half of each image of `support_task`: a synthetic defect shares that of the good image it was painted on."""
    good, synthetic = torch.arange(support.k) % 2, support.synthetic_parents % 2
    if support.k == 1:
        good, synthetic = torch.tensor([-1]), torch.arange(len(support.synthetic_parents)) % 2
    return torch.cat([good, synthetic, torch.arange(support.m) % 2])


def _good_targets(count: int, inputs: InvariantInputs) -> Targets:
    H, W = inputs.grid
    none = torch.zeros(count, dtype=torch.bool)
    return Targets(torch.zeros(count, H, W), none, ~none, torch.ones(count))
