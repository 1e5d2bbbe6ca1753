"""Task name -> its healthy plan and its data. Sizes: 1 to 5 s a run on one core."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.zoo.data import first, former, last, previous, report
from benchmarks.zoo.plan import Data, Plan, warm_cosine


def _mlp() -> Plan:
    arch = {"net": "mlp", "inputs": 64, "outputs": 10, "width": 128, "depth": 2}
    return Plan("mlp", "classification", 500, 1e-3, arch=arch)


def _deep() -> Plan:
    arch = {"net": "mlp", "inputs": 64, "outputs": 10, "width": 64, "depth": 10, "he": True}
    return Plan("deep", "classification", 500, 1e-3, arch=arch)


def _cnn() -> Plan:
    return Plan("cnn", "classification", 400, 2e-3, arch={"net": "cnn", "outputs": 10, "width": 8})


def _res() -> Plan:
    return Plan("res", "classification", 300, 2e-3, arch={"net": "resnet", "outputs": 10, "width": 8})


def _lstm() -> Plan:
    arch = {"net": "recurrent", "cell": "lstm", "vocabulary": first.vocabulary(), "width": 64}
    return Plan("lstm", "language-model", 400, 5e-3, arch=arch)


def _gru() -> Plan:
    plan = _lstm()
    plan.task, plan.arch = "gru", {**plan.arch, "cell": "gru"}
    return plan


def _tfm() -> Plan:
    arch = {"net": "transformer", "vocabulary": first.vocabulary(), "width": 64, "heads": 4, "depth": 2,
            "length": first.SEQUENCE}  # fmt: skip
    return Plan("tfm", "language-model", 300, 3e-3, arch=arch)


def _ae() -> Plan:
    arch = {"net": "autoencoder", "inputs": 64, "width": 32, "code": 8}
    return Plan("ae", "autoencoder", 500, 3e-3, arch=arch, loss="mse")


def _reg() -> Plan:
    arch = {"net": "mlp", "inputs": 10, "outputs": 1, "width": 32, "depth": 2}
    return Plan("reg", "regression", 200, 1e-3, arch=arch, loss="mse", batch_size=16)


def _bc() -> Plan:
    arch = {"net": "mlp", "inputs": 30, "outputs": 2, "width": 32, "depth": 2}
    return Plan("bc", "classification", 250, 1e-3, arch=arch, batch_size=16)


def _wine() -> Plan:
    arch = {"net": "mlp", "inputs": 13, "outputs": 3, "width": 32, "depth": 1}
    return Plan("wine", "classification", 200, 2e-3, arch=arch, batch_size=16)


def _gan() -> Plan:
    gan = {"d_lr": 1.0, "g_lr": 1.0, "d_steps": 1}
    return Plan("gan", "gan", 2000, 2e-3, batch_size=64, betas=(0.9, 0.99), gan=gan)


# ------------------------------------------------------------------ of the set ``former``


def _vit() -> Plan:
    arch = {"net": "vit", "outputs": 10, "width": 32, "heads": 4, "depth": 2, "side": 8}
    return Plan("vit", "classification", 400, 3e-3, arch=arch)


def _prints() -> Plan:
    arch = {"net": "normed-cnn", "outputs": 10, "width": 8, "side": former.SIDE}
    return Plan("prints", "classification", 350, 1e-3, arch=arch)


def _rows() -> Plan:
    arch = {"net": "row-reader", "outputs": 10, "width": 32, "side": 8}
    return Plan("rows", "classification", 600, 3e-3, arch=arch, batch_size=48)


def _cae() -> Plan:
    arch = {"net": "convolutional-autoencoder", "width": 8, "code": 10}
    return Plan("cae", "autoencoder", 600, 3e-3, arch=arch, loss="mse")


def _photo() -> Plan:
    arch = {"net": "mlp", "inputs": 24, "outputs": 3, "width": 64, "depth": 3}
    return Plan("photo", "regression", 500, 2e-3, arch=arch, loss="mse", batch_size=64)


def _tcn() -> Plan:
    arch = {"net": "causal-convolutions", "vocabulary": first.vocabulary(code=True), "width": 64, "depth": 4}
    return Plan("tcn", "language-model", 350, 3e-3, arch=arch)


def _iris() -> Plan:
    arch = {"net": "mlp", "inputs": 4, "outputs": 3, "width": 24, "depth": 2}
    return Plan("iris", "classification", 300, 3e-3, arch=arch, batch_size=16)


def _square() -> Plan:
    plan = _gan()
    plan.task, plan.arch = "square", {"modes": "square"}
    return plan


# ------------------------------------------------------------------ of the set ``previous``


def _mixer() -> Plan:
    arch = {"net": "mixer", "outputs": len(previous.LETTERS), "width": 32, "depth": 2, "side": previous.SIDE}
    return Plan("mixer", "classification", 600, 3e-3, arch=arch)


def _senet() -> Plan:
    arch = {"net": "squeeze-excite", "outputs": 10, "width": 12}
    return Plan("senet", "classification", 600, 4e-3, arch=arch)


def _letters() -> Plan:
    arch = {"net": "separable-cnn", "outputs": len(previous.LETTERS), "width": 12, "side": previous.SIDE}
    return Plan("letters", "classification", 500, 3e-3, arch=arch)


def _rope() -> Plan:
    arch = {"net": "rotary", "vocabulary": previous.library_vocabulary(), "width": 48, "heads": 3, "depth": 2,
            "length": previous.CONTEXT}  # fmt: skip
    return Plan("rope", "language-model", 500, 5e-3, arch=arch, batch_size=16)


def _holes() -> Plan:
    return Plan("holes", "autoencoder", 800, 4e-3, arch={"net": "unet", "width": 12}, loss="mse")


def _returns() -> Plan:
    arch = {"net": "residual-mlp", "inputs": len(previous.KINDS) + 5, "outputs": 2, "width": 32, "depth": 2}
    return Plan("returns", "classification", 500, 1e-3, arch=arch)


def _drawn() -> Plan:
    plan = _gan()
    plan.task, plan.steps, plan.lr, plan.arch = "drawn", 1200, 4e-3, {"pair": "images"}
    return plan


# ------------------------------------------------------------------ of the set ``last``


def _points() -> Plan:
    return Plan("points", "classification", 400, 2e-3, arch={"net": "point-net", "outputs": 10, "width": 24})


def _dense() -> Plan:
    arch = {"net": "dense-net", "outputs": 10, "growth": 10, "depth": 2}
    return Plan("dense", "classification", 450, 3e-3, arch=arch)


def _scan() -> Plan:
    arch = {"net": "column-reader", "outputs": 10, "width": 32, "side": last.SIDE}
    return Plan("scan", "classification", 400, 4e-3, arch=arch)


def _words() -> Plan:
    arch = {"net": "tied-recurrence", "vocabulary": last.prose_vocabulary(), "width": 48, "depth": 2}
    return Plan("words", "language-model", 350, 5e-3, arch=arch, batch_size=16)


def _masked() -> Plan:
    arch = {"net": "masked-autoencoder", "width": 32, "heads": 4, "depth": 2}
    return Plan("masked", "autoencoder", 400, 5e-3, arch=arch, loss="mse")


def _turned() -> Plan:
    arch = {"net": "turn-reader", "outputs": 3, "width": 8, "side": last.SIDE}
    return Plan("turned", "regression", 400, 3e-3, arch=arch, loss="mse")


def _pairs() -> Plan:
    arch = {"net": "siamese", "outputs": 1, "width": 64, "code": 32}
    return Plan("pairs", "classification", 600, 4e-3, arch=arch)


def _coins() -> Plan:
    plan = _gan()
    plan.task, plan.steps, plan.lr, plan.arch = "coins", 1200, 3e-3, {"modes": "tilted", "loss": "least-squares"}
    return plan


# ------------------------------------------------------------------ of the set ``report``


def _street() -> Plan:
    arch = {"net": "conv-next", "outputs": 10, "width": 16}
    return Plan("street", "classification", 400, 4e-3, arch=arch, optimizer="adamw", weight_decay=0.05)


def _wares() -> Plan:
    arch = {"net": "class-token", "outputs": 10, "width": 32, "heads": 4, "depth": 2, "side": 14}
    return Plan("wares", "classification", 500, 4e-3, arch=arch, optimizer="adamw", weight_decay=0.05,
                schedule=warm_cosine, class_weights=report.balance())  # fmt: skip


def _lines() -> Plan:
    arch = {"net": "line-reader", "vocabulary": report.words(), "outputs": len(report.MODULES), "width": 48}
    return Plan("lines", "classification", 500, 6e-3, arch=arch, clip=1.0)


def _crowd() -> Plan:
    arch = {"net": "inception", "outputs": 10, "width": 10}
    return Plan("crowd", "multi-label", 400, 3e-3, arch=arch)


def _headers() -> Plan:
    arch = {"net": "stacked-gru", "vocabulary": report.headers_vocabulary(), "width": 48, "depth": 2}
    return Plan("headers", "language-model", 300, 7e-3, arch=arch, batch_size=16, loss="label-smoothing")


def _ahead() -> Plan:
    arch = {"net": "forecaster", "outputs": report.FUTURE, "width": 24, "depth": 3}
    return Plan("ahead", "regression", 500, 3e-3, arch=arch, loss="mse")


def _vowels() -> Plan:
    arch = {"net": "segmenting-unet", "outputs": len(report.VOWELS) + 1, "width": 6}
    return Plan("vowels", "segmentation", 300, 5e-3, arch=arch, batch_size=16)


def _blend() -> Plan:
    plan = _gan()
    plan.task, plan.steps, plan.lr = "blend", 1500, 2e-3
    plan.arch = {"pair": "codes", "size": report.CODE, "loss": "hinge"}
    return plan


TASKS: dict[str, tuple[Callable[[], Plan], Callable[[torch.Generator], Data]]] = {
    "mlp": (_mlp, first.digits),
    "deep": (_deep, first.digits),
    "cnn": (_cnn, lambda g: first.digits(g, image=True)),
    "res": (_res, lambda g: first.digits(g, image=True)),
    "lstm": (_lstm, first.text),
    "gru": (_gru, first.text),
    "tfm": (_tfm, first.text),
    "ae": (_ae, lambda g: first.digits(g, target="input")),
    "reg": (_reg, lambda g: first.table("diabetes", g)),
    "bc": (_bc, lambda g: first.table("breast_cancer", g)),
    "wine": (_wine, lambda g: first.table("wine", g)),
    "gan": (_gan, first.points),
    "vit": (_vit, lambda g: first.digits(g, image=True)),
    "prints": (_prints, former.prints),
    "rows": (_rows, lambda g: first.digits(g, image=True)),
    "cae": (_cae, lambda g: first.digits(g, image=True, target="input")),
    "photo": (_photo, former.photograph),
    "tcn": (_tcn, lambda g: first.text(g, code=True)),
    "iris": (_iris, lambda g: first.table("iris", g)),
    "square": (_square, lambda g: first.points(g, "square")),
    "mixer": (_mixer, lambda g: previous.letters(g, small=True)),
    "senet": (_senet, previous.fashion),
    "letters": (_letters, previous.letters),
    "rope": (_rope, previous.library),
    "holes": (_holes, previous.holes),
    "returns": (_returns, previous.functions),
    "drawn": (_drawn, lambda g: first.digits(g, image=True)),
    "points": (_points, last.clouds),
    "dense": (_dense, last.clothes),
    "scan": (_scan, last.printed),
    "words": (_words, last.prose),
    "masked": (_masked, lambda g: first.digits(g, target="input")),
    "turned": (_turned, last.turned),
    "pairs": (_pairs, last.pairs),
    "coins": (_coins, lambda g: first.points(g, "tilted")),
    "street": (_street, report.street),
    "wares": (_wares, report.wares),
    "lines": (_lines, report.lines),
    "crowd": (_crowd, report.crowd),
    "headers": (_headers, report.headers),
    "ahead": (_ahead, report.ahead),
    "vowels": (_vowels, report.vowels),
    "blend": (_blend, report.codes),
}
