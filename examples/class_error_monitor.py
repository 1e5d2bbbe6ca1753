"""A class hardly seen in training: the mean accuracy looks fine and one digit is never recognized.

``ClassErrorMonitor`` alone; the data set's ``classes`` give the names.
"""

import numpy as np
from lightning.pytorch import Trainer

from lightning_diag import ClassErrorMonitor
from lightning_diag.demo.data import batches, real_digits
from lightning_diag.demo.module import DigitClassifier

digits = real_digits()
train = digits["train"]
eights = np.flatnonzero(train.labels == 8)
rare = train.only(np.delete(np.arange(len(train)), eights[2:]))  # a filter that threw away all eights but two

monitor = ClassErrorMonitor()
trainer = Trainer(max_epochs=12, callbacks=[monitor])
trainer.fit(DigitClassifier(), batches(rare, shuffle=True), batches(digits["val"], 256))
for finding in monitor.findings:
    print(finding.severity, finding.rule, finding.where[:3], finding.message)
print(monitor.diagnosis.verdict)
