"""Read the images of a folder with workers: python data_loading_workers.py FOLDER"""

import sys
import time

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

steps = [transforms.Grayscale(), transforms.Resize((28, 28)), transforms.ToTensor()]

if __name__ == "__main__":
    dataset = ImageFolder(sys.argv[1], transform=transforms.Compose(steps))
    for workers in [0, 1, 2]:
        torch.manual_seed(0)
        loader = DataLoader(dataset, batch_size=64, shuffle=True, num_workers=workers)
        start = time.perf_counter()
        images = torch.cat([x for x, y in loader])
        seconds = time.perf_counter() - start
        if workers == 0:
            reference = images
        equal = torch.equal(images, reference)
        print(f"{workers} workers: {seconds:.2f} s, same batches: {equal}")
