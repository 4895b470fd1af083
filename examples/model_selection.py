r"""
Which model to trust
====================

You have trained several models. Which one is the best, and how good is it? The training
rows cannot tell: a model can remember them. The validation set compares the
candidates. The best of them may have been lucky there. So the *test set*, a third one,
measures the chosen model once more. Afterwards you can choose a model for a table of
your own, with missing values and text, and say how good it is and which mistakes it
makes.
"""

# %%
# Setup
# -----
# ``--data FILE`` reads a table of your own. Its label is last, or named by ``--label``.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from cli import fail, parse_args
from common import compare, evaluate, fit, save_figure
from lesson_data import DIABETES, read_csv, usable_columns

# In a notebook, write data="table.csv" here for a table of your own.
args = parse_args(__doc__, epochs=600, data=DIABETES, label="", seed=0)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# This is the table of logistic regression 2: a row for each woman, class 1 for
# diabetes. In five columns a 0 means that the value is missing: nobody has a blood
# pressure of 0. Three fifths of the rows are for training, a fifth each for validation
# and test. With ``stratify`` each set has about the same share of class 1.

features, labels = read_csv(args.data, args.label)
if args.data.resolve() == DIABETES:
    columns = ["glucose", "blood_pressure", "skin_thickness", "insulin", "bmi"]
    features[columns] = features[columns].replace(0, np.nan)
print(features.head().T)  # five rows, shown as columns; NaN: the value is missing
if min(labels.sum(), (1 - labels).sum()) < 5:
    fail(f"{args.data}: to be split in three, a class needs at least 5 rows")
rows, seed = np.arange(len(labels)), args.seed
rest, test = train_test_split(rows, test_size=0.2, stratify=labels, random_state=seed)
train, validation = train_test_split(
    rest, test_size=0.25, stratify=labels[rest], random_state=seed
)
print(f"rows: {len(train)} training, {len(validation)} validation, {len(test)} test")

# %%
# Preparation
# -----------
# To *impute* is to put a value in place of a missing one: in a column of numbers the
# median (half of the values are below it), in a column of text the most frequent one.
# Then numbers are standardised. Text is *one-hot* encoded: each text gets a column, 1
# where the row has it, else 0. A *pipeline* takes such steps one after the other, and a
# ``ColumnTransformer`` other ones for each kind of column. The small table has a column
# of each kind; Graz and Ulm become the last two columns.


def preparation(numbers, categories):
    number = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    text = make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot)
    return ColumnTransformer([("number", number, numbers), ("text", text, categories)])


small = pd.DataFrame({"age": [20, np.nan, 40], "city": ["Ulm", "Ulm", "Graz"]})
print(small, preparation(["age"], ["city"]).fit_transform(small).round(2), sep="\n")

# %%
# ``fit`` sees the training rows only. The other rows stand for people whom nobody has
# met yet, so medians, means, standard deviations and texts must not come from them. A
# text that is new gets 0 in each column. (`usable_columns` lists the columns of numbers
# and of text; ``iloc`` takes rows by their place.)

numbers, categories = usable_columns(features.iloc[train], labels[train])
prepare = preparation(numbers, categories)
prepare.fit(features.iloc[train])
inputs = torch.tensor(prepare.transform(features), dtype=torch.float32)
targets = torch.tensor(labels.reshape(-1, 1), dtype=torch.float32)
x, y = inputs[train], targets[train]
new_x, new_y = inputs[validation], targets[validation]

# %%
# Six candidates
# --------------
# Logistic regression and a network with 16 hidden units are trained by Adam, each with
# three weight decays. Each epoch also measures the loss on the validation rows.
#
# .. guess::
#
#    In the network without weight decay, the loss on the training rows falls. What does
#    it do on the validation rows? And with a weight decay of 0.01?

loss_fn, n = nn.BCEWithLogitsLoss(), x.shape[1]
models, final_loss = {}, {}
fig, axes = plt.subplots(2, 3, figsize=(11, 6), sharex=True, sharey=True)
for row, kind in zip(axes, ["linear", "network"]):
    for ax, decay in zip(row, [0, 0.01, 0.1]):
        torch.manual_seed(args.seed)  # the same start for each decay
        model = nn.Linear(n, 1)
        if kind == "network":
            model = nn.Sequential(nn.Linear(n, 16), nn.Tanh(), nn.Linear(16, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=decay)
        seen, unseen = [], []  # the losses on training and on validation rows
        for _ in range(args.epochs):
            seen += fit(model, x, y, loss_fn, optimizer, epochs=1, log_every=0)
            unseen.append(evaluate(model, new_x, new_y, loss_fn)[0])
        ax.plot(seen, "--", label="training rows")
        ax.plot(unseen, label="validation rows")
        ax.set_title(f"{kind}, weight decay {decay}")
        models[kind, decay], final_loss[kind, decay] = model, unseen[-1]
        print(f"{kind}, weight decay {decay}: training loss {seen[-1]:.3f}, ", end="")
        print(f"validation loss {unseen[-1]:.3f}, at its lowest {min(unseen):.3f}")
axes[0, 0].legend()
axes[1, 0].set(xlabel="epoch", ylabel="loss")
save_figure(fig, args.output / "model_selection.png")

# %%
# Without weight decay the network overfits: from some epoch on, the validation loss
# rises, while the training loss still falls. With 0.01 it rises far less, if at all.
# Choose the lowest validation loss at the end. An accuracy only counts mistakes.

# %%
# Test once
# ---------
# An accuracy is a mean: of 1 for each right row, 0 for each wrong one. Its *interval*
# is the mean plus and minus two standard errors (see overfitting). About 95 of 100
# such intervals contain the accuracy on all rows of this kind, if at least ten rows are
# right and ten wrong. The baseline predicts the more frequent class.

chosen, truth = min(final_loss, key=final_loss.get), labels[test]
print("chosen:", *chosen)
p = torch.sigmoid(models[chosen](inputs)).detach().flatten().numpy()  # of all rows
best = LogisticRegression(max_iter=1000).fit(x.numpy(), labels[train])
right = {"chosen model": (p[test] > 0.5) == truth}
right["scikit-learn"] = best.predict(inputs[test].numpy()) == truth
right["baseline"] = labels[train].mean().round() == truth
for name, hits in right.items():
    mean, error = hits.mean(), 2 * hits.std() / np.sqrt(len(hits))
    print(f"{name}: {mean:.3f}, interval {mean - error:.3f} to {mean + error:.3f}")

# %%
# Which mistakes?
# ---------------
# *Recall* is the share of class 1 that is found. *False alarms* are rows of class 0
# that are taken for class 1. Class 1 is predicted where p is above a *threshold*, so
# far 0.5. A lower one finds more. Choose it on validation rows: here it misses a fifth.
# (``confusion_matrix`` counts the rows by label and prediction.)


def mistakes(name, predicted, truth=labels[validation]):
    (correct, alarms), (missed, found) = confusion_matrix(truth == 1, predicted)
    recall, accuracy = found / (missed + found), (correct + found) / len(truth)
    print(f"{name}: {missed} of {missed + found} missed, recall {recall:.2f}; ", end="")
    print(f"{alarms} of {correct + alarms} false alarms, accuracy {accuracy:.2f}")


threshold = np.quantile(p[validation][labels[validation] == 1], 0.2)
mistakes("threshold 0.5", p[validation] > 0.5)
mistakes(f"threshold {threshold:.2f}", p[validation] > threshold)
mistakes("on the test rows", p[test] > threshold, truth)

# %%
# The test rows are other people, so the recall can differ there. On the web page of
# this lesson you can move the threshold.
#
# .. interactive:: threshold

# %%
# A weight for class 1
# --------------------
# Where class 1 is rare, a model may predict it too seldom. ``pos_weight=c`` counts each
# of its rows c times in the loss. The logit of a bias alone rises by exactly log c, the
# logits here by about log c on average. Without a weight, a threshold of 1 / (1 + c),
# here 0.3, gives nearly the same predictions. But a weight makes p too high.
# (``CrossEntropyLoss`` takes a ``weight`` for each class; a ``WeightedRandomSampler``
# draws rare rows more often.)

c, logits = torch.tensor(7 / 3), []
for function in [loss_fn, nn.BCEWithLogitsLoss(pos_weight=c)]:
    model = nn.Linear(n, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    fit(model, x, y, function, optimizer, args.epochs, log_every=0)
    logits.append(model(new_x).detach().flatten())
print(f"logits raised by {(logits[1] - logits[0]).mean():.3f}, log c is {c.log():.3f}")
p_plain, p_weighted = torch.sigmoid(torch.stack(logits))
mistakes("threshold 0.3", p_plain > 0.3)
mistakes("pos_weight", p_weighted > 0.5)
print(f"mean probability {p_plain.mean():.2f}, with pos_weight {p_weighted.mean():.2f}")

# %%
# k-fold
# ------
# *k-fold cross-validation* cuts the rows into k parts. Each part is once the validation
# set of a model trained on the others: k accuracies instead of one. Build a new model
# each time. Here the labels are tosses of a coin, which nobody can predict.
#
# .. guess::
#
#    Which five accuracies do new models get? And one model, trained again each time?

coin_x, coin_y = torch.randn(200, 400), torch.randint(0, 2, (200, 1)).float()
for kind in ["new", "used"]:
    accuracies, model = [], nn.Linear(400, 1)
    for rows, held in StratifiedKFold(5).split(coin_x, coin_y):
        if kind == "new":
            model = nn.Linear(400, 1)  # has not trained on the rows held out
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        fit(model, coin_x[rows], coin_y[rows], loss_fn, optimizer, 100, log_every=0)
        accuracies.append(evaluate(model, coin_x[held], coin_y[held], loss_fn)[1])
    print(kind, *[f"{accuracy:.2f}" for accuracy in accuracies])

# %%
# New models guess: of the 40 rows of a part about half are right, more or less by
# chance. The used model was new for the first part only. After that it has trained on
# the rows held out, so its accuracy says nothing about new rows.

# %%
# In short
# --------
# - Prepare and train on the training rows, choose on the validation rows, test once.
# - Count missed rows and false alarms, and choose a threshold for them.
# - In k-fold cross-validation each part needs a new model.
#
# Next: a model for images.

# %%
# Try it
# ------
# 1. *Predict.* ``--seed 1`` splits the rows in another way. In which interval do you
#    expect the test accuracy? Will the chosen model be better than scikit-learn's?
#    Write it down, then run ``python examples/model_selection.py --seed 1``.
# 2. *Change.* Replace ``prepare.fit(features.iloc[train])`` by
#    ``prepare.fit(features)``. Which numbers change? Why is it wrong all the same?
# 3. *Write.* Cross-validate scikit-learn's logistic regression on the rows that are not
#    for the test. ``StratifiedKFold(3).split(table, known)`` gives the rows of each
#    part, as above. Prepare the table anew for each part, with ``preparation``, and
#    collect the three values of ``score``. Use ``LogisticRegression(max_iter=1000)``.

table, known = features.iloc[rest], labels[rest]
logistic = LogisticRegression(max_iter=1000)
whole = make_pipeline(preparation(numbers, categories), logistic)
yours = None
compare("k-fold", yours, cross_val_score(whole, table, known, cv=StratifiedKFold(3)))

# %%
# Answers
# -------
# 1. Inside the interval of the first run: 0.779. It could also be outside, since other
#    test rows differ, too. One split cannot tell which of two models so close is
#    better.
# 2. No median changes by more than 2, so all numbers change little. But validation and
#    test rows have helped to prepare the inputs. In another table this can make the
#    result too good, and nothing tells you.
# 3. The pipeline does the same: it fits its preparation to the rows of each training::
#
#        yours = []
#        for rows, held in StratifiedKFold(3).split(table, known):
#            prepare = preparation(numbers, categories).fit(table.iloc[rows])
#            model = LogisticRegression(max_iter=1000)
#            model.fit(prepare.transform(table.iloc[rows]), known[rows])
#            a = prepare.transform(table.iloc[held])
#            yours.append(model.score(a, known[held]))
