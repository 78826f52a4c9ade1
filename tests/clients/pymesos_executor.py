"""An executor written against an unchanged pymesos 0.3.15: each task finishes once it was told so.

pymesos raises when the agent is away while an update is sent and does not keep the update: an
executor that outlives its agent has to send it again itself, with the uuid that it got at first.
"""

import sys
import threading
import time

from pymesos import Executor, MesosExecutorDriver, decode_data


class Echo(Executor):
    """Runs a task until the scheduler's message arrives, echoes it and finishes the task."""

    def __init__(self):
        self.tasks = {}

    def launchTask(self, driver, task):
        name = task["task_id"]["value"]
        print("launch", name, flush=True)
        self.tasks[name] = task
        self.update(driver, task, "TASK_RUNNING")

    def frameworkMessage(self, driver, message):
        name = decode_data(message).decode()
        print("message", name, flush=True)
        try:
            driver.sendFrameworkMessage(message)
        except Exception as error:
            # The scheduler asks again when it hears no echo.
            print("not echoed:", error, flush=True)
        task = self.tasks.pop(name, None)
        if task is not None:
            self.update(driver, task, "TASK_FINISHED")

    def killTask(self, driver, task_id):
        task = self.tasks.pop(task_id["value"], None)
        if task is not None:
            self.update(driver, task, "TASK_KILLED")

    def update(self, driver, task, state):
        # pymesos calls back on the thread that reads events: sending needs another.
        status = {"task_id": task["task_id"], "state": state}
        threading.Thread(target=self.deliver, args=[driver, status], daemon=True).start()

    def deliver(self, driver, status):
        while True:
            try:
                driver.sendStatusUpdate(status)
                return
            except Exception as error:
                print("not sent:", error, flush=True)
                time.sleep(0.5)


if __name__ == "__main__":
    driver = MesosExecutorDriver(Echo())
    driver.run()
    sys.exit(0)
