"""JSON and numbers are read and written as by Python."""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

# Surrogates that stand alone too.
TEXTS = st.text(st.characters(codec=None))
NUMBERS = st.integers() | st.floats()
PLAIN = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))
WAYS = {
    (): {},
    ("1",): {"indent": 1},
    ("4", "sorted"): {"indent": 4, "sort_keys": True},
    ("sorted",): {"sort_keys": True},
}


@pytest.fixture(scope="module")
def ask(units):
    """Functions that rewrite JSON, by the unit's arguments."""
    with (
        units.answers("json") as plain,
        units.answers("json", 1) as indented,
        units.answers("json", 4, "sorted") as both,
        units.answers("json", "sorted") as in_order,
    ):
        yield dict(zip(WAYS, (plain, indented, both, in_order), strict=True))


@pytest.fixture(scope="module")
def write_numbers(units):
    with units.answers("numbers") as ask:
        yield lambda values: ask(json.dumps(values).encode()).decode().split()


@given(value=VALUES, way=st.sampled_from(list(WAYS)), ascii_only=st.booleans())
def test_values_are_written_as_python_does(ask, value, way, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert ask[way](text).decode() == json.dumps(value, **WAYS[way])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "[1, 2",
        "[1 2]",
        "[1,]",
        '{"a": 1,}',
        '{"a" 1}',
        "{a: 1}",
        '{"a": 1 "b": 2}',
        '"a',
        '"a\\',
        '"a\nb"',
        '"\\x"',
        '"\\u12g4"',
        '"\\u12',
        "nul",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "[1]]",
        '\n\n {"é": \n ?}',
        "-Infinit",
        "\0",
        "[1]\0",
        '"\x7f\x1f"',
    ],
)
def test_errors_are_pythons(ask, text):
    with pytest.raises(ValueError) as expected:  # noqa: PT011 - its text is compared
        json.loads(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ask[()](text.encode())
    # Python 3.13 has another text for a comma at the end, and puts a space before some positions.
    ours, theirs = (str(error.value).replace(": line", " line") for error in (caught, expected))
    if not text.endswith((",]", ",}")):
        assert ours == f"it is not JSON: {theirs}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"\xef\xbb\xbf[1]", [1]),
        (b'{"a": 1, "b": 2, "a": 3}', {"a": 3, "b": 2}),
        (b"[-0, -0.0, 1E5, 1e400, -1e400, 1e-400, 0.1e1, NaN]",
         [0, -0.0, 1e5, math.inf, -math.inf, 0.0, 1.0, math.nan]),
        (b'"\\ud83d\\ude00 \\ud83d \\ude00\\ud83d\\u0041 \\/\\b"',
         "\U0001f600 \ud83d \ude00\ud83dA /\b"),
        (b'"\xed\xa0\xbd"', "\ud83d"),
        (b" [ ] ", []),
        (b"{ }", {}),
        (b"[[], {}]", [[], {}]),
        (b"[" * 500 + b"]" * 500, None),
    ],
)  # fmt: skip
def test_unusual_texts_are_read(ask, text, value):
    if value is None:
        value = json.loads(text)
    assert ask["1",](text).decode() == json.dumps(value, indent=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 501 + b"]" * 501, "it is not JSON of odtk-ray: it is nested too deeply"),
        (b"[" * 1_000_000, "it is not JSON of odtk-ray: it is nested too deeply"),
        (b'{"a":' * 1_000_000, "it is not JSON of odtk-ray: it is nested too deeply"),
        (b'"\x80"', "it is not JSON: not UTF-8 (byte 1)"),
        (b'"ab\xc3"', "it is not JSON: not UTF-8 (byte 3)"),
        (b'"\xc0\x80"', "it is not JSON: not UTF-8 (byte 1)"),
        (b'"\xf4\x90\x80\x80"', "it is not JSON: not UTF-8 (byte 1)"),
        (b'"\xe0\x9f\xbf"', "it is not JSON: not UTF-8 (byte 1)"),
        (b'"\xf0\x8f\xbf\xbf"', "it is not JSON: not UTF-8 (byte 1)"),
    ],
)
def test_what_is_refused(ask, text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ask[()](text)
    assert str(caught.value) == message


def test_numbers_are_written_as_repr_does(write_numbers):
    rng = np.random.default_rng(int(np.random.default_rng().integers(1 << 32)))
    powers = [math.ldexp(1.0, n) for n in range(-1074, 1024)]
    neighbours = [math.nextafter(x, way) for x in powers for way in (0.0, math.inf)]
    decimals = [
        float(f"{m}e{n}") for n in range(-324, 309, 7) for m in (1, 9.5, 1.7976931348623157)
    ]
    limits = [
        1e15,
        1e16,
        9999999999999998.0,
        1e17,
        1e-4,
        1e-5,
        0.00012345,
        5e-324,
        0.1,
        1 / 3,
        100.0,
    ]
    bits = rng.integers(0, 1 << 63, 4000, dtype=np.uint64)
    anything = [x for x in struct.unpack("<4000d", bits.tobytes()) if math.isfinite(x)]
    floats = (rng.random(4000, np.float32) * np.float32(1300)).astype(float).tolist()
    shares = (np.float32(1) / rng.random(4000, np.float32)).astype(float).tolist()
    values = [0.0, *powers, *neighbours, *decimals, *limits, *anything, *floats, *shares]
    values = [*values, *(-x for x in values)]
    values = [x for x in values if math.isfinite(x)]
    assert write_numbers(values) == [repr(x) for x in values]
    assert write_numbers([math.nan, math.inf, -math.inf]) == ["NaN", "Infinity", "-Infinity"]


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_written_as_repr_does(write_numbers, value):
    assert write_numbers([value]) == [repr(value)]
