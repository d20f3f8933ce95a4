"""What the benchmarks write, and that they can be called; what they measure is not tested."""

import ast
import importlib
import importlib.util
import json
import math
import os
import subprocess
import sys

import absl.logging  # noqa: F401, its flags are made before those of a benchmark are caught
import numpy as np
import pytest
from absl import flags

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import begin
from tests.conftest import ROOT
from tests.launching import run_python

PATHS = sorted((ROOT / "benchmarks").glob("*.py"))
PROGRAMS = [path for path in PATHS if "__main__" in path.read_text(encoding="utf-8")]
TEXTS = [*PATHS, *sorted((ROOT / "notebooks").glob("*.py"))]


@pytest.mark.slow
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_benchmark_explains_itself(path):
    done = run_python(path, "--help")
    assert "Traceback" not in done.stderr and path.stem in done.stdout
    assert done.returncode in (0, 1)  # absl ends with 1


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_what_is_imported_from_the_package_is_there(path):
    """Wherever in the file: most benchmarks import where they measure."""
    nodes = [
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    for node in nodes:
        if node.module and node.module.startswith("anneal_jax"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(
                    f"{node.module}.{alias.name}"
                )


@pytest.fixture
def allpairs(monkeypatch):
    """The benchmark's module, with flags of its own."""
    values = flags.FlagValues()
    for kind in ("list", "integer", "float", "multi_enum", "string"):
        define = getattr(flags, f"DEFINE_{kind}")
        monkeypatch.setattr(
            flags,
            f"DEFINE_{kind}",
            lambda *arguments, define=define: define(*arguments, flag_values=values),
        )
    spec = importlib.util.spec_from_file_location("allpairs", ROOT / "benchmarks" / "allpairs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.flag_values = values
    return module


def test_every_row_is_on_disk_before_the_next_is_measured_and_tells_its_growth(
    allpairs, monkeypatch, tmp_path, capsys
):
    path = tmp_path / "rows.json"
    on_disk = []

    def quadratic(way, num_images):
        on_disk.append(len(json.loads(path.read_text())) if path.exists() else 0)
        seconds = {"seconds": 1e-6 * num_images**2} if num_images < 400 else {"note": "over 600 s"}
        figures = {"pairs_per_s": 1.0, "memory_growth_mb": 1.0, "product_share": 0.5, "is_certified": True}
        return {"way": way, "num_images": num_images, "pairs": 1, **figures, **seconds}

    monkeypatch.setattr(allpairs, "measure_apart", quadratic)
    allpairs.flag_values(["allpairs", "--way=mgue", "--num_images=100,200,400", f"--json={path}"])
    allpairs.main(sys.argv[:1])
    assert on_disk == [0, 1, 2]
    exponents = [row["growth_exponent"] for row in json.loads(path.read_text())]
    assert exponents[0] is exponents[2] is None
    assert math.isclose(exponents[1], 2.0)
    lines = capsys.readouterr().out.splitlines()
    assert "N^2.00" in lines[3] and lines[4].endswith("over 600 s")


_PEAK = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("benchmark", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(getattr(module, sys.argv[2])())
"""


@pytest.mark.parametrize(("name", "function"), [("training", "peak_so_far_mb"), ("geotiff", "peak_mib")])
def test_the_peak_of_a_process_is_its_own_however_much_its_parent_holds(name, function):
    held = np.ones(900_000_000, np.uint8)
    command = [sys.executable, "-c", _PEAK, str(ROOT / "benchmarks" / f"{name}.py"), function]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert 10 < float(done.stdout) < 0.9 * held.nbytes / 2**20


SMALL = {
    "training": [
        "--archive=digits",
        "--image-size=16",
        "--batch-size=16",
        "--pairs=40",
        "--turns=1",
        "--matrix=256",
    ],
    "extraction": ["--image-size=32", "--batch-sizes", "2", "--turns=1"],
    "convolution": ["--image-size=16", "--batch-size=2", "--turns=1"],
    "warmstart": ["--archive=bands", "--image-size=8", "--epochs=1", "--methods", "simsiam"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_small_run_of_a_benchmark_writes_its_rows(name, tmp_path):
    file = tmp_path / "rows.json"
    done = run_python(ROOT / "benchmarks" / f"{name}.py", *SMALL[name], f"--json={file}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    if name == "training":  # 32 pairs a step in two towers, 12 tiles here; its memory is measured apart
        ours = next(row for row in rows if row["way"] == "anneal")
        assert ours["encoded_per_s"] == pytest.approx(ours["encoded"] / ours["epoch_s"])
        assert ours["encoded"] % 12 == 0 and ours["encoded"] < 80
        assert ours["peak_mb"] > 10
    elif name == "extraction":
        assert rows[0]["ratio"]["cpu_s"] > 0
    elif name == "convolution":
        assert len(rows) == 5 and all(row["ours"] > 0 for row in rows)
    else:
        assert [row["start"] for row in rows] == ["random", "simsiam"]
        assert all(0 <= row["mAP@5"] <= 1 for row in rows)


def _gpu_rows():
    spec = importlib.util.spec_from_file_location("gpu_rows", ROOT / "benchmarks" / "gpu_rows.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _scan(way, **figures):
    return {"way": way, "num_images": 1_000_000, "is_certified": None, **figures}


def test_the_figures_of_a_gpu_become_rows():
    measured = {"seconds": 4.5, "pairs_per_s": 1.1e11, "product_share": 0.281}
    text = _gpu_rows().markdown(
        {
            "mgue": {
                "command": "benchmarks/allpairs.py --way=mgue",
                "seconds": 70,
                "status": 0,
                "figures": [_scan("mgue", **measured), _scan("mgue_xla", note="over 60 s")],
            },
            "fused": {
                "command": "benchmarks/fused.py",
                "seconds": 80,
                "status": 0,
                "figures": [
                    {"row": "device", "device": "NVIDIA H200", "jax": "0.11.2"},
                    {"row": "product", "precision": "bfloat16_3x", "tflops": 205.4},
                    {"row": "product", "precision": "bfloat16", "tflops": 553.0},
                    {
                        "row": "check",
                        "passes": 3,
                        "listed": 13_949,
                        "different": 13_948,
                        "by_float32": 13_927,
                        "largest_difference": 1.2e-6,
                    },
                    *(
                        {
                            "row": "mgue",
                            "passes": 3,
                            "is_used": is_used,
                            "tflops": rate,
                            "million_images_s": 1.59,
                        }
                        for is_used, rate in ((False, 99.0), (True, 161.0))
                    ),
                    {"row": "bcgue", "shape": None, "is_used": False, "pairs_per_s": 2.6e8},
                    {"row": "bcgue", "shape": [128, 1, 64, 8, 3], "is_used": True, "pairs_per_s": 7.9e8},
                ],
            },
            "kmeans": {"command": "benchmarks/kmeans.py", "seconds": 40, "status": 124, "figures": None},
        }
    )
    assert "| MGUE | 1,000,000 | 4.50 | 1.1e+11 | 28% | no |" in text
    assert "| MGUE, by XLA | 1,000,000 | over 60 s |" in text
    assert "NVIDIA H200, JAX 0.11.2" in text
    assert "| MGUE, passes: 3 | 161 TFLOP/s; XLA's plain product 205 | a million images in 1.59 s |" in text
    assert "99" not in text
    assert "| BCGUE, `bfloat16` | 7.9e+08 pairs/s | layers by XLA 2.6e+08 |" in text
    assert "13,949 pairs listed, 13,948 different, 13,927 by float32; largest difference 1.2e-06" in text
    assert text.endswith(
        "`benchmarks/kmeans.py` (40 s)\n\nThis step did not end well: over its limit; it wrote nothing."
    )


def _fake_python(folder):
    """Write an interpreter that leaves a row for each benchmark, and fails or never ends for some."""
    path = folder / "python"
    path.write_text(
        "#!/usr/bin/env bash\n"
        "for last; do :; done\n"
        'case "$1" in\n'
        f'*gpu_rows.py) exec "{sys.executable}" "$@" ;;\n'
        "*fused.py) echo 'no GPU'; exit 3 ;;\n"
        "*allpairs.py) echo '[]' >\"${last#--json=}\" ;;\n"
        "esac\n"
    )
    path.chmod(0o755)
    return path


def test_a_step_that_fails_loses_no_other(tmp_path):
    settings = os.environ | {"OUT": str(tmp_path), "PYTHON": str(_fake_python(tmp_path))}
    command = [ROOT / "benchmarks" / "gpu.sh", "--tiny"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: step["status"] for name, step in steps.items()} == {
        "mgue": 0,
        "bcgue": 0,
        "fused": 3,
        "kmeans": 0,
        "finetune": 0,
    }
    assert [steps[name]["figures"] for name in ("mgue", "fused")] == [[], None]
    assert "no GPU" in done.stderr and "did not end well: status 3" in done.stdout


@pytest.mark.slow
def test_all_steps_of_a_gpu_run_at_toy_size(tmp_path):
    settings = os.environ | {"OUT": str(tmp_path), "PYTHON": sys.executable}
    command = [ROOT / "benchmarks" / "gpu.sh", "--tiny"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    steps = json.loads((tmp_path / "gpu.json").read_text())
    assert {step["status"] for step in steps.values()} == {0} and len(steps) == 5, done.stderr
    for start in (
        "| MGUE | 300 |",
        "| BCGUE, by XLA | 100 |",
        "| MGUE, passes: 1 |",
        "| library |",
        "| anneal |",
    ):
        assert start in done.stdout


@pytest.fixture
def forecast(monkeypatch):
    """The benchmark's module, which imports others beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("forecast")


@pytest.mark.parametrize("person", ["truthful", "erring", "erring_by_pair"])
@pytest.mark.parametrize("asks", ["pairs", "mixed"])
def test_every_person_of_the_forecast_answers_however_they_are_asked(forecast, monkeypatch, person, asks):
    monkeypatch.setattr(forecast.forecast, "STEP", 60)
    monkeypatch.setattr(forecast, "LAST", 60)
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=60)
    features = rng.normal(size=(4, 8))[labels] + 0.5 * rng.normal(size=(60, 8))
    graph = neighbour_graph(features.astype(np.float32))
    session = BeliefSession(np.arange(60, dtype=np.int32), graph, begin(graph))
    row = forecast.one_run(labels, session, person, asks, 0)
    ((count, _, num_moved, right),) = row["answers_doubt_moved_right"]
    assert row["num_tiles"] == count == 60
    assert 0 < num_moved <= 60 and 0.5 < right <= 1


def test_the_kept_mixed_rows_are_of_people_who_err_by_pair():
    rows = map(json.loads, (ROOT / "docs/measured/forecast.jsonl").read_text("utf-8").splitlines())
    people = {(row["asks"], row["person"]) for row in rows}
    assert people == {
        ("pairs", "truthful"),
        ("pairs", "erring"),
        ("mixed", "truthful"),
        ("mixed", "erring_by_pair"),
    }
