"""Settings of quantisation, each declared once: for the functions here and for a stage's Params."""

from __future__ import annotations

from spark_ctr.settings import Setting, flag, integer, number

# Of `fine_tuning.quantisation`.
OBJECTIVE: dict[str, Setting] = {
    "logit_weight": number(
        1.0,
        at_least=0.0,
        doc="weight of the squared difference from the full-precision logits in fine-tuning",
    ),
    "regularisation_weight": number(
        1e-2, at_least=0.0, doc="weight of absolute binary weight regularisation"
    ),
    "prioritised_epochs": integer(
        2,
        at_least=0,
        doc="prioritised training: epochs in which 1-bit layers still use their real-valued "
        "weights",
    ),
    "inverse_layerwise": flag(
        True,
        doc="inverse layer-wise fine-tuning: binarise one more layer an epoch, the last first",
    ),
}
# Of `fine_tuning.fine_tune`.
FINE_TUNING: dict[str, Setting] = {
    "epochs": integer(10, at_least=1, doc="epochs of fine-tuning"),
    "learning_rate": number(2e-3, above=0.0, doc="of fine-tuning"),
    "binary_share": number(
        0.0,
        at_least=0.0,
        at_most=1.0,
        doc="share of the hidden-to-hidden layers to make 1-bit, the least sensitive first",
    ),
    "tolerance": number(
        0.0005,
        at_least=0.0,
        doc="largest loss of validation AUC before fine-tuning, and then before a 1-bit layer goes "
        "back to 8 bits",
    ),
    "loss_tolerance": number(
        0.005,
        at_least=0.0,
        doc="largest rise of validation log loss, as a share of the classifier's, before "
        "fine-tuning, and then before a 1-bit layer goes back to 8 bits",
    ),
    "activations": flag(
        True, doc="whether the inputs of 8-bit layers have 8 bits too, or are float32"
    ),
    "coarse_share": number(
        0.0,
        at_least=0.0,
        at_most=1.0,
        doc="largest share of the look-ups of a table that its rows of 4 bits have in training: "
        "the longest range of rare rows; they go back to 8 bits where they lose more than the "
        "tolerances; 0: none",
    ),
}
# Of `front.Targets`: what a plan may take, instead of the share of 1-bit layers.
TARGETS: dict[str, Setting] = {
    "microseconds": number(
        None,
        above=0.0,
        doc="time a row in microseconds that the quantised network may take, measured on this "
        "machine on one thread in batches of 8,192, as scoring runs it: chooses the 1-bit layers; "
        "unset: binaryShare does",
    ),
    "nbytes": integer(
        None,
        at_least=1,
        doc="bytes that the packed weights may take: chooses the 1-bit layers; unset: binaryShare "
        "does",
    ),
}
