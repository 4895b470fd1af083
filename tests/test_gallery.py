import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import figures
from alternatives import describe
from common import evaluate, fit
from conftest import NAMES, ROOT, quick, serve
from lessons import GLOSSARY, LESSONS, ROWS, in_short, introductions, section
from test_use_saved_model import DAMAGED, save

pytest.importorskip("sphinx_gallery", reason="`make install-docs` installs it")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.slow
BROWSER = shutil.which("google-chrome") or shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
AXE = "docs/_build/axe.min.js"
SLIDER = "linear_regression_case1"
FIGURES = {
    figure: lesson.stem
    for lesson in LESSONS
    for figure in re.findall("# .. interactive:: (.+)", lesson.read_text("utf-8"))
}
STATE = "return String(new URLSearchParams(new FormData(arguments[0])))"
SETTINGS = [(1280, "dark"), (390, "light")]  # each width and each scheme
ONE = pytest.mark.parametrize("browser", SETTINGS[:1], indirect=True)
QUICK = {name: quick(name) for name in NAMES if name not in FIGURES.values()}


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "source").mkdir()
    subprocess.run(["make", "docs/_build/tex-svg.js", AXE], cwd=ROOT, check=True)
    sphinx = [sys.executable, "-m", "sphinx", "-W", "-c", ROOT / "docs"]
    options = json.dumps(QUICK)
    env = os.environ | {"LESSON_OPTIONS": options, "GITHUB_REPOSITORY": "owner/name"}
    for more, path in ([], "html"), (["-t", "zh", "-D", "language=zh_CN"], "html/zh"):
        cache = folder / "cache" / path  # no page, so not in the zip file
        command = [*sphinx, *more, "-d", cache, folder / "source", folder / path]
        subprocess.run(command, env=env, check=True)
    return folder / "html"


@pytest.fixture(scope="module")
def address(html):
    with serve(html) as address:
        yield address


@pytest.fixture(params=SETTINGS)
def browser(request, tmp_path, address):
    """A browser without a screen, at two widths, light and dark.

    At the end its console is empty, which tells of a request that has left the site.
    """
    if not (BROWSER and DRIVER):
        pytest.skip("needs Chromium and its driver; .ci/run installs them")
    width, scheme = request.param
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        f"user-data-dir={tmp_path / 'profile'}",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.width, driver.scheme = width, scheme
    size = {"width": width, "height": 900, "deviceScaleFactor": 1}
    size["mobile"] = width < 600
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    driver.get(address)
    yield driver
    console = driver.get_log("browser")
    driver.quit()
    assert console == []


def wait(browser, condition):
    script = f"return {condition}"
    return WebDriverWait(browser, 20).until(lambda _: browser.execute_script(script))


def check_page(browser):
    """All is whole and fits into the window; axe finds nothing against WCAG, A, AA."""
    wait(browser, "document.readyState == 'complete'")
    empty = "[...document.querySelectorAll('.math')].some(m => !m.children.length)"
    wait(browser, f"!{empty}")
    bad = browser.execute_script(
        "const all = (s, bad) => [...document.querySelectorAll(s)].filter(bad);"
        "const wide = (n) => n.scrollWidth > n.clientWidth + 1;"
        "const tall = (n) => n.scrollHeight > n.clientHeight + 20;"
        "const code = all('div.highlight pre', (n) => arguments[0] > 999 && wide(n));"
        "const broken = all('img', (i) => i.complete && !i.naturalWidth);"
        "const long = all('.sphx-glr-script-out pre', tall);"
        "return [...all('html, div.math', wide), ...code, ...broken, ...long]",
        browser.width,
    )
    assert [node.text for node in bad] == []
    body = browser.find_element(By.TAG_NAME, "body")
    white = "255, 255, 255" in body.value_of_css_property("background-color")
    assert white == (browser.scheme == "light")
    script = "document.querySelectorAll('details').forEach(d => d.open = true)"
    browser.execute_script(f"{script};{(ROOT / AXE).read_text('utf-8')}")
    found = browser.execute_async_script(
        "const [tags, done] = arguments;"
        "axe.run({runOnly: tags}).then((r) => done(r.violations.flatMap((v) =>"
        "  v.nodes.map((n) => [v.id, n.html, n.failureSummary]))))",
        ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    )
    assert found == [], browser.current_url


def links(browser, selector):
    found = browser.find_elements(By.CSS_SELECTOR, selector)
    return [link.get_attribute("href") for link in found]


def count(browser, selector):
    return len(browser.find_elements(By.CSS_SELECTOR, selector))


@ONE
def test_every_page(browser, html):
    pages = links(browser, ".lesson a")
    names = [page.rpartition("/")[2].removesuffix(".html") for page in pages]
    assert names == NAMES
    where = {row.label: f"{row.name}.html" for row in ROWS.values()}
    for number, (lesson, page) in enumerate(zip(LESSONS, pages, strict=True), 1):
        browser.get(page)
        name, source = lesson.stem, lesson.read_text("utf-8")
        assert re.match(rf"{number}\. \D", browser.find_element(By.TAG_NAME, "h1").text)
        ways = links(browser, "h1 + .ways a")
        files = [way.rpartition("/")[2] for way in ways]
        assert files[:3] == [f"{name}.ipynb", f"{name}.py", f"{name}.zip"]
        assert all((html / file).is_file() for file in files[:3])
        assert ways[3].endswith(f"/github/owner/name/blob/notebooks/{name}.ipynb")
        before = ROWS[name].builds_on.split(", ") if ROWS[name].builds_on else []
        assert files[4:] == [where[label] for label in before]
        assert links(browser, ".highlight a[href*='docs.pytorch.org']")
        assert links(browser, ".highlight a[href*='#cli.parse_args']")
        article = browser.find_element(By.TAG_NAME, "article")
        text = article.get_attribute("textContent")  # also of what is folded
        assert not re.search("Go to the end|Gallery generated|\nsaved .*png", text)
        answers = len(re.findall(r"^\d+\. ", section(lesson, "Answers"), re.M))
        assert count(browser, "#answers > details") == answers
        guesses = source.count("\n# .. guess::\n")
        folded = ".guess + .highlight-Python + details > .sphx-glr-script-out"
        assert count(browser, folded) == count(browser, ".guess") == guesses
        assert count(browser, "details:not([open])") == answers + guesses
        marks = source.count("\n# .. interactive:: ")
        assert count(browser, "form.live") == marks
        assert count(browser, "script[src*='figures.js']") == bool(marks)
        assert count(browser, "article a > img")
        assert count(browser, ".project [href*='issues/new'] ~ [href*='LICENSE']")
        paragraphs = browser.find_elements(By.CSS_SELECTOR, "article p:not(.ways)")
        prose = " ".join(p.get_attribute("textContent") for p in paragraphs)
        linked = links(browser, "article p:not(.ways) > a[href*='regression_case']")
        named = re.findall(r"(?:linear|logistic) regression \d", prose)
        assert [a.rpartition("/")[2] for a in linked] == [where[n] for n in named]


def test_all_pages_in_one_file(html):
    """Each link of an index leads to a file in it; its size is the one told there."""
    path = html / "pytorch-first-lessons.zip"
    with zipfile.ZipFile(path) as archive:
        files = {name.partition("/")[2] for name in archive.namelist()}
        for folder in ("", "zh/"):
            text = archive.read(f"{path.stem}/{folder}index.html").decode()
            found = re.findall(r'(?:href|src)="(?!https?:)([^"#?]+)', text)
            targets = {os.path.normpath(folder + link) for link in found}
            assert len(targets) > 2 * len(NAMES)
            assert targets - files == set()
    megabytes = re.search(r"(\d+) MB", (ROOT / "docs/index.rst").read_text("utf-8"))[1]
    assert path.stat().st_size / 1e6 == pytest.approx(int(megabytes), rel=0.2)


@pytest.mark.parametrize("folder", ["", "zh/"])
def test_generated_pages(browser, address, folder):
    """ "In short" has each list once, the glossary each term that is introduced."""
    for page in ("modules", "glossary"):
        browser.get(f"{address}{folder}{page}.html")
        check_page(browser)
    browser.get(f"{address}{folder}in_short.html")
    lists = {lesson.stem: in_short(lesson) for lesson in LESSONS}
    bullets = re.findall(r"^- ", "\n".join(lists.values()), re.MULTILINE)
    assert count(browser, "article section section li") == len(bullets)
    pages = [link.rpartition("/")[2] for link in links(browser, "article h2 a")]
    assert pages == [f"{name}.html" for name in lists if lists[name]]
    contents = browser.find_element(By.CLASS_NAME, "toc-tree")
    assert "_" not in contents.get_attribute("textContent")  # no names of files
    browser.get(f"{address}{folder}glossary.html")
    terms = introductions()
    words = [dt.text for dt in browser.find_elements(By.TAG_NAME, "dt")]
    for word, term in zip(words, sorted(terms, key=str.lower), strict=True):
        assert word == (f"{GLOSSARY[term]} ({term})" if folder else term)
    for text in browser.find_elements(By.TAG_NAME, "dd"):
        assert len(re.findall("[\u4e00-\u9fff]", text.text)) >= 5 * bool(folder)
    pages = sorted(link.rpartition("/")[2] for link in links(browser, "dd a.internal"))
    assert pages == sorted(f"{name}.html" for name, *_ in terms.values())


@ONE
@pytest.mark.parametrize(
    ("folder", "word", "found", "not_found"),
    [
        ("", "mat1 and mat2 shapes cannot be multiplied", "error_messages", SLIDER),
        ("zh/", "Trying to backward through the graph", "error_messages", SLIDER),
        ("zh/", "学习率", SLIDER, "use_saved_model"),
    ],
)
def test_search(browser, address, folder, word, found, not_found):
    browser.get(f"{address}{folder}index.html")
    browser.execute_script(
        "const box = document.querySelector('.sidebar-search');"
        "box.value = arguments[0]; box.form.submit()",
        word,
    )
    wait(browser, f"document.querySelector('ul.search a[href*=\"{found}.html\"]')")
    pages = links(browser, "ul.search li a")
    assert any(f"{folder}{found}.html" in page for page in pages)
    assert not any(not_found in page for page in pages)


def test_both_languages(browser, address):
    """The switch leads to the same page and back; only figures are in English there."""

    def switch():
        found = browser.find_elements(By.CSS_SELECTOR, "a.language")
        shown = next(link for link in found if link.is_displayed())
        browser.execute_script("arguments[0].click()", shown)
        check_page(browser)
        return browser.current_url.removeprefix(address)

    for name in [*NAMES, "index", "distributed", "in_short", "teaching"]:
        browser.get(f"{address}{name}.html")
        assert switch() == f"zh/{name}.html"
        assert wait(browser, "document.documentElement.lang") == "zh-CN"
        assert count(browser, "article .untranslated:not(img)") == 0
        for figure in browser.find_elements(By.CSS_SELECTOR, "article a > img"):
            assert re.search("[\u4e00-\u9fff]", figure.get_attribute("alt"))
        assert switch() == f"{name}.html"


def test_figures(browser, address):
    for name, lesson in FIGURES.items():
        page, form = f"{address}zh/{lesson}.html", f"document.querySelector('.{name}')"
        browser.get(page)
        box = wait(browser, form)
        controls = "[type=range], :checked, button"
        for control in box.find_elements(By.CSS_SELECTOR, controls):
            before = browser.execute_script(STATE, box)
            control.send_keys(Keys.ARROW_LEFT, Keys.ENTER)  # Enter sends no form
            assert browser.execute_script(STATE, box) != before
        state = browser.execute_script(STATE, box)
        link = f"{page}#{name}?{state}"
        wait(browser, f"location.href == '{link}'")
        browser.get(address)
        browser.get(link)
        assert browser.execute_script(STATE, wait(browser, form)) == state


def test_alternative_text():
    """It has what is seen: where a line begins, ends and turns, bars, many points."""
    fig, (left, middle, right) = plt.subplots(1, 3)
    left.plot([3, 1, 2], label="loss")
    left.set(title="tanh", xlabel="epoch")
    middle.barh(["a", "b"], [0.25, 4])
    right.plot([9, 0, 9, 0, 9, 0, 9], [8, 7, 6, 5, 4, 3, -9], "o")
    assert describe(fig) == [
        ["axes", "tanh", "epoch", "0", "2"],
        ["line", "loss", "3", "2"],
        ["lowest", "1", "epoch", "1"],
        ["bars", "x", "b: 4, a: 0.25"],
        ["axes", "y", "x", "0", "9"],
        ["cloud", "y", "7", "3", "3", "0", "1"],
    ]
    plt.close(fig)


def show(browser, address, name, page=None):
    """Open a figure; return it, its run, and what sets it and returns a property."""
    browser.get(f"{address}{page or FIGURES[name]}.html")
    box = wait(browser, f"document.querySelector('form.{name}')")

    def put(seen, **state):
        script = (
            "const [box, state, seen] = arguments;"
            "for (const key in state) box.elements[key].value = state[key];"
            "box.dispatchEvent(new Event('input')); return box[seen]"
        )
        return browser.execute_script(script, box, state, seen)

    return box, json.loads(box.get_attribute("data-run")), put


@ONE
def test_bowl(browser, address):
    """Losses are the run's, and NumPy's at each rate. Print opens all, without it."""
    box, run, put = show(browser, address, "bowl")
    figure = browser.find_element(By.CSS_SELECTOR, "article a > img")
    assert f" from {run['losses'][0]:.3g} to " in figure.get_attribute("alt")
    assert put("losses") == pytest.approx(run["losses"], rel=0.01)
    x, ends = np.column_stack([[1, 2, 3], np.ones(3)]), []
    for rate in np.arange(1, 67) / 1000:
        p, losses = np.array(run["start"]), []
        for _ in run["losses"]:
            error = x @ p - [2, 4, 6]
            losses.append(error @ error)
            p = p - rate * 2 * error @ x
        assert put("losses", rate=rate) == pytest.approx(losses, rel=1e-6)
        assert ("grows" in put("className")) == (losses[-1] > losses[0])
        ends.append(losses[-1])
    assert np.flatnonzero(np.array(ends) > losses[0])[0] == np.argmin(ends) + 3
    browser.execute_cdp_cmd("Page.printToPDF", {})
    assert count(browser, "details:not([open])") == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    boxes = "[...document.querySelectorAll('pre')]"
    assert wait(browser, f"{boxes}.every(p => p.scrollHeight < p.clientHeight + 20)")
    assert not box.is_displayed()


@ONE
def test_sigmoid(browser, address):
    """Losses and mistakes are NumPy's; four right points can have the larger loss."""
    _, run, put = show(browser, address, "sigmoid")
    x, sign = np.array(run["x"]), 2 * np.array(run["y"]) - 1

    def losses(w, b):
        z = np.multiply.outer(w, x) + np.asarray(b)[..., None]
        return np.logaddexp(0, -sign * z), ((z > 0) != (sign > 0)).sum(axis=-1)

    near = losses(run["weight"], run["bias"])[0]  # the sliders have steps of 0.02
    assert put("losses") == pytest.approx(near, rel=0.05)
    for w, b in [(0.02, -0.02), (10, -9.98), (-2, 2), (0, 0), (10, -20)]:
        seen, wrong = losses(w, b)
        assert put("losses", weight=w, bias=b) == pytest.approx(seen)
        assert put("mistakes") == wrong
    places = np.meshgrid(np.arange(-100, 501) / 50, np.arange(-1000, 101) / 50)
    seen, wrong = losses(*places)
    assert seen.mean(axis=-1)[wrong == 0].max() == pytest.approx(0.68, abs=0.01)
    assert seen.mean(axis=-1)[wrong == 1].min() == pytest.approx(0.18, abs=0.01)


@ONE
def test_threshold(browser, address):
    _, run, put = show(browser, address, "threshold")
    for t in np.arange(101) / 100:
        for counts, rows in zip(put("counts", threshold=t), run.values(), strict=True):
            p, y = np.array(rows).T
            wrong = (p > t) != y
            expected = [wrong[y == 1].sum(), wrong[y == 0].sum(), 1 - wrong.mean()]
            assert counts == pytest.approx(expected)
    text = browser.find_element(By.TAG_NAME, "article").get_attribute("textContent")
    numbers = re.search(r"threshold 0.5: (\d+) of .*; (\d+) of 100 false", text)
    (eight, more, _), (eleven, *_), (_, usual, _) = (
        put("counts", threshold=t)[0] for t in (0.2, 0.21, 0.5)
    )
    assert (eight, eleven, more - usual) == (8, 11, 31)  # the task
    validation, test = put("counts")
    assert [*map(int, numbers.groups())] == validation[:2]
    assert f"chosen model: {test[2]:.3f}" in text


@ONE
def test_hidden_units(browser, address):
    """Training is PyTorch's from the same start; with any start, 0.94 needs three."""
    feature = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    box, run, put = show(browser, address, "hidden")
    x, y = torch.tensor(run["points"]), torch.tensor(run["labels"])
    cluster = torch.arange(400_000) % 4
    new_x = torch.tensor(run["centres"])[cluster] + torch.randn(400_000, 2)
    new_y = torch.tensor(run["classes"])[cluster]
    for n, relu, start in [(1, 0, 0), (3, 0, 2), (10, 0, 1), (10, 1, 5)]:
        begin = "return [...arguments[0].begin(arguments[1], arguments[2])]"
        *units, last = browser.execute_script(begin, box, n, start)
        units, half = torch.tensor(units).reshape(n, 4), torch.tensor([[-0.5], [0.5]])
        middle = nn.Identity() if relu else nn.ReLU()
        model = nn.Sequential(nn.Linear(2, n), middle, nn.Linear(n, 2))
        values = units[:, :2], units[:, 2], half * units[:, 3], half[:, 0] * last
        for p, value in zip(model.parameters(), values, strict=True):
            p.data = value
        optimizer = torch.optim.SGD(model.parameters(), lr=run["rate"])
        args = nn.CrossEntropyLoss(), optimizer, run["epochs"], 0
        losses = fit(model, x, y, *args)
        seen = put("losses", units=n, relu=relu, start=start)
        assert seen == pytest.approx(losses, abs=1e-4)
        accuracy = evaluate(model, new_x, new_y, args[0])[1]
        assert put("accuracy") == pytest.approx(accuracy, abs=3e-3)
    most = [
        max(put("accuracy", units=n, relu=0, start=start) for start in range(20))
        for n in (1, 2, 3)
    ]
    assert max(most[:2]) < 0.9 < 0.94 < most[2]


@ONE
def test_draw(browser, address, html, lesson, tmp_path):
    """The lesson's numbers, also of a file; on a page with the model it comes with."""
    v = lesson("use_saved_model").vars
    run = escape(json.dumps(figures.draw(v)))
    page = (html / "use_saved_model.html").read_text("utf-8")
    page = re.sub('(live draw.*?data-run=")[^"]*', rf"\1{run}", page)
    (html / "draw.html").write_text(page, "utf-8")
    box, _, put = show(browser, address, "draw", "draw")

    def check(x, within):
        p = v["model"](x.flatten()).softmax(0).tolist()
        assert put("pixels") == pytest.approx(x.flatten().tolist(), abs=within)
        assert put("probabilities") == pytest.approx(p, abs=0.01)

    samples = box.find_elements(By.CSS_SELECTOR, "button[aria-label]")
    for button, x in zip(samples, v["x"], strict=True):
        button.send_keys(Keys.ENTER)
        check(x, 0.003)
    # The task, by the arrow keys and Space: the fewest pixels whose terms outweigh.
    (w, b), x = v["model"].state_dict().values(), x.flatten()
    lead, terms, ways = (w @ x + b)[3] - (w @ x + b), (w[3] - w) * x, []
    for k in {*range(10)} - {3}:
        order = terms[k].argsort(descending=True)
        enough = terms[k][order].cumsum(0) > lead[k]
        ways.append((enough.tolist().index(True) + 1, k, order.tolist()))
    fewest, k, order = min(ways)
    paper = box.find_element(By.CSS_SELECTOR, "[role=application]")
    at = 13 * 29  # the cursor starts in the middle
    for i in order[:fewest]:
        assert np.argmax(put("probabilities", tool=1, width=1)) == 3
        right, down, at = i % 28 - at % 28, i // 28 - at // 28, i
        keys = [Keys.ARROW_RIGHT] * right + [Keys.ARROW_LEFT] * -right
        paper.send_keys(*keys, *[Keys.ARROW_DOWN] * down, *[Keys.ARROW_UP] * -down, " ")
    assert np.argmax(put("probabilities")) == k
    says = box.find_element(By.TAG_NAME, "output")
    assert says.text.endswith(f" {fewest}")
    # A file is prepared as in the lesson, or refused.
    file = box.find_element(By.CSS_SELECTOR, "[type=file]")
    file.send_keys(str(path := save("clear.png", tmp_path)))
    seen = v["prepare"](path)[1]
    WebDriverWait(browser, 20).until(lambda _: put("pixels")[0] != x[0])
    check(seen, 0.02)
    DAMAGED["blank"][0](bad := tmp_path / "blank.png")
    file.send_keys(str(bad))
    WebDriverWait(browser, 20).until(lambda _: not re.search(r"\d", says.text))
    check(seen, 0.02)
