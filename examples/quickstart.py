"""Watch a training with one callback. Needs ``pip install 'lightning-diag[examples]'`` and no network."""

from lightning.pytorch import Trainer

from lightning_diag import Diagnostics
from lightning_diag.demo.data import batches, real_digits
from lightning_diag.demo.module import DigitClassifier

digits = real_digits()  # your data
model = DigitClassifier()  # your LightningModule: nothing in it knows about us
diag = Diagnostics()  # the one line to add
trainer = Trainer(max_epochs=10, callbacks=[diag])
trainer.fit(model, batches(digits["train"], shuffle=True), batches(digits["val"]))
print(diag.diagnosis.verdict)
print(diag.run_dir)
