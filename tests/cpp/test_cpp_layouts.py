"""The arguments of the kernels lie in memory as Python's do."""

from cuda_ops import arguments, postprocess, preprocess

STRUCTURES = {
    "Level": arguments.LevelArgs,
    "DecodeArgs": arguments.DecodeArgs,
    "NmsArgs": arguments.NmsArgs,
    "Axis": preprocess._Axis,
    "PictureArgs": preprocess._Picture,
    "PreprocessArgs": preprocess._PreprocessArgs,
}
CONSTANTS = {
    "kMaxLevels": arguments.MAX_LEVELS,
    "kScanThreads": postprocess._SCAN_THREADS,
    "kLoads": postprocess._LOADS,
    "kThreads": postprocess._THREADS,
    "kVectorBytes": postprocess._VECTOR,
    "kMaxPictures": preprocess._MAX_PICTURES,
    "kTileWidth": preprocess._TILE_W,
    "kTileHeight": preprocess._TILE_H,
    "kBlockWidth": preprocess._BLOCK[0],
    "kBlockHeight": preprocess._BLOCK[1],
}


def test_structures_and_constants_are_pythons(units):
    expected = []
    for name, structure in STRUCTURES.items():
        for field, _ in structure._fields_:
            place = getattr(structure, field)
            expected.append(f"{name} {field} {place.offset} {place.size}")
    expected += [f"constant {name} {value}" for name, value in CONSTANTS.items()]
    assert units("layouts").decode().splitlines() == expected
