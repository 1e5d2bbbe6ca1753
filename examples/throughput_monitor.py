"""Every sample takes 5 ms to load and no worker helps: the model waits most of the time; the finding says what to do.

``ThroughputMonitor`` alone, at every step: in a run of a few seconds the default budget leaves too few looks.
"""

import time

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset

from lightning_diag import Diagnostics, ThroughputMonitor
from lightning_diag.demo.data import batches, real_digits
from lightning_diag.demo.module import DigitClassifier

parts = real_digits()
digits = parts["train"]


class Slow(Dataset):
    """Digits that have to be decoded."""

    def __len__(self):
        return len(digits)

    def __getitem__(self, i):
        time.sleep(0.005)
        return {"image": digits.images[i], "label": int(digits.labels[i]), "domain": int(digits.domain[i])}


monitor = Diagnostics([ThroughputMonitor()], every_n_steps=1)
trainer = Trainer(max_steps=120, callbacks=[monitor])
trainer.fit(DigitClassifier(), DataLoader(Slow(), batch_size=8), batches(parts["val"]))
for finding in monitor.findings:
    print(finding.severity, finding.rule, finding.message)
    print("next:", finding.advice[0])
print(monitor.diagnosis.verdict)
