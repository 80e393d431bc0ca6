"""drave from Python, with redis-py: python client.py redis://127.0.0.1:7379"""

import sys
import threading

import redis

url = sys.argv[1]


def connect():
    return redis.Redis.from_url(url, decode_responses=True)


def streams(client):
    first = client.xadd("orders", {"id": "17", "what": "tea"})
    client.xadd("orders", {"id": "18", "what": "rice"})
    # After the first one; for the next ones, wait up to a second.
    for topic, entries in client.xread({"orders": first}, count=10, block=1000):
        for id, fields in entries:
            print("read", topic, fields["id"], fields["what"])
    print("range", [fields["id"] for _, fields in client.xrange("orders", first, "+")])
    with client.pipeline(transaction=False) as pipeline:
        for n in range(1000):
            pipeline.xadd("numbers", {"n": n})
        print("pipeline", len(set(pipeline.execute())))
    print("keys", sorted(client.scan_iter("*")), client.type("orders"), client.xlen("numbers"))
    client.expire("numbers", 60)
    print("ttl", client.ttl("numbers"))


def groups(client):
    client.xgroup_create("orders", "kitchen", id="0")
    batch = client.xreadgroup("kitchen", "ann", {"orders": ">"}, count=10)
    for _, entries in batch:
        for id, fields in entries:
            print("work", fields["what"], client.xack("orders", "kitchen", id))


def channels(client):
    listener = client.pubsub()
    listener.subscribe("news")
    assert listener.get_message(timeout=10)["type"] == "subscribe"
    threading.Thread(target=lambda: connect().publish("news", "hello")).start()
    print("heard", listener.get_message(timeout=10)["data"])
    listener.close()


client = connect()
streams(client)
groups(client)
channels(client)
client.delete("orders", "numbers")
print("left", client.dbsize())
