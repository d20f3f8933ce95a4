import csv
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.grid import Cell
from anneal_jax.reporting import comparison_report
from anneal_jax.reporting.comparison_claims import claims_markdown
from anneal_jax.reporting.comparison_plot import plot_comparison
from anneal_jax.reporting.comparison_report import FILES, report_comparison
from anneal_jax.reporting.comparison_table import comparison_csv, comparison_markdown
from tests.reporting.test_curve import shown_texts


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
    """Two seeds; the second one's first questions are two fewer, and its baseline starts later."""
    return [
        Cell("random", 0, rows_of([100, 200], [0.5, 0.6])),
        Cell("baseline", 0, rows_of([50, 150, 250], [0.4, 0.6, 0.8], num_labelled_images=3)),
        Cell("late", 0, rows_of([150, 250], [0.6, 0.7])),
        Cell("class_labels", 0, rows_of([900], [0.8])),
        Cell("random", 1, rows_of([98, 198], [0.5, 0.8])),
        Cell("baseline", 1, rows_of([48, 148, 248], [0.4, 0.6, 0.8])),
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
    # At 100 and 200, and at 98 and 198, the baseline has come half of its way.
    assert rows[1] == ["baseline", "0.500 ± 0.000", "0.700 ± 0.000"]
    assert rows[2] == ["late", "–", "0.649 ± 0.013"]
    assert rows[0][0] == "random" and rows[0][2].startswith("0.700 ± 1.27")


def test_another_reference_heads_the_columns_and_an_absent_one_is_replaced(cells):
    header, *_ = table_rows(comparison_markdown(cells, reference="baseline"), "bits")
    assert header == ["bits", "49", "149", "249"]
    assert comparison_markdown(cells, reference="absent") == comparison_markdown(cells)


def test_what_everything_known_reaches_stands_apart(cells):
    rows = table_rows(comparison_markdown(cells), "everything known")
    assert rows[1][:2] == ["class_labels", "900"]
    assert rows[1][2].startswith("0.850 ± 0.635")


def test_height_and_cost_of_the_targets(cells):
    _, random, baseline, late = table_rows(comparison_markdown(cells), "system")
    # 95% of the seed's own bound is 0.76 and 0.855; the baseline gets to 0.8.
    assert random[2:] == ["reached by 0 of 2 seeds"] * 2
    assert baseline[1].startswith("0.600 ± 0.000")
    assert baseline[2:] == ["reached by 1 of 2 seeds"] * 2
    assert late[1] == "–"
    lower = [cell for cell in cells if cell.system != "class_labels"]
    for bound, cost in ((0.5 / 0.95 + 1e-12, "99 ± 13"), (0.4, "≤ 99 ± 13")):  # at the first or earlier
        bounded = lower + [Cell("class_labels", seed, rows_of([900], [bound])) for seed in (0, 1)]
        assert table_rows(comparison_markdown(bounded), "system")[1][2] == cost


def test_differences_are_paired_by_seed(cells):
    shuffled = [cells[n] for n in (5, 0, 4, 1)]
    header, baseline = table_rows(comparison_markdown(shuffled), "minus random, paired by seed")
    assert header[1:] == ["at 199 bits", "mean mAP@5"]
    # At the last column 0.7 - 0.6 and 0.7 - 0.8; the sign of a rounded zero is anybody's.
    assert baseline[1][1:] == "0.000, -1.271 to +1.271"


def test_one_seed_has_figures_without_intervals_and_no_differences(cells):
    text = comparison_markdown([cell for cell in cells if cell.seed == 0])
    assert table_rows(text, "bits")[1] == ["random", "0.500", "0.600"]
    assert "±" not in text.partition("\n")[2]
    assert "minus random" not in text


def test_bounds_alone_are_a_comparison(cells):
    text = comparison_markdown([cell for cell in cells if cell.system == "class_labels"])
    assert "| class_labels | 900 | 0.850" in text
    assert "Features alone, 0 bits: 0.250 ± 0.000." in text


def test_the_csv_holds_every_field_of_every_row(cells):
    rows = list(csv.DictReader(io.StringIO(comparison_csv(cells))))
    assert len(rows) == sum(len(cell.rows) for cell in cells)
    assert rows[2]["system"] == "baseline" and rows[2]["num_labelled_images"] == "3"
    assert rows[0]["num_labelled_images"] == ""
    assert [row["bits_spent"] for row in rows[:2]] == ["100", "200"]


def timed(cells, seconds_per_bit):
    """Return the curves, with what each system's answers take."""
    return [
        cell._replace(
            rows=[
                {**row, "seconds_spent": seconds_per_bit[cell.system] * row["bits_spent"]}
                for row in cell.rows
            ]
        )
        for cell in cells
        if cell.system in seconds_per_bit
    ]


def test_minutes_are_compared_if_every_round_has_seconds(cells):
    levels = [cell for cell in cells if cell.system == "class_labels"]
    text = comparison_markdown(timed(cells, {"random": 1.2, "baseline": 0.6}) + levels)
    assert "for a pair. The curves end: random at 4.0, baseline at 2.5." in text
    by_bits, by_minutes = text.split("By minutes")
    untimed = [cell for cell in cells if cell.system != "late"]
    assert by_bits == comparison_markdown(untimed) + "\n"
    header, random, baseline = table_rows(by_minutes, "minutes")
    # At 2 and 4 minutes the reference has spent 99 and 199 bits, the baseline twice as many: to its end.
    assert header == ["minutes", "2.0", "4.0"]
    assert random[1:] == table_rows(by_bits, "bits")[1][1:]
    assert baseline[1:] == ["0.698 ± 0.025", "0.800 ± 0.000"]
    header, *rows = table_rows(by_minutes, "system")
    assert header[1:] == [
        "mean mAP@5, 2.0 to 4.0 minutes",
        *(f"minutes to {n}% of the upper bound" for n in (95, 99)),
    ]
    assert [row[2] for row in rows] == ["reached by 0 of 2 seeds", "reached by 1 of 2 seeds"]
    assert table_rows(by_minutes, "minus random, paired by seed")[0][1] == "at 4.0 minutes"


@pytest.mark.parametrize("value", ["absent", None])
def test_nothing_is_said_of_minutes_if_a_round_has_no_seconds(cells, value, tmp_path, saved):
    curves = [cell for cell in cells if cell.system != "class_labels"]
    new = timed(cells, {"random": 1.2, "baseline": 1.6, "late": 1.6})
    for row in new[3].rows[1:]:  # an old cell, or the cost of labels
        row["seconds_spent"] = None
        if value == "absent":
            del row["seconds_spent"]
    assert comparison_markdown(new) == comparison_markdown(curves)
    plot_comparison(new, tmp_path / "compare.png", title="vectors")
    assert len(saved[0].axes) == 1


def test_nothing_is_said_of_minutes_if_every_bit_takes_as_long(cells, tmp_path, saved):
    curves = [cell for cell in cells if cell.system != "class_labels"]
    new = timed(cells, {"random": 1.6, "baseline": 1.6, "late": 1.6})
    assert comparison_markdown(new) == comparison_markdown(curves)
    plot_comparison(new, tmp_path / "compare.png", title="vectors")
    assert len(saved[0].axes) == 1


def test_minutes_have_a_panel_of_their_own(cells, tmp_path, saved):
    levels = [cell for cell in cells if cell.system == "class_labels"]
    new = timed(three(cells), {"random": 1.2, "baseline": 0.6})
    plot_comparison([*new, *levels, levels[0]._replace(seed=2)], tmp_path / "compare.png", title="vectors")
    above, below = saved[0].axes
    assert above.get_title(loc="left") == "vectors" and below.get_title(loc="left") == ""
    assert below.get_xlabel() == "annotation cost (minutes)"
    assert [text.get_text() for text in below.texts] == [text.get_text() for text in above.texts]
    lines = ([line for line in axes.get_lines() if line.get_marker() == "s"] for axes in (above, below))
    bits, minutes = (line.get_xydata() for (line,) in lines)
    np.testing.assert_allclose(minutes, bits * [0.6 / 60, 1])
    with Image.open(tmp_path / "compare.png") as image:
        assert image.size == (1800, 2600)


def test_all_files_are_left(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(
        comparison_report,
        "write_queries_page",
        lambda config, cells, workdir, title: (workdir / "queries.html").touch(),
    )
    text = report_comparison(ExperimentConfig(), cells, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert (tmp_path / "compare.md").read_text() == text
    assert (tmp_path / "compare.csv").read_text() == comparison_csv(cells)
    assert (tmp_path / "claims.md").read_text() == claims_markdown(cells)
    with Image.open(tmp_path / "compare.png") as image:
        assert image.size == (1800, 1300)


def test_the_picture_names_every_system_and_draws_means_and_levels(cells, tmp_path, saved):
    plot_comparison(three(cells), tmp_path / "compare.png", title="vectors")
    (figure,) = saved
    assert shown_texts(figure) == [
        "0.733 random",
        "0.800 baseline",
        "0.700 late",
        "0.867 class_labels, 900 bits",
        "0.250 frozen, 0 bits",
    ]
    axes = figure.axes[0]
    assert len(axes.collections) == 3  # a band for each curve
    means = next(line for line in axes.get_lines() if line.get_marker() == "s").get_xydata()
    np.testing.assert_allclose(means, [[48 + 2 / 3, 0.4], [148 + 2 / 3, 0.6], [248 + 2 / 3, 0.8]])
    assert axes.get_xlabel() == "annotation cost (bits)"


def test_two_seeds_are_lines_and_one_has_no_band(cells, tmp_path, saved):
    plot_comparison(cells, tmp_path / "compare.png", title="vectors")
    plot_comparison([cell for cell in cells if cell.seed == 0], tmp_path / "one.png", title="vectors")
    two, one = (figure.axes[0] for figure in saved)
    assert not two.collections and not one.collections
    thin = [line.get_ydata() for line in two.get_lines() if line.get_alpha()]
    assert len(thin) == 6 and not [line for line in one.get_lines() if line.get_alpha()]
    np.testing.assert_allclose(thin[:2], [[0.5, 0.6], [0.5, 0.8]])


def test_a_run_that_has_no_question_left_stays_where_it_ended(cells, tmp_path, saved):
    short = [
        cell._replace(rows=cell.rows[:2]) if (cell.system, cell.seed) == ("random", 1) else cell
        for cell in cells
    ]
    plot_comparison(short, tmp_path / "compare.png", title="vectors")
    ends = [
        np.mean([cell.rows[-1]["mean_average_precision_at_5"] for cell in short if cell.system == name])
        for name in ("random", "baseline")
    ]
    assert shown_texts(saved[0])[:2] == [f"{ends[0]:.3f} random", f"{ends[1]:.3f} baseline"]


def test_variants_of_levels_are_levels_and_variants_of_curves_are_curves(cells, tmp_path, saved):
    renamed = {"class_labels": "class_labels+group_loss=srl", "late": "random+initial_draw=random"}
    plot_comparison(
        [cell._replace(system=renamed.get(cell.system, cell.system)) for cell in cells],
        tmp_path / "compare.png",
        title="vectors",
    )
    shown = shown_texts(saved[0])
    assert "0.700 random+initial_draw=random" in shown
    assert "0.850 class_labels…roup_loss=srl, 900 bits" in shown


def test_a_picture_of_many_systems_grows_so_that_no_two_names_meet(cells, tmp_path, saved):
    many = [cells[0]._replace(system=f"system {n}") for n in range(30)]
    plot_comparison(many, tmp_path / "compare.png", title="vectors")
    (figure,) = saved
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    tops = sorted((box.y0, box.y1) for box in boxes)
    assert len(tops) == 31
    assert all(below[1] <= above[0] + 1 for below, above in itertools.pairwise(tops))
    assert tops[0][0] >= 0 and tops[-1][1] <= figure.bbox.height


def three(cells):
    """Add a third seed, like the second: enough for an interval that says something."""
    return [*cells, *(cell._replace(seed=2) for cell in cells if cell.seed == 1)]
