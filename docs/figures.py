"""The interactive figures: which numbers of a lesson's run each draws, and its words.

``.. interactive:: bowl`` in the prose of a lesson stands for the figure. `bowl` gets
the variables of the script at that point, ``_static/bowl.js`` draws what it returns.
"""

import base64

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
    },
    "sigmoid": {
        "hours": "hours",
        "probability": "probability",
        "loss": "loss of each point",
        "weight": "weight",
        "bias": "bias",
        "mean": "mean loss",
        "mistakes": "mistakes",
        "caption": "A wrong point is orange; the dashed line is where the probability "
        "is 0.5. Find the largest mean loss without a mistake, and the smallest with "
        "one mistake. Which of the two is larger?",
    },
    "hidden": {
        "units": "hidden units",
        "activation": "activation function",
        "relu": "with the ReLU",
        "none": "without it",
        "again": "another start",
        "epoch": "epoch",
        "loss": "loss",
        "accuracy": "accuracy on fresh points",
        "best": "best possible",
        "caption": "With the ReLU, a hidden unit is 0 on one side of its dashed line. "
        "How few units reach an accuracy of 0.94? Try several starts for each number.",
    },
    "threshold": {
        "probability": "predicted probability of class 1",
        "zero": "rows of class 0",
        "one": "rows of class 1",
        "threshold": "threshold",
        "validation": "validation rows:",
        "test": "test rows:",
        "missed": "missed",
        "alarm": "false alarms",
        "accuracy": "accuracy",
        "caption": "Each block is a validation row. Which is the highest threshold "
        "that misses at most 8 rows of class 1? How many more false alarms are there "
        "than at 0.5? Then look at the test rows.",
    },
    "draw": {
        "seen": "what the model sees",
        "paint": "painting: arrow keys move, Space paints",
        "or": "or",
        "file": "image file",
        "clear": "clear",
        "tool": "tool",
        "pencil": "pencil",
        "eraser": "eraser",
        "width": "width",
        "changed": "pixels changed",
        "refused": "This is no image that the browser can read, or nothing in it "
        "stands out from its border.",
        "caption": "Paint (with the mouse, a finger, or the arrow keys and Space), "
        "take one of the four samples, or drop an image file: it does not leave your "
        "computer. Red pixels count for the first class, blue ones for the second. How "
        "few pixels can you erase so that the trousers are no longer taken for a "
        "dress?",
    },
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


def sigmoid(values):
    """Return the points, and weight and bias of the last model."""
    return {
        "x": values["x"].flatten().tolist(),
        "y": values["y"].flatten().tolist(),
        "weight": values["model"].weight.item(),
        "bias": values["model"].bias.item(),
    }


def hidden(values):
    """Return the training points, how to train, and where fresh points come from."""
    return {
        "points": values["x"].double().round(decimals=4).tolist(),
        "labels": values["y"].tolist(),
        "rate": values["args"].lr,
        "epochs": values["args"].epochs,
        "centres": values["centres"].tolist(),
        "classes": values["classes"].tolist(),
        "best": values["best_accuracy"],
    }


def threshold(values):
    """Return probability and label of each row, in the order of the probabilities."""
    p, labels = values["p"].astype(float).round(6).tolist(), values["labels"].tolist()
    rows = {key: values[key].tolist() for key in ("validation", "test")}
    return {key: sorted((p[i], int(labels[i])) for i in rows[key]) for key in rows}


def draw(values):
    """Return the classes, the weights as integers to be times a scale, and samples."""
    weight, bias = (tensor.double() for tensor in values["model"].state_dict().values())
    scale = weight.abs().max().item() / 32767
    integers = (weight / scale).round().numpy().astype("<i2")
    samples = zip(values["paths"], (255 * values["x"]).round().byte(), strict=True)
    return {
        "classes": values["CLASSES"],
        "scale": scale,
        "weight": base64.b64encode(integers).decode(),
        "bias": bias.tolist(),
        "samples": {path.stem: bytes(x.flatten()).hex() for path, x in samples},
    }
