"""The opening bell."""

from openbell.loadprofiles.shape import READING, TRADING, LoadProfile, Phase

MARKET_OPEN = LoadProfile(
    "market-open",
    "A quiet pre-open of reads, a cliff at the bell with the auction's orders and cancels, then exponential decay.",
    (
        Phase("pre_open", 0.25, 0.05, 0.05, READING),
        Phase("open", 0.45, 1.0, 0.25, TRADING, "decay"),
        Phase("session", 0.30, 0.25, 0.2, TRADING),
    ),
    bell=0.25,
    slo={"open": ("p99 < 500ms", "errors < 1%"), "session": ("errors < 2%",)},
)
