"""A command never writes to what it reads, whatever the two are called."""

from __future__ import annotations

import os

import pytest

from odtk_ray.errors import UsageError
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts, named


@pytest.fixture
def truth(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "truth.json").write_text("{}", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    return tmp_path / "truth.json"


def aliases(file):
    """Other names of a file: relative, absolute, through links, as a URI, by a hard link."""
    folder = file.parent
    (folder / "link.json").symlink_to(file)
    (folder / "elsewhere").symlink_to(folder)
    os.link(file, folder / "hard.json")
    return [
        str(file),
        file.name,
        f"./folder/../{file.name}",
        str(folder / "link.json"),
        str(folder / "elsewhere" / file.name),
        str(folder / "hard.json"),
        file.as_uri(),
    ]


def test_no_output_is_an_input_by_any_of_its_names(truth):
    for name in aliases(truth):
        with pytest.raises(UsageError, match="would replace what --annotations"):
            check_conflicts(named("--annotations", "truth.json"), named("--output", name))
        with pytest.raises(UsageError, match="would replace what --annotations"):
            check_conflicts(named("--annotations", name), named("--output", "truth.json"))


def test_other_files_pass(truth):
    check_conflicts(
        [*named("--annotations", "truth.json"), *named("--images", str(truth.parent))],
        [*named("--output", "new.json"), *named("--trace", "folder/truth.json")],
    )
    assert named("--trace", None) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://bucket/a/out.json", "s3://bucket/a/./x/../out.json"),
        ("gs://bucket/out.json", "gcs://bucket/out.json"),
        ("S3://bucket/out.json", "s3://bucket/out.json"),
    ],
)
def test_uris_are_compared_by_what_they_name(one, other):
    with pytest.raises(UsageError, match="the same file"):
        check_conflicts([], [*named("--output", one), *named("--trace", other)])
    with pytest.raises(UsageError, match="would replace"):
        check_conflicts(named("--annotations", one), named("--output", other))


def test_two_outputs_are_two_files(truth):
    with pytest.raises(UsageError, match=r"--output names \S*truth.json twice"):
        check_conflicts([], [*named("--output", "truth.json"), *named("--output", truth.as_uri())])
    check_conflicts([], [*named("--output", "a.json"), *named("--output", "b.json")])


def test_nothing_lies_in_a_folder_that_is_deleted(truth):
    run = NamedFile("--run-dir", "folder", removed=True)
    with pytest.raises(UsageError, match="deleted at the end"):
        check_conflicts([], [run, *named("--output", "folder/out.json")])
    with pytest.raises(UsageError, match="deleted at the end"):
        check_conflicts(named("--images", "folder/images"), [run])
    # A name that only begins alike is another folder.
    check_conflicts(named("--images", "folder2"), [run, *named("--output", "folder.json")])


def test_nothing_is_written_into_a_guarded_folder(truth):
    engine_set = NamedFile("MODEL", "folder", guarded=True)
    with pytest.raises(UsageError, match="lies in MODEL folder"):
        check_conflicts([engine_set], named("--output", "folder/engines.json"))
    check_conflicts(named("--images", "folder"), named("--output", "folder/out.json"))
