# `ostree admin set-default INDEX`, which newer versions have, with the libostree that is there:
# the deployment becomes the first, and nothing else changes.
import sys

import gi

gi.require_version("OSTree", "1.0")
from gi.repository import Gio, OSTree  # noqa: E402

sysroot = OSTree.Sysroot.new(Gio.File.new_for_path("/"))
sysroot.load(None)
deployments = sysroot.get_deployments()
chosen = deployments.pop(int(sys.argv[1]))
sysroot.write_deployments([chosen] + deployments, None)
