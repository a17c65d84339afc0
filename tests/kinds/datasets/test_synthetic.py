"""Data drawn from a formula."""

from __future__ import annotations

import numpy as np
import torch

from tests.support.datasets import load


def test_the_defaults_are_those_of_the_weight_decay_experiment() -> None:
    data = load(name="synthetic_linear")
    assert data.task == "regression"
    assert data.train.inputs.shape == (20, 200)
    assert data.train.targets.shape == (20, 1)
    assert len(data.test) == 100
    assert data.validation is None
    assert data.train.inputs.dtype == torch.float64
    assert (data.input_shape, data.num_outputs, len(data.feature_names)) == ((200,), 1, 200)


def test_without_noise_the_target_is_the_formula() -> None:
    data = load(name="synthetic_linear", noise=0, weight=0.3, bias=-2)
    for part in (data.train, data.test):
        expected = -2 + 0.3 * part.inputs.numpy().sum(1)
        np.testing.assert_allclose(part.targets[:, 0], expected, rtol=1e-12)


def test_inputs_and_noise_are_normal_with_the_stated_deviations() -> None:
    data = load(name="synthetic_linear", num_features=5, num_train=40_000, noise=0.5)
    inputs = data.train.inputs.flatten().numpy()
    noise = data.train.targets[:, 0].numpy() - 0.05 - 0.01 * data.train.inputs.numpy().sum(1)
    # The draw is fixed by the seed; the bounds are five standard errors.
    assert abs(inputs.mean()) < 5 / np.sqrt(inputs.size)
    assert abs(inputs.std() - 1) < 5 / np.sqrt(2 * inputs.size)
    assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(noise.size)
    assert abs(noise.std() / 0.5 - 1) < 5 / np.sqrt(2 * noise.size)
    assert abs(np.corrcoef(noise, data.train.inputs[:, 0])[0, 1]) < 5 / np.sqrt(noise.size)
    fourth = ((noise / noise.std()) ** 4).mean()
    assert abs(fourth - 3) < 5 * np.sqrt(96 / noise.size)


def test_the_size_of_one_set_does_not_change_the_other() -> None:
    small = load(name="synthetic_linear")
    large = load(name="synthetic_linear", num_train=50)
    wide = load(name="synthetic_linear", num_test=7)
    assert torch.equal(small.test.inputs, large.test.inputs)
    assert torch.equal(small.test.targets, large.test.targets)
    assert torch.equal(small.train.inputs, wide.train.inputs)


def test_the_seed_decides_and_train_and_test_differ() -> None:
    one, same, other = (load(name="synthetic_linear", seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert not torch.equal(one.train.inputs, one.test.inputs[:20])


def test_validation_is_held_out_of_the_training_examples() -> None:
    whole = load(name="synthetic_linear")
    data = load(name="synthetic_linear", validation=5)
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (15, 5, 100)
    together = torch.cat([data.train.inputs, data.validation.inputs])
    assert set(map(tuple, together.tolist())) == set(map(tuple, whole.train.inputs.tolist()))


def test_it_is_standardised_only_on_demand() -> None:
    data = load(name="synthetic_linear", standardize=True)
    torch.testing.assert_close(data.train.inputs.mean(0), torch.zeros(200).double())
    torch.testing.assert_close(data.train.inputs.std(0, correction=0), torch.ones(200).double())
