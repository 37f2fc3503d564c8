"""orjson in the stream against the standard parser alone: same values, types, errors and places."""

from __future__ import annotations

import io
import json
import sys
from unittest import mock

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.datasets import json_stream
from odtk_ray.datasets.json_stream import JsonError, scan

# Where the two parsers could differ: the borders of 32 and 64 bits and of float64, zeros, numbers
# of many digits, what only one of them takes for JSON, escapes, and bytes that are no UTF-8.
NUMBERS = """
    0 -0 0.0 -0.0 -0e1 1 -1 1.0 1e5 1E+2 1e-7 0e999999999999 1e400 -1e400 1e-400 -1e-400 1e308
    2e308 1.7976931348623157e308 1.7976931348623159e308 2.2250738585072011e-308 5e-324
    2.4703282292062327e-324 2147483648 4294967296 9007199254740993 9007199254740993.0
    9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809
    18446744073709551615 18446744073709551616 999999999999999999 9999999999999999999
    -9999999999999999999 99999999999999999999 1e19 100000000000000000000000
    0.1000000000000000055511151231257827 0.30000000000000004 1234567890123456789.5
    123456789012345678e3 NaN Infinity -Infinity nan inf -NaN 01 1. .5 +1 - 1e 0x1
""".split()  # fmt: skip
STRINGS = [
    '""', '"a"', r'"\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"\u0000"', r'"\/\b\f\n\r\t"',
    r'"\x"', r'"\u12"', '"\x7f"', '"\t"', '"\u2028"', '"\U0010ffff"', '"9999999999999999999"',
]  # fmt: skip
RAW = [
    b'"\xff"',
    b'"\xc3"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\xc0\x80"',
    b"\xef\xbb\xbf1",
]
WORDS = ["true", "false", "null", "True", "nul", "[]", "{}", "[1,]", '{"a":1,}', "[,]", "{1:2}"]
TEXTS = [text.encode() for text in (*NUMBERS, *STRINGS, *WORDS)] + RAW

LEAVES = st.one_of(
    st.sampled_from(TEXTS),
    st.integers(-(2**70), 2**70).map(lambda value: b"%d" % value),
    st.floats().map(lambda value: json.dumps(value).encode()),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: str(value).encode()),
    st.text(max_size=6).map(lambda value: json.dumps(value).encode()),
    st.text(max_size=6).map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
)
KEYS = st.sampled_from(["a", "b", "\u00e9", "id"])  # so that some stand twice
SPACE = st.sampled_from([b"", b" ", b"\n\t", b"\r\n"])


def _object(pairs):
    return b"{%b}" % b",".join(json.dumps(key).encode() + b":" + value for key, value in pairs)


VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            lambda items, gap: b"[%b]" % (b"," + gap).join(items),
            st.lists(inner, max_size=4),
            SPACE,
        )
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(_object)
    ),
    max_leaves=12,
)
DOCUMENTS = st.lists(VALUES, max_size=5).map(
    lambda values: _object([(f"k{i}", value) for i, value in enumerate(values)])
)


def outcome(data, chunk_bytes=1 << 20):
    """What a scan gives, or how it fails: types, signs of zeros and the order of keys included."""
    chunks = []
    try:
        for chunk in scan(io.BytesIO(data), None, chunk_bytes=chunk_bytes):
            chunks.append((chunk.key, repr(chunk.items), chunk.is_array))
    except JsonError as error:
        return chunks, error.offset, error.reason
    return chunks


def by_standard(data, chunk_bytes=1 << 20):
    """The same without orjson."""
    with mock.patch.object(json_stream, "parse", json_stream._parse_by_standard):
        return outcome(data, chunk_bytes)


PLACES = (b'{"a": %b}', b'{"a": [%b]}', b'{"a": [1, %b, 2]}', b'{"a": {"b": %b, "c": %b}}',
          b'{"a": [{"b": [%b]}]}', b'{"a": 1, "b": [2], %b: 3}')  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_table(text):
    for place in PLACES:
        data = place.replace(b"%b", text)
        assert outcome(data) == by_standard(data)


@examples(500)
@given(DOCUMENTS, st.integers(1, 64))
def test_any_json(data, chunk_bytes):
    assert outcome(data, chunk_bytes) == by_standard(data, chunk_bytes)


@examples(500)
@given(DOCUMENTS, st.data())
def test_damaged_json(document, data):
    text = bytearray(document)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        new = data.draw(st.sampled_from([b"", *(b'[]{},:"\\ 19.-+eE\n\x00\x1f\xe9\xff'[i : i + 1]
                                                for i in range(22))]))  # fmt: skip
        text[at : at + data.draw(st.integers(0, 2))] = new
    assert outcome(bytes(text)) == by_standard(bytes(text))


@examples(300)
@given(st.binary(max_size=40))
def test_any_bytes(data):
    for text in (data, b'{"a": ' + data, b'{"a": [' + data + b"]}"):
        assert outcome(text) == by_standard(text)


@pytest.mark.parametrize("depth", [1, 499, 500, 501])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"":', "}")])
def test_depth(depth, opening, closing):
    data = ('{"a": ' + opening * depth + "1" + closing * depth + "}").encode()
    assert outcome(data) == by_standard(data)


@pytest.mark.parametrize("digits", [18, 19, 20, 300, 4300, 4301, 5000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_digits(digits, sign):
    assert sys.get_int_max_str_digits() == 4300
    data = ('{"a": [' + sign + "9" * digits + "]}").encode()
    assert outcome(data) == by_standard(data)


def test_what_annotation_files_hold_does_not_need_the_standard_parser():
    """0.1 + 0.2 and 1/3e9 have the longest numbers that Python writes: 17 digits."""
    entry = {"id": 2**53, "bbox": [0.1 + 0.2, -1 / 3e9, 640, 1e300], "name": "\u00e9\n\U0001f600",
             "iscrowd": 0, "ok": True, "no": None}  # fmt: skip
    data = json.dumps({"annotations": [entry] * 3, "info": {"x": [entry]}, "year": 2026}).encode()
    with mock.patch.object(json_stream, "_parse_by_standard", side_effect=AssertionError):
        found = outcome(data)
    assert found == by_standard(data)
    assert found[0] == ("annotations", repr([entry] * 3), True)
