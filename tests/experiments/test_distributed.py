"""One run over several processes: all compute the same, one writes, and a later command goes on."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.experiments.distributed import held, is_first, join
from anneal_jax.experiments.round_log import read_rounds, without_times
from anneal_jax.experiments.run import run_experiment
from tests.launching import run_python

CHANGES = {
    "backbone": "tiny_cnn",
    "image_size": 8,
    "regime": "finetune",
    "augment": "none",
    "supervision": "pairs",
    "pairs_per_round": 8,
    "initial_fraction": 0.01,
    "epochs_first": 2,
    "epochs": 1,
    "batch_size": 32,
    "rounds": 0,
}


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("127.0.0.1:1,2", "give HOST:PORT,COUNT,NUMBER or auto"),
        ("127.0.0.1,2,0", "give HOST:PORT,COUNT,NUMBER or auto"),
        ("127.0.0.1:1,2,-1", "give HOST:PORT,COUNT,NUMBER or auto"),
        ("127.0.0.1:1,2,2", "of 2 processes the last is number 1"),
    ],
)
def test_a_place_among_processes_that_cannot_be_is_refused(place, sentence):
    with pytest.raises(ConfigError, match=re.escape(f"--distributed={place}") + f".*{sentence}"):
        join(place)


def test_a_process_by_itself_goes_on_in_the_workdir(tmp_path):
    with held(tmp_path / "run") as workdir:
        assert workdir == tmp_path / "run" and is_first()
        with pytest.raises(WorkdirError, match="another run is using"), held(workdir):
            pytest.fail("two runs held one workdir")


def together(*command):
    """Run a command in two processes of one run; return what each said, and their exit codes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"

    def run(number):
        place = f"--distributed={address},2,{number}"
        return run_python(*command, place, environment={"XLA_FLAGS": ""})

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(run, range(2)))
    return [(done.stdout, done.stderr) for done in ended], [done.returncode for done in ended]


AGAIN = """
import json, sys
from anneal_jax import ExperimentConfig, run_experiment
from anneal_jax.experiments.distributed import join
join(sys.argv[3].partition("=")[2])
outcome = run_experiment(ExperimentConfig(**json.loads(sys.argv[1])), sys.argv[2])
print(json.dumps([outcome.num_new_rounds, outcome.rows]))
"""


@pytest.mark.slow
def test_two_processes_run_as_one_does_and_go_on_where_they_were(tmp_path):
    workdir, cache = tmp_path / "run", str(tmp_path / "cache")
    settings = [f"--config.{name}={value}" for name, value in {**CHANGES, "cache_dir": cache}.items()]
    recipe = "--config=launch/configs/digits.py"
    said, codes = together("launch/run.py", recipe, *settings, f"--workdir={workdir}")
    assert codes == [0, 0], said
    assert "round 0: 112 bits spent" in said[0][0] and "report.html" in said[0][0]
    assert "bits spent" not in said[1][0]
    assert {"report.html", "checkpoints", "answers.sqlite"} <= {path.name for path in workdir.iterdir()}
    first = without_times(read_rounds(workdir / "rounds.jsonl"))

    config = json.loads((workdir / "config.json").read_text()) | {"rounds": 1}
    (tmp_path / "again.py").write_text(AGAIN)
    said, codes = together(str(tmp_path / "again.py"), json.dumps(config), str(workdir))
    assert codes == [0, 0], said
    # Gloo greets on standard output.
    found = [json.loads(output.splitlines()[-1]) for output, _ in said]
    assert [num_new for num_new, _ in found] == [1, 1]
    ours, theirs = (without_times(rows) for _, rows in found)
    assert ours == theirs == without_times(read_rounds(workdir / "rounds.jsonl"))
    assert ours[:1] == first

    alone = run_experiment(ExperimentConfig(**config | {"num_devices": 2}), tmp_path / "alone")
    for name in ("bits_spent", "num_labelled_pairs"):
        assert [row[name] for row in alone.rows] == [row[name] for row in ours]
    for one, two in zip(alone.rows, ours, strict=True):
        name = "mean_average_precision_at_5"
        assert one[name] == pytest.approx(two[name], abs=0.03)


@pytest.mark.slow
def test_what_the_first_process_cannot_use_ends_all(tmp_path):
    (tmp_path / "notes.txt").write_text("something else")
    said, codes = together(
        "launch/run.py", "--config=launch/configs/digits_paper.py", f"--workdir={tmp_path}"
    )
    assert codes == [2, 2]
    assert "contains unrelated files" in said[0][1]
    assert "the first process cannot use" in said[1][1]
