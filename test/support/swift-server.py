"""OpenStack Swift with its S3 interface, all four servers in one process: swift-server.py DIRECTORY.

Prints one line when it serves: the URL. Key and secret are `staging:operator` and `secret`.
Ends with its standard input.
"""

import os
import sys

import eventlet

eventlet.patcher.monkey_patch(all=False, socket=True, select=True, thread=True)

from eventlet import listen, spawn, wsgi  # noqa: E402

SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = staging
[storage-policy:0]
name = only
default = yes
"""

STORAGE = """
[DEFAULT]
swift_dir = {directory}
devices = {directory}/disks
mount_check = false
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
replication_server = false
allow_open_expired = false
"""

PROXY = """
[DEFAULT]
swift_dir = {directory}
[pipeline:main]
pipeline = catch_errors cache s3api tempauth proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_staging_operator = secret .admin
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
"""


def main(directory):
    from swift.common import utils
    from swift.common.ring import RingBuilder
    from swift.common.storage_policy import reload_storage_policies
    from swift.common.wsgi import loadapp

    os.makedirs(os.path.join(directory, "disks", "one"), exist_ok=True)
    write(directory, "swift.conf", SWIFT_CONF)
    utils.SWIFT_CONF_FILE = os.path.join(directory, "swift.conf")
    utils.HASH_PATH_SUFFIX = b"staging"
    utils.HASH_PATH_PREFIX = b""
    reload_storage_policies()
    sockets = {}
    for kind in ("account", "container", "object"):
        sockets[kind] = listen(("127.0.0.1", 0))
        builder = RingBuilder(4, 1, 1)
        port = sockets[kind].getsockname()[1]
        place = {"region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "device": "one"}
        builder.add_dev({"id": 0, "port": port, "replication_ip": "127.0.0.1",
                         "replication_port": port, "meta": "", **place})
        builder.rebalance()
        builder.get_ring().save(os.path.join(directory, kind + ".ring.gz"))
    logger = utils.NullLogger()
    for kind, listening in sockets.items():
        text = STORAGE.format(directory=directory, kind=kind)
        app = loadapp(write(directory, kind + "-server.conf", text), global_conf={})
        spawn(wsgi.server, listening, app, logger)
    proxy = listen(("127.0.0.1", 0))
    app = loadapp(write(directory, "proxy-server.conf", PROXY.format(directory=directory)),
                  global_conf={})
    spawn(wsgi.server, proxy, app, logger)
    print("http://127.0.0.1:%d" % proxy.getsockname()[1], flush=True)
    eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)
    os._exit(0)


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


main(os.path.abspath(sys.argv[1]))
