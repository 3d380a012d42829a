"""The interval of the false-reject rate, as people read it."""

import pytest

from deploy.bundles.facts import rates_text
from pipeline.promise import Promise


@pytest.mark.parametrize(
    ("lowest", "highest", "said"),
    [(0.0, 1e-7, "less than 0.01%"), (0.0, 0.0505, "up to 5.05%"), (0.002, 0.03, "0.20% to 3.00%")],
)
def test_no_rate_is_called_zero(lowest: float, highest: float, said: str) -> None:
    words = rates_text(Promise(lowest_rate=lowest, highest_rate=highest))
    assert words == f"{said}, on nine lines of ten: watch the rejects"
