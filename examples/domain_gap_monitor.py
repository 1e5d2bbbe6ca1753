"""Printed digits for training, handwriting in the world: which classes suffer, and what gives the prints away.

``DomainGapMonitor`` beside an ordinary training; the batches say their domain under the key ``domain``.
"""

from lightning.pytorch import Trainer

from lightning_diag import DomainGapMonitor
from lightning_diag.demo.data import batches, real_digits
from lightning_diag.demo.module import DigitClassifier
from lightning_diag.demo.rendering import synthetic_digits

held_out = synthetic_digits(200, seed=1) + real_digits()["val"]  # synthetic ones as well: the gap is measured from them
monitor = DomainGapMonitor(domain="domain", names=["synthetic", "real"])
trainer = Trainer(max_epochs=8, callbacks=[monitor], enable_checkpointing=False)
trainer.fit(DigitClassifier(), batches(synthetic_digits(1200), shuffle=True), batches(held_out, 256))
for finding in monitor.findings:
    print(finding.severity, finding.rule, finding.where, finding.message)
    print("   try:", finding.advice[0])
print(monitor.diagnosis.verdict)
