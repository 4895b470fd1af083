"""Does the gallery work in a browser, offline, and does each notebook run alone?"""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest
from conftest import NAMES, QUICK, ROOT

pytest.importorskip("sphinx_gallery", reason="`make .venv/docs` installs what it needs")
import nbclient
import nbformat
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.slow
BROWSER = shutil.which("google-chrome") or shutil.which("chromium")
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The folder of a gallery whose lessons have run with few epochs."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "source").mkdir()
    if not (ROOT / "docs/_build/tex-svg.js").exists():
        subprocess.run(["make", "docs/_build/tex-svg.js"], cwd=ROOT, check=True)
    sphinx = [sys.executable, "-m", "sphinx", "-W", "-c", ROOT / "docs"]
    done = subprocess.run(
        [*sphinx, "-d", folder / "doctrees", folder / "source", folder / "html"],
        env=os.environ | {"LESSON_OPTIONS": json.dumps(QUICK)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def address(html):
    """The address of a server of the gallery on this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def browser(request, tmp_path, address):
    """A browser without a screen, at two widths, light and dark, that reaches only us.

    At the end, no request has left the page and nothing is in its console.
    """
    if not (BROWSER and DRIVER):
        pytest.skip("needs Chromium and its driver; .ci/run installs them")
    width, scheme = request.param
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{argument}")
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path)}
    )
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.width, driver.scheme = width, scheme
    size = {"width": width, "height": 900, "deviceScaleFactor": 1}
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", size | {"mobile": width < 600}
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get(address)
    yield driver
    console = driver.get_log("browser")
    messages = [
        json.loads(e["message"])["message"] for e in driver.get_log("performance")
    ]
    driver.quit()
    requests = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert address in requests
    assert {url for url in requests if not url.startswith((address, "data:"))} == set()
    assert console == []


def wait(browser, script):
    """Wait until ``script`` is true in the page, for at most 20 seconds."""
    WebDriverWait(browser, 20).until(
        lambda _: browser.execute_script(f"return {script}"), script
    )


def check_page(browser):
    """Whatever the page: it is lit as asked for, its pictures load, its formulas show,
    it fits, and where there is room no line of code or output runs out of its box."""
    wait(browser, "document.readyState == 'complete'")
    wait(browser, "[...document.images].every(i => i.complete && i.naturalWidth)")
    wait(
        browser,
        "[...document.querySelectorAll('.math')].every("
        "m => m.querySelector('svg')?.getBoundingClientRect().width)",
    )
    background, excess, lines = browser.execute_script(
        "return [getComputedStyle(document.body).backgroundColor,"
        "document.documentElement.scrollWidth - window.innerWidth,"
        "[...document.querySelectorAll('article pre')]"
        ".filter(p => p.scrollWidth > p.clientWidth).map(p => p.textContent)]"
    )
    red, green, blue = map(int, re.findall(r"\d+", background)[:3])
    assert (red + green + blue > 380) == (browser.scheme == "light")
    assert excess <= 0
    assert lines == [] or browser.width < 1280


def click(browser, selector, which=0):
    """Click as a reader does: scroll there, and hit what is on top."""
    element = browser.find_elements(By.CSS_SELECTOR, selector)[which]
    browser.execute_script(
        "arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", element
    )
    element.click()


def links(browser, selector):
    return [
        link.get_attribute("href")
        for link in browser.find_elements(By.CSS_SELECTOR, selector)
    ]


def test_every_lesson_in_reading_order(browser):
    check_page(browser)
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.sphx-glr-thumbcontainer img')]"
        ".map(i => `${i.width} x ${i.height}`)"
    )
    assert len(sizes) == len(NAMES)
    assert len(set(sizes)) == 1
    pages = links(browser, ".sphx-glr-thumbcontainer a")
    names = [page.rpartition("/")[2].removesuffix(".html") for page in pages]
    assert sorted(names) == sorted(NAMES)
    assert names[0] == "linear_regression_case1"
    topics = ["linear", "logistic", "classification", "activation"]
    assert list(dict.fromkeys(name.partition("_")[0] for name in names))[:4] == topics
    formulas = 0
    for i, page in enumerate(pages):
        click(browser, ".sphx-glr-thumbcontainer a", i)
        WebDriverWait(browser, 20).until(
            lambda _, page=page: browser.current_url == page
        )
        check_page(browser)
        assert browser.find_elements(By.CSS_SELECTOR, "article img")
        assert links(browser, ".highlight a[href*='docs.pytorch.org']")
        assert links(browser, ".highlight a[href*='modules.html#common.']")
        formulas += len(browser.find_elements(By.CSS_SELECTOR, ".math svg"))
        assert links(browser, "a.next-page") == pages[i + 1 : i + 2]
        browser.back()
    assert formulas > 10


def test_search(browser):
    browser.execute_script(
        "const box = document.querySelector('.sidebar-search');"
        "box.value = 'curvatures'; box.form.submit()"
    )
    wait(browser, "document.querySelector('ul.search li a')")
    check_page(browser)
    found = links(browser, "ul.search li a")
    assert any("linear_regression_case1.html" in page for page in found)
    assert not any("classification.html" in page for page in found)


def test_notebook_downloads(browser, tmp_path):
    click(browser, ".sphx-glr-thumbcontainer a")
    wait(browser, "document.readyState == 'complete'")
    click(browser, ".sphx-glr-download-jupyter a")
    path = tmp_path / "linear_regression_case1.ipynb"
    WebDriverWait(browser, 20).until(lambda _: path.exists(), "no notebook")
    nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_alone(html, tmp_path, name):
    """In a fresh folder with what the zip file of the page holds, and no options."""
    (archive,) = html.glob(f"_downloads/*/{name}.zip")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    notebook = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
    assert "common.py" in notebook.cells[0].source
    (setup,) = (cell for cell in notebook.cells if "= options(" in cell.source)
    setup.source, changes = re.subn(r"epochs=\d+", "epochs=2", setup.source)
    assert changes == 1
    setup.source = setup.source.replace("sample=False", "sample=True")
    nbclient.NotebookClient(
        notebook,
        resources={"metadata": {"path": str(tmp_path)}},
        shutdown_kernel="immediate",
        timeout=300,
    ).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert [out.text for out in outputs if out.get("name") == "stderr"] == []
    assert (tmp_path / f"outputs/{name}.png").exists()
