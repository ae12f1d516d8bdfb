"""One rate, held."""

from openbell.loadprofiles.shape import EVEN, LoadProfile, Phase

STEADY = LoadProfile(
    "steady",
    "One rate, held, after a warm-up that is measured and not judged.",
    (Phase("warm", 0.2, 0.5, 1.0, EVEN), Phase("steady", 0.8, 1.0, 1.0, EVEN)),
    bell=0.2,
    slo={"steady": ("p95 < 250ms", "errors < 2%")},
)
