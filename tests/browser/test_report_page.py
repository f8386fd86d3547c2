"""The report in headless Chromium without a network: pictures load, tables sort, pictures enlarge, no complaints."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparse2dense.stages.reporting import write_report
from tests.report_example import example_run

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="Chromium or its driver is not installed: apt-get install chromium chromium-driver",
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with an empty profile and no way out."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.execute_cdp_cmd("Network.enable", {})
    unreachable = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", unreachable)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_report(folder / "report.html", **example_run(folder))
    return folder / "report.html"


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The page, freshly loaded in a wide window."""
    show(browser, page, 1280)
    return browser


def show(browser: Any, page: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def column(browser: Any, number: int) -> list[str]:
    """Text of a column of the table of scores, visible rows only."""
    script = """
        return [...document.querySelectorAll("#score-table tbody tr")].filter((row) => !row.hidden)
            .map((row) => row.cells[arguments[0]].textContent.trim());"""
    return list(browser.execute_script(script, number))


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_nothing_complains_and_nothing_is_asked_from_the_network(opened: Any) -> None:
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    requests = [
        entry["message"] for entry in opened.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert not [message for message in requests if '"url":"http' in message]


def test_every_picture_loads(opened: Any) -> None:
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('main img')].map((img) => [img.complete, img.naturalWidth, img.alt]);"
    )
    assert len(sizes) == 13 + 8
    assert all(complete and width in (640, 40) and alt for complete, width, alt in sizes)


def test_charts_are_drawn_in_the_ink_of_the_page(opened: Any) -> None:
    charts = opened.execute_script(
        "return [...document.querySelectorAll('.chart svg')].map((svg) => "
        "[svg.getBoundingClientRect().width, svg.getBoundingClientRect().height, svg.querySelectorAll('path').length]);"
    )
    assert len(charts) == 2 * 2 * 4 + 4 + 2 * 2
    assert all(width > 300 and height > 150 and paths > 5 for width, height, paths in charts)


def test_tables_sort_both_ways_as_numbers(opened: Any) -> None:
    before = column(opened, 5)
    click(opened, "#score-table th:nth-child(6) button")
    ascending = column(opened, 5)
    assert ascending == sorted(before, key=float) and ascending != before
    click(opened, "#score-table th:nth-child(6) button")
    assert column(opened, 5) == sorted(before, key=float, reverse=True)
    state = opened.execute_script("return document.querySelector('#score-table th:nth-child(6)').ariaSort")
    assert state == "descending"


def test_times_sort_by_length_not_by_spelling(opened: Any) -> None:
    click(opened, "table.bars th:nth-child(3) button")
    rules = opened.execute_script(
        "return [...document.querySelectorAll('table.bars tbody th')].map((cell) => cell.textContent);"
    )
    assert rules == ["train_2d", "predict"]


def test_scores_are_shown_for_the_chosen_track_and_convention(opened: Any) -> None:
    assert set(column(opened, 2)) == {"interior"}
    opened.execute_script("""
        const select = document.querySelector('select[data-column="track"]');
        select.value = "bootstrapped";
        select.dispatchEvent(new Event("change", { bubbles: true }));""")
    assert len(column(opened, 0)) == 2 * 4
    assert all("bootstrapped" in text for text in column(opened, 1))


def test_scores_by_skeletons_of_every_threshold_open_and_are_chosen_by_track(opened: Any) -> None:
    rows = """
        const rows = [...document.querySelectorAll("#skeleton-table tbody tr")];
        return rows.filter((row) => row.checkVisibility()).length;"""
    assert opened.execute_script(rows) == 0, "closed at first"
    click(opened, "#skeletons summary")
    assert opened.execute_script(rows) == 3 * 4
    opened.execute_script("""
        const select = document.querySelector('#skeletons select[data-column="track"]');
        select.value = "baseline";
        select.dispatchEvent(new Event("change", { bubbles: true }));""")
    assert opened.execute_script(rows) == 4


def test_a_picture_enlarges_and_closes(opened: Any) -> None:
    state = """
        const viewer = document.getElementById("viewer"), picture = viewer.querySelector("img");
        return [viewer.open, picture.naturalWidth, picture.getBoundingClientRect().width];"""
    assert opened.execute_script(state)[0] is False
    click(opened, "#fragments button.zoom")
    is_open, natural, whole = opened.execute_script(state)
    assert is_open and natural == 640 and whole > 0
    click(opened, "#viewer img")
    assert opened.execute_script(state)[2] > 1.5 * whole
    click(opened, "#viewer button")
    assert opened.execute_script(state)[0] is False


def test_pictures_side_by_side_move_together(opened: Any) -> None:
    """By buttons, keys and dragging; none leaves its pane, and 0 shows all of them again."""
    state = """
        const panes = [...document.querySelectorAll(".pane")].filter((pane) => pane.checkVisibility());
        return panes.map((pane) => {
            const [box, image] = [pane.getBoundingClientRect(), pane.querySelector("img").getBoundingClientRect()];
            return [image.width / box.width, (image.left - box.left) / box.width, (image.top - box.top) / box.height];
        }).map((numbers) => numbers.map((number) => Math.round(10 * number) / 10).join(" "));"""
    assert opened.execute_script(state) == ["1 0 0"] * 4
    click(opened, '.compare button[data-zoom="2"]')
    assert opened.execute_script(state) == ["2 -0.5 -0.5"] * 4
    key = """
        const group = document.querySelector(".compare");
        for (const key of arguments) {
            group.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
        }"""
    opened.execute_script(key, "ArrowRight", "ArrowUp")
    assert opened.execute_script(state) == ["2 -0.6 -0.4"] * 4
    opened.execute_script(key, *["ArrowLeft"] * 20)
    assert opened.execute_script(state) == ["2 0 -0.4"] * 4, "no further than the edge"
    pane = opened.find_element("css selector", ".compare .pane")
    webdriver.ActionChains(opened).drag_and_drop_by_offset(pane, -round(0.3 * pane.size["width"]), 0).perform()
    assert opened.execute_script(state) == ["2 -0.3 -0.4"] * 4
    opened.execute_script(key, "0")
    assert opened.execute_script(state) == ["1 0 0"] * 4
    opened.execute_script("""
        const select = document.querySelector(".compare select");
        select.value = "12";
        select.dispatchEvent(new Event("change"));""")
    shown = "return [...document.querySelectorAll('.pane img')].filter((i) => i.checkVisibility()).map((i) => i.alt);"
    assert all("section 12 of away" in name for name in opened.execute_script(shown))
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_never_scrolls_sideways(browser: Any, page: Path, width: int) -> None:
    show(browser, page, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_dark_and_light_have_contrast(browser: Any, page: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        show(browser, page, 1280)
        script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor];"
        colours.append(tuple(sum(map(int, text[4:-1].split(","))) for text in browser.execute_script(script)))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    (dark_ink, light_paper), (light_ink, dark_paper) = colours
    assert light_paper - dark_ink > 450 and light_ink - dark_paper > 450


def test_print_shows_the_configuration_and_no_controls(opened: Any) -> None:
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script("return document.querySelector('#config details').open") is True
    opened.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script("return document.querySelector('#config details').open") is False
    pdf = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert pdf.startswith("JVBER") and len(pdf) > 20_000
