"""Small mistakes of the kind that slips into a large change, and the tests that must notice each.

Replaced text is short and holds no import, so that code can be moved: only `file` changes then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """A mistake.

    Attributes:
        name: short, for the command line.
        file: relative to the root of the tree.
        old: text that occurs once in it.
        new: takes its place.
        harm: what users would suffer.
        tests: files of tests, or tests in them; as few and as fast as notice it.
    """

    name: str
    file: str
    old: str
    new: str
    harm: str
    tests: tuple[str, ...]


def changed(fault: Fault) -> str:
    """The file's text with the fault.

    Raises:
        ValueError: what is to be replaced is not there once.
    """
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    if (count := text.count(fault.old)) != 1:
        raise ValueError(f"{fault.name}: {fault.old!r} occurs {count} times in {fault.file}")
    return text.replace(fault.old, fault.new)


# Those that start Ray come first: two processes end together then.
FAULTS = [
    Fault(
        name="hang-not-ended",
        file="odtk_ray/dispatch/dispatch.py",
        old="if w.ready and w.reachable and w.assignments and now",
        new="if not w.ready and w.reachable and w.assignments and now",
        harm="A worker that hangs is never replaced: the run does not end.",
        tests=("tests/faults/test_cluster.py::test_a_worker_that_hangs_is_replaced[60]",),
    ),
    Fault(
        name="recall-skipped",
        file="odtk_ray/dispatch/dispatch.py",
        old="if not (chosen or self._pending or self._suspects.queue):",
        new="if chosen or self._pending or self._suspects.queue:",
        harm="Every run waits at its end for the slowest worker while the others are idle.",
        tests=("tests/cluster/test_recall.py",),
    ),
    Fault(
        name="failed-counted-as-done",
        file="odtk_ray/worker/shard_worker.py",
        old="failed=sum(result.error is not None for _, result in pairs)",
        new="failed=len(work.skip)",
        harm="A run whose images cannot be read exits with 0 and says that none failed.",
        tests=(
            "tests/cli/test_infer.py::test_failed_and_missing_images_are_left_out_of_the_figures",
        ),
    ),
    Fault(
        name="resume-other-threshold",
        file="odtk_ray/run/fingerprint.py",
        old="postprocessing=opened.postprocessing,",
        new="postprocessing=type(opened.postprocessing)(),",
        harm="A run that is resumed with another threshold mixes the detections of both.",
        tests=("tests/cli/test_infer.py::test_resume_refuses_other_settings_and_names_them",),
    ),
    Fault(
        name="suspect-not-alone",
        file="odtk_ray/dispatch/worker_state.py",
        old="return not self.assignments if task.alone else",
        new="return",
        harm="Good images are recorded as failed because a bad one crashed the worker beside them.",
        tests=("tests/dispatch/test_worker_state.py",),
    ),
    Fault(
        name="second-attempt-wins",
        file="odtk_ray/shards/run_folder.py",
        old=" if r.shard not in self.committed}",
        new="}",
        harm="A late attempt replaces a shard that is in the outputs already, and counts twice.",
        tests=("tests/shards/test_run_folder.py",),
    ),
    Fault(
        name="edited-plan-resumed",
        file="odtk_ray/shards/epoch_files.py",
        old="if found[1] != digest:",
        new="if not digest:",
        harm="A run whose plan was edited goes on, and its outputs mix two settings.",
        tests=("tests/shards/test_run_folder.py",),
    ),
    Fault(
        name="replaced-image-kept",
        file="odtk_ray/shards/shard_file.py",
        old="if epoch >= counts_from(receipt.shard):",
        new="if epoch:",
        harm="An image that was replaced keeps the detections of the old one, although it is said.",
        tests=("tests/run/test_replaced_images.py",),
    ),
    Fault(
        name="changed-image-taken-over",
        file="odtk_ray/shards/image_stamps.py",
        old="(self.time != 0) & (self.time == now.time)",
        new="self.time != 0",
        harm="An update keeps the detections of a picture that was replaced by one of its size.",
        tests=("tests/run/test_update_run.py",),
    ),
    Fault(
        name="claim-not-exclusive",
        file="odtk_ray/storage/atomic.py",
        old='_write_synced(path, data, "xb")',
        new='_write_synced(path, data, "wb")',
        harm="Two drivers that resume a run at once both own its folder and overwrite each other.",
        tests=("tests/shards/test_run_folder.py",),
    ),
    Fault(
        name="commit-not-synced",
        file="odtk_ray/storage/atomic.py",
        old="        os.fsync(stream.fileno())\n",
        new="",
        harm="A power cut takes back what was reported as committed.",
        tests=("tests/shards/test_run_folder.py",),
    ),
    Fault(
        name="write-not-atomic",
        file="odtk_ray/storage/atomic.py",
        old='return f"{path}.{tag or own_tag()}.tmp"',
        new="return path",
        harm="A full disk or a kill destroys the old file, and readers see half of the new one.",
        tests=("tests/storage/test_atomic.py",),
    ),
    Fault(
        name="merge-counts-only",
        file="odtk_ray/shards/merge.py",
        old='if not np.array_equal(table["index"].to_numpy(), np.arange(start, stop)):',
        new="if len(table) != stop - start:",
        harm="Outputs with one image twice and another one lost are published.",
        tests=("tests/shards/test_merge.py",),
    ),
    Fault(
        name="box-side-short",
        file="odtk_ray/records.py",
        old="- rows[:, :2] + 1]",
        new="- rows[:, :2]]",
        harm="Every bbox in the outputs is a pixel too narrow and too low.",
        tests=("tests/shards/test_merge.py",),
    ),
    Fault(
        name="crowd-taken-once",
        file="odtk_ray/evaluation/matching.py",
        old="np.where(wanted.crowd[gt], _ALL, ~taken)",
        new="~taken",
        harm="Of several detections in a crowd region all but one count as wrong: AP is too low.",
        tests=("tests/evaluation/test_coco_evaluator.py::test_example_of_the_coco_api",),
    ),
    Fault(
        name="category-ids-dropped",
        file="odtk_ray/datasets/classes.py",
        old='id_text(categories[p]["id"]) for p in positions',
        new="json.dumps(p) for p in positions",
        harm="The outputs have class indices where COCO's tools expect category ids: AP is near 0.",
        tests=("tests/datasets/test_classes.py",),
    ),
    Fault(
        name="file-names-escape",
        file="odtk_ray/datasets/annotation_paths.py",
        old="posixpath.normpath(path).startswith(folder)",
        new="path.startswith(folder)",
        harm="A stranger's annotation file has any file of the machine read: ../../secret.png.",
        tests=("tests/datasets/test_coco.py",),
    ),
    Fault(
        name="tiles-too-far-apart",
        file="odtk_ray/detect/tiling.py",
        old="step = tile - overlap",
        new="step = tile - overlap + 1",
        harm="Tiles share a pixel less than asked for, and without overlap leave columns out.",
        tests=("tests/cli/test_infer_tiles.py::test_windows_cover_everything",),
    ),
    Fault(
        name="unsafe-pickle",
        file="odtk_ray/model/pth.py",
        old="weights_only=True",
        new="weights_only=False",
        harm="A checkpoint from the internet runs its code on every node.",
        tests=("tests/model/test_bad_files.py::test_code_is_not_run",),
    ),
    Fault(
        name="anchors-mixed-up",
        file="odtk_ray/model/checkpoint.py",
        old='has_ratios=content.get("ratios") is not None',
        new="has_ratios=bool(settings.ratios)",
        harm="Checkpoints from before March 2020 run with anchors that they were not trained with.",
        tests=("tests/model/test_checkpoint.py::test_anchor_generation",),
    ),
    Fault(
        name="sidecar-not-compared",
        file="odtk_ray/artifacts/sidecar.py",
        old="if hashlib.sha256(content).hexdigest() != sidecar.plan_sha256:",
        new="if not sidecar.plan_sha256:",
        harm="A plan whose sidecar is another one's runs with wrong classes and thresholds.",
        tests=("tests/artifacts/test_sidecar.py",),
    ),
    Fault(
        name="graph-not-compared",
        file="odtk_ray/artifacts/exported_model.py",
        old="if {end: dims[1:] for end, dims in ends.items()} != model.end_shapes:",
        new="if ends.keys() != model.end_shapes.keys():",
        harm="An ONNX file with the description of another model runs, and gives nonsense.",
        tests=(
            "tests/artifacts/test_exported_model.py::test_a_graph_that_is_not_the_described_one_is_refused",
        ),
    ),
    Fault(
        name="plan-of-another-gpu",
        file="odtk_ray/artifacts/engine_set.py",
        old="about.gpu == gpu and same_release(about.tensorrt, tensorrt)",
        new="same_release(about.tensorrt, tensorrt)",
        harm="A worker of an engine set loads the plan of another kind of GPU.",
        tests=("tests/artifacts/test_engine_set.py",),
    ),
    Fault(
        name="equal-scores-unordered",
        file="odtk_ray/ops/nms.py",
        old=".sort(dim=1, descending=True, stable=True)",
        new=".topk(scores.shape[1], dim=1)",
        harm="Which of two equal scores survives differs from ODTK and from the GPU.",
        tests=("tests/ops/test_nms.py::test_golden",),
    ),
    Fault(
        name="angles-of-the-other",
        file="odtk_ray/ops/nms.py",
        old="rotated_iou if own_angles else same_angle_iou",
        new="same_angle_iou if own_angles else rotated_iou",
        harm="Crossing boxes suppress each other, and --rotated-nms means the opposite.",
        tests=(
            "tests/ops/test_rotated.py::test_own_angles_keep_crossing_boxes_and_odtk_drops_one",
        ),
    ),
    Fault(
        name="resize-truncates",
        file="cuda_ops/preprocess.py",
        old="(0.5 + weights / total *",
        new="(weights / total *",
        harm="Pictures that a GPU resizes differ from Pillow's, and so do the detections.",
        tests=(
            "tests/cuda_ops/test_host_side.py::test_coefficients_of_usual_and_extreme_sizes_are_pillow",
        ),
    ),
    Fault(
        name="entropy-always-clips",
        file="odtk_ray/exports/int8/histograms.py",
        old="range(MAGNITUDES, last + 1)",
        new="range(MAGNITUDES, last)",
        harm="INT8 calibration by entropy clips tensors that should keep their whole range.",
        tests=("tests/exports/int8/test_histograms.py::test_entropy_tries_every_end",),
    ),
    Fault(
        name="quiet-hides-warnings",
        file="odtk_ray/cli/screen.py",
        old="""_remark("warning", text, hint)""",
        new="self.note(text, hint)",
        harm="A run with --quiet says nothing of images that failed.",
        tests=("tests/cli/test_quiet.py::test_the_console",),
    ),
    Fault(
        name="names-become-markup",
        file="odtk_ray/reports/page.py",
        old="autoescape=True",
        new="autoescape=False",
        harm="The name of a file or class runs as a script in a report, or breaks it.",
        tests=("tests/reports/test_page.py::test_what_files_say_stays_text",),
    ),
    Fault(
        name="found-is-never-missed",
        file="odtk_ray/reports/picture_boxes.py",
        old="score > one.limits[category]",
        new="score > -np.inf",
        harm="A report does not show as missed what is found only below the threshold.",
        tests=(
            "tests/reports/test_picture_boxes.py::test_what_is_shown_at_first_is_what_the_analysis_counts",
        ),
    ),
]
