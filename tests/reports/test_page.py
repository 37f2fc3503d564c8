"""Reports as files: they load nothing, and nothing that files say becomes markup."""

import base64
import copy
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest
from evaluation_scenes import make_scene
from scenes import WORST_SCENE, report_of

from odtk_ray.reports.page_data import script_json

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&amp;\u2028\u202e<!--\udcff"


class Reader(HTMLParser):
    """Collects elements, and the texts of scripts and style sheets."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.inside = [], {"script": [], "style": []}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in self.texts:
            self.inside = tag
            self.texts[tag].append("")

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside][-1] += data

    def handle_endtag(self, tag):
        self.inside = None


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path, _ = report_of(tmp_path_factory.mktemp("page"))
    return path.read_text(encoding="utf-8")


def source(text):
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def test_the_policy_allows_this_script_and_style_sheet_alone(page):
    found = Reader(page)
    (policy,) = (attrs["content"] for tag, attrs in found.tags
                 if attrs.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    data, script = found.texts["script"]
    json.loads(data)
    assert rules["script-src"] == source(script)
    assert rules["style-src"] == source(found.texts["style"][0])
    # Neither is allowed by the policy.
    for _, attrs in found.tags:
        assert "style" not in attrs
        assert not [name for name in attrs if name.startswith("on")]


def test_it_names_no_other_file(page):
    for _, attrs in Reader(page).tags:
        for name in ("src", "href", "action", "data"):
            value = attrs.get(name, "")
            assert value == "" or value.startswith(("#", "data:image/jpeg;base64,")), value
    assert "url(" not in page
    assert "@import" not in page


def test_what_files_say_stays_text(tmp_path):
    dataset, found = copy.deepcopy(make_scene(WORST_SCENE, crowds=False))
    for entry in (*dataset["images"], *dataset["categories"]):
        entry["file_name" if "file_name" in entry else "name"] = HOSTILE
    path, _ = report_of(tmp_path, dataset=dataset, found=found)
    text = path.read_text(encoding="utf-8")
    found = Reader(text)
    assert len(found.texts["script"]) == 2
    assert not [tag for tag, attrs in found.tags if tag == "img" or "onerror" in attrs]
    shown = HOSTILE.replace("\udcff", "?")
    assert {attrs["data-name"] for _, attrs in found.tags if "data-name" in attrs} == {shown}
    assert html.escape(shown, quote=False).split("&quot;")[0][:20] in text


@pytest.mark.parametrize("value", [HOSTILE, {"a": ["<b>", 1.5, None]}, "<!--<script>"])
def test_json_in_a_script_ends_nothing(value):
    text = script_json(value)
    assert json.loads(text) == value
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert text.isascii()


def test_the_same_report_has_the_same_bytes(tmp_path):
    first, second = (report_of(tmp_path)[0].read_bytes() for _ in range(2))
    assert first == second


def test_without_pictures_it_says_so(tmp_path):
    path, _ = report_of(tmp_path, pictures=False)
    text = path.read_text(encoding="utf-8")
    assert "This report has no pictures: give their folder as --images." in text
    assert "data:image" not in text


@pytest.mark.parametrize("found", [[], None])
@pytest.mark.parametrize("annotated", [True, False])
def test_nothing_found_or_nothing_to_find(tmp_path, found, annotated):
    dataset, detections = copy.deepcopy(make_scene(WORST_SCENE, crowds=False))
    dataset["annotations"] = dataset["annotations"] if annotated else []
    found = detections if found is None else found
    path, evaluation = report_of(tmp_path, dataset=dataset, found=found)
    tags = Reader(path.read_text(encoding="utf-8")).tags
    cards = [attrs for _, attrs in tags if attrs.get("class") == "card"]
    counts = evaluation.analysis.images
    assert len(cards) == int((counts.sum(axis=1) > 0).sum())
