"""Our arrivals under Locust's own command line, web page, master and workers.

    locust -f "$(python -m openbell.loadprofiles)",users.py --bell market-open --peak 50 --headless -u 100 -H URL

A Locust file beside the user's own: it adds the options, puts the users under the engine, and writes our report when
the arrivals are over. The users' file stays as it is. With a master, each worker executes its stripe of the one plan,
and sends what it measured with Locust's own reports; the machines' clocks must agree, for all begin at one instant.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from openbell import __version__
from openbell.loadprofiles.asked import slice_s
from openbell.loadprofiles.clock import best_clock
from openbell.loadprofiles.curves import BadCurve
from openbell.loadprofiles.driving import DRAIN_S, Heard, Offer
from openbell.loadprofiles.engine import Engine
from openbell.loadprofiles.measured import Measured, history, named, to_json, write
from openbell.loadprofiles.plan import LoadPlan
from openbell.loadprofiles.processor import Processor
from openbell.loadprofiles.shape import all_shapes
from openbell.loadprofiles.slo import EXIT, WHOLE, BadRule, Rule, checked, parse_rule
from openbell.loadprofiles.users import install
from openbell.reports.load import write_load
from openbell.results import Results
from openbell.run import new_run

LEAD_S = 1.0
PATIENCE_S = 30.0
GO = "openbell_go"


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    """Our options, beside Locust's own."""
    group = parser.add_argument_group("openbell", "arrivals of an open model, judged by rules")
    group.add_argument("--bell", choices=[n for n, s in all_shapes().items() if not s.storm], metavar="PROFILE",
                       help="the load profile whose arrivals the users execute; without it Locust goes its own way")
    group.add_argument("--peak", type=float, default=50.0, help="the highest rate, in arrivals per second")
    group.add_argument("--bell-duration", type=float, default=20.0, help="seconds of the whole")
    group.add_argument("--bell-seed", type=int, default=0, help="seed of all choices")
    group.add_argument("--bell-process", choices=["poisson", "uniform"], default="poisson")
    group.add_argument("--bell-out", default="openbell-results", help="where the run's folder goes")
    group.add_argument("--slo", action="append", default=[], metavar="RULE", help="a rule in the profile's place")


def asked_rules(plan: LoadPlan, texts: list[str]) -> tuple[Rule, ...]:
    """The rules of the command line, else the load profile's own. Raises BadRule."""
    given = [parse_rule(t) for t in texts] or [parse_rule(t, p) for p, ts in plan.profile.slo.items() for t in ts]
    for wrong in checked(given, (*plan.profile.names, WHOLE), None):
        raise BadRule(wrong)
    return tuple(given)


class Bell:
    """One run under Locust: the plan, and what this process has heard or measured of it."""

    def __init__(self, environment: Environment) -> None:
        said: Any = environment.parsed_options
        plan = LoadPlan(all_shapes()[said.bell], said.peak, said.bell_duration, said.bell_process, said.bell_seed)
        self.rules = asked_rules(plan, said.slo)
        width = slice_s(plan.duration)
        self.environment, self.plan, self.width, self.out = environment, plan, width, Path(said.bell_out)
        phases = tuple(p.name for p in plan.profile.phases)
        self.engine = Engine((), phases, width, best_clock())
        self.heard = Heard()
        self.processor = Processor()
        self.workers = 1
        self.gone = self.over = self.written = False

    def go(self, index: int, workers: int, begin: float) -> None:
        """Executes this process's stripe from a monotonic second on."""
        self.engine.arrivals = self.plan.arrivals(index, workers)
        self.engine.run(begin, begin + self.plan.duration, PATIENCE_S)
        self.over = True

    def report(self) -> dict[str, Any]:
        """What is new in this process."""
        end = {"mark": self.engine.started_mark, "substituted": 0} if self.over else None
        tick = {**self.engine.told(), **self.processor.since()}
        return {"tally": self.engine.tally.delta(), "tick": tick, "end": end}

    def hear(self, worker: int, report: dict[str, Any], shift: float = 0.0) -> None:
        """Adds what a process told; `shift` takes its clock to this one's."""
        self.heard.tally.merge(report["tally"])
        tick = report["tick"]
        self.heard.ticks.setdefault(worker, []).append({**tick, "at": tick["at"] + shift})
        if report["end"]:
            self.heard.ends[worker] = report["end"]

    def write(self) -> None:
        """Judges, writes the report, and ends the test, and Locust itself where nobody looks at its page."""
        if self.written:
            return
        self.written = True
        runner: Any = self.environment.runner
        offer = Offer(self.plan, self.workers, max(1, runner.target_user_count), width=self.width)
        run = Measured(offer, self.heard, self.rules)
        name, folder = new_run(self.out)
        results = Results(__version__, None, str(self.environment.host or "the users' hosts"), name, ())
        data = to_json(run) | {"conformance": {"quiet": False, "only_under_load": []}}
        write(folder / "load.json", data)
        write_load(folder, data, results, named(run), history(run))
        self.environment.process_exit_code = EXIT[data["verdict"]]
        print(f"openbell: {data['verdict']}, {folder / 'load.html'}")
        if getattr(self.environment.parsed_options, "headless", False):
            runner.quit()
        else:
            runner.stop()

    def begins(self) -> bool:
        """Whether the arrivals begin now. They come once: a test that is started after them is told so, and ended."""
        if self.written:
            print("openbell: the arrivals are over; start Locust again to repeat them")
            runner: Any = self.environment.runner
            gevent.spawn(runner.stop)
        return not self.gone


@events.init.add_listener
def attach(environment: Environment, **_: Any) -> None:
    """Puts an environment under the bell, where one is asked for."""
    if not getattr(environment.parsed_options, "bell", None):
        return
    try:
        bell = Bell(environment)
    except (BadCurve, BadRule) as error:
        raise SystemExit(f"openbell: {error}") from None
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        _master(environment, runner, bell)
        return
    install(environment, bell.engine)
    environment.events.test_stop.add_listener(lambda **_: bell.engine.stopped.set())
    if isinstance(runner, WorkerRunner):
        _worker(environment, runner, bell)
    else:
        _alone(environment, bell)


def _alone(environment: Environment, bell: Bell) -> None:
    def begin(**_: Any) -> None:
        if bell.begins():
            bell.gone = True
            gevent.spawn(drive)
    environment.events.spawning_complete.add_listener(begin)

    def drive() -> None:
        bell.heard.begin = time.monotonic() + LEAD_S
        running = gevent.spawn(bell.go, 0, 1, bell.heard.begin)
        while not running.ready():
            gevent.sleep(0.5)
            bell.hear(0, bell.report())
        bell.hear(0, bell.report())
        bell.write()


def _worker(environment: Environment, runner: WorkerRunner, bell: Bell) -> None:
    def go(msg: Any, **_: Any) -> None:
        said = msg.data
        gevent.spawn(bell.go, said["index"], said["workers"], time.monotonic() + said["at"] - time.time())
    runner.register_message(GO, go)

    def tell(data: dict[str, Any], **_: Any) -> None:
        data["openbell"] = bell.report() | {"wall": time.time() - time.monotonic()}
    environment.events.report_to_master.add_listener(tell)


def _master(environment: Environment, runner: MasterRunner, bell: Bell) -> None:
    numbers: dict[str, int] = {}

    def begin(**_: Any) -> None:
        if not bell.begins() or not runner.clients:
            return
        bell.gone, bell.workers = True, len(runner.clients)
        at = time.time() + LEAD_S
        bell.heard.begin = time.monotonic() + LEAD_S
        for index, client in enumerate(sorted(runner.clients)):
            numbers[client] = index
            runner.send_message(GO, {"index": index, "workers": bell.workers, "at": at}, client)
        gevent.spawn_later(LEAD_S + bell.plan.duration + PATIENCE_S + 3 * DRAIN_S, bell.write)
    environment.events.spawning_complete.add_listener(begin)

    def heard(client_id: str, data: dict[str, Any], **_: Any) -> None:
        report = data.pop("openbell", None)
        if report is None or client_id not in numbers:
            return
        bell.hear(numbers[client_id], report, report["wall"] - (time.time() - time.monotonic()))
        if len(bell.heard.ends) == bell.workers:
            gevent.spawn(bell.write)
    environment.events.worker_report.add_listener(heard)
