"""The project as a whole: what is declared in one place is true in the others."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from seeded_faults.table import FAULTS, changed

import odtk_ray

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def constraints():
    pins = {}
    for line in (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split(";")[0].strip().split("==")
            pins[name] = version
    return pins


def test_cluster_is_accepted_by_ray(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster)
    validate_config(prepared)
    most = [kind["max_workers"] for kind in prepared["available_node_types"].values()]
    assert sum(most) == prepared["max_workers"]


def test_cluster_is_refused_with_an_unknown_entry(cluster):
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    kinds = cluster["available_node_types"]
    odd = cluster | {"available_node_types": kinds | {"head": kinds["head"] | {"label": {}}}}
    with pytest.raises(ValidationError, match="label"):
        validate_config(prepare_config(odd))


def test_cluster_head_has_no_gpu_and_runs_no_tasks(cluster):
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0}


@pytest.mark.parametrize(
    ("kind", "instance", "cpus", "gpus", "gpu", "sm"),
    [
        ("gpu_a10g", "g5.2xlarge", 8, 1, "A10G", "86"),
        ("gpu_h100", "p5.48xlarge", 192, 8, "H100", "90"),
    ],
)
def test_cluster_gpu_nodes_say_what_they_are(cluster, kind, instance, cpus, gpus, gpu, sm):
    node = cluster["available_node_types"][kind]
    assert node["node_config"]["InstanceType"] == instance
    assert node["resources"] == {"CPU": cpus, "GPU": gpus, f"accelerator_type:{gpu}": 1}
    assert node["labels"] == {"ray.io/accelerator-type": gpu, "odtk/sm": sm}


def test_cluster_runs_the_ray_that_was_tested(cluster):
    assert f":{constraints()['ray']}-" in cluster["docker"]["image"]


def test_constraints_pin_the_environment_of_every_direct_requirement():
    required = importlib.metadata.requires("odtk-ray")
    wanted = [
        re.match(r"[\w.-]+", line).group().lower().replace("_", "-")
        for line in required
        if "extra" not in line or re.search(r"extra == ['\"](dev|onnx|docs)['\"]", line)
    ]
    assert "torch" in wanted
    assert set(wanted) <= constraints().keys()


def test_version_is_that_of_the_installed_package():
    assert importlib.metadata.version("odtk-ray") == odtk_ray.__version__


def modules_after(*statements):
    """Names of the top-level packages that a fresh interpreter holds after the statements."""
    show = "import sys, json; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    run = subprocess.run(
        [sys.executable, "-c", "\n".join([*statements, show])],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


HEAVY = {"torch", "torchvision", "ray", "tensorrt", "pycuda", "onnxruntime"}


@pytest.mark.parametrize(
    "command", [["--help"], ["infer", "--help"], ["demo", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(command):
    code = (
        "import odtk_ray.cli.process, sys",
        f"sys.argv = ['odtk-ray', *{command}]",
        "try: odtk_ray.cli.process.main()",
        "except SystemExit as end: assert not end.code, end.code",
    )
    loaded = modules_after(*code)
    assert "click" in loaded
    assert not loaded & (HEAVY | {"numpy", "pyarrow", "PIL", "pycocotools", "pandas"})


def test_writing_the_demonstration_imports_nothing_heavy(tmp_path):
    loaded = modules_after(
        "import odtk_ray.cli.process, sys",
        f"sys.argv = ['odtk-ray', 'demo', {str(tmp_path / 'demo')!r}]",
        "try: odtk_ray.cli.process.main()",
        "except SystemExit as end: assert not end.code, end.code",
    )
    assert (tmp_path / "demo" / "trees.pth").exists()
    assert not loaded & (HEAVY | {"numpy", "pyarrow", "fsspec", "PIL"})


def test_a_network_needs_neither_torchvision_nor_torchs_compiler():
    """Each of the two would make every process start seconds later."""
    loaded = modules_after(
        "import sys",
        "from odtk_ray.model.checkpoint import load_checkpoint",
        f"load_checkpoint({str(ROOT / 'odtk_ray/assets/trees.pth')!r})",
        "assert 'torch._dynamo' not in sys.modules",
    )
    assert "torch" in loaded
    assert "torchvision" not in loaded


def light_modules():
    """Those that the contract of imports has as light, imported for real."""
    paths = [ROOT / "odtk_ray" / f"{name}.py" for name in ("records", "errors", "settings")]
    for room in ("artifacts", "config", "datasets", "evaluation", "shards", "dispatch"):
        found = sorted((ROOT / "odtk_ray" / room).glob("*.py"))
        assert found, room
        paths += found
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def test_light_rooms_need_neither_torch_nor_ray():
    guilty = (
        "import sys, importlib",
        f"for name in {light_modules()}:",
        "    importlib.import_module(name)",
        f"    bad = {HEAVY} & sys.modules.keys()",
        "    assert not bad, f'{name} imports {bad}'",
    )
    assert "pyarrow" in modules_after(*guilty)


# Absolute paths below these belong to somebody's machine; /home/ray is in Ray's own images, and
# /tmp/ray is where Ray keeps its sessions.
PRIVATE = "|".join(("home", "root", "Users", "work", "tmp"))
MACHINE_PATHS = re.compile(rf"(?<![\w.>-])/(?:{PRIVATE})/(?!ray\b)\w")


def project_files():
    """All files that people write, found without git so that it works in a source archive."""
    folders = ("odtk_ray", "cuda_ops", "jobs", "tests", "docs", ".ci")
    files = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in folders:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in files if "__pycache__" not in path.parts]


def test_no_file_names_a_machine():
    found = []
    for path in project_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture or a checkpoint
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(lines, start=1)
            if MACHINE_PATHS.search(line)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("before", "path", "found"),
    [
        ("", [], False),
        ("see ", ["", "home", "jane", "project"], True),
        ("cd ", ["", "root", "x"], True),
        ("file_mounts: ", ["", "home", "ray", "odtk-ray"], False),
        ("docs", ["", "root", "x"], False),
    ],
)
def test_machine_paths_are_recognised(before, path, found):
    assert bool(MACHINE_PATHS.search(before + "/".join(path))) is found


def test_makefile_lists_its_targets():
    run = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, check=True)
    targets = "setup demo test test-all test-oldest test-faults lint docs bench hashes wheel clean"
    for target in targets.split():
        assert re.search(rf"^  make {target}\s+\w", run.stdout, re.MULTILINE)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_seeded_faults_can_be_planted_and_have_their_tests(fault):
    text = changed(fault)
    assert text != (ROOT / fault.file).read_text(encoding="utf-8")
    compile(text, fault.file, "exec")  # a file that cannot be imported fails any test
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / path).read_text(encoding="utf-8")
