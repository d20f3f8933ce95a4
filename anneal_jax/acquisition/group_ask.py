"""Group images by asking "same as this group?": the plain baseline for choosing pairs."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.types import MIN_NORM, Annotator, Answer, FloatArray, IntArray


class Grouping(NamedTuple):
    """Images in the order in which they were grouped.

    Attributes:
      images: int32[M], indices into the archive.
      groups: int32[M], numbered from 0 in the order of founding.
      questions: int64[M], total number of questions when the image was grouped; each costs one bit.
    """

    images: IntArray
    groups: IntArray
    questions: npt.NDArray[np.int64]


def group_by_asking(images: IntArray, features: FloatArray, annotator: Annotator) -> Grouping:
    """Ask about each image in turn "same as this group?", the nearest group first, until a yes.

    The founder represents its group. If all answers are no, the image founds a new group; unsure counts as
    no. Groups are ordered by the cosine of the image's features and the mean features of their images.
    Nothing is learnt in between.

    Args:
      images: int32[M], in the order to group them.
      features: float32[N, F], centred, of every tile of the archive.
      annotator: answers the questions.

    Returns:
      Every image with its group; groups are never split or joined.
    """
    founders: list[int] = []
    sums = np.zeros((0, features.shape[1]))
    groups, questions, num_questions = [], [], 0
    for image in images:
        lengths = np.maximum(np.linalg.norm(sums, axis=1), MIN_NORM)
        group = len(founders)
        for nearest in np.argsort(-(sums @ features[image]) / lengths, kind="stable"):
            num_questions += 1
            first, second = sorted((int(image), founders[nearest]))
            if annotator(first, second) == Answer.SIMILAR:
                group = int(nearest)
                break
        if group == len(founders):
            founders.append(int(image))
            sums = np.pad(sums, [(0, 1), (0, 0)])
        sums[group] += features[image]
        groups.append(group)
        questions.append(num_questions)
    return Grouping(images, np.array(groups, np.int32), np.array(questions, np.int64))
