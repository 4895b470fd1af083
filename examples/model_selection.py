r"""
Model selection: validation, and what accuracy hides
====================================================

Which of several models is the best, and how good is it? Two questions, two sets of
examples that no model was trained on. The *validation set* compares the candidates.
The *test set* is used once, for the candidate that was chosen. Its validation loss is
not a fair result: it is the lowest of many, and the lowest of many is partly luck.

The table is that of logistic regression, case 2, with its missing values marked as
missing. After the choice, the lesson looks at what accuracy does not show: which
mistakes the model makes, and how far its probabilities can be trusted.
"""

# %%
# Setup
# -----
# ``--data FILE`` runs the lesson on a table of your own. Its label is the last column,
# or the one that ``--label`` names.

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from cli import parse_args
from common import fail, fit, save_figure
from lesson_data import DIABETES, read_csv

args = parse_args(__doc__, epochs=200, data=DIABETES, label="")

# %%
# Data
# ----
# Nobody has a blood pressure or a body mass index of 0. In five columns of this table a
# 0 means that the value is missing.

features, labels, names = read_csv(args.data, args.label)
if args.data.resolve() == DIABETES:
    for name in ("glucose", "blood_pressure", "skin_thickness", "insulin", "bmi"):
        column = features[:, names.index(name)]  # a view: this changes the table
        column[column == 0] = np.nan
for name, count in zip(names, np.isnan(features).sum(axis=0), strict=True):
    if count:
        print(f"{name:.40}: {count} of {len(features)} values are missing")

# %%
# Three fifths of the rows are for training, one fifth each for validation and test.
# ``stratify`` keeps the share of class 1 about the same in all three.

if min(labels.sum(), (1 - labels).sum()) < 5:
    fail(f"{args.data}: to be split in three, a class needs at least 5 rows")
rest, test = train_test_split(
    np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=args.seed
)
train, validation = train_test_split(
    rest, test_size=0.25, stratify=labels[rest], random_state=args.seed
)
print(f"rows: {len(train)} training, {len(validation)} validation, {len(test)} test")

# %%
# A missing value is replaced by the median of its column. Then each column is
# standardised. Medians, means and standard deviations are computed from the training
# rows only: the other rows stand for patients that nobody has seen yet.

prepare = make_pipeline(
    SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
)
prepare.fit(features[train])
inputs = torch.tensor(prepare.transform(features), dtype=torch.float32)
inputs = inputs.to(args.device)  # (rows, columns)

# %%
# Model
# -----
# There are two: logistic regression, and the network 8-6-4-1 of case 2, with tanh
# between its layers. Each is trained with three learning rates and three values of
# *weight decay*, which pulls all weights towards 0. (Adam adds it to the gradient.)

RATES = (0.001, 0.01, 0.1)
DECAYS = (0, 0.01, 0.1)


def linear():
    return nn.Linear(len(names), 1)


def network():
    layers = nn.Linear(len(names), 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh()
    return nn.Sequential(*layers, nn.Linear(4, 1))


def probabilities(model, rows):
    with torch.inference_mode():
        p = model(inputs[rows]).flatten().cpu().double().sigmoid().numpy()
    return p.clip(1e-15, 1 - 1e-15)  # the loss takes logarithms


# %%
# Training
# --------

x = inputs[train]
y = torch.tensor(labels[train], dtype=torch.float32, device=args.device).reshape(-1, 1)
models, training_loss, validation_loss = {}, {}, {}
print(f"{'model':9}{'rate':>6}{'decay':>7}{'training':>10}{'validation':>12}")
for build, rate, decay in product((linear, network), RATES, DECAYS):
    torch.manual_seed(args.seed)  # a model starts the same with all of its settings
    model = build().to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    fit(model, x, y, nn.BCEWithLogitsLoss(), optimizer, args.epochs, log_every=0)
    key = build.__name__, rate, decay
    models[key] = model
    for losses, rows in ((training_loss, train), (validation_loss, validation)):
        losses[key] = metrics.log_loss(labels[rows], probabilities(model, rows))
    print(
        f"{build.__name__:9}{rate:6}{decay:7}"
        f"{training_loss[key]:10.4f}{validation_loss[key]:12.4f}"
    )

# %%
# Look at the blue lines on the right. Without weight decay, a higher rate fits the
# training rows better and better, and from 0.01 to 0.1 the validation rows worse: the
# network *overfits*. With weight decay (orange, green) its training loss is higher,
# and the gap between the two losses is smaller.

fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), sharey=True)
for ax, name in zip(axes, ("linear", "network"), strict=True):
    for i, decay in enumerate(DECAYS):
        for losses, style in ((validation_loss, "o-"), (training_loss, ".--")):
            values = [losses[name, rate, decay] for rate in RATES]
            ax.semilogx(RATES, values, f"C{i}{style}")
        ax.plot([], [], f"C{i}", label=f"decay {decay}")
    ax.set(title=name, xlabel="learning rate")
axes[0].set_ylabel("loss (solid: validation, dashed: training)")
axes[1].legend(loc="upper left")
save_figure(fig, args.output / "model_selection_candidates.png")

# %%
# Result
# ------
# The candidate with the lowest validation loss is chosen. How sure is the choice? The
# *bootstrap* draws as many rows as there are, with replacement, a thousand times. It
# shows how much a result depends on the rows that happen to be in the set.


def bootstrap(values):
    generator = np.random.default_rng(args.seed)
    draws = (generator.integers(len(values), size=len(values)) for _ in range(1000))
    return np.array([values[rows].mean(axis=0) for rows in draws])


chosen = min(validation_loss, key=validation_loss.get)
print("chosen: {}, rate {}, weight decay {}".format(*chosen))
row_losses = []
for model in models.values():
    p = probabilities(model, validation)
    row_losses.append(-np.log(np.where(labels[validation] == 1, p, 1 - p)))
best = bootstrap(np.transpose(row_losses)).argmin(axis=1)
again = np.sum(best == list(models).index(chosen))
print(f"the best in {again} of 1000 draws of the validation rows")
print(f"{len(set(best))} of the {len(models)} candidates are the best in some draw")

# %%
# Several candidates could have been chosen: the good ones differ by less than the
# validation rows can show. Validation avoids the bad ones; it does not find the best.
#
# Now the chosen model is evaluated on the test rows, beside scikit-learn's logistic
# regression, fitted on the same training rows, and the constant prediction.

reference = LogisticRegression().fit(inputs[train].cpu().numpy(), labels[train])
predictions = {
    "chosen": probabilities(models[chosen], test),
    "scikit-learn": reference.predict_proba(inputs[test].cpu().numpy())[:, 1],
    "constant": np.full(len(test), labels[train].mean()),
}
truth, accuracies, intervals = labels[test], {}, {}
for name, p in predictions.items():
    accuracies[name] = metrics.accuracy_score(truth, p >= 0.5)
    resampled = bootstrap((p >= 0.5) == truth)
    intervals[name] = low, high = np.percentile(resampled, [2.5, 97.5])
    print(
        f"{name:12} test loss {metrics.log_loss(truth, p):.4f}, "
        f"accuracy {accuracies[name]:.3f}, 95 % interval {low:.3f} to {high:.3f}"
    )

# %%
# The first interval lies above the accuracy of the constant: the model has learned
# something. But it contains scikit-learn's accuracy, and the other way round. The two
# models differ by less than the uncertainty of either result.
#
# What accuracy hides
# -------------------
# Accuracy counts all mistakes alike. *Recall* is the share of class 1 that is found,
# and *precision* the share of class 1 among the rows that are classified as class 1.
# At a threshold of one half, more than a third of class 1 is missed here. A lower
# threshold finds more, with more false alarms; accuracy changes less than recall. The
# threshold, too, is chosen on the validation rows: the highest with a recall of at
# least 0.8 there. On the test rows, recall differs from that, as any result varies.

p_validation = probabilities(models[chosen], validation)
_, recalls, thresholds = metrics.roc_curve(
    labels[validation], p_validation, drop_intermediate=False
)
threshold = thresholds[np.argmax(recalls >= 0.8)]  # they fall: the first is highest
p = predictions["chosen"]
for t in (0.5, threshold):
    recall = metrics.recall_score(truth, p >= t)
    precision = metrics.precision_score(truth, p >= t, zero_division=np.nan)
    accuracy = metrics.accuracy_score(truth, p >= t)
    print(f"threshold {t:.3f}: recall {recall:.3f}, ", end="")
    print(f"precision {precision:.3f}, accuracy {accuracy:.3f}")
area = metrics.roc_auc_score(truth, p)
print(f"area under the ROC curve: {area:.3f}")

# %%
# The *ROC curve* shows all thresholds at once: the recall against the share of class 0
# that is a false alarm. The area under it is the probability that a random row of
# class 1 gets a higher prediction than a random row of class 0: 0.5 for guessing, 1
# for a perfect ranking.
#
# The *calibration curve* shows whether the probabilities are right: of the rows with
# a prediction near 0.3, are 30 % of class 1? Each point is a fifth of the test rows.
# The grey band is two standard errors wide on either side: inside it, a point may be
# off the diagonal by chance.

false_alarms, recalls, _ = metrics.roc_curve(truth, p)
share, predicted = calibration_curve(truth, p, n_bins=5, strategy="quantile")
error = 2 * np.sqrt(predicted * (1 - predicted) / (len(test) / 5))

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.8))
left.plot(false_alarms, recalls, label=f"chosen model, area {area:.2f}")
for t, marker in ((0.5, "o"), (threshold, "s")):
    point = (p[truth == 0] >= t).mean(), (p[truth == 1] >= t).mean()
    left.plot(*point, f"C1{marker}", label=f"threshold {t:.2f}")
left.plot([0, 1], [0, 1], "k:", label="guessing")
left.set(title="ROC curve", xlabel="false alarms among class 0", ylabel="recall")
left.legend(loc="lower right")
right.fill_between(predicted, predicted - error, predicted + error, color="0.9")
right.plot(predicted, share, "o-", label="fifths of the test rows")
right.plot([0, 1], [0, 1], "k:", label="perfect")
right.set(title="calibration", xlabel="prediction", ylabel="share of class 1")
right.legend(loc="upper left")
save_figure(fig, args.output / "model_selection.png")
