"""Jobs on a real job server with token authentication, as they are typed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from submit import upload_sizes
from synthetic import picture

from odtk_ray.cli.job import check_places, output_in_run_dir
from odtk_ray.errors import UsageError
from odtk_ray.shards.run_status import run_name

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A cluster of one node with a job server; returns its address and what clients need."""
    folder = tmp_path_factory.mktemp("ray")
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_worker_niceness": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("RAY_ADDRESS", None)
    environment.pop("PYTHONPATH", None)  # the package comes with the working directory
    port, jobs = free_port(), free_port()
    command = [RAY, "start", "--head", "--block", f"--port={port}", f"--dashboard-port={jobs}"]
    command += ["--num-cpus=2", "--num-gpus=0", "--object-store-memory=100000000"]
    # The default port belongs to the agent of the Ray that other tests of this process run on.
    command += [f"--dashboard-agent-listen-port={free_port()}"]
    # Ray's jobs connect to the newest cluster of this folder, whichever server they were given to,
    # and a path in pytest's own is too long for a socket.
    temporary = tempfile.mkdtemp(prefix="ray-")
    command += [f"--temp-dir={temporary}"]
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{jobs}"
    listing = [RAY, "job", "list", "--address", address]
    while subprocess.run(listing, check=False, env=environment, capture_output=True).returncode:
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        time.sleep(1)
    yield address, environment | {"HEAD": f"127.0.0.1:{port}"}
    process.terminate()
    process.wait(60)
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture
def photos_of_40(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(40):
        picture(seed, 96, 96).save(folder / f"{seed:02d}.jpg")
    return folder


def infer_line(checkpoint, photos, *more, resize=64):
    line = ["python", "-m", "odtk_ray", "infer", str(checkpoint), "--images", str(photos)]
    return [*line, "--resize", str(resize), "--max-size", "1000", "--batch", "1", *map(str, more)]


def last_line(output):
    return json.loads(output.strip().splitlines()[-1])


# What an operator asks a cluster for.
_METADATA = """
from ray.job_submission import JobSubmissionClient
found = JobSubmissionClient(address).get_job_info("bare").metadata
"""
_ACTORS = """
from ray.util.state import list_actors
found = [actor.name or '' for actor in list_actors(address)]
"""


def ask(code, address, environment):
    code = f"import json, sys\naddress = sys.argv[1]\n{code}\nprint(json.dumps(found))"
    line = [sys.executable, "-c", code, address]
    done = subprocess.run(line, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return last_line(done.stdout)


@pytest.mark.cluster
@pytest.mark.parametrize(
    "own", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "other"}]
)
def test_a_cluster_that_asks_for_another_token_is_named(server, checkpoint, photos_of_40, own):
    _, environment = server
    line = infer_line(checkpoint, photos_of_40, "--address", environment["HEAD"])
    own = environment | own | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, check=False, env=own, capture_output=True, text=True)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-2:]
    assert said[0].endswith("it asks for a token, and ours is missing or wrong")
    assert "RAY_AUTH_TOKEN" in said[1]


@pytest.mark.cluster
def test_a_job_from_a_bare_working_directory_leaves_with_its_own_code(
    server, checkpoint, photos_of_40, tmp_path
):
    """One of the pictures is bad: code 3, which `ray job submit` turns into 1."""
    address, environment = server
    (photos_of_40 / "07.jpg").write_bytes(b"no picture")
    line = infer_line(checkpoint, photos_of_40, "--run-dir", tmp_path / "results")
    wrapper = [sys.executable, str(ROOT / "jobs" / "submit.py"), "--address", address]
    wrapper += ["--working-dir", str(ROOT), "--submission-id", "bare", "--", *line]
    done = subprocess.run(wrapper, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 3, done.stdout + done.stderr
    final = last_line(done.stdout)
    assert final.pop("detections") > 0
    assert final == {"exit_code": 3, "images": 40, "detected": 40, "failed": 1}
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert names == ["detections.failures.jsonl", "detections.json"]
    run = run_name(str(tmp_path / "results" / "detections.json.run"))
    seen = ask(_METADATA, address, environment)
    assert seen == {
        "odtk_run": run, "odtk_images": "40", "odtk_done": "40", "odtk_failed": "1",
    }  # fmt: skip
    actors = [name for name in ask(_ACTORS, address, environment) if name.startswith("odtk:")]
    assert actors == [f"odtk:{run}:0"]


def submit(environment, *arguments):
    line = [sys.executable, str(ROOT / "jobs" / "submit.py"), *map(str, arguments)]
    return subprocess.run(line, check=False, env=environment, capture_output=True, text=True)


@pytest.mark.cluster
def test_options_of_rays_own_command_are_passed_on(server, tmp_path):
    address, environment = server
    (tmp_path / "code.py").write_text("print('it runs')", encoding="utf-8")
    options = ["--address", address, "--working-dir", tmp_path, "--submission-id", "passed"]
    options += ["--entrypoint-num-cpus", "0.5", "--metadata-json", '{"team": "birds"}']
    options += ["--entrypoint-resources", "{}", "--no-wait"]
    done = submit(environment, *options, "--", "sh", "-c", "python code.py; exit 7", "$x y")
    assert (done.returncode, done.stdout) == (0, "passed\n"), done.stderr
    same = submit(environment, *options, "--", "true")
    assert same.returncode == 1
    assert same.stderr.splitlines()[-1].startswith("error: the job was not accepted: ")
    assert "passed" in same.stderr
    assert "Traceback" not in same.stderr
    code = """
from time import sleep
from ray.job_submission import JobSubmissionClient
client = JobSubmissionClient(address)
while not (info := client.get_job_info("passed")).status.is_terminal():  # ended by the timeout
    sleep(0.2)
log = client.get_job_logs("passed")
from ray.util.state import list_actors
(actor,) = [a for a in list_actors(address, detail=True) if (a.name or "").endswith("_passed")]
found = [info.driver_exit_code, info.metadata, actor.required_resources, "it runs" in log]
"""
    assert ask(code, address, environment) == [7, {"team": "birds"}, {"CPU": 0.5}, True]


@pytest.mark.cluster
def test_a_large_working_directory_is_mentioned_before_it_is_uploaded(server, tmp_path):
    address, environment = server
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "movie").open("wb") as stream:
        stream.truncate(101_000_000)
    line = ["--address", address, "--working-dir", tmp_path, "--", "true"]
    done = submit(environment, *line)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert "has 101 MB to upload, most of it data (101 MB)" in said[0]
    assert ".rayignore" in said[1]
    assert said.index(next(line for line in said if line.startswith("job "))) > 1
    (tmp_path / ".rayignore").write_text("data\n", encoding="utf-8")
    assert "to upload" not in submit(environment, *line).stderr


def test_what_is_uploaded_is_what_ray_does_not_ignore(tmp_path):
    for name, size in {"a.py": 5, "data/x": 70, "data/y": 30, "kept/z": 11, ".git/w": 3}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0" * size)
    everything = {"a.py": 5, "data": 100, "kept": 11, ".git": 3}
    assert upload_sizes(tmp_path, []) == everything
    (tmp_path / ".rayignore").write_text("x\n.rayignore\n.gitignore", encoding="utf-8")
    assert upload_sizes(tmp_path, []) == everything | {"data": 30}
    (tmp_path / ".gitignore").write_text("kept/\n", encoding="utf-8")
    assert upload_sizes(tmp_path, [".git"]) == {"a.py": 5, "data": 30}


@pytest.mark.cluster
def test_a_server_that_asks_for_another_token_is_named(server):
    address, environment = server
    for own in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "other"}):
        done = submit(environment | own, "--address", address, "--", "true")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-2].endswith("a token, and ours is missing or wrong")
        assert "RAY_AUTH_TOKEN" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--address", "http://127.0.0.1:1", "--", "true"], 1, "no job server answers"),
        (["--metadata-json", "x", "--", "true"], 2, "--metadata-json is no JSON"),
        (["--headers", "[]", "--", "true"], 2, "--headers is no table"),
        (["--runtime-env-json", "{", "--", "true"], 2, "the runtime environment"),
        (["--working-dir", "/nowhere", "--", "true"], 2, "no working directory /nowhere"),
        (["--adress", "http://h:1", "--", "true"], 2, "--adress"),
        ([], 2, "ENTRYPOINT"),
    ],
)
def test_what_cannot_be_submitted_is_said_in_a_line(arguments, code, said):
    done = submit(os.environ | {"RAY_AUTH_MODE": "disabled"}, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.cluster
def test_a_stopped_job_is_resumed(server, checkpoint, photos_of_40, tmp_path):
    """Large inputs: the job must go on for as long as Ray's commands take to submit and stop it."""
    address, environment = server
    output = tmp_path / "out.jsonl"
    line = infer_line(checkpoint, photos_of_40, "--output", output, "--resume", resize=800)
    command = [RAY, "job", "submit", "--address", address, "--working-dir", str(ROOT)]
    first = [*command, "--submission-id", "first", "--", *line, "--workers", "1"]
    log = tmp_path / "log"
    with log.open("w") as sink:
        running = subprocess.Popen(first, env=environment, stdout=sink, stderr=sink)
    journal = Path(f"{output}.run") / "plan.json"
    while not journal.exists():  # the test's timeout ends this
        assert running.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.05)
    stop = [RAY, "job", "stop", "--address", address, "first"]
    subprocess.run(stop, env=environment, check=True, capture_output=True)
    running.wait()
    assert not output.exists()
    done = subprocess.run(
        [*command, "--", *line], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(output.read_text(encoding="utf-8").splitlines()) == 40


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"output": ("a.json",)}, "--output a.json"),
        ({"run_dir": "run"}, "--run-dir run"),
        ({"draw": "drawn"}, "--draw drawn"),
        ({"crops": "cut"}, "--crops cut"),
        ({"report": "r.html"}, "--report r.html"),
        ({"trace": "t.json"}, "--trace t.json"),
    ],
)
def test_a_job_writes_nothing_that_ends_with_it(flags, named):
    absolute = {"output": ("/a.json", "s3://b/a.csv"), "run_dir": "/run", "draw": None}
    absolute |= {"crops": "/crops", "report": "/r.html", "trace": "/trace.json"}
    check_places(absolute)
    with pytest.raises(UsageError, match=named):
        check_places(absolute | flags)


def test_outputs_of_a_job_go_to_its_run_folder():
    assert output_in_run_dir("s3://bucket/run") == ("s3://bucket/run/detections.json",)


@pytest.mark.parametrize(
    ("folder", "named"), [(None, "--output or --run-dir"), ("run", "--run-dir run")]
)
def test_a_job_without_output_needs_a_folder_that_stays(folder, named):
    with pytest.raises(UsageError, match=named):
        output_in_run_dir(folder)


@pytest.mark.parametrize(
    ("flags", "types"),
    [
        ([], ("all",)),
        (["--size", "800", "1280", "--int8"], ("all",)),
        (["--gpu-type", "A10G", "--gpu-type", "NVIDIA H100 80GB HBM3"],
         ("A10G", "NVIDIA H100 80GB HBM3")),
    ],
)  # fmt: skip
def test_the_script_for_engines_submits_an_export_of_a_set(tmp_path, flags, types):
    from odtk_ray.cli.program import cli

    show = tmp_path / "show"
    show.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    show.chmod(0o755)
    script = ROOT / "jobs" / "build_engines.sh"
    line = [str(script), "http://head:8265", "/shared/model.pth", "s3://bucket/engines", *flags]
    done = subprocess.run(
        line, env=os.environ | {"PYTHON": str(show)}, check=True, capture_output=True, text=True
    )
    script, *middle, model, folder = done.stdout.splitlines()[:8]
    assert Path(script) == ROOT / "jobs" / "submit.py"
    assert middle == ["--address", "http://head:8265", "--", "odtk-ray", "export"]
    assert (model, folder) == ("/shared/model.pth", "s3://bucket/engines")
    context = cli.commands["export"].make_context("export", done.stdout.splitlines()[6:])
    assert context.params["gpu_type"] == types
    assert context.params["int8"] == ("--int8" in flags)
    assert subprocess.run(line[:3], check=False, capture_output=True).returncode == 2
