"""Every sample takes 2 ms to load and no worker helps: the model waits most of the time; the finding says what to do.

``ThroughputMonitor`` alone.
"""

import time

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset

from lightning_diag import ThroughputMonitor
from lightning_diag.demo.data import batches, real_digits
from lightning_diag.demo.module import DigitClassifier

parts = real_digits()
digits = parts["train"]


class Slow(Dataset):
    """Digits that have to be decoded."""

    def __len__(self):
        return len(digits)

    def __getitem__(self, i):
        time.sleep(0.002)
        return {"image": digits.images[i], "label": int(digits.labels[i]), "domain": int(digits.domain[i])}


monitor = ThroughputMonitor()
trainer = Trainer(max_steps=120, callbacks=[monitor])
trainer.fit(DigitClassifier(), DataLoader(Slow(), batch_size=8), batches(parts["val"]))
for finding in monitor.findings:
    print(finding.severity, finding.rule, finding.message)
    print("next:", finding.advice[0])
print(monitor.diagnosis.verdict)
