"""The page says first what matters most, is kind to every reader, and is made of any report."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest
from made_results import result

from bakehouse.report import curve, page
from bakehouse.report.content import Report

Attributes = dict[str, str | None]
RUN: dict[str, Any] = {
    "outcome": "done",
    "error": None,
    "nodes": 2,
    "processes_per_node": 2,
    "seconds": 31.4,
    "expected": {"accuracy": 0.95},
    "attempts": [
        {
            "killed": {"node": 1},
            "records": [{"event": "step", "step": n, "loss": 3.0 - n / 10} for n in range(1, 11)],
        },
        {
            "killed": None,
            "records": [
                {"event": "resume", "step": 8},
                *[{"event": "step", "step": n, "loss": 3.0 - n / 10} for n in range(9, 21)],
                {"event": "final", "accuracy": 0.978, "held_out": 364, "samples_per_s": 3784.1},
            ],
        },
    ],
}


class Structure(HTMLParser):
    """Elements with their attributes, headings in order, and how deep each word is folded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.headings: list[tuple[int, str]] = []
        self.words: list[tuple[int, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self.open or not data.strip():
            return
        folds = self.open.count("details") - ("summary" in self.open)
        self.words.append((folds, data.strip()))
        for tag in self.open:
            if re.fullmatch(r"h[1-6]", tag):
                self.headings.append((int(tag[1]), data.strip()))

    def of(self, tag: str) -> list[Attributes]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def full(report: Report) -> Report:
    """A report with something of everything."""
    found = [
        result("swap", "warn", title="Swap warns"),
        result("memory", title="Memory passes"),
        result("clock", "skip", title="Clock skipped", reason="no clock here"),
        result("base-limit", "fail", group="host", title="Limit fails"),
    ]
    return replace(report, results=found, run=RUN)


def test_what_matters_most_comes_first(full: Report) -> None:
    words = [word for _, word in Structure(page.render(full)).words]
    order = [
        "Not as promised",
        "1 passed, 1 warning, 1 failed; 1 skipped, which is never counted as passed",
        "What needs attention", "Limit fails", "Swap warns", "Training run", "Versions", "Checks",
        "Where the time went", "What is in it", "Where it comes from",
    ]  # fmt: skip
    places = [words.index(word) for word in order]
    assert places == sorted(places)


def test_only_what_needs_attention_is_unfolded(full: Report) -> None:
    folds: dict[str, int] = {}
    for depth, word in Structure(page.render(full)).words:
        folds[word] = min(depth, folds.get(word, 9))
    assert folds["Limit fails"] == folds["Swap warns"] == 0
    assert folds["Memory passes"] == 1
    assert folds["Clock skipped"] == folds["no clock here"] == 2
    assert folds["libstdc++6"] == 1


def test_where_nothing_failed_nothing_needs_attention(report: Report) -> None:
    assert "What needs attention" not in page.render(replace(report, results=[result("memory")]))


@pytest.mark.parametrize("results", [[], [result("clock", "skip")]])
def test_where_nothing_was_checked_nothing_holds(report: Report, results: list[Any]) -> None:
    nothing = replace(report, results=results)
    assert nothing.verdict == "fail"
    assert "Nothing was checked" in page.render(nothing)
    assert "All that was checked holds" not in page.render(nothing)


def test_headings_form_an_outline(full: Report) -> None:
    levels = [level for level, _ in Structure(page.render(full)).headings]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_tables_and_drawing_have_names_for_those_who_do_not_see_them(full: Report) -> None:
    structure = Structure(page.render(full))
    assert len(structure.of("table")) == len(structure.of("caption")) >= 4
    assert {cell.get("scope") for cell in structure.of("th")} == {"row", "col"}
    names = [a["id"] for _, a in structure.elements if "id" in a]
    assert len(names) == len(set(names))
    labels = [a["aria-labelledby"] for _, a in structure.elements if "aria-labelledby" in a]
    assert {name for label in labels for name in str(label).split()} <= set(names)
    assert structure.of("html") == [{"lang": "en"}]


def colours() -> dict[str, dict[str, str]]:
    """The page's colours by name, in light and dark."""
    style = resources.files("bakehouse.report").joinpath("templates/page.html.j2").read_text()
    light, dark = re.findall(r":root \{ (--bg:[^}]*--c2[^}]*)\}", style)
    found = [dict(re.findall(r"--(\w+):(#[0-9a-f]+)", part)) for part in (light, dark)]
    return {"light": found[0], "dark": found[1]}


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [("text", "bg"), ("text", "card"), ("soft", "bg"), ("soft", "card"), ("accent", "bg"),
     ("link", "card"), ("fail", "card"), ("pass", "card")]
    + [(status, f"{status}bg") for status in ("pass", "warn", "fail", "skip")],
)  # fmt: skip
def test_text_stands_out_from_its_ground(scheme: str, text: str, ground: str) -> None:
    shades = colours()[scheme]
    darker, brighter = sorted((luminance(shades[text]), luminance(shades[ground])))
    assert (brighter + 0.05) / (darker + 0.05) >= 4.5, "WCAG 2.2, level AA"


def test_a_browser_is_told_to_load_and_run_nothing(full: Report) -> None:
    policy = [a for a in Structure(page.render(full)).of("meta") if "http-equiv" in a]
    assert policy[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "url(" not in page.render(full)
    assert "@import" not in page.render(full)


@pytest.mark.parametrize(
    "identity",
    [{}, {"stack": None, "os": None}, {"components": [{}]}, {"commit": 7, "os": {"id": "debian"}}],
)
def test_an_image_that_knows_itself_badly_has_a_page(
    report: Report, identity: dict[str, Any]
) -> None:
    assert "Where it comes from" in page.render(replace(report, identity=identity))


def test_names_that_are_no_text_are_written_anyway(report: Report) -> None:
    found = result("odd", "fail", reason="\udcff")
    assert "\\udcff" in page.render(replace(report, results=[found])).encode("utf-8").decode()


def test_a_machine_has_times_but_no_sizes_of_layers(report: Report) -> None:
    def headings(size: int) -> str:
        layer = {"name": "base", "key": "9" * 64, "seconds": 7.5, "bytes": size}
        build = {"image": "cpu", "layers": [layer]}
        return page.render(replace(report, build=build))

    assert '<th scope="col" class="num">size</th>' in headings(1000)
    assert '<th scope="col" class="num">size</th>' not in headings(0)


def test_a_run_shows_its_numbers_and_its_curve(full: Report) -> None:
    text = " ".join(word for _, word in Structure(page.render(full)).words)
    assert "97.8 % accuracy on 364 held-out samples, at least 95 % promised" in text
    assert "3784 samples per second, mean of the last attempt" in text
    assert "Attempt 1: from step 1 to step 10, when node 1 was killed" in text
    assert "Attempt 2: from the checkpoint of step 8 to step 20" in text
    assert "node 1 killed" in text
    assert "resumed" in text


def test_a_run_that_failed_says_so_and_why(full: Report) -> None:
    run = {**RUN, "outcome": "failed", "error": "node 0 ended with status 1"}
    text = page.render(replace(full, run=run))
    assert '<span class="badge fail">failed</span>' in text
    assert "node 0 ended with status 1" in text


@pytest.mark.parametrize("attempts", [[], [{"killed": None, "records": []}]])
def test_a_run_that_logged_nothing_has_no_curve(full: Report, attempts: list[Any]) -> None:
    text = page.render(replace(full, run={**RUN, "expected": {}, "attempts": attempts}))
    assert "Training run" in text
    assert "<svg" not in text


def losses(*values: float, first: int = 1) -> dict[str, Any]:
    records = [{"event": "step", "step": n, "loss": x} for n, x in enumerate(values, first)]
    return {"attempts": [{"killed": None, "records": records}]}


def numbers(found: curve.Curve) -> list[float]:
    """All coordinates of the drawing."""
    points = [float(n) for line in found.lines for n in re.split("[ ,]", line)]
    return points + [at for at, _ in (*found.x_ticks, *found.y_ticks)] + [m.x for m in found.marks]


@pytest.mark.parametrize(
    "values",
    [(2.3, 0.1), (0.0, 0.0), (1e-7, 2e-7), (-3.0, -5.0), (-1.0, 4.0), (1e9, 1.0), (0.7,) * 400],
)
def test_any_losses_fit_into_the_drawing(values: tuple[float, ...]) -> None:
    found = curve.curve(losses(*values))
    assert found is not None
    assert all(0 <= number <= curve.WIDTH for number in numbers(found))
    heights = [float(point.split(",")[1]) for point in found.lines[0].split()]
    assert all(0 <= y <= curve.HEIGHT for y in (*heights, *(y for y, _ in found.y_ticks)))
    assert 2 <= len(found.y_ticks) <= 8
    assert 2 <= len(found.x_ticks) <= 8
    labels = [text for _, text in found.y_ticks]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= 7, "more would not fit beside the drawing"


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_is_left_out_and_counted(full: Report, loss: float) -> None:
    found = curve.curve(losses(2.0, loss, 1.0))
    assert found is not None
    assert found.undrawn == 1
    assert len(found.lines[0].split()) == 2
    text = page.render(replace(full, run={**RUN, **losses(2.0, loss, 1.0)}))
    assert "1 logged steps have no finite loss" in text
    assert 'points="nan' not in text
    assert curve.curve(losses(2.0, loss)) is None


def test_steps_stand_where_their_numbers_are() -> None:
    found = curve.curve(losses(*[1.0] * 101, first=0))
    assert found is not None
    assert [text for _, text in found.x_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [at for at, _ in found.x_ticks] == [0, 200, 400, 600, 800, 1000]
    assert [text for _, text in found.y_ticks] == ["0", "0.5", "1"]


@pytest.mark.parametrize(
    ("kind", "x", "flipped"),
    [("kill", 100, False), ("kill", 990, True), ("resume", 50, False), ("resume", 400, True)],
)
def test_words_of_marks_stay_in_the_drawing(kind: str, x: float, flipped: bool) -> None:
    assert curve.Mark(x=x, text="", kind=kind).flipped is flipped
