"""The equations of the generative learners and the neural process, on problems small enough to know the answer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from model_zoo.heads.task_head import THETA_SIZE, Targets
from model_zoo.learners.autoregressive import BLOCK_SIZE, BLOCKS, BlockRecurrence
from model_zoo.learners.leo import encoder_penalty, latent_steps, orthogonality_penalty
from model_zoo.learners.maml_gan import discriminator_loss, generator_loss
from model_zoo.learners.meta_sgd_hypernetwork import rates_around
from model_zoo.learners.neural_process import labelled_points
from model_zoo.learning.attentive_process import AttentiveProcess, Points, cross_attention, join
from model_zoo.learning.gaussians import Gaussian, gaussian_from, kl_divergence, standard_gaussian
from model_zoo.learning.inner_loop import near


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Sinusoid:
    """y = a sin(x + p), a in 1..2, p in 0..pi, on -pi..pi."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.amplitude = 1 + float(torch.rand((), generator=generator))
        self.phase = math.pi * float(torch.rand((), generator=generator))

    def points(self, count: int) -> Points:
        x = math.pi * (2 * torch.rand(count, 1, generator=self.generator) - 1)
        return Points(x, self.amplitude * torch.sin(x[:, 0] + self.phase), torch.ones(count, dtype=torch.bool))


# --- Gaussians


def test_gaussian_equals_torch_distributions(generator):
    q, p = (gaussian_from(torch.randn(5, 8, generator=generator), start_std=0.7) for _ in range(2))
    q_reference, p_reference = (Normal(g.mean, g.log_std.exp()) for g in (q, p))
    value = torch.randn(5, 4, generator=generator)
    assert torch.allclose(kl_divergence(q, p), reference_kl(q_reference, p_reference).sum(-1), atol=1e-5)
    assert torch.allclose(q.log_density(value), q_reference.log_prob(value), atol=1e-5)
    assert torch.allclose(
        kl_divergence(q, standard_gaussian(4)), reference_kl(q_reference, Normal(0.0, 1.0)).sum(-1), atol=1e-5
    )


def test_gaussian_samples_have_its_moments_and_its_standard_deviation_is_bounded(generator):
    start = gaussian_from(torch.zeros(2), start_std=0.3)
    samples = Gaussian(start.mean.expand(20_000) + 2.0, start.log_std.expand(20_000)).sample(generator)
    assert float(samples.mean()) == pytest.approx(2.0, abs=0.01)
    assert float(samples.std()) == pytest.approx(0.3, rel=0.02)
    extreme = gaussian_from(torch.tensor([0.0, 0.0, -1e6, 1e6]), start_std=1.0)
    assert torch.allclose(extreme.log_std, torch.tensor([-3.0, 3.0]))


# --- attentive neural process


def test_attention_reads_the_nearest_valid_row_only():
    keys = torch.tensor([[9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    values = torch.tensor([[1.0, 0.0], [0.0, 2.0], [7.0, 7.0]])
    valid = torch.tensor([True, True, False])
    read = cross_attention(torch.tensor([[9.0, 0.0], [0.0, 9.0]]), keys, values, valid)
    assert torch.allclose(read, torch.tensor([[1.0, 0.0], [0.0, 2.0]]), atol=1e-6)


def test_attention_equals_torchs_also_in_second_order(generator):
    tensors = [torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    valid = torch.tensor([True, False, True, True, False])
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(t[None] for t in tensors), attn_mask=valid.expand(5, 5)
    )
    assert torch.allclose(cross_attention(*tensors, valid), expected[0])
    assert torch.autograd.gradgradcheck(lambda *t: cross_attention(*t, valid), tensors)


def test_padding_changes_neither_prediction_nor_posterior(generator):
    process = AttentiveProcess(1, width=4, hidden=8, latent=2, start_std=0.4, generator=generator)
    context, x, z = Sinusoid(generator).points(6), torch.randn(5, 1, generator=generator), torch.ones(2)
    padding = Points(torch.full((3, 1), 50.0), torch.full((3,), -50.0), torch.zeros(3, dtype=torch.bool))
    padded = join(context, padding)
    assert torch.allclose(process(x, context, z), process(x, padded, z), atol=1e-6)
    assert torch.allclose(process.posterior(context).mean, process.posterior(padded).mean, atol=1e-6)


def test_attentive_process_interpolates_sinusoids(generator):
    """Five times below the error of the context's mean, on functions it has not seen."""
    process = AttentiveProcess(1, width=16, hidden=32, latent=4, start_std=0.4, generator=generator)
    optimiser = torch.optim.Adam(process.parameters(), lr=3e-3)
    for _ in range(600):
        losses = []
        for _ in range(4):
            function = Sinusoid(generator)
            context, targets = function.points(12), function.points(24)
            posterior = process.posterior(join(context, targets))
            error = process(targets.x, context, posterior.sample(generator)) - targets.y
            losses.append(error.square().mean() + 0.005 * kl_divergence(posterior, process.posterior(context)))
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        optimiser.step()

    errors, baseline = [], []
    for _ in range(50):
        function = Sinusoid(generator)
        context, targets = function.points(12), function.points(50)
        with torch.no_grad():
            predicted = process(targets.x, context, process.posterior(context).mean)
        errors.append((predicted - targets.y).square().mean())
        baseline.append((context.y.mean() - targets.y).square().mean())
    assert float(torch.stack(errors).mean()) < float(torch.stack(baseline).mean()) / 5


def test_context_is_balanced_and_padded_and_knows_its_labels(generator):
    fractions = torch.zeros(3, 4, 4)
    fractions[1, 0, :3] = 1.0
    fractions[1, 1, 0] = 0.1  # ambiguous
    has_mask = torch.tensor([True, True, False])
    features = torch.stack([fractions, torch.arange(48.0).reshape(3, 4, 4)], 1)
    targets = Targets(fractions, torch.tensor([False, True, True]), has_mask, torch.ones(3))
    points = labelled_points(features, targets, count=20, generator=generator)
    assert points.x.shape == (20, 2)
    assert points.valid.tolist() == [True] * 10 + [True] * 3 + [False] * 7
    x, y = points.x[points.valid], points.y[points.valid]
    assert torch.equal(x[:, 0], (y + 1) / 2)
    assert len(x[:, 1].unique()) == 13
    assert float(x[:, 1].max()) < 32  # the image without a mask takes no part


# --- LEO


def regress(weights_P: Tensor, x: Tensor) -> Tensor:
    """A 1-16-1 network whose 49 weights are one vector."""
    hidden = torch.tanh(x * weights_P[:16] + weights_P[16:32])
    return hidden @ weights_P[32:48] + weights_P[48]


def test_latent_steps_adapt_a_regressor_to_sinusoids(generator):
    """After meta-training, ten points and five steps in a code of four numbers cut the query error to a fifth."""
    decoder = torch.nn.Linear(4, 49)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    start = torch.zeros(4, requires_grad=True)
    optimiser = torch.optim.Adam([*decoder.parameters(), start], lr=5e-3)

    def errors(function: Sinusoid, *, training: bool) -> tuple[Tensor, Tensor]:
        support, query = function.points(10), function.points(50)

        def mse(z: Tensor, points: Points) -> Tensor:
            return (regress(decoder(z), points.x) - points.y).square().mean()

        z = latent_steps(start, lambda z: mse(z, support), steps=5, rate=0.1, proximal=0.0, training=training)
        return mse(start, query).detach(), mse(z, query)

    for _ in range(300):
        loss = torch.stack([errors(Sinusoid(generator), training=True)[1] for _ in range(4)]).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*decoder.parameters(), start], 1.0)
        optimiser.step()

    before, after = zip(*(errors(Sinusoid(generator), training=False) for _ in range(50)), strict=True)
    assert float(torch.stack(after).mean().detach()) < float(torch.stack(before).mean()) / 5


def test_encoder_penalty_moves_the_code_and_not_its_goal():
    z, goal = (torch.tensor(value, requires_grad=True) for value in ([1.0, 0.0], [3.0, 1.0]))
    penalty = encoder_penalty(z, goal * 1.0)
    penalty.backward()
    assert float(penalty.detach()) == 5.0
    assert z.grad is not None
    assert z.grad.tolist() == [-4.0, -2.0]
    assert goal.grad is None


def test_orthogonality_penalty_is_zero_for_orthogonal_and_largest_for_equal_directions():
    assert float(orthogonality_penalty(torch.eye(6)[:, :3] * 7)) == pytest.approx(0.0)
    assert float(orthogonality_penalty(torch.ones(6, 3))) == pytest.approx(6 / 9)


def test_proximal_term_is_the_mean_squared_distance_in_units():
    loss = near(
        {"x": torch.tensor([1.0, 1.0])}, lambda _: torch.tensor(10.0), unit=torch.tensor([0.5, 1.0]), weight=3.0
    )
    assert float(loss({"x": torch.tensor([2.0, 1.0])})) == pytest.approx(10.0 + 3.0 * (4.0 + 0.0) / 2)


# --- autoregressive


@pytest.fixture
def recurrence(generator) -> BlockRecurrence:
    return BlockRecurrence(5, 8, start_std=0.5, generator=generator)


def test_likelihood_is_the_product_of_the_conditionals(recurrence, generator):
    """Block by block, each from a fresh unroll that is fed the true blocks before it, against torch.distributions."""
    c, value = torch.randn(5, generator=generator), torch.randn(THETA_SIZE, generator=generator)
    blocks = value.reshape(BLOCKS, BLOCK_SIZE)
    total = torch.zeros(())
    for t in range(BLOCKS):
        _, conditionals = recurrence.unroll(c, lambda s, g, t=t: blocks[s] if s < t else g.mean)
        total = total + Normal(conditionals.mean[t], conditionals.log_std[t].exp()).log_prob(blocks[t]).sum()
    assert float((recurrence.log_likelihood(c, value) - total).detach()) == pytest.approx(0.0, abs=1e-3)


def test_a_block_depends_on_those_before_it_and_on_no_later_one(recurrence, generator):
    c, value = torch.randn(5, generator=generator), torch.randn(BLOCKS, BLOCK_SIZE, generator=generator)
    changed = value.clone()
    changed[3] += 1.0
    _, first = recurrence.unroll(c, lambda t, _: value[t])
    _, second = recurrence.unroll(c, lambda t, _: changed[t])
    assert torch.equal(first.mean[:4], second.mean[:4])
    assert all(not torch.equal(first.mean[t], second.mean[t]) for t in range(4, BLOCKS))


def test_constant_conditionals_give_an_independent_gaussian(recurrence, generator):
    """With the output layer at zero nothing depends on anything: N(0, start_std^2) for each of the entries."""
    with torch.no_grad():
        for parameter in recurrence.output[-1].parameters():
            parameter.zero_()
    c, value = torch.randn(5, generator=generator), torch.randn(THETA_SIZE, generator=generator)
    expected = Normal(0.0, 0.5).log_prob(value).sum()
    assert torch.allclose(recurrence.log_likelihood(c, value), expected)


# --- GAN and rates


def test_gan_losses_are_those_of_the_sigmoid():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 0.5])
    sigmoid_real, sigmoid_fake = torch.sigmoid(real), torch.sigmoid(fake)
    assert float(generator_loss(fake)) == pytest.approx(float(-sigmoid_fake.log().mean()))
    expected = -(sigmoid_real.log() + (1 - sigmoid_fake).log()).mean()
    assert float(discriminator_loss(real, fake)) == pytest.approx(float(expected))
    assert float(discriminator_loss(torch.zeros(1), torch.zeros(1))) == pytest.approx(2 * math.log(2))


def test_generated_rates_stay_within_the_factor():
    rates = rates_around(torch.tensor([-1e6, 0.0, 1e6]), rate=0.1, factor=5.0)
    assert torch.allclose(rates, torch.tensor([0.02, 0.1, 0.5]))
