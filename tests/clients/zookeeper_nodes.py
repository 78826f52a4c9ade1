"""Masters' nodes in ZooKeeper, read and written with kazoo, a client that nobody here wrote.

Usage: zookeeper_nodes.py detect HOSTS/PATH
       zookeeper_nodes.py lead HOSTS/PATH json|protobuf|pid IP PORT

`detect` follows the leading master as an unchanged pymesos does and prints a JSON line with the data of
each leader's node, or null when there is none, and another with the names of all nodes.

`lead` makes the node that a master in C++ makes, of the version that writes this kind, prints its name
and keeps it until it is ended.
"""

import json
import socket
import struct
import sys
import time

from kazoo.client import KazooClient
from pymesos.detector import MasterDetector


def say(**line):
    print(json.dumps(line), flush=True)


class Follower:
    """Stands in for pymesos' scheduler process."""

    def onNewMasterDetectedMessage(self, data):
        say(master=json.loads(data.decode()))

    def onNoMasterDetectedMessage(self):
        say(master=None)


def detect(place):
    detector = MasterDetector(place, Follower())
    detector.start()
    while True:
        say(nodes=sorted(detector.zk.get_children("")))
        time.sleep(0.2)


def varint(number):
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def text_field(number, text):
    return varint(number << 3 | 2) + varint(len(text)) + text.encode()


def integer_field(number, value):
    return varint(number << 3) + varint(value)


def node(kind, ip, port):
    """The prefix of a node's name and its data (src/master/contender/zookeeper.cpp)."""
    pid = "master@%s:%d" % (ip, port)
    # The address as it lies in memory, read as a number on a little-endian machine.
    number = struct.unpack("<I", socket.inet_aton(ip))[0]
    if kind == "json":
        capabilities = ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"]
        info = {
            "address": {"hostname": "master-1", "ip": ip, "port": port},
            "capabilities": [{"type": one} for one in capabilities],
            "domain": {"fault_domain": {"region": {"name": "r"}, "zone": {"name": "z"}}},
            "hostname": "master-1",
            "id": "5c2e3f46-2a36-4f0d-9f8c-6a1fd3b1d0ce",
            "ip": number,
            "pid": pid,
            "port": port,
            "version": "1.11.0",
        }
        return "json.info_", json.dumps(info, separators=(",", ":")).encode()
    if kind == "protobuf":
        info = text_field(1, "201507081035-16777343-5050-1") + integer_field(2, number)
        info += integer_field(3, port) + text_field(4, pid) + text_field(5, "master-1")
        return "info_", info
    return "", pid.encode()


def lead(place, kind, ip, port):
    client = KazooClient(place, 10)
    client.start()
    client.ensure_path("")
    prefix, data = node(kind, ip, int(port))
    say(node=client.create("/" + prefix, data, ephemeral=True, sequence=True))
    while True:
        time.sleep(1)


if __name__ == "__main__":
    {"detect": detect, "lead": lead}[sys.argv[1]](*sys.argv[2:])
