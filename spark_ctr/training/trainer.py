"""Training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.networks.registry import is_built_in
from spark_ctr.training.allocation import memory_kept
from spark_ctr.training.averaging import WeightAverage
from spark_ctr.training.batch_statistics import BatchStatistics
from spark_ctr.training.checkpoints import Checkpoints, digest_of
from spark_ctr.training.device import device_of, peak_memory
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.gradient_exchange import GradientExchange
from spark_ctr.training.history import History
from spark_ctr.training.loss import click_loss
from spark_ctr.training.losses.balance import Balance
from spark_ctr.training.nonfinite import explain
from spark_ctr.training.optimizers import Optimizers
from spark_ctr.training.precision_context import autocast
from spark_ctr.training.predictions import Feed, predict
from spark_ctr.training.progress import Progress
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.recalibration import recalibrate_network
from spark_ctr.training.run_state import EpochTotals, RunState
from spark_ctr.training.schedule import Schedule
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.sharded_tables import ShardedTables
from spark_ctr.training.validation import FIGURES, figures

# Reading a loss back from a GPU waits for it, so look at several steps at once there.
STEPS_PER_CHECK = {"cpu": 1, "cuda": 16}

Loss = Callable[[Network, Batch], Tensor]


def train(
    network: Network,
    train_feed: Feed,
    valid_feed: Feed | None,
    settings: TrainingSettings,
    *,
    loss: Loss | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    ranks: Ranks | None = None,
) -> History:
    """Train in place, keep the best epoch's weights, and leave evaluation mode on.

    Where the settings say so, slope and offset of the logits are fitted to the validation rows
    last.

    For one seed and one number of threads, two runs on the CPU give the same bits, also where one
    of them was killed and went on from a checkpoint. Draws come from generators of the run's own:
    other threads may train or draw meanwhile.

    Parameters
    ----------
    network : Network
        Returns to its device afterwards.
    train_feed, valid_feed : Feed
        Without validation rows (None or empty) all epochs run and the last one counts.
    settings : TrainingSettings
    loss : callable, optional
        loss(network, batch) -> scalar, a mean over the batch weighted by row; default: weighted
        binary cross-entropy. The parameters of a Module are trained along. Its method
        before_epoch(epoch), if it has one, is called before each epoch (from 0). Patience on the
        objective looks at its method comparable(network, batch), if it has one, else at the loss.
    progress : Progress, optional
        Default: silent.
    checkpoints : Checkpoints, optional
        Where to leave checkpoints, and to go on from the last one of this run.
    ranks : Ranks, optional
        Processes that train together. Each calls this with equal networks and its own feeds, and
        ends with the same network and history: that of one process which sees the batches of all
        ranks side by side as one, up to rounding and dropout.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        If the loss is not finite, naming epoch, step, rows and the likely cause.
    ValueError
        If the training feed is empty, or no GPU is there for device "cuda".
    """
    if train_feed.rows < 1:
        raise ValueError("the training feed has no rows; check the filters upstream")
    task = settings.monitored_task
    if task is not None and task not in network.tasks:
        raise ValueError(
            f"monitored_task is {task!r}, and the network has {', '.join(network.tasks)}"
        )
    device = device_of(settings.device)
    ranks = ranks or Ranks()
    home = next(network.parameters()).device
    progress = progress or Progress()
    if checkpoints is not None:
        checkpoints.open_run(_facts(network, loss, settings))
    steps = settings.max_epochs * train_feed.steps
    tables = ShardedTables(network, ranks)

    def fit() -> History:
        run = _Run(
            network,
            loss or click_loss,
            settings,
            steps,
            device,
            progress,
            ranks,
            checkpoints,
            tables,
        )
        with run.draws.dropout_of(network), memory_kept(), closing(run.exchange):
            run.fit(train_feed, valid_feed)
        return run.state.history

    try:
        history = fit()
        # What the run held is gone, which makes room for the whole tables.
        tables.gather()
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
        planned_steps: int,
        device: torch.device,
        progress: Progress,
        ranks: Ranks,
        checkpoints: Checkpoints | None,
        tables: ShardedTables,
    ) -> None:
        self.network = network.to(device)
        self.loss = loss
        self.settings = settings
        self.device = device
        self.progress = progress
        self.ranks = ranks
        self.checkpoints = checkpoints
        self.tables = tables
        self.draws = RandomDraws(settings.seed + ranks.rank, device)
        self.schedule = Schedule(settings.schedule, settings.warmup_steps)
        self.planned_steps = planned_steps
        self.state = RunState()
        self.best: dict[str, Tensor] | None = None
        self.average = (
            WeightAverage(self.network, planned_steps) if settings.average_weights else None
        )
        self.statistics = BatchStatistics(self.network)
        self.loss_module = loss.to(device) if isinstance(loss, nn.Module) else nn.Module()
        for module in self.loss_module.modules():
            if isinstance(module, Balance):
                module.ranks = ranks
        self.optimizers = Optimizers(
            network,
            self.loss_module.parameters(),
            settings.learning_rate,
            settings.weight_decay,
            settings.embedding_l2,
            settings.clip_norm,
            settings.optimizer,
            self.average.moved if self.average is not None else None,
            ranks,
        )
        self.exchange = GradientExchange([network, self.loss_module], ranks)

    def fit(self, train_feed: Feed, valid_feed: Feed | None) -> None:
        self._resume()
        state, epochs = self.state, self.settings.max_epochs
        before_epoch = getattr(self.loss, "before_epoch", None)
        while state.worse < self.settings.patience and state.epoch < epochs:
            self.network.train()
            if before_epoch is not None:
                before_epoch(state.epoch)
            self.progress.start_epoch(state.epoch, epochs, train_feed.rows)
            self._train_epoch(train_feed)
            with self._drawing(), self._averaged():
                record = self._end_epoch(valid_feed)
            self.progress.end_epoch(record)
            self._write_checkpoint()
        if self.best is not None:
            self.network.load_state_dict(self.best)
        if self.settings.recalibrate and state.epoch and valid_feed is not None and valid_feed.rows:
            with self._drawing():
                self._recalibrate(valid_feed)

    def _recalibrate(self, valid_feed: Feed) -> None:
        rows = predict(self.network, valid_feed, str(self.device), self.ranks)
        self.state.history.recalibration = recalibrate_network(self.network, rows)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Hold the averaged weights, where they are asked for, inside the context."""
        if self.average is None:
            yield
            return
        with self.average.in_place(), self.statistics.estimated():
            yield

    def _drawing(self) -> AbstractContextManager[None]:
        """Have a user's module draw from the generators of this run; ours do so anyway."""
        return nullcontext() if is_built_in(self.network) else self.draws.drawing(unknown_code=True)

    def _train_epoch(self, feed: Feed) -> None:
        steps_per_check = STEPS_PER_CHECK.get(self.device.type, 1)
        state, totals = self.state, self.state.totals
        pending: list[tuple[int, Batch, Tensor]] = []
        if self.average is None:
            batches = iter(feed.batches(state.epoch, state.step))
        else:
            batches = self.statistics.batches(feed, state.epoch, state.step)
        before = totals.seconds
        began = time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            totals.waited += time.perf_counter() - asked
            due = False
            if batch is not None:
                value, due = self._step(batch)
                pending.append((state.step, batch, value))
                state.step += 1
                state.steps += 1
            if pending and (batch is None or due or len(pending) == steps_per_check):
                self._check(pending)
                totals.seconds = before + time.perf_counter() - began
                pending.clear()
            if due:
                self._write_checkpoint()
            if batch is None:
                return

    def _step(self, batch: Batch) -> tuple[Tensor, bool]:
        """Train on a batch; return its loss and whether a checkpoint is due after it."""
        if self.device.type != "cpu":
            for rows in (batch, batch.unlabelled):
                if rows is not None:
                    self.network.check_ids(rows.ids)
        factor = self.state.plateau * self.schedule.factor(self.state.steps, self.planned_steps)
        self.optimizers.set_learning_rate(self.settings.learning_rate * factor)
        due = self.checkpoints is not None and self.checkpoints.due(self.state.steps + 1)
        # The first rank's clock decides for all.
        due_here = float(due and self.ranks.rank == 0)
        own = float(batch.weight.sum()) if self.ranks.size > 1 else 0.0
        totals = self.ranks.start_total([own, due_here])
        with self._drawing(), autocast(self.device, self.settings.precision):
            value = self.loss(self.network, batch.to(self.device))
        self.optimizers.zero_grad()
        if self.ranks.size == 1:
            value.backward()
        else:
            weight, due_first = totals()
            due = due_first > 0
            # The mean over the rows of all ranks is the sum of these parts.
            (value * (own / weight if weight > 0 else 0.0)).backward()
            self.exchange.finish()
        self.optimizers.step()
        if self.average is not None:
            self.average.end_step()
        return value.detach(), due

    def _check(self, steps: list[tuple[int, Batch, Tensor]]) -> None:
        """Add steps to the totals; stop at a loss that is not finite."""
        totals = self.state.totals
        values = torch.stack([value for _, _, value in steps]).tolist()
        for (at, batch, _), value in zip(steps, values, strict=True):
            if not math.isfinite(value):
                where = f"epoch {self.state.epoch}, step {at}"
                if self.ranks.size > 1:
                    where += f", worker {self.ranks.rank}"
                rate = self.optimizers.learning_rate
                raise explain(value, self.network, batch, where, rate)
            weight = float(batch.weight.sum())
            totals.loss += value * weight
            totals.weight += weight
            totals.rows += batch.rows
        self.progress.advance(sum(batch.rows for _, batch, _ in steps), values[-1])

    def _end_epoch(self, valid_feed: Feed | None) -> dict[str, Any]:
        """Validate, record the epoch and decide how to go on."""
        state, settings = self.state, self.settings
        own = state.totals
        rows, loss, weight = self.ranks.total([float(own.rows), own.loss, own.weight])
        seconds = max(own.seconds, 1e-9)
        record: dict[str, Any] = {
            "epoch": state.epoch,
            "train_loss": loss / weight if weight > 0 else math.nan,
            "learning_rate": self.optimizers.learning_rate,
            "rows_per_second": rows / seconds,
            "data_wait_share": own.waited / seconds,
        }
        began = time.perf_counter()
        record |= self._validate(valid_feed)
        record["seconds"] = own.seconds + time.perf_counter() - began
        record["peak_memory"] = peak_memory(self.device)
        history = state.history
        history.epochs.append(record)
        state.epoch, state.step, state.totals = state.epoch + 1, 0, EpochTotals()
        if math.isnan(record["valid_loss"]):
            history.best_epoch = record["epoch"]
            if self.average is not None:
                self._keep()
            return record
        if history.monitor == "none":
            # A single class has no AUC.
            no_auc = math.isnan(self._watched(record)["valid_auc"])
            history.monitor = "log_loss" if no_auc else settings.monitor
        watched = self._watched(record)
        by_auc = history.monitor == "auc"
        value = watched["valid_auc"] if by_auc else -watched["valid_loss"]
        better = value > state.best_value
        if better:
            state.best_value, history.best_epoch = value, record["epoch"]
            self._keep()
        if settings.patience_on == "objective":
            better = record["valid_objective"] < state.best_objective
            state.best_objective = min(state.best_objective, record["valid_objective"])
        if better:
            state.worse = 0
            return record
        state.worse += 1
        if state.worse >= settings.patience:
            history.stopped_early = state.epoch < settings.max_epochs
        else:
            state.plateau *= self.schedule.after_worse_epoch(settings.learning_rate_decay)
        return record

    def _watched(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the figures that choose the best epoch: of a task, or means over tasks."""
        task = self.settings.monitored_task
        return record if task is None or "tasks" not in record else record["tasks"][task]

    def _keep(self) -> None:
        """Keep the network as it is as the best one so far."""
        self.best = None  # frees its memory before the new one takes as much
        self.best = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def _validate(self, feed: Feed | None) -> dict[str, Any]:
        by_objective = self.settings.patience_on == "objective"
        if feed is None or feed.rows < 1:
            return dict.fromkeys((*FIGURES, *["valid_objective"] * by_objective), math.nan)
        rows = predict(self.network, feed, str(self.device), self.ranks)
        tasks = {n: rows.of_task(t) for t, n in enumerate(self.network.tasks)}
        found = figures(tasks, left_out=self.network.derived_tasks)
        return found | ({"valid_objective": self._objective(feed)} if by_objective else {})

    @torch.no_grad()
    def _objective(self, feed: Feed) -> float:
        """Mean of the objective over the rows of all ranks, in evaluation mode."""
        # Without the terms that decay: their weight alone would make each epoch the best.
        loss = getattr(self.loss, "comparable", self.loss)
        modules = [(module, module.training) for module in (self.network, self.loss_module)]
        for module, _ in modules:
            module.eval()
        total = weight = 0.0
        for batch in feed.batches(0):
            own = float(batch.weight.sum())
            total += float(loss(self.network, batch.to(self.device))) * own
            weight += own
        for module, training in modules:
            module.train(training)
        total, weight = self.ranks.total([total, weight])
        return total / weight if weight > 0 else math.nan

    def _write_checkpoint(self) -> None:
        if self.checkpoints is None:
            return
        tensors = {f"random.{k}": v for k, v in self._random_states().items()}
        parts = {
            "network": self.network.state_dict(),
            "loss": self.loss_module.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "best": self.best or {},
        }
        for part, values in parts.items():
            tensors |= {f"{part}.{name}": value for name, value in values.items()}
        steps, ranks = self.state.steps, self.ranks
        tensors, rows = self.tables.split(tensors)
        shards: list[str] = []
        if rows:
            digest = self.checkpoints.write_shard(steps, ranks.rank, ranks.size, rows)
            # The first process has all names once all are written.
            shards = [bytes(d).decode() for d in ranks.gather(_as_row(digest)).tolist()]
        if ranks.rank == 0:
            self.checkpoints.write(steps, self.state.to_dict(), tensors, shards)

    def _random_states(self) -> dict[str, Tensor]:
        """Return the states of all ranks' random generators, a row each."""
        states = self.draws.states()
        return {name: self.ranks.gather(state[None]) for name, state in states.items()}

    def _resume(self) -> None:
        found = self.checkpoints.latest() if self.checkpoints is not None else None
        steps = found.state["steps"] if found else 0
        if self.ranks.total([steps])[0] != steps * self.ranks.size:
            raise RuntimeError(
                "workers see different checkpoints: the folder of checkpoints must be shared by all"
            )
        if found is None:
            return
        parts: dict[str, dict[str, Tensor]] = {}
        assert self.checkpoints is not None
        shards = self.checkpoints.shards_of(found)
        for name, tensor in self.tables.assemble(found.tensors, shards).items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        self.network.load_state_dict(parts["network"])
        self.loss_module.load_state_dict(parts.get("loss", {}))
        self.optimizers.load_state_dict(parts["optimizers"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        self.best = parts.get("best")
        self.state = RunState.from_dict(found.state)
        self.state.history.resumed_at.append(steps)
        random = parts["random"]
        # Processes beyond those of the checkpoint keep the draws that they begin with.
        if all(self.ranks.rank < len(states) for states in random.values()):
            self.draws.load_states(
                {k: states[self.ranks.rank].clone() for k, states in random.items()}
            )


def _as_row(text: str) -> Tensor:
    return torch.tensor([list(text.encode())], dtype=torch.uint8)


def _facts(network: Network, loss: Loss | None, settings: TrainingSettings) -> dict[str, Any]:
    """All that must be equal for a run to go on from a checkpoint."""
    module = loss if isinstance(loss, nn.Module) else nn.Module()
    return {
        "network": network.name,
        "config": network.config,
        "inputs": network.inputs.to_dict(),
        "settings": asdict(settings),
        "start": digest_of(network.state_dict()),
        "loss": [type(loss).__name__, digest_of(module.state_dict())],
    }
