"""Training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.history import History
from spark_ctr.training.loss import click_loss
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc
from spark_ctr.training.optimizers import Optimizers
from spark_ctr.training.progress import Progress
from spark_ctr.training.settings import TrainingSettings

__all__ = ["Feed", "Predictions", "TrainingSettings", "predict", "train"]

# Reading a loss back from a GPU waits for it, so look at several steps at once there.
STEPS_PER_CHECK = {"cpu": 1, "cuda": 16}

Loss = Callable[[Network, Batch], Tensor]


class Feed(Protocol):
    """Source of batches, see `training.feeds`."""

    rows: int

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield every row once."""


@dataclass(frozen=True)
class Predictions:
    """Logits, labels and weights of a feed's rows, float64 arrays [N] in the feed's order."""

    logit: np.ndarray
    label: np.ndarray
    weight: np.ndarray


def predict(network: Network, feed: Feed, device: str = "cpu") -> Predictions:
    """Score all rows of a feed in evaluation mode; `network` must be on `device` already."""
    target = torch.device(device)
    training = network.training
    network.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for batch in feed.batches(0):
            logits = _forward(network, batch, target)
            parts.append((logits, batch.label, batch.weight))
    network.train(training)
    columns = zip(*parts, strict=True) if parts else ([], [], [])
    return Predictions(*(_to_numpy(column) for column in columns))


def train(
    network: Network,
    train_feed: Feed,
    valid_feed: Feed | None,
    settings: TrainingSettings,
    *,
    loss: Loss | None = None,
    progress: Progress | None = None,
    before_epoch: Callable[[int], None] | None = None,
) -> History:
    """Train in place, keep the best epoch's weights, and leave evaluation mode on.

    For one seed and one number of threads, two runs on the CPU give the same bits. The global
    random state is left as it was.

    Parameters
    ----------
    network : Network
        Returns to its device afterwards.
    train_feed, valid_feed : Feed
        Without validation rows (None or empty) all epochs run and the last one counts.
    settings : TrainingSettings
    loss : callable, optional
        loss(network, batch) -> scalar; default: weighted binary cross-entropy. The parameters of a
        Module are trained along.
    progress : Progress, optional
        Default: silent.
    before_epoch : callable, optional
        Called with the epoch (from 0) before each epoch, in training mode.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        If the loss is not finite, naming epoch, step and the likely cause.
    ValueError
        If the training feed is empty, or no GPU is there for device "cuda".
    """
    if train_feed.rows < 1:
        raise ValueError("the training feed has no rows; check the filters upstream")
    device = _device(settings.device)
    home = next(network.parameters()).device
    progress = progress or Progress()
    history = History()
    run = _Run(network, loss or click_loss, settings, device, progress)
    try:
        with _seeded(settings.seed, device):
            run.fit(train_feed, valid_feed, before_epoch, history)
    finally:
        progress.close()
        network.to(home).eval()
    return history


class _Run:
    """State of one call of `train`."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        settings: TrainingSettings,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.network = network.to(device)
        self.loss = loss
        self.settings = settings
        self.device = device
        self.progress = progress
        extra = loss.to(device).parameters() if isinstance(loss, nn.Module) else ()
        self.optimizers = Optimizers(
            network,
            extra,
            settings.learning_rate,
            settings.weight_decay,
            settings.embedding_l2,
            settings.clip_norm,
        )

    def fit(
        self,
        train_feed: Feed,
        valid_feed: Feed | None,
        before_epoch: Callable[[int], None] | None,
        history: History,
    ) -> None:
        settings = self.settings
        best, best_value, worse = None, -math.inf, 0
        for epoch in range(settings.max_epochs):
            self.network.train()
            if before_epoch is not None:
                before_epoch(epoch)
            self.progress.start_epoch(epoch, settings.max_epochs, train_feed.rows)
            began = time.perf_counter()
            record = self._train_epoch(train_feed, epoch)
            record |= self._validate(valid_feed)
            record["seconds"] = time.perf_counter() - began
            history.epochs.append(record)
            self.progress.end_epoch(record)
            if math.isnan(record["valid_loss"]):
                history.best_epoch = epoch
                continue
            if history.monitor == "none":
                # A single class has no AUC.
                no_auc = math.isnan(record["valid_auc"])
                history.monitor = "log_loss" if no_auc else settings.monitor
            by_auc = history.monitor == "auc"
            value = record["valid_auc"] if by_auc else -record["valid_loss"]
            if value > best_value:
                best_value, worse, history.best_epoch = value, 0, epoch
                best = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
                continue
            worse += 1
            if worse >= settings.patience:
                history.stopped_early = epoch + 1 < settings.max_epochs
                break
            self.optimizers.decay(settings.learning_rate_decay)
        if best is not None and history.best_epoch + 1 < len(history.epochs):
            self.network.load_state_dict(best)

    def _train_epoch(self, feed: Feed, epoch: int) -> dict[str, Any]:
        steps_per_check = STEPS_PER_CHECK.get(self.device.type, 1)
        pending: list[tuple[int, Batch, Tensor]] = []
        rows, total, total_weight, waited = 0, 0.0, 0.0, 0.0
        learning_rate = self.optimizers.learning_rate
        batches = iter(feed.batches(epoch))
        step = 0
        began = time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - asked
            if batch is not None:
                pending.append((step, batch, self._step(batch)))
                step += 1
            if pending and (batch is None or len(pending) == steps_per_check):
                values = torch.stack([value for _, _, value in pending]).tolist()
                for (at, seen, _), value in zip(pending, values, strict=True):
                    if not math.isfinite(value):
                        raise FloatingPointError(self._explain(value, epoch, at, seen))
                    weight = float(seen.weight.sum())
                    total += value * weight
                    total_weight += weight
                    rows += seen.rows
                self.progress.advance(sum(seen.rows for _, seen, _ in pending), values[-1])
                pending.clear()
            if batch is None:
                break
        seconds = max(time.perf_counter() - began, 1e-9)
        return {
            "epoch": epoch,
            "train_loss": total / total_weight if total_weight > 0 else math.nan,
            "learning_rate": learning_rate,
            "rows_per_second": rows / seconds,
            "data_wait_share": waited / seconds,
        }

    def _step(self, batch: Batch) -> Tensor:
        if self.device.type != "cpu":
            self.network.check_ids(batch.ids)
        value = self.loss(self.network, batch.to(self.device))
        self.optimizers.zero_grad()
        value.backward()
        self.optimizers.step()
        return value.detach()

    def _validate(self, feed: Feed | None) -> dict[str, float]:
        if feed is None or feed.rows < 1:
            return {"valid_loss": math.nan, "valid_auc": math.nan}
        rows = predict(self.network, feed, str(self.device))
        return {
            "valid_loss": log_loss_of_logits(rows.label, rows.logit, rows.weight),
            "valid_auc": roc_auc(rows.label, rows.logit, rows.weight),
        }

    def _explain(self, value: float, epoch: int, step: int, batch: Batch) -> str:
        numeric = (~torch.isfinite(batch.numeric)).any(0).tolist()
        columns = [n for n, bad in zip(self.network.inputs.numeric, numeric, strict=True) if bad]
        if columns:
            cause = f"numeric column(s) {columns} hold nan or infinity; impute them upstream"
        elif not torch.isfinite(batch.label).all() or not torch.isfinite(batch.weight).all():
            cause = "a label or weight is nan or infinite; drop such rows upstream"
        else:
            cause = (
                f"the learning rate {self.optimizers.learning_rate:g} is likely too large; "
                "lower it or set clip_norm"
            )
        return f"loss is {value} in epoch {epoch}, step {step}: {cause}"


def _forward(network: Network, batch: Batch, device: torch.device) -> Tensor:
    if device.type != "cpu":
        network.check_ids(batch.ids)
    return network(batch.ids.to(device), batch.numeric.to(device))


def _to_numpy(column: Sequence[Tensor]) -> np.ndarray:
    return torch.cat(list(column)).double().cpu().numpy() if column else np.zeros(0)


def _device(name: str) -> torch.device:
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("device 'cuda' was asked for but no GPU is available; use 'auto' or 'cpu'")
    if name == "cpu" or not there:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    gpus = [device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield
