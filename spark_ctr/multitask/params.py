"""Params of the labels of several tasks."""

from __future__ import annotations

from typing import Any

from spark_ctr.estimator.network_params import network_name
from spark_ctr.estimator.params import CTRParams
from spark_ctr.multitask.task_settings import task_settings
from spark_ctr.networks.registry import MULTI_TASK_NETWORKS, NETWORKS
from spark_ctr.rows.training_columns import TaskLabel
from spark_ctr.settings import names
from spark_ctr.stage.base import param, setting_param
from spark_ctr.stage.params import HasMainTask
from spark_ctr.training.losses import TermSettings
from spark_ctr.training.losses.tasks import ALPHA, WEIGHTING
from spark_ctr.training.settings import TRAINING

_JOINT = "ctcvr"
_ENTIRE_SPACE = "esmm"


class MultiTaskParams(HasMainTask, CTRParams):
    """Params of a classifier of several tasks and of its model."""

    labelCols = setting_param(
        "labelCols",
        names(
            ["click", "conversion"],
            doc="label columns, one a task: as labelCol of CTRClassifier, but null where the label "
            "is not known",
        ),
    )
    tasks = param(
        "tasks",
        "what else is said of a task, by its label column: a dict of 'name' (of the outputs; the "
        "column's), 'weight' (of its loss; 1), 'weightCol' (column that multiplies weightCol for "
        "this task, in its loss and figures; scaled so that the task weighs what it would without "
        "it), 'knownWhen' (column of 0 and 1: the label is known where it is 1), 'timeCol' and "
        "'matureAfter' (a label is known so many seconds, or units of a numeric column, before the "
        "latest time of that column), 'positiveLabel'",
        task_settings,
        {},
    )
    jointTask = param(
        "jointTask",
        "name of a further task, that the first two labels are both 1: a click that converts, of "
        "all impressions; unset: none, or 'ctcvr' of network 'esmm'",
        lambda value: _name("jointTask", value),
    )
    network = param(
        "network",
        "'shared_bottom', one trunk; 'mmoe', experts that each task mixes; 'ple', experts of each "
        "task beside shared ones; 'esmm', clicks and conversions of all impressions; or "
        "'package.module:Class', a module of your own with a class attribute tasks",
        network_name,
        "shared_bottom",
    )
    taskWeighting = setting_param("taskWeighting", WEIGHTING)
    gradNormAlpha = setting_param("gradNormAlpha", ALPHA)
    monitorTask = setting_param("monitorTask", TRAINING["monitored_task"])

    def task_labels(self) -> tuple[TaskLabel, ...]:
        """Return where the labels of all tasks are, in the order of the outputs.

        Raises
        ------
        ValueError
        """
        columns, said = self.getLabelCols(), self.getTasks()
        if len(columns) < 2:
            raise ValueError(
                f"labelCols is {columns}: name the labels of two tasks or more, or take "
                "spark_ctr.classification.CTRClassifier for one"
            )
        unknown = sorted({*said} - {*columns})
        if unknown:
            raise ValueError(f"tasks names {unknown}, and labelCols are {columns}")
        entire = self.getNetwork() == _ENTIRE_SPACE
        if entire and len(columns) != 2:
            raise ValueError(
                f"network 'esmm' is of a click and a conversion, and labelCols are {columns}: name "
                "the click's column and the conversion's"
            )
        labels = [self._label(column, said) for column in columns]
        if entire and labels[1].of_clicks is None:
            labels[1] = self._label(columns[1], said, known_when=columns[0])
        joint = self._value("jointTask") or (_JOINT if entire else None)
        if joint is not None:
            labels.append(self._label(columns[1], said, columns[0], joint))
        found = [label.name for label in labels]
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise ValueError(
                f"two tasks have the name {twice[0]!r}: name them by tasks[column]['name'] or "
                "jointTask"
            )
        return tuple(labels)

    def _label(
        self,
        column: str,
        said: dict[str, dict[str, Any]],
        known_when: str | None = None,
        joint: str | None = None,
    ) -> TaskLabel:
        own = said.get(column, {})
        clicks = known_when or own.get("knownWhen")
        return TaskLabel(
            name=joint or own.get("name", column),
            label=column,
            positive_label=own.get("positiveLabel"),
            of_clicks=clicks,
            positive_click=said.get(clicks or "", {}).get("positiveLabel"),
            joint=joint is not None,
            time=own.get("timeCol"),
            mature_after=own.get("matureAfter", 0.0),
            weight=own.get("weightCol"),
        )

    def task_names(self) -> list[str]:
        """Return the names of all tasks, in the order of the outputs."""
        return [label.name for label in self.task_labels()]

    def task_weights(self) -> list[float]:
        """Return the weights of the tasks' losses; of 'esmm' the product stands for the second's.

        Raises
        ------
        ValueError
            If all are 0.
        """
        columns, said = self.getLabelCols(), self.getTasks()
        given = [said.get(column, {}).get("weight", 1.0) for column in columns]
        if self.getNetwork() == _ENTIRE_SPACE:
            given = [given[0], 0.0, given[1]]
        elif self._value("jointTask") is not None:
            given = [*given, given[1]]
        if not any(given):
            raise ValueError(
                f"tasks gives the labels {columns} the weight 0: one of them must have a weight "
                "above 0"
            )
        return given

    def network_config(self) -> dict[str, Any]:
        """Return the settings of the network that are set, and its tasks."""
        name = self.getNetwork()
        if name in NETWORKS:
            raise ValueError(
                f"network {name!r} is of one task: choose one of "
                f"{', '.join(map(repr, MULTI_TASK_NETWORKS))}, whose option 'block' may be {name!r}"
            )
        if "tasks" in self.getNetworkOptions():
            raise ValueError("networkOptions holds what Params say: tasks (labelCols, tasks)")
        config = super().network_config()
        return config | ({"tasks": self.task_names()} if name in MULTI_TASK_NETWORKS else {})

    def labels(self) -> dict[str, Any]:
        """See `CTRParams.labels`.

        Raises
        ------
        ValueError
            For rows that are drawn by one label.
        """
        if self.getNegativeSamplingRate() < 1:
            raise ValueError(
                "negativeSamplingRate leaves out rows by the label of one task, which would change "
                "the rates of the others: set it to 1"
            )
        labels = self.task_labels()
        return {"label": labels[0].label, "tasks": labels}

    def label_term(self, logit_shift: float, by_member: bool = True) -> TermSettings:
        """See `CTRParams.label_term`."""
        options = {
            "weights": self.task_weights(),
            "weighting": self.getTaskWeighting(),
            "alpha": self.getGradNormAlpha(),
            "seed": self.getSeed(),
            "by_member": by_member,
        }
        return TermSettings("tasks", options=options)


def _name(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{where} must be a text: {value!r}")
    return value
