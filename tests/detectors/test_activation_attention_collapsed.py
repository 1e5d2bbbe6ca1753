from __future__ import annotations

import pytest

from lightning_diag.detectors.activation_attention_collapsed import ActivationAttentionCollapsed
from lightning_diag.errors import NotMeasurable
from tests.detectors.activation_stream import NAN, Signals, reading, saved_and_loaded, severities, verdicts


def attention(entropy: float, logit: float) -> Signals:
    return {"attention_entropy": (0.6, entropy, NAN), "attention_max_logit": (8.0, logit, NAN)}


@pytest.mark.parametrize(("entropy", "logit"), [(0.23, 20), (0.05, 25), (0.16, 200), (0.5, 5), (0.95, 1)])
def test_healthy_and_sharp_attention_is_left_alone(entropy: float, logit: float) -> None:
    found = verdicts(ActivationAttentionCollapsed(), lambda _: attention(entropy, logit), range(1, 200))
    assert severities(found) == {1: "-"}


def test_collapsed_attention_is_named_and_the_loss_decides() -> None:
    bad = attention(0.01, 300)
    quiet = verdicts(ActivationAttentionCollapsed(), lambda _: bad, range(1, 200), relative=0.3)
    assert severities(quiet) == {1: "-", 5: "info"}
    found = verdicts(ActivationAttentionCollapsed(), lambda _: bad, range(1, 200), relative=0.7)
    assert severities(found) == {1: "-", 5: "info", 60: "warning"}
    last = found[199]
    assert last is not None
    assert last.where == ("b",)
    assert last.evidence["max_logit"] == 300
    assert last.first_step == 1


def test_no_attention_says_why() -> None:
    nothing = {"attention_entropy": (NAN,) * 3, "attention_max_logit": (NAN,) * 3}
    why = {"activation/attention_entropy": "no attention was found"}
    with pytest.raises(NotMeasurable, match="no attention was found"):
        ActivationAttentionCollapsed().update(reading(1, nothing, unmeasured=why))


def test_it_resumes_where_it_was() -> None:
    one = ActivationAttentionCollapsed()
    verdicts(one, lambda _: attention(0.01, 300), range(1, 4))
    two = saved_and_loaded(one)
    for step in range(4, 80):
        now = reading(step, attention(0.01, 300))
        assert one.update(now) == two.update(now)
