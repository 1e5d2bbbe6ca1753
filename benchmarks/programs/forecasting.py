"""pytorch-forecasting (``lightning.pytorch``): a temporal fusion transformer on seasonal series, quantile loss."""

import lightning.pytorch as pl
import numpy as np
import pandas as pd
from fingerprint import tell
from pytorch_forecasting import QuantileLoss, TemporalFusionTransformer, TimeSeriesDataSet


def main() -> None:
    """Train as the package's own tutorial does."""
    pl.seed_everything(0)
    noise = np.random.default_rng(0)
    steps = np.arange(200)
    frames = [
        pd.DataFrame(
            {
                "series": str(k),
                "time": steps,
                "value": (10 + k + 3 * np.sin(2 * np.pi * steps / 12 + k) + noise.normal(0, 0.5, 200)).astype(
                    "float32"
                ),
            }
        )
        for k in range(12)
    ]
    data = pd.concat(frames, ignore_index=True)
    common = {"max_encoder_length": 24, "max_prediction_length": 6}
    train = TimeSeriesDataSet(
        data[data.time < 170],
        time_idx="time",
        target="value",
        group_ids=["series"],
        time_varying_known_reals=["time"],
        time_varying_unknown_reals=["value"],
        static_categoricals=["series"],
        **common,
    )
    valid = TimeSeriesDataSet.from_dataset(train, data, min_prediction_idx=170, stop_randomization=True)
    module = TemporalFusionTransformer.from_dataset(
        train, learning_rate=0.03, hidden_size=8, attention_head_size=1, dropout=0.1, loss=QuantileLoss()
    )
    trainer = pl.Trainer(max_epochs=4, accelerator="cpu", gradient_clip_val=0.1, enable_progress_bar=False)
    trainer.fit(module, train.to_dataloader(True, 64, num_workers=0), valid.to_dataloader(False, 64, num_workers=0))
    tell(module, {name: float(value) for name, value in sorted(trainer.callback_metrics.items())})


main()
