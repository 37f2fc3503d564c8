"""The one-pass reader against json.loads: documents cut at every byte, and damaged ones."""

import hashlib
import io
import json
import pickle
import random
import tracemalloc

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.datasets.hashing_reader import HashingReader
from odtk_ray.datasets.json_stream import JsonError, scan

# Characters that a scanner could trip over, in strings and keys.
TEXT = st.text(alphabet='\\"[]{},: a\n\u00e9\u2028\U0001f600', max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)  # NaN is not equal to itself; it has a test of its own
    | TEXT
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=4)
)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=5)
LAYOUTS = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 1]),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([(",", ":"), (" , ", " : "), ("\r\n,\t", ":")]),
    }
)


def gathered(data, keys, **options):
    """What `scan` yields, put together again."""
    values = {}
    for chunk in scan(io.BytesIO(data), keys, **options):
        if chunk.is_array:
            values.setdefault(chunk.key, []).extend(chunk.items)
        else:
            assert chunk.key not in values
            (values[chunk.key],) = chunk.items
    return values


# ---- documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (" \n{ \t}\r\n ", {}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ('{"a": []}', {"a": []}),
        ('{"a": [ \n ]}', {"a": []}),
        ('{"a": [[], {}]}', {"a": [[], {}]}),
        ('{"a": {}, "b": "x", "c": null}', {"a": {}, "b": "x", "c": None}),
        (
            '{"a": [1e5, -0.5, 12345678901234567890123]}',
            {"a": [1e5, -0.5, 12345678901234567890123]},
        ),
        ('{"a": [Infinity, -Infinity], "b": -Infinity}', {"a": [1e999, -1e999], "b": -1e999}),
        (r'{"\u0061\"": ["\\", "\\\"]", "\ud83d\ude00"]}', {'a"': ["\\", '\\"]', "\U0001f600"]}),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 2, 5, 1 << 20])
def test_table(text, value, chunk_bytes):
    assert gathered(text.encode(), value.keys(), chunk_bytes=chunk_bytes) == value
    assert gathered(text.encode(), [], chunk_bytes=chunk_bytes) == {}


@examples(150)
@given(DOCUMENTS, LAYOUTS, st.integers(1, 64), st.data())
def test_equals_json_loads(document, layout, chunk_bytes, data):
    text = json.dumps(document, **layout).encode()
    keys = data.draw(st.sets(st.sampled_from(sorted(document)))) if document else set()
    expected = {key: value for key, value in json.loads(text).items() if key in keys}
    assert gathered(text, keys, chunk_bytes=chunk_bytes) == expected


def test_not_a_number():
    values = gathered(b'{"a": [NaN], "b": NaN}', "ab")
    assert str(values) == "{'a': [nan], 'b': nan}"


@pytest.mark.parametrize("chunk_bytes", [4096, 100_003, 8 << 20])
def test_long_values_cross_the_borders_of_pieces(chunk_bytes):
    """2 MB: pieces grow from 4 kB to half a megabyte, and one item is longer than any of them."""
    rng = random.Random(3)
    items = [{"k" * (i % 7): rng.choice(['"', "\\", "]\\", "x"]) * (i % 50)} for i in range(20_000)]
    items[10_000] = [["\\" * 700_001, '"']]
    document = {"skipped": items, "wanted": items, "whole": {"a": items}, "numbers": [1.5] * 90_000}
    text = json.dumps(document).encode()
    assert gathered(text, ["wanted"], chunk_bytes=chunk_bytes) == {"wanted": items}
    assert gathered(text, document.keys(), chunk_bytes=chunk_bytes) == document


def test_order_of_the_file_and_several_batches_for_a_key():
    text = json.dumps({"b": list(range(9_000)), "a": 1, "c": list(range(5))}).encode()
    chunks = list(scan(io.BytesIO(text), {"a", "b", "c"}))
    keys = [chunk.key for chunk in chunks]
    assert keys == ["b"] * (len(keys) - 2) + ["a", "c"]
    assert len(keys) > 4
    assert [chunk.is_array for chunk in chunks] == [True] * (len(keys) - 2) + [False, True]


def test_noted_keys_are_reported_and_not_parsed():
    text = b'{"a": [1 2 not parsed], "b": {"x": [}, "c": [3], "d": [], "e": 1}'
    text = text.replace(b"[}", b"[]}")
    chunks = list(scan(io.BytesIO(text), ["c"], note=["a", "b", "missing"]))
    assert [(chunk.key, chunk.items, chunk.is_array) for chunk in chunks] == [
        ("a", [], True),
        ("b", [], False),
        ("c", [3], True),
    ]


@given(document=DOCUMENTS, layout=LAYOUTS, data=st.data())
@examples(100)
def test_all_keys_but_some(document, layout, data):
    text = json.dumps(document, **layout).encode()
    noted = data.draw(st.sets(st.sampled_from([*document, "missing"])))
    chunks = list(scan(io.BytesIO(text), None, note=noted))
    assert {chunk.key for chunk in chunks} == set(document)
    parsed = {chunk.key for chunk in chunks if chunk.items}
    assert parsed == {key for key, value in document.items() if key not in noted and value != []}
    assert gathered(text, None) == document


def test_batches_come_before_the_file_is_read_to_its_end():
    stream = io.BytesIO(json.dumps({"a": list(range(100_000))}).encode())
    chunks = scan(stream, ["a"], chunk_bytes=5000)
    assert next(chunks).items[:3] == [0, 1, 2]
    assert stream.tell() <= 10_000


@pytest.mark.parametrize("keys", [[], ["a"]])
def test_memory_does_not_grow_with_the_file(keys):
    text = b'{"a": [' + b", ".join([b'{"b": [1, 2, 3, "\\"x"]}'] * 100_000) + b"]}"  # 2.7 MB
    stream = io.BytesIO(text)
    tracemalloc.start()
    for _ in scan(stream, keys, chunk_bytes=1 << 16):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # the parsed array would take 35 MB


# ---- damaged files -----------------------------------------------------------------------------


MALFORMED = [
    (b"", 0, "the file is empty"),
    (b" \n ", 3, "the file is empty"),
    (b"[1, 2]", 0, "the top level is an array"),
    (b"hello", 0, "not JSON"),
    (b"\xef\xbb\xbf17", 3, "not JSON"),
    ('{"a": 1}'.encode("utf-16"), 0, "UTF-16"),
    ('{"a": 1}'.encode("utf-16-le"), 0, "UTF-16"),
    ('{"a": 1}'.encode("utf-32-be"), 0, "UTF-16"),
    (b"{", 1, "ends here: a key"),
    (b"{]", 1, "a key in quotes"),
    (b"{a: 1}", 1, "a key in quotes"),
    (b'{"a', 1, "a string has no end"),
    (b'{"a": 1,}', 8, "a key in quotes"),
    (b'{"a" 1}', 5, "a colon"),
    (b'{"a":}', 5, "a value is expected"),
    (b'{"a": 1', 6, "the file ends in a value"),
    (b'{"a": 1 ', 8, "ends here: a comma"),
    (b'{"a": 1 "b": 2}', 8, "a comma"),
    (b'{"a": 1]', 7, "a comma"),
    (b'{"a": 1}}', 8, "text after the end"),
    (b'{"a": 1}\n{"a": 2}', 9, "text after the end"),
    (b'{"a": nul}', 6, "Expecting value"),
    (b'{"a": "x\ny"}', 8, "Invalid control character"),
    (b'{"a": "x}', 6, "a string has no end"),
    (b'{"a": [1, 2', 6, "an array or object has no end"),
    (b'{"a": [1, "2]}', 6, "an array or object has no end"),
    (b'{"a": {"b": 1}', 14, "ends here: a comma"),
    (b'{"a": [1}', 8, "the brackets do not match"),
    (b'{"a": [{"b": 1]}]}', 14, "the brackets do not match"),
    (b'{"a": {"b": 1]}', 13, "the brackets do not match"),
    (b'{"a": [1, \\"2"]}', 10, "a backslash outside a string"),
]
# Only found where the value is parsed.
MALFORMED_ITEMS = [
    (b'{"a": [,1]}', 7, "an item is missing|Expecting value"),
    (b'{"a": [1,]}', 9, "an item is missing|Expecting value|Illegal trailing comma"),
    (b'{"a": [1,,2]}', 9, "an item is missing|Expecting value"),
    (b'{"a": [1 2]}', 9, "Expecting ',' delimiter"),
    (b'{"a": ["\xc3\xa9", 1 2]}', 15, "Expecting ',' delimiter"),  # bytes, not characters
    (b'{"a": [1, "\xff"]}', 11, "not UTF-8"),
    (b'{"a": {"b" 1}}', 11, "Expecting ':' delimiter"),
]


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1 << 20])
@pytest.mark.parametrize("keys", ["", "a"])
@pytest.mark.parametrize(("data", "offset", "reason"), MALFORMED)
def test_malformed(data, offset, reason, keys, chunk_bytes):
    with pytest.raises(JsonError, match=reason) as caught:
        gathered(data, keys, chunk_bytes=chunk_bytes)
    assert caught.value.offset == offset
    assert str(caught.value).startswith(f"byte {offset}: ")


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1 << 20])
@pytest.mark.parametrize(("data", "offset", "reason"), MALFORMED_ITEMS)
def test_malformed_items(data, offset, reason, chunk_bytes):
    with pytest.raises(JsonError, match=reason) as caught:
        gathered(data, "a", chunk_bytes=chunk_bytes)
    trailing_comma = caught.value.reason.startswith("Illegal")  # Python 3.13 points at the comma
    assert caught.value.offset == offset - trailing_comma
    assert gathered(data, "", chunk_bytes=chunk_bytes) == {}  # skipped, so not looked into


def accepts(reader, data):
    try:
        return reader(data)
    except (ValueError, RecursionError):
        return None


@examples(150)
@given(DOCUMENTS, LAYOUTS, st.integers(1, 64), st.data())
def test_damage_is_refused_as_json_loads_refuses_it(document, layout, chunk_bytes, data):
    text = bytearray(json.dumps(document, **layout).encode())
    at = data.draw(st.integers(0, len(text)))
    new = data.draw(st.sampled_from([b"", *(bytes([c]) for c in b'[]{},:"\\ 1a\n\xe9')]))
    text[at : at + data.draw(st.integers(0, 2))] = new
    damaged = bytes(text)
    pairs = accepts(lambda raw: json.loads(raw, object_pairs_hook=list), damaged)
    value = accepts(json.loads, damaged)
    if not isinstance(value, dict) or len(pairs) != len(value):  # no object, or a key twice
        value = None
    assert accepts(lambda raw: gathered(raw, None, chunk_bytes=chunk_bytes), damaged) == value


@pytest.mark.parametrize("keys", ["a", "b"])
def test_a_key_twice(keys):
    data = b'{"a": [1], "b": 1, "\\u0061": [2], "b": 3}'
    with pytest.raises(JsonError, match="occurs twice"):
        gathered(data, keys)
    with pytest.raises(JsonError, match="occurs twice"):
        list(scan(io.BytesIO(data), "", note=keys))
    assert gathered(data, "c") == {}  # nothing was yielded that could be wrong


@pytest.mark.parametrize("keys", ["", "a"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"":', "}")])
def test_depth(keys, opening, closing):
    deep = '{"a": ' + opening * 500 + "1" + closing * 500 + "}"
    assert set(gathered(deep.encode(), keys)) == set(keys)
    deeper = '{"a": ' + opening * 501 + "1" + closing * 501 + "}"
    with pytest.raises(JsonError, match="nested more than 500 deep") as caught:
        gathered(deeper.encode(), keys)
    assert caught.value.offset == 6 + len(opening) * 500


def test_integer_of_too_many_digits():
    with pytest.raises(JsonError, match="limit"):
        gathered(b'{"a": [' + b"1" * 5000 + b"]}", "a")


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(JsonError(17, "a colon is missing")))
    assert (error.offset, str(error)) == (17, "byte 17: a colon is missing")


# ---- hashing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"{}", b'\n{"a": [1, 2, 3], "b": 2}  \n\n'])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
def test_hash_of_the_whole_file_comes_with_the_pass(data, chunk_bytes):
    reader = HashingReader(io.BytesIO(data))
    for _ in scan(reader, ["a"], chunk_bytes=chunk_bytes):
        pass
    assert reader.hexdigest() == hashlib.sha256(data).hexdigest()


def test_hash_of_partial_reads():
    reader = HashingReader(io.BytesIO(b"abcdef"))
    assert reader.hexdigest() == hashlib.sha256(b"").hexdigest()
    assert reader.read(2) == b"ab"
    assert reader.hexdigest() == hashlib.sha256(b"ab").hexdigest()
    assert reader.read() == b"cdef"
    assert reader.hexdigest() == hashlib.sha256(b"abcdef").hexdigest()
