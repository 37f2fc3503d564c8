"""Workers on simulated nodes try their GPUs, fill a plan's shards, and meet what may happen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from engines_for_tests import PixelEngine
from machines_for_tests import A10G, H100, LimitedWorker, having, simulated
from synthetic import make_run_plan, picture, run_settings

from odtk_ray.cluster import crew as module
from odtk_ray.cluster.actor import WATCH
from odtk_ray.cluster.crew import Crew
from odtk_ray.cluster.dispatcher import Dispatcher
from odtk_ray.cluster.gpu_nodes import gpu_nodes
from odtk_ray.cluster.node_selection import NodeSelection
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.shard_blocks import ShardRef
from odtk_ray.cluster.task_map import map_on_ray
from odtk_ray.dispatch.launch_survey import LaunchSurvey
from odtk_ray.dispatch.worker_state import DEPTH
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import OdtkError
from odtk_ray.settings import Preprocessing
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.worker.gpu_trial import GpuTrial
from odtk_ray.worker.shard_work import WorkerSettings

pytestmark = pytest.mark.cluster

PREP = Preprocessing(resize=32, max_size=64)
IMAGES = 8  # a shard


def start():
    """Starts an actor on some node's GPU."""
    import ray

    options = {"max_concurrency": DEPTH, "concurrency_groups": {WATCH: 1}}
    return ray.remote(num_cpus=0, num_gpus=1, **options)(LimitedWorker).remote()


def loader(batch):
    settings = run_settings(preprocessing=PREP, launch_batch=batch)
    return EngineLoader("", "", "auto", settings, inspect=simulated, make=PixelEngine)


@pytest.fixture
def crew(cluster, quiet):
    """Makes a crew of all GPUs of nodes, each given by its room, its GPU and what happens to it."""
    import ray

    made = []

    def make(*nodes, kinds=frozenset(), spare=0):
        for number, (room, gpu, happens) in enumerate(nodes):
            cluster.add(TEST_NAME=str(number), TEST_ROOM=str(room), **having(gpu), **happens)
        ray.init(address=cluster.address, log_to_driver=False)
        made.append(Crew(start, NodeSelection(kinds=kinds), quiet))
        made[0].recruit(len(nodes) - spare, spare)
        return made[0]

    yield make
    for crew in made:
        crew.dismiss()


def agree(crew, batch, least=1):
    return crew.begin_trial(GpuTrial(loader(batch), tell_kinds=True), least)()


def run_shards(crew, folder, count, batch, workers, quiet):
    """Runs so many shards; returns who did each."""
    import ray

    run = RunFolder.create(str(folder / "run"), make_run_plan(list(range(count * IMAGES))))
    rows = []
    for index in range(count * IMAGES):
        path = folder / f"{index}.png"
        picture(index, 40, 32).save(path)
        rows.append({"index": index, "path": str(path), "width": 40, "height": 32})
    block, load = ray.put(pa.Table.from_pylist(rows)), loader(batch)
    settings = WorkerSettings(
        run.path, run.token_file, run.token, None, run.digest, run=load.settings
    )
    nodes = NodeSelection()
    receipts = []
    Dispatcher(
        lambda: crew.take(settings, load),
        workers,
        {shard: ShardRef(block, shard * IMAGES, IMAGES) for shard in range(count)},
        {shard: np.arange(IMAGES) + shard * IMAGES for shard in range(count)},
        epoch=run.epoch,
        commit=lambda *more: receipts.extend(more),
        progress=lambda *_: None,
        warn=quiet.warn,
        observer=Observer(None),
        leave_out=lambda gpu: nodes.leave_out(gpu, quiet),
    ).run(range(count))
    return sorted(receipt.shard for receipt in receipts)


BOTH = frozenset(map(str, (H100, A10G)))


@pytest.mark.parametrize(("wanted", "launch"), [(5, 5), (8, 4)])
def test_the_smallest_kind_decides_about_the_launch(crew, wanted, launch):
    found = agree(crew((5, H100, {}), (100, A10G, {}), kinds=BOTH), wanted)
    assert found.launch_batch == launch
    said = f"{wanted} images per launch do not fit in GPU memory: using {launch}"
    assert (said in found.remarks) == (launch != wanted)
    assert sorted(r for r in found.remarks if r.startswith("room")) == ["room 100", "room 5"]


def test_a_launch_that_fits_nowhere_is_refused(crew):
    with pytest.raises(OdtkError, match="not even 6 images"):
        agree(crew((5, H100, {}), kinds=frozenset([str(H100)])), 16, 6)


def test_a_full_gpu_is_left_out_and_the_others_go_on(crew, tmp_path, quiet):
    """Its answer comes first: the other one waits for it to be given."""
    kinds = frozenset([str(H100)])
    made = crew((3, H100, {}), (100, H100, {}), kinds=kinds)
    assert agree(made, 8).launch_batch == 8
    made.keep(2)
    assert run_shards(made, tmp_path, 3, 8, len(made), quiet) == [0, 1, 2]
    assert len(made) == 0
    assert all("worker 0 has no memory" in warning for warning in quiet.warnings)
    assert len(quiet.warnings) <= 1


def test_a_small_run_takes_another_gpu_where_its_first_is_full(crew, tmp_path, quiet):
    """One actor is enough for it, on whichever node: only one of the three has room."""
    made = crew((3, H100, {}), (2, H100, {}), (100, H100, {}), spare=2)
    assert agree(made, 8).launch_batch == 8
    assert made.left_out == len(quiet.warnings)
    assert run_shards(made, tmp_path, 1, 8, 1, quiet) == [0]


def survey_of(crew, sizes=(1, 2, 4, 8)):
    """What the crew's workers measure, by name of their kind's GPU; and the launch to take."""
    agree(crew, 1)
    survey = LaunchSurvey(sizes, dict.fromkeys(sizes, 1.0))
    crew.measure_launches(loader(1), survey)
    rates = {kind: [rate.launch for rate in rates] for kind, rates in survey.rates().items()}
    return survey, rates


def test_a_worker_of_each_kind_measures_until_its_gpu_is_full(crew, tmp_path, quiet):
    """The full one's process is replaced: both detect afterwards."""
    made = crew((4, H100, {}), (100, A10G, {}), kinds=BOTH)
    survey, rates = survey_of(made)
    assert rates == {str(H100): [1, 2, 4], str(A10G): [1, 2, 4, 8]}
    assert survey.chosen() == 4
    assert survey.remarks == ["launches of 8 images are left out: they do not fit in memory"]
    assert run_shards(made, tmp_path, 3, 4, len(made), quiet) == [0, 1, 2]


def test_another_worker_measures_when_one_dies(crew, tmp_path):
    sign = tmp_path / "die"
    sign.touch()
    dying = {"TEST_MEASURE": f"die:{sign}"}
    made = crew((100, H100, dying), (100, H100, dying), kinds=frozenset([str(H100)]))
    survey, rates = survey_of(made)
    assert not sign.exists()
    assert (rates, survey.remarks) == ({str(H100): [1, 2, 4, 8]}, [])


def test_a_worker_that_raises_is_passed_over(crew, tmp_path):
    sign = tmp_path / "raise"
    sign.touch()
    raising = {"TEST_MEASURE": f"raise:{sign}"}
    made = crew((100, H100, raising), (100, H100, raising), kinds=frozenset([str(H100)]))
    assert survey_of(made)[1] == {str(H100): [1, 2, 4, 8]}


@pytest.mark.long
def test_a_kind_that_hangs_while_it_measures_is_done_without(crew, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MEASURE_PATIENCE", 15.0)
    sign = tmp_path / "hang"
    sign.touch()
    made = crew((9, H100, {"TEST_MEASURE": f"hang:{sign}"}), (9, A10G, {}), kinds=BOTH)
    survey, rates = survey_of(made)
    assert rates == {str(A10G): [1, 2, 4, 8]}
    assert survey.remarks == ["launches of 1 image are left out: workers die of it (it hangs)"]


def test_a_slow_second_kind_is_waited_for(crew, tmp_path):
    import threading

    sign = tmp_path / "go"
    made = crew((100, H100, {}), (4, A10G, {"TEST_WAITS_FOR": str(sign)}), kinds=BOTH)
    threading.Timer(3, sign.touch).start()
    assert agree(made, 8).launch_batch == 4


def test_tasks_run_while_gpus_are_tried(crew, tmp_path):
    """The trial waits for what the task does, and the task comes after it has begun."""
    sign = tmp_path / "go"
    made = crew((100, H100, {"TEST_WAITS_FOR": str(sign)}))
    agree = made.begin_trial(GpuTrial(loader(8)))
    map_on_ray(Path.touch, [(sign,)], reserve=True)
    assert agree().launch_batch == 8


def test_workers_that_die_are_started_again_in_both_phases(crew, tmp_path, quiet):
    trial, prepare = tmp_path / "trial", tmp_path / "prepare"
    trial.touch()
    prepare.touch()
    happens = {"TEST_TRIAL": f"die:{trial}", "TEST_PREPARE": f"die:{prepare}"}
    made = crew((100, H100, happens))
    assert agree(made, 8).launch_batch == 8
    assert not trial.exists()
    assert run_shards(made, tmp_path, 2, 8, 1, quiet) == [0, 1]
    assert not prepare.exists()


def test_one_that_joins_before_the_plan_needs_no_trial(crew, cluster, tmp_path, quiet):
    made = crew((100, H100, {}))
    cluster.add(TEST_NAME="late", TEST_ROOM="100", **having(H100))
    assert agree(made, 8).launch_batch == 8
    assert len(gpu_nodes()) == 2
    assert run_shards(made, tmp_path, 8, 8, 2, quiet) == list(range(8))
