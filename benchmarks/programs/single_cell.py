"""scvi-tools: a variational autoencoder of gene counts (``scvi``), and one with an adversary (``totalvi``).

The package makes the trainer itself. ``totalvi`` has two optimizers under manual optimization; data from the package.
"""

import sys

import scvi
from fingerprint import tell


def main(kind: str) -> None:
    """Train on synthetic counts of two batches."""
    scvi.settings.seed = 0
    scvi.settings.dl_num_workers = 0
    data = scvi.data.synthetic_iid(batch_size=400, n_genes=200)
    plan = {"accelerator": "cpu", "enable_progress_bar": False}
    if kind == "scvi":
        scvi.model.SCVI.setup_anndata(data, batch_key="batch")
        model = scvi.model.SCVI(data)
        model.train(max_epochs=40, check_val_every_n_epoch=1, **plan)
    else:
        scvi.model.TOTALVI.setup_anndata(data, batch_key="batch", protein_expression_obsm_key="protein_expression")
        model = scvi.model.TOTALVI(data)
        model.train(max_epochs=40, adversarial_classifier=True, check_val_every_n_epoch=1, **plan)
    last = {name: float(frame.iloc[-1, 0]) for name, frame in sorted(model.history.items())}
    tell(model.module, last)


main(sys.argv[1])
