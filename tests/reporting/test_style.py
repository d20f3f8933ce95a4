import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.reporting import style


@given(text=st.text(), limit=st.integers(min_value=3, max_value=40))
def test_any_text_becomes_one_line_within_the_limit(text, limit):
    shown = style.legible(text, limit)
    assert len(shown) == min(len(text), limit)
    assert not any(character in shown for character in "\n\r\t\x00")


def test_what_the_font_has_is_kept_and_what_it_lacks_becomes_a_square():
    assert style.legible("Zürich_Ω 7") == "Zürich_Ω 7"
    assert style.legible("名\udcff\U00020000x") == "□□□x"


def test_a_long_text_keeps_both_ends():
    assert style.legible("abcdefghij", limit=5) == "ab…ij"


def test_any_text_is_drawn_without_a_warning_and_the_same_twice(tmp_path):
    for name in ("first.png", "second.png"):
        figure = style.new_figure(300, 100)
        hostile = style.legible("$x^2 名\udcff\n{} \\alpha")
        figure.text(0.1, 0.5, hostile, fontfamily=style.FONT, parse_math=False)
        style.save_png(figure, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    with Image.open(tmp_path / "first.png") as image:
        assert image.size == (300, 100)


def test_pictures_leave_the_global_state_of_pyplot_alone():
    program = (
        "import sys, anneal_jax.reporting.curve, anneal_jax.reporting.gallery;"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
