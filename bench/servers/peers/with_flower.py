"""Trains linear heads by Flower's FedAvg on the features of sites, for the comparison with heads from sums.

Flower's strategy, its ClientApp and its messages are used as they are. Its simulation needs Ray, so a grid of this
module hands the messages to the ClientApp in the same process; each message is serialised as on the wire, and counted.

    python with_flower.py TASKS.npz ANSWERS.json

TASKS.npz has `features`, `truth`, `judged` and JSON in `tasks`: a list of {train, site, judge, rate, epochs, rounds,
hours}. `site` is the site of each image of `train`, and `hours` the hour of the day at which each site is awake, or
empty. With hours, a round starts every hour, and those that are awake take part; without, all take part.
"""

import json
import logging
import sys
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_to_proto
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

BATCH = 32
logging.getLogger("flwr").setLevel(logging.ERROR)
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


def as_logits(head, features):
    return features @ head[0] + head[1]


def train_head(head, features, truth, config):
    """Return the head after some epochs of stochastic gradient descent on the softmax loss."""
    kernel, bias = (np.array(one, np.float32) for one in head)
    random, wanted = np.random.default_rng(config["server-round"]), np.eye(len(bias), dtype=np.float32)[truth]
    for _ in range(config["epochs"]):
        order = random.permutation(len(truth))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            logits = as_logits((kernel, bias), features[rows])
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = shares / shares.sum(axis=1, keepdims=True) - wanted[rows]
            kernel -= config["rate"] / len(rows) * (features[rows].T @ error)
            bias -= config["rate"] * error.mean(axis=0)
    return kernel, bias


class Sites(Grid):
    """Hands messages to the sites' ClientApp, and counts the bytes that a site sends and receives."""

    def __init__(self, app, sites, hours):
        self.app, self.hours, self.round = app, hours, 0
        self.contexts = {
            node: Context(run_id=1, node_id=node, node_config={"site": site}, state=RecordDict(), run_config={})
            for node, site in enumerate(sites, 1)
        }
        self.sent = self.received = self.replies = 0

    run = property(lambda self: None)

    def set_run(self, run):
        pass

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self):
        return [node for node in self.contexts if not self.hours or self.hours[node - 1] == (self.round - 1) % 24]

    def push_messages(self, messages):
        raise NotImplementedError

    pull_messages = push_messages

    def send_and_receive(self, messages, *, timeout=None):
        replies = [self.app(message, self.contexts[message.metadata.dst_node_id]) for message in messages]
        self.received += sum(message_to_proto(message).ByteSize() for message in messages)
        self.sent += sum(message_to_proto(reply).ByteSize() for reply in replies)
        self.replies += len(replies)
        return replies


class HourlyFedAvg(FedAvg):
    """Flower's FedAvg, whose rounds follow a simulated clock: with no site awake, an hour passes."""

    def configure_train(self, server_round, arrays, config, grid):
        grid.round = server_round
        return super().configure_train(server_round, arrays, config, grid) if grid.get_node_ids() else []


def run_task(task, features, truth):
    train, site, judge = (np.array(task[name]) for name in ("train", "site", "judge"))
    rows = {int(one): train[site == one] for one in np.unique(site)}
    classes = int(truth.max()) + 1
    app = ClientApp()

    @app.train()
    def train_site(message, context):
        own = rows[context.node_config["site"]]
        head = message.content["arrays"].to_numpy_ndarrays()
        head = train_head(head, features[own], truth[own], message.content["config"])
        content = {"arrays": ArrayRecord(list(head)), "metrics": MetricRecord({"num-examples": len(own)})}
        return Message(RecordDict(content), reply_to=message)

    grid, accuracies = Sites(app, list(rows), task["hours"]), []

    def evaluate(_, arrays):
        logits = as_logits(arrays.to_numpy_ndarrays(), features[judge])
        accuracies.append(float((logits.argmax(axis=1) == truth[judge]).mean()))
        return MetricRecord({"accuracy": accuracies[-1]})

    strategy = HourlyFedAvg(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
    started = time.perf_counter()
    strategy.start(
        grid,
        ArrayRecord([np.zeros((features.shape[1], classes), np.float32), np.zeros(classes, np.float32)]),
        num_rounds=task["rounds"],
        train_config=ConfigRecord({"rate": task["rate"], "epochs": task["epochs"]}),
        evaluate_fn=evaluate,
    )
    return {
        "accuracies": accuracies,
        "sent_bytes": grid.sent / grid.replies,
        "received_bytes": grid.received / grid.replies,
        "seconds": time.perf_counter() - started,
    }


if __name__ == "__main__":
    with np.load(sys.argv[1]) as found:
        given = {name: found[name] for name in found.files}
    tasks = json.loads(given["tasks"].tobytes())
    answers = [run_task(task, given["features"], given["truth"]) for task in tasks]
    Path(sys.argv[2]).write_text(json.dumps(answers), encoding="utf-8")
