"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from spark_ctr.settings import (
    SEED,
    CheckedSettings,
    choice,
    declare,
    documented,
    flag,
    integer,
    number,
    settings_of,
    text,
)
from spark_ctr.training.precision_context import PRECISIONS
from spark_ctr.training.rowwise import OPTIMIZERS
from spark_ctr.training.schedule import SCHEDULES


@documented
@dataclass(frozen=True)
class TrainingSettings(CheckedSettings):
    """Settings of `train`.

    The seed is that of dropout; the order of rows and the size of the batches are the feed's, for
    whoever opens it.
    """

    learning_rate: float = declare(
        number(
            1e-3,
            above=0.0,
            doc="of AdamW; the optimizer of the embedding tables takes it, or a multiple of it",
        )
    )
    optimizer: str = declare(
        choice(
            *OPTIMIZERS,
            doc="of the embedding tables, a step size for each row: 'adam', or 'adagrad', whose "
            "steps start longer and only ever shrink; the rest is trained with AdamW",
        )
    )
    batch_size: int = declare(integer(1024, at_least=1, doc="rows a step, of all workers together"))
    max_epochs: int = declare(integer(20, at_least=0, doc="most epochs"))
    patience: int = declare(
        integer(3, at_least=1, doc="stop after this many epochs without a better validation figure")
    )
    weight_decay: float = declare(
        number(0.0, at_least=0.0, doc="decoupled weight decay of all matrices but the embeddings")
    )
    embedding_l2: float = declare(
        number(
            0.05,
            at_least=0.0,
            doc="L2 penalty of the embedding rows at every step, applied when a row is looked up "
            "next",
        )
    )
    clip_norm: float | None = declare(
        number(
            None,
            above=0.0,
            doc="largest norm of the gradient, that of the embedding tables included: longer ones "
            "are scaled down to it; unset: none is",
        )
    )
    learning_rate_decay: float = declare(
        number(
            0.5,
            above=0.0,
            at_most=1.0,
            doc="factor on the learning rate after an epoch without improvement, where its "
            "schedule is 'plateau'",
        )
    )
    schedule: str = declare(
        choice(
            "plateau",
            *SCHEDULES,
            doc="learning rate over the steps: 'plateau' falls by a factor after an epoch without "
            "improvement, 'cosine' and 'linear' fall to 0 over all epochs, 'constant' stays",
        )
    )
    warmup_steps: int = declare(
        integer(0, at_least=0, doc="steps over which the learning rate first rises linearly")
    )
    average_weights: bool = declare(
        flag(
            True,
            doc="validate and keep an average of the weights over the last of the steps so far "
            "instead of those after the last step; takes the memory of the tables once more",
        )
    )
    monitor: str = declare(
        choice(
            "auc",
            "log_loss",
            doc="validation figure that chooses the best epoch: 'auc' or 'log_loss'",
        )
    )
    monitored_task: str | None = declare(
        text(
            doc="task of several whose validation figures choose the best epoch; unset: the mean "
            "of all that are not a function of others"
        )
    )
    patience_on: str = declare(
        choice(
            "monitor",
            "objective",
            doc="validation figure that patience and the schedule 'plateau' look at: 'monitor', "
            "the one that chooses the best epoch, or 'objective', the loss that is minimised, but "
            "for what changes its weight over the epochs",
        )
    )
    recalibrate: bool = declare(
        flag(
            True,
            doc="after training, fit slope and offset of the logit to the validation rows, and "
            "keep them where they help rows that they were not fitted to; ranking stays",
        )
    )
    seed: int = declare(SEED)
    device: str = declare(
        choice(
            "auto",
            "cpu",
            "cuda",
            doc="'cpu', 'cuda', or 'auto' (a GPU where the process that trains has one)",
        )
    )
    precision: str = declare(
        choice(
            *PRECISIONS,
            doc="of the products of matrices in training: 'float32', 'bfloat16', or 'auto' "
            "(bfloat16 on GPUs and CPUs with instructions for it)",
        )
    )


TRAINING = settings_of(TrainingSettings)
