"""What a workdir is opened with: labels of a file, and ready vectors beside the tiles."""

import dataclasses

import numpy as np
import pytest

from anneal_jax.annotation.web.server import LABELLER, go_to_set, opened
from anneal_jax.annotation.web.settings import annotation_settings
from anneal_jax.answers.schema import DEFAULT_SENTENCE
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError, ConfigError
from anneal_jax.experiments.answered_workdir import read_pictures
from anneal_jax.files.workdir import read_config
from anneal_jax.training.start import choose_start
from anneal_jax.types import Answer

CONFIG = ExperimentConfig(backbone="pixels", image_size=8)


@pytest.fixture
def labels_csv(tiles_folder, tmp_path):
    """Classes of 40 of the 60 tiles."""
    path = tmp_path / "labels.csv"
    names = sorted(path.name for path in tiles_folder.iterdir())[20:]
    path.write_text("id,label\n" + "".join(f'"{name}",{place % 4}\n' for place, name in enumerate(names)))
    return path


@pytest.fixture
def vectors_npz(tiles_folder, tmp_path):
    """Vectors of 50 of the tiles, in another order."""
    ids = np.array(open_archive(f"folder:{tiles_folder}").ids)[::-1][:50]
    embeddings = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    np.savez(tmp_path / "vectors.npz", embeddings=embeddings, ids=ids)
    return tmp_path / "vectors.npz"


def open_here(workdir, settings, **options):
    return opened(settings.config, workdir, pictures=settings.pictures, learns=False, **options)


def settings_for(workdir, tiles_folder="", **options):
    archive = f"folder:{tiles_folder}" if tiles_folder else ""
    return annotation_settings(workdir, archive, config=options.pop("config", CONFIG), **options)


def test_class_labels_come_in_as_groups_at_log2_c_bits_and_are_no_step_to_undo(
    tiles_folder, labels_csv, tmp_path
):
    settings = settings_for(tmp_path / "work", tiles_folder)
    for sentence in ("Same land use", ""):  # the same command again stores nothing
        with open_here(tmp_path / "work", settings, labels=str(labels_csv), sentence=sentence) as parts:
            counters = parts.session.counters("Ada")
            assert counters["bits_spent"] == 40 * 2 and counters["num_known"] == 40 * 39 // 2
            assert (counters["num_answers"], counters["num_labels"]) == (0, 40)
            assert {row["annotator"] for row in parts.session.answers()} == {LABELLER}
            view = parts.session.open_tab("tab-number-1", "Ada")
            labelled = {tile for row in parts.session.answers() for tile in (row["first"], row["second"])}
            for question in view["questions"]:
                assert not {question["first"], question["second"]} <= labelled
            assert parts.session.undo("tab-number-1", "undo-key-1")["undone"] is None
            assert parts.session.counters("Ada")["bits_spent"] == 80
            assert "40 class labels" in parts.notes[-1]


def test_labels_need_the_question_that_they_answer(tiles_folder, labels_csv, tmp_path):
    settings = settings_for(tmp_path / "work", tiles_folder)
    with (
        pytest.raises(ConfigError, match="--sentence="),
        open_here(tmp_path / "work", settings, labels=str(labels_csv)),
    ):
        pass


def test_the_default_sentence_counts_as_said_where_it_is_said(tiles_folder, labels_csv, tmp_path):
    settings = settings_for(tmp_path / "work", tiles_folder)
    options = {"labels": str(labels_csv), "sentence": DEFAULT_SENTENCE}
    with open_here(tmp_path / "work", settings, **options) as parts:
        assert parts.session.set_id == 1 and parts.session.counters("")["num_labels"] == 40


def test_labels_of_a_folder_count_only_where_a_file_gives_them(tmp_path):
    from PIL import Image

    for name in ("a/1.png", "a/2.png", "b/3.png"):
        path = tmp_path / "tiles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), int(path.stem), 0)).save(path)
    (tmp_path / "labels.csv").write_text("id,label\n1.png,x\n3.png,x\n")
    settings = settings_for(tmp_path / "work", tmp_path / "tiles")
    with open_here(
        tmp_path / "work", settings, labels=str(tmp_path / "labels.csv"), sentence="Alike?"
    ) as parts:
        (row,) = parts.session.answers()
        assert row["names"] == ["a/1.png", "b/3.png"] and row["answer"] == "similar"


def test_vectors_are_learnt_from_and_the_tiles_of_their_names_are_shown(
    tiles_folder, vectors_npz, tmp_path
):
    settings = settings_for(tmp_path / "work", tiles_folder, features=str(vectors_npz))
    assert settings.config.archive == f"embeddings:{vectors_npz}"
    tiles = open_archive(f"folder:{tiles_folder}")
    with open_here(tmp_path / "work", settings, sentence="Alike?") as parts:
        assert len(parts.pictures) == len(parts.names) == 50
        assert parts.names[0] == tiles.ids[59]
        from anneal_jax.annotation.web.pictures import TilePictures

        whole = TilePictures(tiles)
        assert parts.pictures.get(0) == whole.get(59) and parts.pictures.get(49) == whole.get(10)
        whole.close()
        assert parts.session.plan.embeddings.shape == (50, 8)
    assert read_pictures(tmp_path / "work") == f"folder:{tiles_folder}"
    settled = settings._replace(config=choose_start(settings.config))
    again = annotation_settings(tmp_path / "work")  # the same workdir, without a word
    assert again == settled
    moved = annotation_settings(tmp_path / "work", "folder:elsewhere")
    assert moved.config == settled.config and moved.pictures == "folder:elsewhere"


def test_vectors_without_tiles_are_reported(tiles_folder, vectors_npz, tmp_path):
    with pytest.raises(ConfigError, match="--archive=folder:PATH"):
        annotation_settings(tmp_path / "work", features=str(vectors_npz))
    bare = annotation_settings(tmp_path / "bare", f"embeddings:{vectors_npz}", config=CONFIG)
    with open_here(tmp_path / "bare", bare, sentence="Alike?") as parts:
        assert not parts.pictures.show_tiles and parts.pictures.get(0) != parts.pictures.get(1)
    np.savez(tmp_path / "unnamed.npz", embeddings=np.eye(4, dtype=np.float32))
    settings = settings_for(tmp_path / "work", tiles_folder, features=str(tmp_path / "unnamed.npz"))
    with (
        pytest.raises(ArchiveError, match=r"tiles of 4 of the 4 vectors .* the array `ids`"),
        open_here(tmp_path / "work", settings),
    ):
        pass


def test_a_random_network_is_warned_of_in_the_terminal_and_on_the_page(tiles_folder, tmp_path):
    for name in ("tiny_cnn", "pixels"):
        config = ExperimentConfig(archive=f"folder:{tiles_folder}", backbone=name, image_size=8)
        with opened(config, tmp_path / name, sentence="Same", learns=False) as parts:
            assert parts.warnings == parts.notes[: len(parts.warnings)]
            assert [name in warning for warning in parts.warnings] == [True] * (name == "tiny_cnn")
        assert read_config(tmp_path / name).pretrained == "none"


def test_any_recipe_that_asks_is_asked_by_the_page_and_no_other(tiles_folder, tmp_path):
    config = ExperimentConfig(archive=f"folder:{tiles_folder}", backbone="pixels", supervision="belief_ask")
    with opened(config, tmp_path / "beliefs", sentence="Same", learns=False) as parts:
        assert parts.session.open_tab("tab-number-1", "Ada")["questions"]
    for changes in ({"supervision": "class_labels"}, {"regime": "finetune"}):
        with (
            pytest.raises(ConfigError, match="the page needs regime='frozen'"),
            opened(dataclasses.replace(config, **changes), tmp_path / "other"),
        ):
            pass


def test_a_command_says_to_which_set_answers_go(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", ["a.png", "b.png"])
    assert go_to_set(store, "Same land use") == ""
    store.give([Given(0, 1, Answer.SIMILAR, "Ada")])
    assert go_to_set(store, "Same land use") == "Answers go to the set 'Same land use', which has 1."
    said = go_to_set(store, "Same crop")
    assert said == "Answers go to a new set, 'Same crop'; the page lists the other sets under Sets."
    assert go_to_set(store, "Same crop").endswith("which has 0.")
    store.set_sentence("Same land use")
    store.rename_set("Same use of land", annotator="Ada")
    assert go_to_set(store, "Same land use") == "Answers go to the set 'Same use of land', which has 1."
