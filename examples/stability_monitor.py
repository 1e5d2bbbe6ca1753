"""One image holds a value that is not a number: from its batch on the run is lost, and the finding says what began it.

``StabilityMonitor`` alone; it looks at the loss of every step.
"""

from lightning.pytorch import Trainer

from lightning_diag import StabilityMonitor
from lightning_diag.demo.data import batches, real_digits
from lightning_diag.demo.module import DigitClassifier

digits = real_digits()
train = digits["train"]
train.images[100, 0, 3, 4] = float("nan")  # 0 / 0 in some preprocessing

monitor = StabilityMonitor()
trainer = Trainer(max_epochs=4, callbacks=[monitor])
trainer.fit(DigitClassifier(), batches(train, shuffle=True), batches(digits["val"]))
for finding in monitor.findings:
    print(finding.severity, finding.rule, "first at step", finding.first_step, finding.where, finding.message)
print(monitor.diagnosis.verdict)
