import json
import re

import pytest

from conftest import HANG, NAMES, ROOT, slow_except

pytest.importorskip("sphinx_gallery", reason="`make install-docs` installs it")
import nbclient
import nbformat

from lessons import LESSONS, section
from notebooks import data_of, modules_of, notebook, save_downloads, to_markdown
from translate import translate_script


def run_alone(text, folder):
    content = nbformat.reads(text, as_version=4)
    nbformat.validate(content)
    (setup,) = (c for c in content.cells if "\nargs = parse_args(" in c.source)
    setup.source = re.sub(r"epochs=\d+", "epochs=2", setup.source)
    client = nbclient.NotebookClient(
        content,
        resources={"metadata": {"path": str(folder)}},
        shutdown_kernel="immediate",
        timeout=HANG,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MPLBACKEND", raising=False)  # set by another test's figures
        client.execute()
    return [out for cell in content.cells for out in cell.get("outputs", [])]


@pytest.mark.parametrize(
    "name", slow_except("linear_regression_case1", "logistic_regression_case2")
)
def test_alone(tmp_path, name):
    (lesson,) = (path for path in LESSONS if path.stem == name)
    outputs = run_alone(notebook(lesson), tmp_path)
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert [out.text for out in outputs if out.get("name") == "stderr"] == []
    assert (tmp_path / f"outputs/{name}.png").exists()
    for path in modules_of(lesson):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    for path in data_of(lesson):
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_a_table_of_one_s_own_in_a_project_of_one_s_own(tmp_path):
    """All is beside the notebook, though the folder above has data/README.md, too."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/README.md").write_text("mine")
    (here := tmp_path / "notebooks").mkdir()
    rows = ["a,b,c", *(f"{i},{i % 7},{i % 2}" for i in range(40))]
    (here / "mine.csv").write_text("\n".join(rows))
    (lesson,) = (path for path in LESSONS if path.stem == "logistic_regression_case2")
    text = notebook(lesson)
    assert text.count("data=DIABETES") == 1
    outputs = run_alone(text.replace("data=DIABETES", r"data=\"mine.csv\""), here)
    assert any("label: c" in out.get("text", "") for out in outputs)
    assert (here / "outputs").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "notebooks"]


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_the_cells_that_it_brings(tmp_path, lesson):
    """After the title, folded, short; a file that is there is left as it is."""
    save_downloads(lesson, tmp_path)
    cells = json.loads((tmp_path / f"{lesson.stem}.ipynb").read_text("utf-8"))["cells"]
    assert cells[0]["cell_type"] == "markdown"
    brought = [c for c in cells if c["metadata"].get("cellView") == "form"]
    assert brought == cells[1 : 2 + bool(data_of(lesson))]
    sources = ["".join(cell["source"]) for cell in brought]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        (tmp_path / "common.py").write_text("mine")
        for source in sources:
            exec(source, {})
    assert (tmp_path / "common.py").read_text() == "mine"


def test_markdown(tmp_path):
    folded = "<details><summary>Answer 1</summary>\n\nSo:\n\n```\nx\n```\n\n</details>"
    answers = to_markdown("Answers\n-------\n1. So::\n\n       x\n")
    assert answers == f"Answers\n-------\n\n{folded}\n"
    assert to_markdown(".. guess::\n\n   Is it?\n") == "**Guess first:** Is it?\n"
    for lesson in LESSONS:
        cells = json.loads(notebook(lesson))["cells"]
        texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
        assert not re.search(r"\.\. (guess|interactive)|::$", "".join(texts), re.M)
        answers = re.findall(r"^\d+\. ", section(lesson, "Answers"), re.M)
        assert texts[-1].count("<details>") == len(answers)
    chinese = notebook(translate_script(LESSONS[0], tmp_path))
    assert chinese.count("<details>") == 3
