import csv
import io

import numpy as np
import pytest
from PIL import Image

from anneal_jax.comparison import Cell
from anneal_jax.reporting.comparison_report import report_comparison
from anneal_jax.reporting.comparison_table import comparison_csv, comparison_markdown
from tests.reporting.test_curve import _texts


def rows_of(bits, figures, **more):
    return [
        {
            "round_index": index,
            "bits_spent": spent,
            "mean_average_precision_at_5": figure,
            "mean_average_precision_at_5_features": 0.25,
            **more,
        }
        for index, (spent, figure) in enumerate(zip(bits, figures, strict=True))
    ]


@pytest.fixture
def cells():
    """Two seeds; the second one's first questions are two fewer, and its rival starts later."""
    return [
        Cell("random", 0, rows_of([100, 200], [0.5, 0.6])),
        Cell("rival", 0, rows_of([50, 150, 250], [0.4, 0.6, 0.8], num_labelled_images=3)),
        Cell("late", 0, rows_of([150, 250], [0.6, 0.7])),
        Cell("class_labels", 0, rows_of([900], [0.8])),
        Cell("random", 1, rows_of([98, 198], [0.5, 0.8])),
        Cell("rival", 1, rows_of([48, 148, 248], [0.4, 0.6, 0.8])),
        Cell("late", 1, rows_of([150, 250], [0.6, 0.7])),
        Cell("class_labels", 1, rows_of([900], [0.9])),
    ]


def table_rows(text, title):
    """Return the rows of the table whose first title is given, as lists of cells."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {title} |"))
    rows = []
    for line in [lines[start], *lines[start + 2 :]]:
        if not line:
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_systems_are_read_off_at_the_costs_of_the_reference(cells):
    header, *rows = table_rows(comparison_markdown(cells), "bits")
    assert header == ["bits", "99", "199"]
    # At 100 and 200, and at 98 and 198, the rival has come half of its way.
    assert rows[1] == ["rival", "0.500 ± 0.000", "0.700 ± 0.000"]
    assert rows[2] == ["late", "–", "0.649 ± 0.013"]
    assert rows[0][0] == "random" and rows[0][2].startswith("0.700 ± 1.27")


def test_another_reference_heads_the_columns_and_an_absent_one_is_replaced(cells):
    header, *_ = table_rows(comparison_markdown(cells, reference="rival"), "bits")
    assert header == ["bits", "49", "149", "249"]
    assert comparison_markdown(cells, reference="absent") == comparison_markdown(cells)


def test_what_everything_known_reaches_stands_apart(cells):
    rows = table_rows(comparison_markdown(cells), "everything known")
    assert rows[1][:2] == ["class_labels", "900"]
    assert rows[1][2].startswith("0.850 ± 0.635")


def test_height_and_cost_of_the_targets(cells):
    _, random, rival, late = table_rows(comparison_markdown(cells), "system")
    # 95% of the seed's own bound is 0.76 and 0.855; the rival gets to 0.8.
    assert random[2:] == ["reached by 0 of 2 seeds"] * 2
    assert rival[1].startswith("0.600 ± 0.000")
    assert rival[2:] == ["reached by 1 of 2 seeds"] * 2
    assert late[1] == "–"
    lower = [cell for cell in cells if cell.system != "class_labels"]
    lower += [Cell("class_labels", seed, rows_of([900], [0.5 / 0.95 + 1e-12])) for seed in (0, 1)]
    assert table_rows(comparison_markdown(lower), "system")[1][2] == "99"


def test_differences_are_paired_by_seed(cells):
    shuffled = [cells[n] for n in (5, 0, 4, 1)]
    header, rival = table_rows(comparison_markdown(shuffled), "less random, paired by seed")
    assert header[1:] == ["at 199 bits", "mean mAP@5"]
    # At the last column 0.7 - 0.6 and 0.7 - 0.8; the sign of a rounded zero is anybody's.
    assert rival[1][1:] == "0.000, -1.271 to +1.271"


def test_one_seed_has_figures_without_intervals_and_no_differences(cells):
    text = comparison_markdown([cell for cell in cells if cell.seed == 0])
    assert table_rows(text, "bits")[1] == ["random", "0.500", "0.600"]
    assert "±" not in text.partition("\n")[2]
    assert "less random" not in text


def test_bounds_alone_are_a_comparison(cells):
    text = comparison_markdown([cell for cell in cells if cell.system == "class_labels"])
    assert "| class_labels | 900 | 0.850" in text
    assert "Features alone, 0 bits: 0.250." in text


def test_the_csv_holds_every_field_of_every_row(cells):
    rows = list(csv.DictReader(io.StringIO(comparison_csv(cells))))
    assert len(rows) == sum(len(cell.rows) for cell in cells)
    assert rows[2]["system"] == "rival" and rows[2]["num_labelled_images"] == "3"
    assert rows[0]["num_labelled_images"] == ""
    assert [row["bits_spent"] for row in rows[:2]] == ["100", "200"]


def test_three_files_are_left(cells, tmp_path, saved):
    text = report_comparison(cells, tmp_path, title="vectors")
    assert (tmp_path / "compare.md").read_text() == text
    assert (tmp_path / "compare.csv").read_text() == comparison_csv(cells)
    with Image.open(tmp_path / "compare.png") as image:
        assert image.size == (1800, 1300)


def test_the_picture_names_every_system_and_draws_means_and_levels(cells, tmp_path, saved):
    report_comparison(cells, tmp_path, title="vectors")
    (figure,) = saved
    assert _texts(figure) == [
        "0.700 random",
        "0.800 rival",
        "0.700 late",
        "0.850 class_labels, 900 bits",
        "0.250 frozen, 0 bits",
    ]
    axes = figure.axes[0]
    assert len(axes.collections) == 3  # a band for each curve
    means = next(line for line in axes.get_lines() if line.get_marker() == "s").get_xydata()
    np.testing.assert_allclose(means, [[49, 0.4], [149, 0.6], [249, 0.8]])
    assert axes.get_xlabel() == "annotation cost (bits)"


def test_one_seed_has_no_band(cells, tmp_path, saved):
    report_comparison([cell for cell in cells if cell.seed == 0], tmp_path, title="vectors")
    assert len(saved[0].axes[0].collections) == 0
