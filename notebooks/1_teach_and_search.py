# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Teach an archive, and search it
#
# You look at two tiles and answer one question: *are these two alike?* From a few hundred answers a
# model learns what you mean by alike. Then it finds the tiles that are like any you show it. Nobody
# has to name classes.
#
# This notebook does it in a few minutes with 1,235 tiles of the Earth, seen from space: NASA's Blue
# Marble, cut into squares of 3 by 3 degrees (`docs/archives.md`). `2_your_own_tiles` does the same
# with yours.

# %% [markdown]
# ## Install
#
# This cell does nothing where the package is there already. Elsewhere, as in Colab, it installs the
# package from `SOURCE`. The JAX and NumPy that are there stay as they are, for they fit the machine's
# accelerator: if they are too old for the package, `pip` says so and changes nothing; take a newer
# runtime then.

# %%
import importlib.util
import pathlib
import subprocess
import sys
from importlib.metadata import distributions

SOURCE = ""  # Colab: "git+" and the address of your copy; empty: the folder above this notebook

if importlib.util.find_spec("anneal_jax") is None:
    held = {d.name: d.version for d in distributions() if d.name.startswith(("jax", "libtpu", "numpy"))}
    pathlib.Path("held.txt").write_text("\n".join(f"{name}=={version}" for name, version in held.items()))
    package = f"anneal-jax[demo,serve] @ {SOURCE or pathlib.Path('..').resolve().as_uri()}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", "held.txt", package], check=True)

# %% [markdown]
# ## Who answers
#
# `ASK_A_PERSON = False` has a simulated person answer, so that the notebook runs by itself. They know
# the climate of each place, and call two tiles alike if it is the same. Set it to `True` to answer
# yourself. All answers and models are kept in `WORKDIR`: run the notebook again, and it continues with
# them.

# %%
ASK_A_PERSON = False
NUM_ANSWERS = 300
WORKDIR = "runs/teach"

# %% [markdown]
# ## Open the page
#
# The next cell opens the page that asks. First a network that was trained on a million photographs
# describes each tile by 1,280 numbers, its features; that takes half a minute.
#
# Press **S** for *similar*, **D** for *different*, **U** for *unsure*, and **Z** to take an answer
# back. Every answer with a tick is on disk at once. Which pairs are asked matters more than how many:
# the page begins with what the tiles look like, a model learns in the background while you answer, and
# the page asks what teaches it the most.

# %%
from anneal_jax import load_embedder, open_annotation
from anneal_jax.annotation.web.scripted_client import answer_page
from anneal_jax.evaluation.metrics import rank_archive
from anneal_jax.experiments.answered_workdir import train_on_answers
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.files.workdir import read_config
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.reporting.gallery import plot_gallery
from anneal_jax.reporting.result_map import plot_result_map
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import centred

page = open_annotation("bluemarble", WORKDIR, sentence="Does the land look alike?")

# %% [markdown]
# ## Before: search by features
#
# Without any answer two tiles can only be compared by their features. Similar tiles are those whose
# features point the same way: the cosine between them is large. The mean is taken away first, because
# what all tiles share tells none of them apart.

# %%
import numpy as np
from IPython.display import Image

config = read_config(WORKDIR)
dataset = load_dataset(config)
archive, labels = dataset.archive, dataset.labels  # labels only mark what is right; search needs none
everything = np.arange(len(archive.ids))
learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
features = centred(learner.features(None), everything)  # float32[1235, 1280]
by_features = rank_archive(features, features, 40, query_ids=everything, archive_ids=everything)
is_right = labels[by_features] == labels[:, None]
print(f"by features, {is_right.mean():.1%} of the forty nearest tiles have the same climate")

# %% [markdown]
# Every climate has at least 49 tiles, so forty right ones are there to be found. The picture shows six
# queries, one from every 200 tiles, and of their forty nearest the 1st, 10th, 20th, 30th and 40th: so
# nobody can choose the flattering ones. A green frame with a tick is the same climate, a red one with a
# cross is another.

# %%
shown = everything[100::200]
ranks = [0, 9, 19, 29, 39]
tiles = archive.load(everything, image_size=45)  # uint8[1235, 45, 45, 3]
names = [f"{archive.ids[row]}, {archive.class_names[labels[row]]}" for row in shown]
found = by_features[shown][:, ranks]
plot_gallery(tiles[shown], tiles[found], is_right[shown][:, ranks], names, "runs/before.png")
Image("runs/before.png", width=800)

# %% [markdown]
# ## Answer
#
# The next cell waits for you, or has the simulated person answer the page, by the same requests that
# your browser would send.

# %%
if ASK_A_PERSON:
    input(f"Answer about {NUM_ANSWERS} pairs in the page above, then press Enter here. ")
else:
    answer_page(page.url, ClassOracle(labels), NUM_ANSWERS)
page.close()

# %% [markdown]
# ## Train
#
# Two answers often imply a third: if *a* is like *b*, and *b* is not like *c*, then *a* is not like
# *c*. So 300 answers give many more pairs to learn from. The model is a small network that
# turns features into embeddings, in which similar tiles are close together.

# %%
print(train_on_answers(read_config(WORKDIR), WORKDIR))

# %% [markdown]
# ## After: search by what you taught
#
# `load_embedder` restores the model. Its embeddings are searched as the features were, and the queries
# are the same.

# %%
embedder = load_embedder(WORKDIR)
embeddings = embedder.embed_archive(archive, everything)  # float32[1235, D], of unit length
by_model = rank_archive(embeddings, embeddings, 40, query_ids=everything, archive_ids=everything)
is_right = labels[by_model] == labels[:, None]
print(f"after the answers, {is_right.mean():.1%} of the forty nearest tiles have the same climate")
found = by_model[shown][:, ranks]
plot_gallery(tiles[shown], tiles[found], is_right[shown][:, ranks], names, "runs/after.png")
Image("runs/after.png", width=800)

# %% [markdown]
# ## On the map
#
# Every tile has its place, so what is found can be looked at on a map: here the forty nearest tiles of
# one of the queries. Take another one and run the cell again.

# %%
query = shown[2]
title = f"{names[2]}, and its 40 nearest tiles"
plot_result_map(archive.boxes, query, by_model[query], is_right[query], "runs/map.png", title=title)
Image("runs/map.png", width=800)

# %% [markdown]
# The shares above count every tile as a query, those that were asked about too. A fair measurement
# keeps the queries apart from what is learnt: `3_the_papers_curves` does that.
#
# ## Next
#
# - `2_your_own_tiles`: a folder of yours, or the vectors of any model.
# - `3_the_papers_curves`: how much quality each answer buys, and which way of asking buys most.
# - `4_restore_and_search`: an index on disk, for archives of any size.
