"""A framework on an unchanged pymesos 0.3.15 that launches short tasks for as long as it lives.

Usage: pymesos_stream.py MASTER LEDGER STARTS TASKS_PER_SECOND

It can be killed at any moment and started again: everything it knows stands in LEDGER, one JSON object a
line. What is launched is written before the call, an update before its acknowledgement. Tasks append to the
file STARTS when they begin and when they end.
"""

import json
import logging
import sys
import threading
import time

from pymesos import MesosSchedulerDriver, Scheduler

TERMINAL = {
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
    "TASK_UNKNOWN",
}
# How many launches are made up for after a time without offers.
BURST = 10
# How many tasks may be there at a time.
OPEN_MAX = 40
# After how long without news a task is asked for, and how often.
SILENCE_SECONDS = 3
# How long a call may take, and connecting to a master.
CALL_SECONDS = 5
# Each so many'th task takes longer than most faults.
LONG_TASK_EVERY = 25
CPUS, MEM = 0.05, 8


def attempt(call, *arguments):
    """Makes a call that is repeated in another form if it fails: offers and updates come again."""
    try:
        call(*arguments)
    except Exception as problem:
        logging.warning("a call has failed: %s", problem)


class Ledger:
    def __init__(self, path):
        self.lock = threading.Lock()
        self.framework_id = None
        self.open = {}
        self.launched = 0
        try:
            with open(path) as lines:
                for line in lines:
                    self.replay(line)
        except FileNotFoundError:
            pass
        self.file = open(path, "a")
        # Whoever was killed while it wrote has left half a line.
        self.file.write("\n")

    def replay(self, line):
        try:
            entry = json.loads(line)
        except ValueError:
            # Half a line, or an empty one.
            return
        if "subscribed" in entry:
            self.framework_id = entry["subscribed"]
        if "launch" in entry:
            self.launched += 1
            self.open[entry["launch"]] = [entry["agent"], 0]
        if "update" in entry and entry["state"] in TERMINAL:
            self.open.pop(entry["update"], None)

    def write(self, **entry):
        entry["at"] = time.time()
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()


class Stream(Scheduler):
    def __init__(self, ledger, starts, rate):
        self.ledger = ledger
        self.starts = starts
        self.rate = rate
        self.tokens = 0.0
        self.refilled = time.monotonic()
        self.tell_offers = False

    def registered(self, driver, framework_id, master_info):
        with self.ledger.lock:
            self.ledger.framework_id = framework_id["value"]
            self.ledger.write(subscribed=framework_id["value"])
            self.tell_offers = True

    def reregistered(self, driver, master_info):
        with self.ledger.lock:
            self.ledger.write(subscribed=self.ledger.framework_id)
            self.tell_offers = True

    def refill(self):
        now = time.monotonic()
        self.tokens = min(BURST, self.tokens + self.rate * (now - self.refilled))
        self.refilled = now

    def resourceOffers(self, driver, offers):
        with self.ledger.lock:
            if self.tell_offers:
                self.tell_offers = False
                self.ledger.write(offers=len(offers))
            self.refill()
            for offer in offers:
                tasks = self.tasks(offer)
                attempt(driver.launchTasks, offer["id"], tasks, {"refuse_seconds": 0.3})

    def tasks(self, offer):
        scalars = {r["name"]: r["scalar"]["value"] for r in offer["resources"] if "scalar" in r}
        tasks = []
        # Not all on one agent.
        while (
            self.tokens >= 1
            and len(tasks) < 3
            and len(self.ledger.open) < OPEN_MAX
            and scalars.get("cpus", 0) >= CPUS * (len(tasks) + 1)
            and scalars.get("mem", 0) >= MEM * (len(tasks) + 1)
        ):
            self.tokens -= 1
            tasks.append(self.task(offer))
        return tasks

    def task(self, offer):
        number = self.ledger.launched
        self.ledger.launched += 1
        name, agent = "p-%05d" % number, offer["agent_id"]["value"]
        seconds = 30 if number % LONG_TASK_EVERY == 7 else 0.5 + (number % 4) * 0.5
        self.ledger.write(launch=name, agent=agent)
        self.ledger.open[name] = [agent, time.monotonic()]
        command = "echo start {0} $$ >> {1}; sleep {2}; echo end {0} $$ >> {1}"
        return {
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "name": name,
            "command": {"value": command.format(name, self.starts, seconds)},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": CPUS}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": MEM}},
            ],
        }

    def statusUpdate(self, driver, update):
        name, state = update["task_id"]["value"], update["state"]
        with self.ledger.lock:
            self.ledger.write(
                update=name,
                state=state,
                reason=update.get("reason"),
                source=update.get("source"),
                message=update.get("message"),
            )
            if state in TERMINAL:
                self.ledger.open.pop(name, None)
            elif name in self.ledger.open:
                self.ledger.open[name][1] = time.monotonic()
        attempt(driver.acknowledgeStatusUpdate, update)

    def reconcile(self, driver):
        now = time.monotonic()
        with self.ledger.lock:
            silent = []
            for name, entry in self.ledger.open.items():
                if now - entry[1] > SILENCE_SECONDS:
                    entry[1] = now
                    silent.append({"task_id": {"value": name}, "agent_id": {"value": entry[0]}})
        if silent and driver.connected:
            attempt(driver.reconcileTasks, silent)

    def error(self, driver, message):
        with self.ledger.lock:
            self.ledger.write(error=str(message))


def main():
    logging.basicConfig(stream=sys.stderr)
    master, ledger, starts, rate = sys.argv[1], Ledger(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    framework = {
        "user": "root" if __import__("os").getuid() == 0 else __import__("getpass").getuser(),
        "name": "pymesos stream",
        "hostname": "localhost",
        "checkpoint": True,
        "failover_timeout": 3600.0,
    }
    if ledger.framework_id:
        framework["id"] = {"value": ledger.framework_id}
    stream = Stream(ledger, starts, rate)
    # By default pymesos waits a day for a master that does not answer. Acknowledging by itself, it would end
    # when the master is gone at that moment.
    driver = MesosSchedulerDriver(
        stream, framework, master, implicit_acknowledgements=False, failover=True, timeout=CALL_SECONDS
    )
    driver.start()
    while True:
        time.sleep(0.5)
        stream.reconcile(driver)


if __name__ == "__main__":
    main()
