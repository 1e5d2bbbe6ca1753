"""The rules: one detector = one rule = one file. Pure host code that eats readings and returns findings."""

from lightning_diag.detectors.activation_attention_collapsed import ActivationAttentionCollapsed
from lightning_diag.detectors.activation_collapsed import ActivationCollapsed
from lightning_diag.detectors.activation_dead import ActivationDead
from lightning_diag.detectors.activation_non_finite import ActivationNonFinite
from lightning_diag.detectors.activation_saturated import ActivationSaturated
from lightning_diag.detectors.base import Detector
from lightning_diag.detectors.class_collapsed import ClassCollapsed
from lightning_diag.detectors.class_confused import ClassConfused
from lightning_diag.detectors.class_drift import ClassDrift
from lightning_diag.detectors.class_imbalanced import ClassImbalanced
from lightning_diag.detectors.class_neglected import ClassNeglected
from lightning_diag.detectors.data_alike_sequences import DataAlikeSequences
from lightning_diag.detectors.data_class_never_target import DataClassNeverTarget
from lightning_diag.detectors.data_conflicting_labels import DataConflictingLabels
from lightning_diag.detectors.data_constant_feature import DataConstantFeature
from lightning_diag.detectors.data_duplicates import DataDuplicates
from lightning_diag.detectors.data_giveaway_feature import DataGiveawayFeature
from lightning_diag.detectors.data_label_noise import DataLabelNoise
from lightning_diag.detectors.data_labels_shifted import DataLabelsShifted
from lightning_diag.detectors.data_leakage import DataLeakage
from lightning_diag.detectors.data_near_leakage import DataNearLeakage
from lightning_diag.detectors.data_non_finite import DataNonFinite
from lightning_diag.detectors.data_unnormalized import DataUnnormalized
from lightning_diag.detectors.data_unshuffled import DataUnshuffled
from lightning_diag.detectors.data_val_at_chance import DataValAtChance
from lightning_diag.detectors.domain_gap import DomainGap
from lightning_diag.detectors.domain_gap_widening import DomainGapWidening
from lightning_diag.detectors.domain_separable import DomainSeparable
from lightning_diag.detectors.domain_wrong_target import DomainWrongTarget
from lightning_diag.detectors.fit_over_regularized import FitOverRegularized
from lightning_diag.detectors.fit_overfitting import FitOverfitting
from lightning_diag.detectors.fit_too_good import FitTooGood
from lightning_diag.detectors.fit_underfitting import FitUnderfitting
from lightning_diag.detectors.gradient_accumulating import GradientAccumulating
from lightning_diag.detectors.gradient_always_clipped import GradientAlwaysClipped
from lightning_diag.detectors.gradient_exploding import GradientExploding
from lightning_diag.detectors.gradient_non_finite import GradientNonFinite
from lightning_diag.detectors.gradient_scaler_skipping import GradientScalerSkipping
from lightning_diag.detectors.gradient_underflow import GradientUnderflow
from lightning_diag.detectors.gradient_unreached import GradientUnreached
from lightning_diag.detectors.gradient_vanishing import GradientVanishing
from lightning_diag.detectors.loss_bad_start import LossBadStart
from lightning_diag.detectors.loss_diverging import LossDiverging
from lightning_diag.detectors.loss_mismatched import LossMismatched
from lightning_diag.detectors.loss_non_finite import LossNonFinite
from lightning_diag.detectors.loss_not_learning import LossNotLearning
from lightning_diag.detectors.loss_oscillating import LossOscillating
from lightning_diag.detectors.loss_plateau import LossPlateau
from lightning_diag.detectors.loss_spike import LossSpike
from lightning_diag.detectors.loss_too_slow import LossTooSlow
from lightning_diag.detectors.sanity_batch_mixing import SanityBatchMixing
from lightning_diag.detectors.sanity_cannot_overfit_batch import SanityCannotOverfitBatch
from lightning_diag.detectors.sanity_input_ignored import SanityInputIgnored
from lightning_diag.detectors.sanity_random_labels_as_easy import SanityRandomLabelsAsEasy
from lightning_diag.detectors.sanity_train_eval_gap import SanityTrainEvalGap
from lightning_diag.detectors.sanity_worse_than_linear import SanityWorseThanLinear
from lightning_diag.detectors.sanity_wrong_gradient import SanityWrongGradient
from lightning_diag.detectors.setup_adam_with_l2 import SetupAdamWithL2
from lightning_diag.detectors.setup_decay_on_norm import SetupDecayOnNorm
from lightning_diag.detectors.setup_eval_mode import SetupEvalMode
from lightning_diag.detectors.setup_mostly_padding import SetupMostlyPadding
from lightning_diag.detectors.setup_odd_initialization import SetupOddInitialization
from lightning_diag.detectors.setup_tiny_batch import SetupTinyBatch
from lightning_diag.detectors.system_input_bound import SystemInputBound
from lightning_diag.detectors.system_memory_growth import SystemMemoryGrowth
from lightning_diag.detectors.system_rank_divergence import SystemRankDivergence
from lightning_diag.detectors.system_same_data_on_ranks import SystemSameDataOnRanks
from lightning_diag.detectors.system_straggler import SystemStraggler
from lightning_diag.detectors.update_frozen import UpdateFrozen
from lightning_diag.detectors.update_lost import UpdateLost
from lightning_diag.detectors.update_too_large import UpdateTooLarge
from lightning_diag.detectors.update_too_small import UpdateTooSmall
from lightning_diag.detectors.update_unequal import UpdateUnequal

__all__ = [
    "ActivationAttentionCollapsed",
    "ActivationCollapsed",
    "ActivationDead",
    "ActivationNonFinite",
    "ActivationSaturated",
    "ClassCollapsed",
    "ClassConfused",
    "ClassDrift",
    "ClassImbalanced",
    "ClassNeglected",
    "DataAlikeSequences",
    "DataClassNeverTarget",
    "DataConflictingLabels",
    "DataConstantFeature",
    "DataDuplicates",
    "DataGiveawayFeature",
    "DataLabelNoise",
    "DataLabelsShifted",
    "DataLeakage",
    "DataNearLeakage",
    "DataNonFinite",
    "DataUnnormalized",
    "DataUnshuffled",
    "DataValAtChance",
    "Detector",
    "DomainGap",
    "DomainGapWidening",
    "DomainSeparable",
    "DomainWrongTarget",
    "FitOverRegularized",
    "FitOverfitting",
    "FitTooGood",
    "FitUnderfitting",
    "GradientAccumulating",
    "GradientAlwaysClipped",
    "GradientExploding",
    "GradientNonFinite",
    "GradientScalerSkipping",
    "GradientUnderflow",
    "GradientUnreached",
    "GradientVanishing",
    "LossBadStart",
    "LossDiverging",
    "LossMismatched",
    "LossNonFinite",
    "LossNotLearning",
    "LossOscillating",
    "LossPlateau",
    "LossSpike",
    "LossTooSlow",
    "SanityBatchMixing",
    "SanityCannotOverfitBatch",
    "SanityInputIgnored",
    "SanityRandomLabelsAsEasy",
    "SanityTrainEvalGap",
    "SanityWorseThanLinear",
    "SanityWrongGradient",
    "SetupAdamWithL2",
    "SetupDecayOnNorm",
    "SetupEvalMode",
    "SetupMostlyPadding",
    "SetupOddInitialization",
    "SetupTinyBatch",
    "SystemInputBound",
    "SystemMemoryGrowth",
    "SystemRankDivergence",
    "SystemSameDataOnRanks",
    "SystemStraggler",
    "UpdateFrozen",
    "UpdateLost",
    "UpdateTooLarge",
    "UpdateTooSmall",
    "UpdateUnequal",
]
