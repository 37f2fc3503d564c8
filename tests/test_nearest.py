"""Names that were probably meant."""

import pytest

from odtk_ray.nearest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("tree", (), None),
        ("", ("tree",), None),
        ("tree", ("car", "bicycle"), None),
        ("treee", ("car", "tree"), "tree"),
        ("resnet50fpn", ("ResNet18FPN", "ResNet50FPN"), "ResNet50FPN"),
        ("TREE", ("Tree", "tree"), "Tree"),
    ],
)
def test_nearest(name, known, expected):
    assert nearest(name, known) == expected
    assert did_you_mean(name, known) == (f"did you mean {expected}?" if expected else "")
