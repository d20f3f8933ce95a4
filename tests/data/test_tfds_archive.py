"""A prepared data set, written by hand as tfds lays one out, and read without TensorFlow."""

import io
import json
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError

TILES = np.random.default_rng(3).integers(0, 256, (7, 9, 6, 3), np.uint8)


def png(tile):
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "PNG")
    return stream.getvalue()


def prepare(folder, name="tiny", *, images=None, channels=3, file_format="array_record", **more_features):
    """Write five training and two test tiles as version 1.0.0 of a data set; return its folder."""
    images = images or [png(tile) for tile in TILES]
    version = folder / name / "1.0.0"
    version.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, channels), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["river", "crop"]),
            **more_features,
        }
    )
    features.save_config(version)
    splits = []
    for split, rows in (("train", range(5)), ("test", range(5, 7))):
        path = version / f"{name}-{split}.{file_format}-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for row in rows:
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(images[row])
            example.features.feature["label"].int64_list.value.append(row % 2)
            writer.write(example.SerializeToString())
        writer.close()
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        splits.append(
            {"name": split, "shardLengths": [str(len(rows))], "numBytes": "1", "filepathTemplate": template}
        )
    about = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": file_format,
        "moduleName": "none",
        "splits": splits,
    }
    (version / "dataset_info.json").write_text(json.dumps(about))
    return version


def test_tiles_and_labels_are_those_written(tmp_path):
    prepare(tmp_path)
    archive = open_archive(f"tfds:tiny?dir={tmp_path}")
    assert archive.ids == ("test0", "test1", "train0", "train1", "train2", "train3", "train4")
    assert archive.class_names == ("crop", "river")
    assert archive.labels.tolist() == [0, 1, 1, 0, 1, 0, 1]
    order = [5, 6, 0, 1, 2, 3, 4]
    for row, tile in enumerate(archive.load(range(7), 9)):
        squashed = Image.fromarray(TILES[order[row]]).resize((9, 9), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(tile, np.asarray(squashed))
    np.testing.assert_array_equal(archive.load([4, 1], 9), archive.load(range(7), 9)[[4, 1]])
    assert len(np.unique(archive.digests(), axis=0)) == 7
    assert archive.notes == () and archive.boxes is None
    assert "tensorflow" not in sys.modules


def test_one_split_and_the_folder_of_the_environment(tmp_path, monkeypatch):
    prepare(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    archive = open_archive("tfds:tiny:1.0.0?split=test")
    assert archive.ids == ("test0", "test1")
    with pytest.raises(ArchiveError, match="tfds:tiny has no split 'tst'; choose among test, train"):
        open_archive("tfds:tiny?split=tst")


@pytest.mark.parametrize("name", ["other", "tiny:2.0.0", "tiny/rgb"])
def test_what_is_not_prepared_is_answered_with_the_command(tmp_path, name):
    prepare(tmp_path)
    with pytest.raises(ArchiveError) as error:
        open_archive(f"tfds:{name}?dir={tmp_path}")
    assert str(error.value) == (
        f"{tmp_path} contains no data set '{name}' prepared as array_record; if TensorFlow is installed, "
        f"prepare it: tfds build {name} --data_dir={tmp_path} --file_format=array_record"
    )


def test_another_format_is_not_prepared(tmp_path):
    prepare(tmp_path, file_format="tfrecord")
    with pytest.raises(ArchiveError, match=r"tfds build tiny --data_dir=.* --file_format=array_record"):
        open_archive(f"tfds:tiny?dir={tmp_path}")


def test_bad_images_are_refused_or_left_out(tmp_path):
    images = [png(tile) for tile in TILES]
    images[1] = images[1][:40]
    prepare(tmp_path, images=images)
    with pytest.raises(
        ArchiveError, match=r"tfds:tiny.*: 1 of 7 images cannot be used: train1 is truncated"
    ):
        open_archive(f"tfds:tiny?dir={tmp_path}")
    archive = open_archive(f"tfds:tiny?dir={tmp_path}", on_bad_image="skip")
    assert len(archive.ids) == 6 and archive.left_out == ("train1",)
    assert archive.notes[0].startswith("Left out 1 images: train1 is truncated")


def test_a_record_that_changed_is_noticed(tmp_path):
    prepare(tmp_path / "old")
    prepare(tmp_path / "new", images=[png(255 - tile) for tile in TILES])
    archive = open_archive(f"tfds:tiny?dir={tmp_path / 'old'}")
    changed = open_archive(f"tfds:tiny?dir={tmp_path / 'new'}")
    object.__setattr__(archive, "sources", changed.sources)
    with pytest.raises(ArchiveError, match="test0 has changed since the archive was opened"):
        archive.load([0], 9)


def test_a_data_set_without_an_rgb_image_is_refused(tmp_path):
    prepare(tmp_path, channels=4)
    with pytest.raises(
        ArchiveError, match="has 0 features that are grey or RGB images, among image, label"
    ):
        open_archive(f"tfds:tiny?dir={tmp_path}")
    prepare(tmp_path, "two", mask=tfds.features.Image(shape=(None, None, 1), encoding_format="png"))
    with pytest.raises(ArchiveError, match="has 2 features that are grey or RGB images"):
        open_archive(f"tfds:two?dir={tmp_path}")
