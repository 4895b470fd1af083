"""A whole program: train on Fashion-MNIST, save, load, test."""

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

torch.manual_seed(0)
device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
dataset = FashionMNIST("data", train=True, download=True, transform=ToTensor())
test_set = FashionMNIST("data", train=False, download=True, transform=ToTensor())
train_set, validation_set = random_split(dataset, [5 / 6, 1 / 6])
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)


def build():
    layers = [nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU()]
    layers += [nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 7 * 7, 10)).to(device)


def accuracy(model, dataset):
    model.eval()
    right = 0
    with torch.inference_mode():
        for x, y in DataLoader(dataset, batch_size=1000):
            x, y = x.to(device), y.to(device)
            right += (model(x).argmax(dim=1) == y).sum().item()
    return right / len(dataset)


model = build()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(1, 6):
    model.train()
    for x, y in train_loader:
        x, y = x.to(device), y.to(device)
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: validation {accuracy(model, validation_set):.4f}")
torch.save(model.state_dict(), "model.pth")

model = build()
model.load_state_dict(torch.load("model.pth", map_location=device, weights_only=True))
print(f"loaded: test accuracy {accuracy(model, test_set):.4f}")
