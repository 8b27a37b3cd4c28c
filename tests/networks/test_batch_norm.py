"""Running statistics of batch normalisation."""

import copy

import torch

from spark_ctr.networks.layers.batch_norm import BatchNorm


def test_running_statistics_are_means_until_the_momentum_takes_over():
    draw = torch.Generator().manual_seed(0)
    batches = [1e-4 * torch.randn(16, 2, generator=draw) + 3.0 for _ in range(12)]
    norm = BatchNorm(2).train()
    for batch in batches[:10]:
        norm(batch)
    of_each = torch.stack([batch.var(0) for batch in batches[:10]])
    torch.testing.assert_close(norm.running_var, of_each.mean(0))
    torch.testing.assert_close(norm.running_mean, torch.stack(batches[:10]).mean((0, 1)))
    # A copy from a state dict goes on alike.
    again = BatchNorm(2).train()
    again.load_state_dict(copy.deepcopy(norm.state_dict()))
    for batch in batches[10:]:
        expected = norm.running_var * 0.9 + batch.var(0) * 0.1
        norm(batch)
        again(batch)
        torch.testing.assert_close(norm.running_var, expected)
    assert torch.equal(again.running_var, norm.running_var)
    assert int(norm.num_batches_tracked) == 12


def test_scoring_a_young_network_uses_what_training_saw():
    x = 1e-3 * torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    norm = BatchNorm(3).train()
    trained = norm(x)
    torch.testing.assert_close(norm.eval()(x), trained, rtol=0.02, atol=1e-4)
