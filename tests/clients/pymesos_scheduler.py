"""Schedulers written against an unchanged pymesos 0.3.15, one for each scenario.

Usage: pymesos_scheduler.py SCENARIO MASTER COUNT [--retry] [PYTHON EXECUTOR]

With --retry a task that was lost with its agent is launched again, and a message that
was not answered is sent again, as frameworks do: Mesos promises no delivery of messages.

Prints one JSON object a line; the last has the key "done" when the scenario
went as it should. Exits 0 only then.
"""

import json
import logging
import sys
import threading
import time

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

TERMINAL = {
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_GONE",
}
TIME_LIMIT_SECONDS = 120


def say(**line):
    print(json.dumps(line), flush=True)


def is_lost(update):
    """Whether a task ended for no fault of its own: its agent was killed while launching it."""
    return update["state"] == "TASK_LOST" or (
        update["state"] == "TASK_FAILED"
        and update.get("reason")
        in (
            "REASON_CONTAINER_LAUNCH_FAILED",
            "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
            "REASON_EXECUTOR_TERMINATED",
        )
    )


def scalar(offer, name):
    return sum(
        r["scalar"]["value"]
        for r in offer["resources"]
        if r["name"] == name and r["type"] == "SCALAR"
    )


class Recorder(Scheduler):
    """Launches `count` tasks as offers allow and remembers every state of each."""

    cpus, mem = 0.1, 16

    def __init__(self, count):
        self.count = count
        self.launched = 0
        self.states = {}
        self.uuids = set()
        self.offers = 0
        self.finished = threading.Event()
        self.problem = None
        self.retries = False
        self.lost = set()
        self.number = 0

    # What scenarios change.

    def task(self, number, offer):
        return {
            "task_id": {"value": "task-%04d" % number},
            "agent_id": offer["agent_id"],
            "name": "task %d" % number,
            "command": {"value": "true"},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": self.cpus}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": self.mem}},
            ],
        }

    def updated(self, driver, task_id, update):
        pass

    def complete(self):
        ended = [s for s in self.states.values() if s[-1] in TERMINAL]
        return len(ended) == self.count

    # Callbacks of pymesos.

    def registered(self, driver, framework_id, master_info):
        say(registered=framework_id["value"], version=master_info.get("version"))

    def reregistered(self, driver, master_info):
        say(reregistered=True)

    def resourceOffers(self, driver, offers):
        self.offers += len(offers)
        for offer in offers:
            cpus, mem, tasks = scalar(offer, "cpus"), scalar(offer, "mem"), []
            while self.launched < self.count and cpus >= self.cpus and mem >= self.mem:
                tasks.append(self.task(self.number, offer))
                self.number += 1
                self.launched += 1
                cpus -= self.cpus
                mem -= self.mem
            driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 0.1})

    def statusUpdate(self, driver, update):
        task_id, state = update["task_id"]["value"], update["state"]
        # A retransmission of an update that was acknowledged late is no new state.
        if update.get("uuid") in self.uuids:
            return
        if "uuid" in update:
            self.uuids.add(update["uuid"])
        # The loss of a task may be told twice: by an agent, and by the same agent after a restart.
        if task_id in self.lost:
            return
        self.states.setdefault(task_id, []).append(state)
        say(task=task_id, state=state, reason=update.get("reason"), message=update.get("message"))
        if self.retries and is_lost(update):
            del self.states[task_id]
            self.lost.add(task_id)
            self.launched -= 1
            return
        self.updated(driver, task_id, update)
        if self.complete():
            self.finished.set()

    def error(self, driver, message):
        self.problem = "error: %s" % (message,)
        self.finished.set()

    # The verdict: None, or what is wrong.

    def verdict(self):
        wrong = {t: s for t, s in self.states.items() if s[-1] != "TASK_FINISHED"}
        if wrong:
            return "not finished: %s" % (wrong,)
        out_of_order = {t: s for t, s in self.states.items() if s.count("TASK_RUNNING") != 1}
        if out_of_order:
            return "states: %s" % (out_of_order,)
        return None


class Tasks(Recorder):
    """COUNT tasks of `true` run to TASK_FINISHED."""


class Sleepers(Recorder):
    """COUNT tasks that take a second, so that an agent can be restarted meanwhile."""

    def task(self, number, offer):
        task = super().task(number, offer)
        task["command"] = {"value": "sleep 4; echo task %d" % number}
        return task


class Executor(Recorder):
    """COUNT tasks run by one pymesos executor on each agent, with a message each way."""

    repeat_seconds = 2

    def __init__(self, count, python, executor):
        super().__init__(count)
        self.command = "%s %s" % (python, executor)
        self.running = {}
        self.echoed = set()

    def task(self, number, offer):
        task = super().task(number, offer)
        del task["command"]
        task["data"] = encode_data(str(number).encode())
        task["executor"] = {
            "executor_id": {"value": "pymesos-executor"},
            "framework_id": {"value": self.framework_id},
            "name": "pymesos executor",
            "command": {"value": self.command},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
            ],
        }
        return task

    def registered(self, driver, framework_id, master_info):
        self.framework_id = framework_id["value"]
        super().registered(driver, framework_id, master_info)

    def resourceOffers(self, driver, offers):
        # Keeps room for the executor itself.
        for offer in offers:
            for resource in offer["resources"]:
                if resource["name"] in ("cpus", "mem"):
                    resource["scalar"]["value"] -= 0.1 if resource["name"] == "cpus" else 32
        super().resourceOffers(driver, offers)

    def updated(self, driver, task_id, update):
        if update["state"] == "TASK_RUNNING":
            self.running[task_id] = (update["executor_id"], update["agent_id"])
            self.send(driver, task_id)

    def send(self, driver, task_id):
        """Sends a task its message, and again until it is echoed if messages may get lost."""
        if task_id in self.echoed or self.finished.is_set():
            return
        if self.retries:
            timer = threading.Timer(self.repeat_seconds, self.send, [driver, task_id])
            timer.daemon = True
            timer.start()
        executor_id, agent_id = self.running[task_id]
        driver.sendFrameworkMessage(executor_id, agent_id, encode_data(task_id.encode()))

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.echoed.add(decode_data(message).decode())
        say(echoes=len(self.echoed))
        if self.complete():
            self.finished.set()

    def complete(self):
        # An executor that is late to come back to its agent is killed (pymesos waits 2 seconds and
        # more, as long as agents do). Its last echoes may be lost with it; that its tasks have
        # finished shows that the messages came.
        if self.retries:
            return super().complete() and bool(self.echoed)
        return super().complete() and set(self.states) <= self.echoed


class Kill(Recorder):
    """COUNT long tasks that are killed as soon as they run."""

    def task(self, number, offer):
        task = super().task(number, offer)
        task["command"] = {"value": "sleep 1000"}
        return task

    def updated(self, driver, task_id, update):
        if update["state"] == "TASK_RUNNING":
            driver.killTask(update["task_id"])

    def verdict(self):
        wrong = {t: s for t, s in self.states.items() if s[-1] != "TASK_KILLED"}
        return "not killed: %s" % (wrong,) if wrong else None


class Decline(Recorder):
    """Declines COUNT offers with a short filter, then stays away for the length of a long one."""

    filter_seconds = 3

    def __init__(self, count):
        super().__init__(count)
        self.times = []

    def resourceOffers(self, driver, offers):
        for offer in offers:
            self.times.append(time.monotonic())
            last = len(self.times) >= self.count
            seconds = self.filter_seconds if last else 0.1
            driver.declineOffer(offer["id"], {"refuse_seconds": seconds})
            say(declined=len(self.times))
        if len(self.times) > self.count:
            self.finished.set()

    def verdict(self):
        waited = self.times[self.count] - self.times[self.count - 1]
        if waited < self.filter_seconds - 0.1:
            return "offered again after %.2f s in spite of the filter" % waited
        return None


class Suppress(Recorder):
    """No offers between SUPPRESS and REVIVE, offers at once afterwards."""

    quiet_seconds = 3

    def __init__(self, count):
        super().__init__(count)
        self.suppressed_at = self.revived_at = None

    def resourceOffers(self, driver, offers):
        now = time.monotonic()
        for offer in offers:
            driver.declineOffer(offer["id"], {"refuse_seconds": 1000})
        if self.suppressed_at is None:
            self.suppressed_at = now
            driver.suppressOffers()
            threading.Timer(self.quiet_seconds, self.revive, [driver]).start()
            say(suppressed=True)
        elif self.revived_at is None:
            self.problem = "an offer came while offers were suppressed"
            self.finished.set()
        else:
            say(offered_after_revive=now - self.revived_at)
            self.finished.set()

    def revive(self, driver):
        self.revived_at = time.monotonic()
        driver.reviveOffers()

    def verdict(self):
        return None


class Reconcile(Recorder):
    """Explicit and implicit reconciliation of running and unknown tasks."""

    def __init__(self, count):
        super().__init__(count)
        self.answers = {}
        self.asked = False

    def task(self, number, offer):
        task = super().task(number, offer)
        task["command"] = {"value": "sleep 1000"}
        return task

    def statusUpdate(self, driver, update):
        # An agent that never got a task after its restart says so with this reason too.
        if (
            update.get("reason") == "REASON_RECONCILIATION"
            and update.get("source") == "SOURCE_MASTER"
        ):
            self.answers.setdefault(update["task_id"]["value"], []).append(update["state"])
            say(reconciled=update["task_id"]["value"], state=update["state"])
            if "uuid" in update:
                self.problem = "a reconciliation answer carries a uuid"
            # One explicit and one implicit answer for each task, one for the stranger.
            if sum(map(len, self.answers.values())) == 2 * self.count + 1:
                self.finished.set()
            return
        super().statusUpdate(driver, update)

    def updated(self, driver, task_id, update):
        running = [t for t, s in self.states.items() if s[-1] == "TASK_RUNNING"]
        if len(running) == self.count and not self.asked:
            self.asked = True
            names = running + ["no-such-task"]
            driver.reconcileTasks([{"task_id": {"value": name}} for name in names])
            driver.reconcileTasks([])

    def verdict(self):
        expected = {t: ["TASK_RUNNING"] * 2 for t in self.states}
        expected["no-such-task"] = ["TASK_LOST"]
        return None if self.answers == expected else "answers: %s" % (self.answers,)


SCENARIOS = {
    "tasks": Tasks,
    "sleepers": Sleepers,
    "executor": Executor,
    "kill": Kill,
    "decline": Decline,
    "suppress": Suppress,
    "reconcile": Reconcile,
}


def main():
    logging.basicConfig(stream=sys.stderr)
    name, master, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rest = [word for word in sys.argv[4:] if word != "--retry"]
    scheduler = SCENARIOS[name](count, *rest)
    scheduler.retries = "--retry" in sys.argv
    framework = {
        "user": "root" if __import__("os").getuid() == 0 else __import__("getpass").getuser(),
        "name": "pymesos %s" % name,
        "hostname": "localhost",
        "checkpoint": True,
    }
    driver = MesosSchedulerDriver(scheduler, framework, master)
    thread = threading.Thread(target=driver.run, daemon=True)
    thread.start()
    in_time = scheduler.finished.wait(TIME_LIMIT_SECONDS)
    problem = scheduler.problem or (scheduler.verdict() if in_time else "time is up")
    if problem:
        say(problem=problem, states={t: s[-1] for t, s in scheduler.states.items()})
    else:
        say(done=name, offers=scheduler.offers, lost=len(scheduler.lost))
    driver.stop()
    thread.join(10)
    sys.exit(1 if problem else 0)


if __name__ == "__main__":
    main()
