"""The files that an operator starts clusters with: accepted by whoever reads them, and safe."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path

import jsonschema
import pytest
import yaml
from kuberay_schema import CLUSTER, SCHEMAS

from odtk_ray.cli.program import cli

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}


def read(name):
    return yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))


def ray_version():
    text = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8")
    return re.search(r"^ray==(\S+)", text, re.MULTILINE)[1]


def cluster_of(name):
    spec = read(name)["spec"]
    return spec.get("rayClusterSpec", spec)


def groups_of(cluster):
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def size(text):
    return int(text[:-2]) * UNITS[text[-2:]]


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home with a token, of which the file of on-premises machines speaks."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("token", encoding="utf-8")


def test_the_cluster_of_own_machines_is_accepted_by_ray(own_home):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(read("on_prem.yaml")))


def test_own_machines_ask_for_a_token(own_home):
    """Whoever reaches a dashboard without one has a shell on every machine."""
    config = read("on_prem.yaml")
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    commands = [line for line in starts if "ray start" in line]
    assert len(commands) == 2
    assert all("RAY_AUTH_MODE=token ray start" in line for line in commands)


@pytest.mark.parametrize("name", SCHEMAS)
def test_resources_are_accepted_by_kuberay(name):
    document = read(name)
    validator = jsonschema.Draft7Validator(SCHEMAS[name])
    validator.validate(document)
    wrong = deepcopy(document)
    spec = wrong["spec"]
    spec.get("rayClusterSpec", spec)["workerGroupSpecs"][0]["toleration"] = []
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize("name", SCHEMAS)
def test_resources_have_a_token_shared_memory_and_the_tested_ray(name):
    cluster = cluster_of(name)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == ray_version()
    for group in groups_of(cluster):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert set(mounts.values()) == set(volumes)
        shared = size(volumes[mounts["/dev/shm"]]["emptyDir"]["sizeLimit"])
        objects = int(group["rayStartParams"]["object-store-memory"])
        assert objects < shared < size(container["resources"]["limits"]["memory"]) / 4


@pytest.mark.parametrize("name", SCHEMAS)
def test_gpu_nodes_take_the_workers_and_numbers_vary_only_with_an_autoscaler(name):
    cluster = cluster_of(name)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-gpus"] == "0"
    varies = False
    for group in cluster["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in (
            pod["tolerations"]
        )
        assert int(pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) > 0
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        varies |= group["minReplicas"] < group["maxReplicas"]
    assert cluster.get("enableInTreeAutoscaling", False) == varies


def test_the_kinds_of_gpus_are_those_of_the_cluster_on_aws():
    aws = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    kinds = [kind["labels"] for kind in aws["available_node_types"].values() if "labels" in kind]
    assert [group["labels"] for group in cluster_of("raycluster.yaml")["workerGroupSpecs"]] == kinds


def test_the_rayjob_calls_the_command_with_flags_that_there_are():
    program, verb, *arguments = read("rayjob.yaml")["spec"]["entrypoint"].split()
    assert (program, verb) == ("odtk-ray", "infer")
    context = cli.commands["infer"].make_context("infer", arguments)
    assert context.params["max_failures"] == 1000
    assert context.params["resume"]


def test_the_image_has_the_tested_ray_and_all_that_pip_installs_from():
    recipe = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG RAY=(\d+\.\d+\.\d+)-", recipe, re.MULTILINE)[1] == ray_version()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = re.search(r"^ARG EXTRAS=(\S+)$", recipe, re.MULTILINE)[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    lines = (ROOT / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert kept == needed | set(wheel["packages"]) | {".ci/constraints.txt"}
    assert all((ROOT / path).exists() for path in kept)
