"""pytorch-tabular (``pytorch_lightning``): a perceptron that classifies a table; the package makes the trainer."""

import pandas as pd
from fingerprint import tell
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import CategoryEmbeddingModelConfig
from sklearn.datasets import make_classification


def main() -> None:
    """Train on 4,000 rows of three classes."""
    inputs, labels = make_classification(4000, 20, n_informative=10, n_classes=3, flip_y=0.05, random_state=0)
    table = pd.DataFrame(inputs, columns=[f"x{k}" for k in range(20)]).assign(label=labels)
    model = TabularModel(
        data_config=DataConfig(target=["label"], continuous_cols=[f"x{k}" for k in range(20)], num_workers=0),
        model_config=CategoryEmbeddingModelConfig(task="classification", layers="64-32", learning_rate=1e-3),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            batch_size=64,
            max_epochs=10,
            accelerator="cpu",
            seed=0,
            checkpoints=None,
            load_best=False,
            early_stopping=None,
            progress_bar="none",
            trainer_kwargs={"enable_progress_bar": False},
        ),
        verbose=False,
    )
    model.fit(train=table[:3200], validation=table[3200:])
    tell(model.model, {name: float(value) for name, value in sorted(model.trainer.callback_metrics.items())})


main()
