"""Reports in Chromium, which `make browser` installs: clicks, the slider, sorting, paper."""

import json
import shutil

import numpy as np
import pytest
from scenes import report_of, write_scene

import odtk_ray
from odtk_ray.evaluation.status import Status, TruthStatus

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: run `make browser`")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    detections, options = write_scene(folder)
    entries = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    (folder / "half.json").write_text(json.dumps(entries[::2]), encoding="utf-8")
    files = [detections, str(folder / "half.json")]
    path = folder / "report.html"
    odtk_ray.compare(files, report=str(path), images=str(folder / "images"), draws=20, **options)
    return path


@pytest.fixture
def opened(browser):
    """Opens a file; at the end nothing was complained of, and nothing was asked of a network."""
    complaints, contexts = [], []

    def go(path, **context):
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url)
                if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def slide(page, step):
    page.locator("#threshold").evaluate(
        "(slider, step) => { slider.value = step; slider.dispatchEvent(new Event('input')); }", step
    )
    # The page draws before the next frame, and this function was registered after it.
    page.evaluate("() => new Promise(requestAnimationFrame)")


def tallies(page):
    """Count right, wrong and missed of each picture: what it says, and the boxes drawn."""
    return page.evaluate("""() => Object.fromEntries(Array.from(document.querySelectorAll(".card"),
        (card) => [card.dataset.name, ["right", "wrong", "missed"].map((kind) => [
            Number(card.querySelector(`.tally .${kind}`).textContent),
            Array.from(card.querySelectorAll(`.boxes .${kind}`))
                 .filter((path) => getComputedStyle(path).display !== "none").length])]))""")


def figures(page):
    return [page.locator(f"#{name}-0").inner_text() for name in ("precision", "recall", "f1")]


@pytest.mark.parametrize("step", [0, 20, 55, 100])
def test_the_slider_shows_what_an_evaluation_of_the_better_detections_says(
    opened, report, tmp_path, step
):
    path, evaluation = report
    page = opened(path)
    slide(page, step)
    limit = float(evaluation.analysis.curves.scores[step])
    assert page.locator("#score").inner_text() == f"{limit:.2f}"

    entries = json.loads((path.parent / "found.json").read_text(encoding="utf-8"))
    better = tmp_path / "better.json"
    better.write_text(json.dumps([e for e in entries if e["score"] > limit]), encoding="utf-8")
    expected = odtk_ray.evaluate(str(better), annotations=str(path.parent / "truth.json"))
    images = expected.wanted.images.names
    status, owner = expected.analysis.detections.status, expected.table.image
    truth = expected.wanted.truth
    missed = np.isin(expected.analysis.truth.status, (TruthStatus.COVERED, TruthStatus.MISSED))
    for name, counts in tallies(page).items():
        image = images.index(name)
        wanted = [
            int(np.sum((owner == image) & (status == Status.RIGHT))),
            int(np.sum((owner == image) & (status != Status.RIGHT))),
            int(np.sum((truth.image == image) & missed)),
        ]
        assert counts == [[count, count] for count in wanted], name
    right, found, positives = np.sum(status == Status.RIGHT), len(status), len(truth)
    shares = [(right, found), (right, positives), (2 * right, found + positives)]
    assert figures(page) == [f"{a / b:.3f}" if b else "–" for a, b in shares]


def test_at_first_each_class_has_its_own_threshold_and_a_button_goes_back_to_it(opened, report):
    path, evaluation = report
    page = opened(path)
    counts = evaluation.analysis.images
    names = evaluation.wanted.images.names
    at_first = tallies(page)
    for name, kinds in at_first.items():
        row = counts[names.index(name)]
        wanted = [int(row[0]), int(row[1:6].sum()), int(row[6])]
        assert kinds == [[count, count] for count in wanted]
    first = figures(page)
    slide(page, 90)
    assert tallies(page) != at_first
    page.click("#chosen")
    assert tallies(page) == at_first
    assert figures(page) == first


def test_without_the_script_the_same_boxes_are_drawn(opened, report):
    path, _ = report
    assert tallies(opened(path)) == bare_tallies(opened, path)


def bare_tallies(opened, path):
    """What the file shows before a script has run."""
    page = opened(path, java_script_enabled=False)
    cards = page.locator(".card")
    found = {}
    for i in range(cards.count()):
        card = cards.nth(i)
        kinds = []
        for kind in ("right", "wrong", "missed"):
            boxes = card.locator(f".boxes .{kind}")
            shown = sum(boxes.nth(k).is_visible() for k in range(boxes.count()))
            kinds.append([int(card.locator(f".tally .{kind}").inner_text()), shown])
        found[card.get_attribute("data-name")] = kinds
    return found


def test_a_class_is_shown_alone(opened, report):
    path, evaluation = report
    page = opened(path)
    page.select_option("#class", "1")
    drawn = page.locator(".boxes path.on")
    assert {drawn.nth(i).get_attribute("data-c") for i in range(drawn.count())} == {"1"}
    point = evaluation.analysis.points[1]
    expected = [point.precision, point.recall, point.f1]
    assert figures(page) == [f"{value:.3f}" for value in expected]
    assert evaluation.analysis.categories[1].name in page.locator("#curve-name").inner_text()
    assert page.locator("#dot-0").get_attribute("visibility") == "visible"


@pytest.mark.parametrize("kind", ["right", "wrong", "missed"])
def test_a_switch_hides_a_kind_of_boxes(opened, report, kind):
    page = opened(report[0])
    place = ["right", "wrong", "missed"].index(kind)
    before = tallies(page)
    page.uncheck(f'[data-kind="{kind}"]')
    after = tallies(page)
    for name, kinds in before.items():
        expected = [list(counts) for counts in kinds]
        expected[place][1] = 0
        assert after[name] == expected
    page.check(f'[data-kind="{kind}"]')
    assert tallies(page) == before


def test_columns_sort_and_turn_around(opened, report):
    path, evaluation = report
    page = opened(path)

    def column(number):
        return page.locator(f"#classes tbody td:nth-child({number})").all_inner_texts()

    expected = sorted(
        (f"{row.ap:.3f}" for row in evaluation.analysis.metrics.classes), reverse=True
    )
    button = page.locator("#classes thead button").nth(1)
    button.focus()
    page.keyboard.press("Enter")
    assert column(2) == expected
    assert page.locator("#classes thead th").nth(1).get_attribute("aria-sort") == "descending"
    button.click()
    assert column(2) == expected[::-1]
    page.locator("#classes thead button").first.click()
    names = page.locator("#classes tbody th").all_inner_texts()
    assert names == sorted(category.name for category in evaluation.analysis.categories)


def test_pictures_are_ordered_by_their_errors_now(opened, report):
    page = opened(report[0])
    slide(page, 90)
    page.select_option("#order", "now")
    shown = tallies(page)
    for gallery in page.locator(".gallery").all():
        names = [card.get_attribute("data-name") for card in gallery.locator(".card").all()]
        errors = [shown[name][1][0] + shown[name][2][0] for name in names]
        assert errors == sorted(errors, reverse=True)


def test_a_picture_is_enlarged_and_the_keyboard_goes_through_them(opened, report):
    page = opened(report[0])
    names = [card.get_attribute("data-name") for card in page.locator(".card").all()]
    page.locator(".open").first.click()
    title = page.locator("#large-name")
    assert title.inner_text() == names[0]
    assert page.locator("#large image").count() == 1
    page.keyboard.press("ArrowRight")
    assert title.inner_text() == names[1]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert title.inner_text() == names[-1]
    page.keyboard.press("Escape")
    assert not page.locator("#large").is_visible()


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_a_phone_scrolls_down_and_never_sideways(opened, report, comparison, kind):
    page = opened(report[0] if kind == "report" else comparison, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(opened, report, scheme):
    """The ratio of WCAG 2.1 between text and what is behind it: 4.5 or more."""
    page = opened(report[0], color_scheme=scheme)
    back, *inks = page.evaluate("""() => ["--back", "--ink", "--soft", "--accent", "--right",
        "--wrong", "--missed"].map((name) => {
            const probe = document.body.appendChild(document.createElement("i"));
            probe.style.color = `var(${name})`;
            const rgb = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number);
            probe.remove();
            return rgb;
        })""")
    for ink in inks:
        low, high = sorted((luminance(back), luminance(ink)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, ink
    assert (luminance(back) > 0.5) == (scheme == "light")


def luminance(rgb):
    """Relative luminance of sRGB, 0 to 255: WCAG 2.1, section 1.4.3."""
    parts = np.array(rgb) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_paper_has_no_controls_and_the_whole_tables(opened, report):
    page = opened(report[0], color_scheme="dark")
    page.emulate_media(media="print")
    for hidden in (".bar", "nav", ".order"):
        assert not page.locator(hidden).is_visible()
    assert page.locator("#classes table").is_visible()
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF-")


def test_two_detectors_are_switched_apart(opened, comparison):
    page = opened(comparison)

    def drawn(selector):
        return page.evaluate(
            """(selector) => Array.from(document.querySelectorAll(selector))
            .filter((path) => getComputedStyle(path).display !== "none").length""",
            selector,
        )

    slide(page, 0)
    kinds = {
        "right-a": ".boxes .right.a:not(.both)",
        "right-b": ".boxes .right.b:not(.both)",
        "both": ".boxes .both",
        "wrong-a": ".boxes .wrong.a",
        "wrong-b": ".boxes .wrong.b",
        "missed": ".boxes .missed",
    }
    counts = {kind: drawn(selector) for kind, selector in kinds.items()}
    assert counts["both"] >= 2
    assert counts["both"] % 2 == 0
    assert counts["right-a"] > 0  # B has half of the detections of A
    for kind in kinds:
        page.uncheck(f'input[data-kind="{kind}"]')
        left = {other: drawn(selector) for other, selector in kinds.items()}
        assert left == counts | {kind: 0}
        page.check(f'input[data-kind="{kind}"]')
    assert page.locator("#f1-0").inner_text() != page.locator("#f1-1").inner_text()
