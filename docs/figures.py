"""The interactive figures: which numbers of a lesson's run each draws, and its words.

``.. interactive:: bowl`` in the prose of a lesson stands for the figure. `bowl` gets
the variables of the script at that point, ``_static/bowl.js`` draws what it returns.
"""

import torch

WORDS = {  # in English; docs/locale/zh_CN/LC_MESSAGES/sphinx.po has the Chinese
    "bowl": {
        "weight": "weight",
        "bias": "bias",
        "epoch": "epoch",
        "loss": "loss",
        "rate": "learning rate",
        "diverges": "diverges",
        "start": "start",
        "caption": "Each dot is an epoch, the green one the minimum. Which learning "
        "rate has the lowest loss in the end, and how far below the first rate that "
        "diverges is it?",
    }
}


def bowl(values):
    """Return start, minimum and Hessian of the loss of a line, and a run's losses."""
    x, y = values["x"].double().cpu(), values["y"].double().cpu()
    points = torch.cat([x, torch.ones_like(x)], dim=1)
    return {
        "start": [float(number) for number in values["start"]],
        "minimum": torch.linalg.lstsq(points, y).solution.flatten().tolist(),
        "hessian": (2 * points.T @ points).tolist(),
        "rate": values["args"].lr,
        "losses": values["losses"],
    }
