"""Correlated bursts."""

from openbell.loadprofiles.shape import EVEN, TRADING, LoadProfile, Phase


def _burst(share: float, height: float) -> tuple[Phase, ...]:
    """A spike that comes within a twentieth of its length, and decays."""
    return (Phase("spike", share / 20, 0.1, height, TRADING), Phase("spike", share * 19 / 20, height, 0.1, TRADING,
                                                                       "decay"))


VOLATILITY_SPIKE = LoadProfile(
    "volatility-spike",
    "A calm market, a spike, and two aftershocks that follow it sooner and lower, as one move sets off the next.",
    (
        Phase("calm", 0.20, 0.1, 0.1, EVEN),
        *_burst(0.20, 1.0),
        Phase("calm", 0.10, 0.1, 0.1, EVEN),
        *_burst(0.15, 0.7),
        Phase("calm", 0.05, 0.1, 0.1, EVEN),
        *_burst(0.10, 0.5),
        Phase("after", 0.20, 0.1, 0.1, EVEN),
    ),
    bell=0.20,
    slo={"spike": ("p99 < 500ms", "errors < 1%"), "after": ("errors < 5%",)},
)
