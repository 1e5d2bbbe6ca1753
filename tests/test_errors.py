from __future__ import annotations

import pickle

import pytest

from lightning_diag import errors


def public_errors() -> list[type[Exception]]:
    return [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]


@pytest.mark.parametrize("error", public_errors())
def test_one_base_catches_them_all_and_the_tree_in_the_docstring_names_each(error: type[Exception]) -> None:
    assert issubclass(error, errors.DiagnosticsError)
    assert error.__name__ in (errors.__doc__ or "")


def test_standard_bases_that_callers_expect() -> None:
    assert issubclass(errors.ConfigurationError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)


def test_a_missing_extra_says_what_to_install() -> None:
    error = errors.MissingExtraError("wandb-workspaces", "dashboards")
    assert str(error) == "wandb-workspaces is not installed: pip install 'lightning-diag[dashboards]'"
    assert (error.package, error.extra) == ("wandb-workspaces", "dashboards")


@pytest.mark.parametrize(
    "error",
    [
        errors.RecordError("gone"),
        errors.NotMeasurable("too early"),
        errors.MissingExtraError("wandb", "dashboards"),
        errors.MissingExtraError("wandb"),
    ],
)
def test_an_error_survives_the_way_between_processes(error: Exception) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
