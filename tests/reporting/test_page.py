import base64
import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anneal_jax.errors import WorkdirError
from anneal_jax.reporting import style
from anneal_jax.reporting.page import write_report
from anneal_jax.reporting.page_css import CSS

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, texts, and whether tags balance."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def texts_in(self, tag):
        return [text for parent, text in self.texts if parent == tag]


def _report(folder, **changes):
    arguments = {
        "title": "digits",
        "sentence": "mAP@5 is 0.9 after 1,344 answers.",
        "config": {"archive": "digits", "rounds": 2},
        "rows": [],
        "images": {},
        "notes": [],
    }
    write_report(folder / "report.html", **(arguments | changes))
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def _picture(path):
    figure = style.new_figure(40, 30)
    style.save_png(figure, path)
    return path


def test_the_result_comes_first_then_curve_table_gallery(tmp_path, rows):
    images = {name: _picture(tmp_path / f"{name}.png") for name in ("curve", "gallery")}
    page = _report(tmp_path, rows=rows, images=images, notes=["2 tiles left out"])
    assert page.texts_in("h1") == ["digits"]
    assert page.texts_in("p")[0] == "mAP@5 is 0.9 after 1,344 answers."
    order = [tag for tag, _ in page.elements if tag in {"h1", "img", "table"}]
    assert order == ["h1", "img", "table", "img"]
    headings = page.texts_in("h2")
    assert headings[:3] == ["Round by round", "Notes", "What the numbers mean"]
    assert headings[3:] == ["How to continue", "Settings", "Files next to this page"]
    assert "2 tiles left out" in page.texts_in("li")


def test_the_table_is_readable_and_has_headers(tmp_path, rows):
    page = _report(tmp_path, rows=rows)
    assert page.texts_in("td")[: 12] == [
        "672", "–", "670", "1,200", "0", "0.500", "0.400", "0.620", "0.400",
        "-0.10 … 0.75", "1,234.50", "0.03",
    ]  # fmt: skip
    assert page.texts_in("td")[13] == "12.5%"
    assert len(page.texts_in("td")) == 3 * 12
    scopes = [attrs["scope"] for attrs in page.all("th")]
    assert scopes == ["col"] * 13 + ["row"] * 3


def test_columns_that_hold_nothing_are_left_out(tmp_path, rows):
    for row in rows:
        row["threshold"] = row["threshold_lower"] = None
        del row["num_contradictory_pairs"]
    page = _report(tmp_path, rows=rows)
    assert not {"threshold", "interval", "contra\u00addictory"} & set(page.texts_in("th"))
    assert len(page.texts_in("td")) == 3 * 9


def test_a_run_without_rounds_and_pictures_makes_a_page(tmp_path):
    page = _report(tmp_path, config={})
    assert "No round has ended yet." in page.texts_in("p")
    assert page.all("table") == page.all("img") == []


def test_the_page_is_one_file_that_fetches_and_runs_nothing(tmp_path, rows):
    picture = _picture(tmp_path / "curve.png")
    page = _report(tmp_path, rows=rows, images={"A curve": picture})
    (image,) = page.all("img")
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == picture.read_bytes()
    assert image["alt"] == "A curve"
    assert page.texts_in("figcaption") == ["A curve"]
    assert not page.all("script") and not page.all("link") and not page.all("a")
    assert "default-src 'none'" in page.all("meta")[1]["content"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "url(" not in text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("<>&\"'/=abc {}$%\udcff名")) | st.just("</title><script>x"))
def test_no_text_becomes_markup(tmp_path, text):
    picture = _picture(tmp_path / "curve.png")
    plain = _report(tmp_path, images={"c": picture}, notes=["n"], config={"archive": "d"})
    page = _report(
        tmp_path,
        title=text,
        sentence=text,
        images={text: picture},
        notes=[text],
        config={text: text},
    )
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert [list(attrs) for _, attrs in page.elements] == [list(attrs) for _, attrs in plain.elements]
    assert not page.open
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    assert page.all("img")[0]["alt"] == shown
    if shown.strip():
        assert page.texts_in("h1") == [shown.strip()]
        assert page.texts_in("li")[0] == shown.strip()


def test_settings_read_as_a_command_line_takes_them(tmp_path):
    page = _report(tmp_path, config={"diversity": True, "beta": 0.1, "labels": "", "x": None})
    assert page.texts_in("code")[1:] == [
        "diversity", "true", "beta", "0.1", "labels", "(empty)", "x", "null",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("denominator", "words"),
    [
        ("min(k,R)", "the largest possible number"),
        ("retrieved", "the number found"),
        ("R", "the number of all of them"),
    ],
)
def test_the_metric_names_its_denominator_and_says_that_a_query_never_counts(tmp_path, denominator, words):
    page = _report(tmp_path, denominator=denominator)
    text = " ".join(page.texts_in("dd"))
    assert f"divided by {denominator}, {words}" in text
    assert "A query never counts as its own neighbour." in text


def test_it_tells_how_to_go_on_and_what_lies_beside_it(tmp_path):
    (tmp_path / "config.json").touch()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "private.txt").touch()
    page = _report(tmp_path)
    assert "(this run: 2)" in " ".join(page.texts_in("p"))
    assert page.texts_in("code")[0] == "--config.rounds"
    assert page.texts_in("code")[-2:] == ["config.json", "checkpoints"]


def test_a_baseline_of_pairs_is_not_reported_to_ask_more(tmp_path):
    page = _report(tmp_path, config={"rounds": 2, "supervision": "class_labels"})
    assert "with a fixed end" in " ".join(page.texts_in("p"))
    assert "--config.rounds" not in page.texts_in("code")


def test_an_absent_picture_or_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        _report(tmp_path, images={"x": tmp_path / "absent.png"})
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(WorkdirError, match="folder does not exist"):
        _report(tmp_path / "absent")


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "accent"])
def test_every_text_stands_out_from_the_paper_as_wcag_asks(scheme, name):
    paper = re.findall(r"--paper: (#\w{6})", CSS)[scheme]
    colour = re.findall(rf"--{name}: (#\w{{6}})", CSS)[scheme]
    dark, light = sorted([_luminance(paper), _luminance(colour)])
    assert (light + 0.05) / (dark + 0.05) >= 4.5
