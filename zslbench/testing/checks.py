"""All checks, by kind of subject, in the order of tables."""

from __future__ import annotations

from zslbench.testing import datasets, evaluators, learning, methods, reconstruction, registration
from zslbench.testing.subjects import Subject
from zslbench.testing.verdicts import Check, Verdict, judge

ANY: tuple[Check, ...] = (registration.check_registration_is_light, registration.check_importable)
CHECKS: dict[str, tuple[Check, ...]] = {
    "method": (
        *ANY,
        methods.check_citation,
        methods.check_declarations,
        methods.check_parameters,
        methods.check_parameters_are_frozen,
        methods.check_search_space,
        methods.check_defaults_are_searched,
        methods.check_presets,
        methods.check_trains,
        methods.check_scores,
        methods.check_scoring_changes_nothing,
        methods.check_class_order,
        methods.check_chunking,
        methods.check_other_sizes,
        methods.check_devices_agree,
        methods.check_beats_chance,
        methods.check_signed_embeddings,
        reconstruction.check_reconstructs,
        reconstruction.check_reconstruction_improves,
        learning.check_loss_falls,
        learning.check_losses_are_pure,
        learning.check_same_seed_same_scores,
        learning.check_global_state_untouched,
        learning.check_view_untouched,
        learning.check_test_images_have_no_influence,
        learning.check_unseen_embeddings_have_no_influence,
        learning.check_finish_repeats,
        learning.check_watching_changes_nothing,
        learning.check_state_keeps_its_shape,
        learning.check_state_round_trip,
        learning.check_resume,
        learning.check_factors_are_free_of_parameters,
        learning.check_assembled_equals_solved,
    ),
    "dataset": (
        *ANY,
        datasets.check_card,
        datasets.check_absent_files,
        datasets.check_loads,
        datasets.check_unknown_names,
        datasets.check_features,
        datasets.check_class_names,
        datasets.check_class_embeddings,
        datasets.check_card_fits_data,
        datasets.check_split,
        datasets.check_validation_folds,
        datasets.check_train_view,
        datasets.check_views_share_nothing,
        datasets.check_same_fingerprint,
        datasets.check_labels_alone,
        datasets.check_global_state_untouched,
    ),
    "evaluator": (
        *ANY,
        evaluators.check_card,
        evaluators.check_metrics,
        evaluators.check_names_are_free,
        evaluators.check_returns_its_metrics,
        evaluators.check_finite,
        evaluators.check_fractions,
        evaluators.check_deterministic,
        evaluators.check_global_state_untouched,
        evaluators.check_scorer_untouched,
        evaluators.check_class_order,
        evaluators.check_image_order,
        evaluators.check_chunking,
        evaluators.check_resample,
        evaluators.check_influence,
    ),
}


def verdicts(subject: Subject) -> list[Verdict]:
    """Makes all checks of a subject."""
    return [judge(check, subject) for check in CHECKS[subject.kind]]
