"""The Python client etcd3 against a cluster: put, get, transactions, watch, leases, locks.

    python etcd3_client.py HOST:PORT [HOST:PORT ...]

Every check runs with each member in turn; where two clients meet (watch, lock), the second one is a
client of the next member. Prints a line for each check; exits with 1 if one failed.
"""

import io
import queue
import sys
import threading
import time
import traceback

import etcd3
import etcd3.events

# An answer that has not come by then does not come.
PATIENCE = 20


def check(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


def eventually(what, condition):
    """Polls: what expires, expires some time after its time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.05)


def puts_and_gets(here, there, prefix):
    here.put(prefix + "key", "one")
    value, metadata = there.get(prefix + "key")
    check("value", value, b"one")
    check("version", metadata.version, 1)
    check("revisions", metadata.mod_revision, metadata.create_revision)
    response = there.put(prefix + "key", "two", prev_kv=True)
    check("previous value", response.prev_kv.value, b"one")
    check("nothing", here.get(prefix + "nothing"), (None, None))
    check("serializable", here.get(prefix + "key", serializable=True)[0] in (b"one", b"two"), True)
    for number in range(5):
        here.put(f"{prefix}list/{number}", str(9 - number))
    by_value = there.get_prefix(prefix + "list/", sort_order="ascend", sort_target="value")
    check("sorted by value", [value for value, _ in by_value], [b"5", b"6", b"7", b"8", b"9"])
    keys = there.get_prefix(prefix + "list/", keys_only=True)
    check("keys only", [value for value, _ in keys], [b""] * 5)
    check("range", len(list(here.get_range(prefix + "list/1", prefix + "list/3"))), 2)
    check("delete", here.delete(prefix + "key"), True)
    check("delete of nothing", here.delete(prefix + "key"), False)
    check("delete of many", there.delete_prefix(prefix + "list/").deleted, 5)


def transactions(here, there, prefix):
    key = prefix + "key"
    check("absent", here.put_if_not_exists(key, "a"), True)
    check("present", there.put_if_not_exists(key, "b"), False)
    check("replace", there.replace(key, "a", "c"), True)
    check("replace what is not there", here.replace(key, "a", "d"), False)
    of = here.transactions
    other = prefix + "other"
    there.put(other, "x")
    succeeded, answers = here.transaction(
        compare=[of.value(key) == "c", of.version(key) == 2],
        success=[of.put(key, "e"), of.get(key), of.txn([of.value(key) == "c"], [of.delete(other)], [])],
        failure=[of.put(key, "wrong")],
    )
    check("succeeded", succeeded, True)
    check("it reads what it wrote", answers[1][0][0], b"e")
    check("the inner one compares with what was before", there.get(other), (None, None))
    succeeded, answers = there.transaction([of.create(key) == 0], [of.get(key)], [of.put(key, "f")])
    check("failed", succeeded, False)
    check("the other branch", here.get(key)[0], b"f")


def compaction(here, there, prefix):
    key = prefix + "key"
    old = here.put(key, "old").header.revision
    new = there.put(key, "new").header.revision
    there.compact(new)
    try:
        there.compact(old)
        raise AssertionError("compacted twice")
    except Exception as error:
        check("compacted", "required revision has been compacted" in str(error), True)
    events, cancel = here.watch(key, start_revision=old)
    try:
        next(events)
        raise AssertionError("a watch of what is gone")
    except etcd3.exceptions.RevisionCompactedError as error:
        check("compacted at", error.compacted_revision, new)
    finally:
        cancel()


def watches(here, there, prefix):
    first = there.put(prefix + "a", "1").header.revision
    heard = queue.Queue()
    watch_id = here.add_watch_prefix_callback(
        prefix, heard.put, start_revision=first, prev_kv=True)
    there.put(prefix + "a", "2")
    here.put(prefix + "b", "3")
    there.delete(prefix + "a")
    events = []
    while len(events) < 4:
        response = heard.get(timeout=PATIENCE)
        if isinstance(response, Exception):
            raise response
        events += response.events
    name = {etcd3.events.PutEvent: "put", etcd3.events.DeleteEvent: "delete"}
    told = [(name[type(event)], event.key.decode()[len(prefix):], event.value,
             event.prev_value) for event in events]
    check("events", told, [("put", "a", b"1", b""), ("put", "a", b"2", b"1"),
                           ("put", "b", b"3", b""), ("delete", "a", b"", b"2")])
    revisions = [event.mod_revision for event in events]
    check("in order", revisions, [first, first + 1, first + 2, first + 3])
    here.cancel_watch(watch_id)
    once = queue.Queue()
    thread = threading.Thread(
        target=lambda: once.put(here.watch_once(prefix + "c", timeout=PATIENCE, start_revision=first)))
    thread.start()
    there.put(prefix + "c", "4")
    thread.join()
    check("once", once.get(timeout=PATIENCE).value, b"4")


def leases(here, there, prefix):
    lease = here.lease(3600, lease_id=int.from_bytes(prefix.encode()[-4:], "big"))
    here.put(prefix + "a", "1", lease=lease)
    there.put(prefix + "b", "1", lease=lease.id)
    check("granted", lease.granted_ttl, 3600)
    check("remaining", 3000 < lease.remaining_ttl <= 3600, True)
    check("keys", sorted(lease.keys), [(prefix + "a").encode(), (prefix + "b").encode()])
    check("refreshed", [answer.TTL for answer in lease.refresh()], [3600])
    there.revoke_lease(lease.id)
    check("revoked", list(here.get_prefix(prefix)), [])
    check("unknown", here.get_lease_info(lease.id).TTL, -1)
    short = there.lease(1)
    there.put(prefix + "short", "1", lease=short)
    check("lives", here.get(prefix + "short")[0], b"1")
    eventually("a key dies with its lease", lambda: here.get(prefix + "short") == (None, None))


def locks(here, there, prefix):
    first = here.lock(prefix, ttl=60)
    second = there.lock(prefix, ttl=60)
    check("taken", first.acquire(), True)
    check("held", first.is_acquired(), True)
    check("not twice", second.acquire(timeout=0.2), False)
    waits = queue.Queue()
    thread = threading.Thread(target=lambda: waits.put(second.acquire(timeout=PATIENCE)))
    thread.start()
    check("released", first.release(), True)
    thread.join()
    check("handed on", waits.get(timeout=PATIENCE), True)
    check("held by the other", (first.is_acquired(), second.is_acquired()), (False, True))
    with_statement = here.lock(prefix + "with", ttl=60)
    with with_statement:
        check("in the block", with_statement.is_acquired(), True)
    check("after it", with_statement.is_acquired(), False)
    second.release()


def cluster(here, there, prefix):
    status = here.status()
    check("version", status.version.split(".")[0], "3")
    check("leader", there.status().leader.id, status.leader.id)
    members = list(here.members)
    check("same members", sorted(m.id for m in members), sorted(m.id for m in there.members))
    check("names", all(member.name and member.client_urls for member in members), True)
    check("alarms", list(here.list_alarms()), [])


def maintenance(here, there, prefix):
    here.defragment()
    check("hash", here.hash() != 0, True)
    backup = io.BytesIO()
    there.snapshot(backup)
    check("backup with its trailer", len(backup.getvalue()) % 512, 32)


CHECKS = [puts_and_gets, transactions, compaction, watches, leases, locks, cluster, maintenance]


def main(endpoints):
    clients = []
    for endpoint in endpoints:
        host, port = endpoint.rsplit(":", 1)
        clients.append(etcd3.client(host=host, port=int(port), timeout=PATIENCE))
    failed = 0
    for number, here in enumerate(clients):
        there = clients[(number + 1) % len(clients)]
        for run in CHECKS:
            # Of their own, so that a cluster may be used twice.
            prefix = f"py/{number}/{run.__name__}/{time.time_ns() % 1_000_000_000}/"
            try:
                run(here, there, prefix)
                print(f"passed  {run.__name__} at {endpoints[number]}")
            except Exception:
                failed += 1
                print(f"FAILED  {run.__name__} at {endpoints[number]}\n{traceback.format_exc()}")
    total = len(clients) * len(CHECKS)
    print(f"etcd3 {etcd3.__version__}: {total - failed} of {total} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
