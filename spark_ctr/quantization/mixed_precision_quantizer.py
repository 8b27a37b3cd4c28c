"""MixedPrecisionQuantizer: a trained network to 8-bit indices and 1-bit values."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from spark_ctr.classification.ctr_classifier import CTRClassificationModel, CTRClassifier
from spark_ctr.distillation.layerwise_distiller import LayerwiseDistiller
from spark_ctr.estimator.estimator import CTREstimator
from spark_ctr.estimator.model import CTRModel
from spark_ctr.estimator.params import ClickParams, CTRParams
from spark_ctr.estimator.run import open_feeds, run_training, summary_of
from spark_ctr.estimator.serving_time import microseconds_in_batches
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.estimator.summary import TrainingSummary, saved_summary
from spark_ctr.estimator.workers import check_gpu_tasks, check_run
from spark_ctr.networks.network import Network
from spark_ctr.precision.fine_tuning import fine_tune, quantisation
from spark_ctr.precision.front import Targets
from spark_ctr.precision.packing import check_packable, pack_network
from spark_ctr.precision.settings import FINE_TUNING, OBJECTIVE, TARGETS
from spark_ctr.rows.training_data import TrainingColumns, TrainingData
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.planner import NotNative, plan_of
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes
from spark_ctr.stage.base import Stage, one_of, param, setting_param
from spark_ctr.stage.meta import MetaStage, stage_of
from spark_ctr.tables import Inputs

logger = logging.getLogger("spark_ctr")


class QuantizationParams(Stage):
    """Params of :class:`MixedPrecisionQuantizer` that its model keeps."""

    binaryShare = setting_param("binaryShare", FINE_TUNING["binary_share"])
    targetLatency = setting_param("targetLatency", TARGETS["microseconds"])
    maxBytes = setting_param("maxBytes", TARGETS["nbytes"])
    tolerance = setting_param("tolerance", FINE_TUNING["tolerance"])
    lossTolerance = setting_param("lossTolerance", FINE_TUNING["loss_tolerance"])
    quantizeActivations = setting_param("quantizeActivations", FINE_TUNING["activations"])
    coarseShare = setting_param("coarseShare", FINE_TUNING["coarse_share"])
    maxIter = setting_param("maxIter", FINE_TUNING["epochs"])
    learningRate = setting_param("learningRate", FINE_TUNING["learning_rate"])
    logitWeight = setting_param("logitWeight", OBJECTIVE["logit_weight"])
    binaryRegularization = setting_param("binaryRegularization", OBJECTIVE["regularisation_weight"])
    prioritizedEpochs = setting_param("prioritizedEpochs", OBJECTIVE["prioritised_epochs"])
    inverseLayerwise = setting_param("inverseLayerwise", OBJECTIVE["inverse_layerwise"])


class MixedPrecisionQuantizer(MetaStage, QuantizationParams, CTREstimator):
    """Train a classifier, then quantise its network, SensiMix style.

    Embeddings, linear layers and their inputs become 8-bit indices. Of linear layers between two
    hidden layers, the ``binaryShare`` whose 1-bit values and inputs raise the validation log loss
    least get these; by default none. Where there are 1-bit layers, and where 8 bits lose more than
    ``tolerance`` of validation AUC or raise the log loss by more than ``lossTolerance`` of the
    classifier's, fine-tuning sees the quantised weights: absolute binary weight regularisation,
    prioritised training and inverse layer-wise fine-tuning. If 1-bit layers still lose more, the
    most sensitive one goes back to 8 bits, and so on; if 8 bits alone lose more, a warning on the
    logger "spark_ctr" says so. Slope and offset of the logits are fitted to the validation rows
    again. The chosen plan's figures are in ``summary.extra["validation"]``.

    ``targetLatency`` and ``maxBytes`` choose the 1-bit layers instead of ``binaryShare``: all plans
    are rounded, and their time and bytes measured. Of those within targets and tolerances the least
    lossy one is taken, trained where it has 1-bit layers. Where there is none, it is the nearest
    one within the tolerances, and a warning says what was missed. All plans are in
    ``summary.extra["front"]``, and why one was taken in ``summary.extra["attempts"]``.

    With ``coarseShare`` the rare rows of tables have 4 bits, little more than half the bytes: of a
    power law's values most have few of the look-ups. Which rows these are is in
    ``summary.extra["coarse"]``: rows [first, last) for each block of the embedding layers.

    The fitted model's ``fullPrecisionModel`` is the classifier's model, right after fitting.

    Parameters
    ----------
    classifier : CTRClassifier, MultiTaskClassifier, LayerwiseDistiller or a model of one
        A fitted model is quantised as it is.
    **kwargs
        Other Params by name; see :meth:`explainParams`.

    References
    ----------
    Piao et al., "SensiMix: Sensitivity-Aware 8-bit index & 1-bit value mixed precision
    quantization for BERT compression", PLOS ONE 2022.
    """

    _nested_params = ("classifier",)

    classifier = param(
        "classifier",
        "CTRClassifier or LayerwiseDistiller to train first, or a fitted CTRClassificationModel",
        stage_of(
            "classifier",
            CTRClassifier,
            LayerwiseDistiller,
            CTRClassificationModel,
            "MultiTaskClassifier",
            "MultiTaskClassificationModel",
        ),
    )

    def _column_owner(self) -> CTRParams:
        return self._nested("classifier")._column_owner()

    def _training_columns(self) -> TrainingColumns:
        return self._nested("classifier")._training_columns()

    def _check(self, inputs: Inputs, *further: Inputs) -> Network:
        network = self._nested("classifier")._check(inputs, *further)
        check_run(self._column_owner())
        if self._targets() is not None and self.isSet("binaryShare"):
            raise ValueError(
                "MixedPrecisionQuantizer: binaryShare says how many layers become 1-bit, and so do "
                "targetLatency and maxBytes: set binaryShare to None, or these two"
            )
        check_packable(network)
        return network

    def _targets(self) -> Targets | None:
        values = self.setting_values(TARGETS)
        return Targets(**values) if values else None

    def _keys(self) -> list[Hashable]:
        return [*self._nested("classifier")._keys(), self._key()]

    def _train(self, data: TrainingData, work: SharedWork) -> QuantizedCTRClassificationModel:
        params = self._column_owner()
        full = self._nested("classifier")._model_for(data, work)
        feed, valid = open_feeds(params, data)
        # Without validation rows, the training rows choose the epoch.
        same = {"valid_path": data.train_path, "valid_rows": data.train_rows}
        watched = data if valid is not None else replace(data, **same)  # type: ignore[arg-type]
        tuned = fine_tune(
            full.torchNetwork,
            feed,
            valid or feed,
            settings=params.training_settings(),
            **self.setting_values(FINE_TUNING),
            objective=quantisation(
                full.torchNetwork,
                labels=params.label_term(data.logit_shift, by_member=False),
                **self.setting_values(OBJECTIVE),
            ),
            run=partial(run_training, params, watched),
            targets=self._targets(),
            timer=microseconds_in_batches,
        )
        for line in tuned.log:
            logger.info(line)
        if tuned.warning:
            logger.warning("%s: %s", type(self).__name__, tuned.warning)
        extra = {
            "plan": tuned.plan,
            "sensitivity": tuned.sensitivity.to_dict(),
            "attempts": tuned.log,
            "coarse": tuned.coarse,
            "validation": {
                which: {k: None if math.isnan(v) else v for k, v in values.items()}
                for which, values in tuned.figures.items()
            },
        }
        if tuned.front is not None:
            extra["front"] = tuned.front.to_dict()
        packed = pack_network(tuned.trained.network)
        trained = replace(tuned.trained, feed=tuned.trained.feed or feed.kind)
        summary = summary_of(params, data, trained, packed.predict_logits, extra)
        model = QuantizedCTRClassificationModel()._with(packed, summary)
        model.fullPrecisionModel = full
        dressed = self._dressed(model, params)
        # Where it was trained says nothing about the executors that score.
        dressed.clear(dressed.device)
        return dressed


class QuantizedCTRClassificationModel(QuantizationParams, ClickParams, CTRModel):
    """Fitted :class:`MixedPrecisionQuantizer`: scores on packed 8-bit and 1-bit weights."""

    _loader = "spark_ctr.runtime.serialization:predictor_from_bytes"
    _maps_payload = True

    device = param(
        "device",
        "where rows are scored: 'cpu', 'cuda', or 'auto' (the GPU that Spark gives the task, if it "
        "gives one); the scores are the same",
        one_of("device", "auto", "cpu", "cuda"),
        "auto",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._packed: PackedModel | None = None
        self.fullPrecisionModel: CTRClassificationModel | None = None

    def _with(
        self, packed: PackedModel, summary: TrainingSummary
    ) -> QuantizedCTRClassificationModel:
        self._packed, self._summary = packed, summary
        return self

    @property
    def packedModel(self) -> PackedModel:
        """The packed network."""
        if self._packed is None:
            raise ValueError(f"{self.uid} has no network: it was not trained")
        return self._packed

    @property
    def inputs(self) -> Inputs:
        """Tables and numeric columns that the model reads."""
        return self.packedModel.inputs

    @property
    def taskNames(self) -> tuple[str, ...]:
        """What the network predicts."""
        return self.packedModel.tasks

    @property
    def plan(self) -> dict[str, str]:
        """Precision by layer: 'int8' or 'binary'."""
        return self.summary.extra["plan"]

    def _scoring_device(self) -> str:
        device = str(self.getDevice())
        if device == "cuda":
            check_gpu_tasks()
            try:
                plan_of(self.packedModel.program)
            except NotNative as reason:
                raise ValueError(
                    f"device='cuda' cannot score this network: the kernels lack {reason}; use "
                    "'auto' or 'cpu'"
                ) from None
        return device

    def _serving(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return self.packedModel.predict_logits

    def to_bytes(self) -> bytes:
        """Packed weights as safetensors."""
        return packed_to_bytes(self.packedModel)

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        packed = packed_from_bytes(payload["weights.safetensors"])
        summary = saved_summary(state)
        _check_plan(summary.extra.get("plan"), packed.layers)
        self._with(packed, summary)


def _check_plan(plan: Any, layers: dict[str, str]) -> None:
    """Refuse a summary whose precision by layer is not that of the weights."""
    if not isinstance(plan, dict):
        raise ValueError(f"the plan is {plan!r}")
    for name, precision in plan.items():
        if name not in layers or layers[name] != precision:
            raise ValueError(f"layer {name!r} is {layers.get(name)}, the plan says {precision!r}")
