import pytest

from anneal_jax.reporting import style


@pytest.fixture
def rows():
    """Three rounds; the first put its questions before any model, so it has no share of yes."""
    return [
        {
            "round_index": index,
            "bits_spent": 672 + 336 * index,
            "num_labelled_pairs": 670 + 336 * index,
            "num_derived_pairs": 1200 + 10 * index,
            "num_contradictory_pairs": 0,
            "yes_share": None if index == 0 else 0.125,
            "mean_average_precision_at_5": 0.5 + 0.2 * index,
            "precision_at_5": 0.4 + 0.2 * index,
            "mean_average_precision_at_5_features": 0.62,
            "threshold": 0.4,
            "threshold_lower": -0.1,
            "threshold_upper": 0.75,
            "train_s": 1234.5,
            "select_s": 0.034,
        }
        for index in range(3)
    ]


@pytest.fixture
def saved(monkeypatch):
    """Every figure on its way to a file, so that a test can ask what was drawn."""
    figures, save_png = [], style.save_png
    monkeypatch.setattr(
        style, "save_png", lambda figure, path: (figures.append(figure), save_png(figure, path))
    )
    return figures
