"""A run in Neuroglancer in headless Chromium without a network: every layer loads, is at its place and is drawn."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.viewed_run import COLOURED, STATE_NAMES, viewed_run

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
waiting = pytest.importorskip("selenium.webdriver.support.ui")

ROOT = Path(__file__).parents[2]
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage "
    "--window-size=1200,900"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="Chromium or its driver is not installed: apt-get install chromium chromium-driver",
    ),
    pytest.mark.skipif(
        find_spec("neuroglancer") is None, reason="neuroglancer is not installed: pip install neuroglancer"
    ),
]
FACTS = """
    return viewer.layerManager.managedLayers.map(({name, layer}) => {
        const {loadState} = layer.dataSources[0];
        if (loadState === undefined || loadState.error) return [name, String(loadState && loadState.error)];
        const {names, bounds} = loadState.transform.value.outputSpace;
        return [name, null, names, [...bounds.lowerBounds], [...bounds.upperBounds]];
    });"""
LOADED = """
    return viewer.layerManager.managedLayers.length > 0 &&
        viewer.layerManager.managedLayers.every(({layer}) => layer && layer.dataSources[0].loadState !== undefined);"""
SHOW = "viewer.layerManager.managedLayers.forEach((one) => one.setVisible(one.name.startsWith(arguments[0])));"
READY = "return viewer.layerManager.managedLayers.every((one) => one.isReady()) && viewer.display.isReady();"


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `sparse2dense view --offline` prints, while it serves."""
    run = viewed_run(tmp_path_factory.mktemp("results"))
    call = [sys.executable, "-m", "sparse2dense.stages.command", "view", str(run), "--offline"]
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [*call, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    ) as process:
        try:
            assert process.stdout is not None
            yield [process.stdout.readline().strip() for _ in range(4)][1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@pytest.fixture(scope="module")
def browser(link: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, which finds no host but this machine, on the printed link."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.page_load_strategy = "none"  # a page drawn without a GPU may take minutes, and is waited for below
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    try:
        driver.get(link)
        until(driver, f"return window.viewer !== undefined && (() => {{{LOADED}}})();")
        yield driver
    finally:
        driver.quit()


def until(browser: Any, script: str) -> None:
    waiting.WebDriverWait(browser, 300).until(lambda driver: driver.execute_script(script))


def drawn(browser: Any, name: str) -> np.ndarray:
    """Show one layer, or the three of its colours; return the colours around the middle of the xy panel, RGB."""
    browser.execute_script(SHOW, name)
    until(browser, READY)
    panel = browser.find_element("css selector", ".neuroglancer-rendered-data-panel")
    picture = np.asarray(Image.open(io.BytesIO(panel.screenshot_as_png)).convert("RGB"))
    height, width, _ = picture.shape
    return picture[height // 2 - 50 : height // 2 + 50, width // 2 - 50 : width // 2 + 50]


def test_every_layer_loads_at_its_place(browser: Any) -> None:
    """The first voxel of every volume is around the place that the volume says, and the last one as well."""
    facts = {name: rest for name, *rest in browser.execute_script(FACTS)}
    assert set(facts) == STATE_NAMES | {"pseudo worst errors"}
    for name in STATE_NAMES:
        count = 4 if name.startswith(COLOURED) else 2 if name == "pseudo stacked_affinities" else 0
        first, start, stop = (["c'"], [-0.5], [count - 0.5]) if count else ([], [], [])
        error, names, low, high = facts[name]
        assert error is None, f"{name}: {error}"
        assert names == [*first, "z", "y", "x"]
        assert low == pytest.approx([*start, 1.5, 1.5, 0.5])
        assert high == pytest.approx([*stop, 6.5, 20.5, 26.5])


def test_layers_are_drawn(browser: Any, tmp_path: Path) -> None:
    """The image in greys, labels in the colours of their objects, the channels of the nearest neighbours as colours."""
    grey = drawn(browser, "raw")
    assert (np.ptp(grey.astype(int), axis=2) <= 2).mean() > 0.9
    assert np.ptp(grey) > 100
    colours = drawn(browser, "bootstrapped segmentation best")
    assert (np.ptp(colours.astype(int), axis=2) > 20).mean() > 0.5
    assert len(np.unique(colours[:, colours.shape[1] // 2].reshape(-1, 3), axis=0)) > 1
    red, green, blue = np.median(drawn(browser, COLOURED), axis=(0, 1))
    assert red > 50
    assert (green / red, blue / red) == pytest.approx((150 / 200, 50 / 200), abs=0.03)
    browser.save_screenshot(str(tmp_path / "neuroglancer.png"))
    assert (tmp_path / "neuroglancer.png").stat().st_size > 10_000
