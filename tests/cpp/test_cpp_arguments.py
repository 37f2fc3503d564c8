"""The structures that kernels take have one layout, in C++ on both machines and in Python."""

import ctypes

from cuda_ops import arguments, preprocess

STRUCTURES = {
    "Level": arguments.LevelArgs,
    "DecodeArgs": arguments.DecodeArgs,
    "NmsArgs": arguments.NmsArgs,
    "Axis": preprocess._Axis,
    "PictureArgs": preprocess._Picture,
    "PreprocessArgs": preprocess._PreprocessArgs,
}


def test_the_layout_is_pythons(units):
    expected = {}
    for name, structure in STRUCTURES.items():
        for field, _ in structure._fields_:
            expected[f"{name}.{field}"] = getattr(structure, field).offset
        expected[name] = ctypes.sizeof(structure)
    rows = (line.split() for line in units("arguments").decode().splitlines())
    assert {name: int(value) for name, value in rows} == expected
