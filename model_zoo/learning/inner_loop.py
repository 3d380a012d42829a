"""The inner loop: a few gradient steps on the support loss, differentiable when the outer loop needs it.

    phi_{t+1} = phi_t - rate * dL(phi_t) / dphi      (MAML, Finn et al., ICML 2017, eq. 1)

phi is a dictionary of named tensors: theta alone, or theta and the trunk. With `create_graph` the steps stay in the
graph and the outer loss differentiates through them (second order); without, they are constants (first order).

A learner whose step is not the plain gradient gives a `direction`: what to step against, from phi and its gradients.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
LossOf = Callable[[Parameters], Tensor]
Direction = Callable[[Parameters, Parameters], Parameters]
_CLIP = 1.0  # of one gradient entry, where it is not part of a graph: the support is small, its gradients are not


def gradient_direction(_phi: Parameters, gradients: Parameters) -> Parameters:
    """The direction of gradient descent: the gradients themselves."""
    return gradients


def inner_loop(
    start: Mapping[str, Tensor],
    loss_of: LossOf,
    *,
    steps: int,
    rates: Mapping[str, Tensor | float],
    create_graph: bool,
    direction: Direction = gradient_direction,
    clip: float = _CLIP,
) -> Parameters:
    """Phi after `steps` steps from `start`. `clip` bounds each gradient entry in first order.

    First order keeps the identity path phi' = phi + constant, so that an outer gradient at phi' reaches the start.
    """
    phi = {name: value if value.requires_grad else value.requires_grad_(True) for name, value in start.items()}
    for _ in range(steps):
        gradients = torch.autograd.grad(loss_of(phi), list(phi.values()), create_graph=create_graph)
        if not create_graph:
            gradients = [gradient.clamp(-clip, clip) for gradient in gradients]
        against = direction(phi, dict(zip(phi, gradients, strict=True)))
        phi = {name: value - rates[name] * against[name] for name, value in phi.items()}
    return phi


def guarded_inner_loop(
    start: Mapping[str, Tensor],
    loss_of: LossOf,
    *,
    steps: int,
    rates: Mapping[str, Tensor | float],
    halvings: int = 4,
    direction: Direction = gradient_direction,
) -> Parameters:
    """Phi after at most `steps` steps, each accepted only if the support loss falls.

    A step that does not lower the loss is halved, at most `halvings` times, then the loop ends. For adaptation to a new
    line: unguarded MAML and Meta-SGD can turn a line's ranking upside down.
    """
    phi = {name: value.detach() for name, value in start.items()}
    with torch.no_grad():
        loss = float(loss_of(phi))
    for _ in range(steps):
        leaves = {name: value.clone().requires_grad_(True) for name, value in phi.items()}
        gradients = torch.autograd.grad(loss_of(leaves), list(leaves.values()))
        clipped = (gradient.clamp(-_CLIP, _CLIP) for gradient in gradients)
        with torch.no_grad():
            against = direction(phi, dict(zip(phi, clipped, strict=True)))
        size = 1.0
        for _ in range(halvings + 1):
            with torch.no_grad():
                candidate = {name: value - size * rates[name] * against[name] for name, value in phi.items()}
                candidate_loss = float(loss_of(candidate))
            if candidate_loss < loss:
                phi, loss = candidate, candidate_loss
                break
            size *= 0.5
        else:
            return phi
    return phi


def adaptation_loop(
    start: Mapping[str, Tensor],
    loss_of: LossOf,
    *,
    steps: int,
    rates: Mapping[str, Tensor | float],
    training: bool,
    order: Literal[1, 2] = 2,
    direction: Direction = gradient_direction,
) -> Parameters:
    """`inner_loop` of the given order in training, `guarded_inner_loop` on a new line."""
    if training:
        return inner_loop(start, loss_of, steps=steps, rates=rates, create_graph=order == 2, direction=direction)
    return guarded_inner_loop(start, loss_of, steps=steps, rates=rates, direction=direction)


def near(start: Mapping[str, Tensor], loss_of: LossOf, *, unit: Tensor | float, weight: float) -> LossOf:
    """The loss plus a proximal term: `weight` times the mean squared distance to `start` in units of `unit`.

    Parameters that `start` does not name go free.
    """

    def loss(parameters: Parameters) -> Tensor:
        away = torch.cat([((parameters[name] - value) / unit).flatten() for name, value in start.items()])
        return loss_of(parameters) + weight * away.square().mean()

    return loss


def in_turn(*losses: LossOf) -> LossOf:
    """One loss after the other, a different one at each call: an inner loop over minibatches."""
    following = itertools.cycle(losses)

    def loss(phi: Parameters) -> Tensor:
        return next(following)(phi)

    return loss


def half_squared_distance(phi: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
    """0.5 * |phi - target|^2 with the target a constant: its gradient is phi - target, the pull towards the target."""
    return torch.stack([(value - target[name].detach()).square().sum() for name, value in phi.items()]).sum() / 2


def with_gradient_of(objective: Tensor, value: Tensor) -> Tensor:
    """A scalar that reads as `value`, the query loss, and has the gradient of `objective`: for learners whose outer
    objective is another, so that what an outer step reports is one quantity.
    """
    return value.detach() + objective - objective.detach()


def bounded_rates(raw: Mapping[str, Tensor], most: Mapping[str, float]) -> dict[str, Tensor | float]:
    """Learned rates between 0 and `most`, from raw values without bounds: most * sigmoid(raw).

    Positive, so that a small enough step lowers the support loss; at most `most`, so that no line is thrown far off.
    """
    return {name: most[name] * torch.sigmoid(value) for name, value in raw.items()}
