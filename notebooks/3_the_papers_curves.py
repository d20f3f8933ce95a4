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
# # The papers' curves
#
# How much does search improve with each answer, and which way of asking needs the fewest? The ANNEAL papers
# (`docs/references.md`) show a curve for each way: retrieval quality against the number of answers. This
# notebook draws such curves in a few minutes, with small settings, and ends with the command for the full
# ones.

# %% [markdown]
# ## Install
#
# If the package is installed already, this cell does nothing. Otherwise, as in Colab, it installs the
# package from `SOURCE`. It leaves the installed JAX and NumPy as they are, because they fit the
# machine's accelerator. If they are too old for the package, `pip` says so and changes nothing; then
# choose a newer runtime.

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
# ## The archive
#
# By default the archive is 1,235 tiles of the Earth seen from space, in nine climates (`docs/archives.md`).
# The papers used UC Merced: 2,100 aerial tiles of 21 classes. If you have it, name its folder here.

# %%
UC_MERCED = ""  # its folder, or empty: the Earth
NUM_SEEDS = 2

# %% [markdown]
# ## What is compared
#
# | name | the next questions are about |
# |---|---|
# | `random` | pairs drawn at random |
# | `bcgue+clustering` | pairs of which a classifier of pairs is least sure |
# | `mgue+clustering` | pairs whose similarity is nearest to the threshold between similar and different |
#
# The last two look at *all* pairs of the archive, and `clustering` (k-means) spreads their questions,
# so that a round does not ask the same thing a hundred times.
#
# The tiles are split in three: those that are asked about, the queries, and those that the queries
# search. So no measured tile takes part in training. For each seed, all ways share the split, the first
# questions and the first weights, so a difference between them is due to the way of asking.

# %%
from IPython.display import Image, Markdown

from anneal_jax import ExperimentConfig
from anneal_jax.experiments.grid import FailedCell, run_grid
from anneal_jax.reporting.comparison_report import report_comparison
from anneal_jax.reporting.run_report import round_line

SYSTEMS = ["random", "bcgue+clustering", "mgue+clustering"]
config = ExperimentConfig(
    archive=f"folder:{UC_MERCED}" if UC_MERCED else "bluemarble",
    initial_fraction=0.0125,  # 100 answers on the Earth before the curves part
    pairs_per_round=100,
    rounds=2,
    steps=60,
    batch_size=128,
    scan_share=0.1,  # scans a tenth of half a million pairs: faster, but less than the papers do
)

# %% [markdown]
# ## Run it
#
# Each run prints a line when it ends, and has a folder in `runs/curves`. A finished run is never
# repeated, so an interrupted notebook continues where it was.

# %%
cells = []
for cell in run_grid(config, SYSTEMS, range(NUM_SEEDS), "runs/curves"):
    if isinstance(cell, FailedCell):
        raise RuntimeError(f"{cell.system}, seed {cell.seed}: {cell.reason}")
    print(f"{cell.system}, seed {cell.seed}, {round_line(cell.rows[-1])}")
    cells.append(cell)

# %% [markdown]
# ## Read the curve
#
# - **Across**: bits spent, one for each answer. What follows from answers is free and not counted.
# - **Up**: mAP@5, the mean over queries of how early the right tiles come among the five nearest. There
#   are several definitions; the axis names the denominator.
# - **Thin lines** are single seeds, thick ones their mean. From three seeds on, a band shows the 95%
#   interval of the mean instead. If bands overlap, the difference is not yet clear.
# - **The dashed line** is search by the features alone, at no answer. A curve may begin below it: a
#   hundred pairs are few to learn from.
# - **The first questions** are the same for all: the papers' first pairs, drawn with class labels, half
#   of them similar. A real archive has no labels; `initial_draw="random"` begins without them.

# %%
tables = report_comparison(config, cells, "runs/curves")
Image("runs/curves/compare.png", width=800)

# %% [markdown]
# ## Read the tables
#
# The first table has the curves in numbers, at the same cost for all. The last one has the difference from
# random pairs, paired by seed, because seeds differ more than methods do. If an interval contains 0, no
# difference was shown.

# %%
Markdown(tables)

# %% [markdown]
# ## Check the papers' claims
#
# This table lists each claim of the papers that can be tested, with a verdict by these runs. With small
# settings some will not hold.

# %%
Markdown(pathlib.Path("runs/curves/claims.md").read_text())

# %% [markdown]
# `runs/curves/queries.html` shows what the same queries find after each way of asking.
#
# ## The full curves
#
# From the project's folder, with UC Merced and the weights that the recipe names:
#
# ```
# python launch/compare.py --config=launch/configs/ucm_frozen.py --workdir=runs/ucm --seeds=5 \
#     --acquisitions=mgue+clustering,bcgue+clustering,random,class_labels
# ```
#
# This trains heads on frozen features, in six rounds of 336 questions; `docs/results.md` has the results.
# The papers train the whole network, which needs a GPU: use `launch/configs/ucm_paper.py`, or
# `aid_paper.py` for AID. `class_labels` is the quality that all labels give; `docs/compare.md` lists other
# baselines.
