"""MixedPrecisionQuantizer: a trained network to 8-bit indices and 1-bit values."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from pyspark.ml.param import TypeConverters

from spark_ctr.classification.ctr_classifier import CTRClassificationModel, CTRClassifier
from spark_ctr.distillation.layerwise_distiller import LayerwiseDistiller
from spark_ctr.estimator.estimator import CTREstimator
from spark_ctr.estimator.loss_params import HasLogitWeight
from spark_ctr.estimator.model import CTRModel
from spark_ctr.estimator.params import CTRParams
from spark_ctr.estimator.run import open_feeds, run_training, summary_of
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.estimator.source import NetworkSource
from spark_ctr.estimator.summary import TrainingSummary, saved_summary
from spark_ctr.estimator.workers import check_run
from spark_ctr.networks.network import Network
from spark_ctr.precision.fine_tuning import fine_tune, quantisation
from spark_ctr.precision.packing import check_packable, pack_network
from spark_ctr.rows.training_data import TrainingData
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes
from spark_ctr.stage.base import number, param
from spark_ctr.stage.meta import MetaStage, stage_of
from spark_ctr.tables import Inputs

logger = logging.getLogger("spark_ctr")


class QuantizationParams(HasLogitWeight):
    """Params of :class:`MixedPrecisionQuantizer` that its model keeps."""

    binaryShare = param(
        "binaryShare",
        "share of the hidden-to-hidden layers to make 1-bit, the least sensitive first",
        number("binaryShare", float, at_least=0.0, at_most=1.0),
        0.5,
    )
    tolerance = param(
        "tolerance",
        "largest loss of validation AUC before a 1-bit layer goes back to 8 bits",
        number("tolerance", float, at_least=0.0),
        0.002,
    )
    lossTolerance = param(
        "lossTolerance",
        "largest rise of validation log loss, as a share of the classifier's, before a 1-bit layer "
        "goes back to 8 bits",
        number("lossTolerance", float, at_least=0.0),
        0.02,
    )
    maxIter = param("maxIter", "epochs of fine-tuning", number("maxIter", int, at_least=1), 10)
    learningRate = param(
        "learningRate", "of fine-tuning", number("learningRate", float, above=0.0), 2e-3
    )
    binaryRegularization = param(
        "binaryRegularization",
        "weight of absolute binary weight regularisation",
        number("binaryRegularization", float, at_least=0.0),
        1e-2,
    )
    prioritizedEpochs = param(
        "prioritizedEpochs",
        "prioritised training: epochs in which 1-bit layers still use their real-valued weights",
        number("prioritizedEpochs", int, at_least=0),
        2,
    )
    inverseLayerwise = param(
        "inverseLayerwise",
        "inverse layer-wise fine-tuning: binarise one more layer an epoch, the last first",
        TypeConverters.toBoolean,
        True,
    )


class MixedPrecisionQuantizer(MetaStage, QuantizationParams, CTREstimator):
    """Train a classifier, then quantise its network, SensiMix style.

    Embeddings and sensitive layers become 8-bit indices. Linear layers between two hidden layers
    are ranked by how much the validation log loss rises when that layer alone is 1-bit, and the
    least sensitive ``binaryShare`` of them gets 1-bit values and inputs. Fine-tuning sees the
    quantised weights: absolute binary weight regularisation, prioritised training and inverse
    layer-wise fine-tuning. If the fine-tuned network's validation AUC is more than ``tolerance``
    below the classifier's, or its log loss more than ``lossTolerance`` of the classifier's above
    it, the most sensitive 1-bit layer goes back to 8 bits and fine-tuning runs again. The last
    attempt's figures are in ``summary.extra["validation"]``.

    The fitted model's ``fullPrecisionModel`` is the classifier's model, right after fitting.

    Parameters
    ----------
    classifier : CTRClassifier, LayerwiseDistiller or CTRClassificationModel
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
        stage_of("classifier", CTRClassifier, LayerwiseDistiller, CTRClassificationModel),
    )

    def _column_owner(self) -> CTRParams:
        return self._nested("classifier")._column_owner()

    def _check(self, inputs: Inputs) -> Network:
        network = self._nested("classifier")._check(inputs)
        check_run(self._column_owner())
        check_packable(network)
        return network

    def _trainings(self) -> list[NetworkSource]:
        return [*self._nested("classifier")._trainings(), self]

    def _train(self, data: TrainingData, work: SharedWork) -> QuantizedCTRClassificationModel:
        params = self._column_owner()
        full = self._nested("classifier")._model_for(data, work)
        feed, valid = open_feeds(params, data)
        # Without validation rows, the training rows choose the epoch.
        trained = {"valid_path": data.train_path, "valid_rows": data.train_rows}
        watched = data if valid is not None else replace(data, **trained)  # type: ignore[arg-type]
        tuned = fine_tune(
            full.torchNetwork,
            feed,
            valid or feed,
            settings=params.training_settings(),
            epochs=self.getMaxIter(),
            learning_rate=self.getLearningRate(),
            binary_share=self.getBinaryShare(),
            tolerance=self.getTolerance(),
            loss_tolerance=self.getLossTolerance(),
            objective=quantisation(
                full.torchNetwork,
                logit_weight=self.getLogitWeight(),
                logit_shift=data.logit_shift,
                regularisation_weight=self.getBinaryRegularization(),
                prioritised_epochs=self.getPrioritizedEpochs(),
                inverse_layerwise=self.getInverseLayerwise(),
            ),
            run=partial(run_training, params, watched),
        )
        for line in tuned.log:
            logger.info(line)
        extra = {
            "plan": tuned.plan,
            "sensitivity": tuned.sensitivity.to_dict(),
            "attempts": tuned.log,
            "validation": {
                which: {k: None if math.isnan(v) else v for k, v in values.items()}
                for which, values in tuned.figures.items()
            },
        }
        packed = pack_network(tuned.trained.network)
        summary = summary_of(params, data, tuned.trained, packed.predict_logits, extra)
        model = QuantizedCTRClassificationModel()._with(packed, summary)
        model.fullPrecisionModel = full
        return self._dressed(model, params)


class QuantizedCTRClassificationModel(QuantizationParams, CTRModel):
    """Fitted :class:`MixedPrecisionQuantizer`: scores on packed 8-bit and 1-bit weights."""

    _loader = "spark_ctr.runtime.serialization:predictor_from_bytes"

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
    def tasks(self) -> tuple[str, ...]:
        """What the network predicts."""
        return self.packedModel.tasks

    @property
    def plan(self) -> dict[str, str]:
        """Precision by layer: 'int8' or 'binary'."""
        return self.summary.extra["plan"]

    def _logits(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        return self.packedModel.predict_logits(ids, numeric)

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
