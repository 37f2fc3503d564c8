"""What checks the built site finds what is wrong with it; `make docs` builds and checks it."""

from __future__ import annotations

import importlib.util

import pytest
from documents import ROOT


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("check_site", ROOT / ".ci" / "check_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("body", "found"), [
    ("", []),
    ('<a href="other.html#there">x</a><a href="#here">x</a><h2 id="here">x</h2>', []),
    ('<a href="https://example.org/">x</a><img src="picture.png">', []),
    ('<a href="none.html">x</a>', ["leads to none.html, which is not there"]),
    ('<a href="other.html#here">x</a>', ["leads to other.html#here, and there is no such place"]),
    ('<a href="#here">x</a>', ["leads to #here, and there is no such place"]),
    ('<img src="none.png">', ["leads to none.png, which is not there"]),
    ('<script src="https://example.org/a.js"></script>', ["loads https://example.org/a.js"]),
    ('<link rel="stylesheet" href="//example.org/a.css">', ["loads //example.org/a.css"]),
])  # fmt: skip
def test_what_is_wrong_is_found(check, tmp_path, body, found):
    (tmp_path / "index.html").write_text(body, encoding="utf-8")
    (tmp_path / "other.html").write_text('<h2 id="there">x</h2>', encoding="utf-8")
    (tmp_path / "picture.png").touch()
    assert list(check.problems(tmp_path.resolve())) == [f"index.html {words}" for words in found]


def test_an_empty_folder_is_no_site(check, tmp_path):
    assert list(check.problems(tmp_path)) == [f"{tmp_path} has no pages"]
