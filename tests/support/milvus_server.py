"""A real Milvus server for tests, in a network of its own: nothing of it listens where others reach it.

The one door is a relay, which can be told to close, to hold everything up, or to kill the server.
"""

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import filelock

ALONE = ["unshare", "--net", "--map-root-user"]
START_SECONDS = 120
# A server of its own waits seconds for more work to come before it does any; tests wait for each bit of it.
AT_ONCE = {
    "dataCoord.segment.assignmentExpiration": 200,
    "proxy.timeTickInterval": 50,
    "queryCoord.checkInterval": 100,
    "queryCoord.distPullInterval": 50,
}


def why_not():
    """Say why no server can be run here; empty where one can."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "there is no Milvus server for this platform"
    if find_spec("milvus") is None or find_spec("pymilvus") is None:
        return "milvus or pymilvus is not installed"
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        return "this machine does not let a process have a network of its own"
    return ""


class MilvusServer:
    """A server with its data in a folder; `url` names a collection of it."""

    def __init__(self, folder, *settings):
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        hurry = [f"--extra-config={name}={value}" for name, value in AT_ONCE.items()]
        command = [*ALONE, sys.executable, __file__, str(self.door.fileno()), str(folder), *hurry, *settings]
        self.process = subprocess.Popen(
            command, pass_fds=[self.door.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def url(self, collection):
        return f"milvus://127.0.0.1:{self.port}/{collection}"

    def tell(self, word):
        """Tell the relay: open, close (refuse and drop connections), hold (answer nothing), kill, start."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        self._answer()

    def _answer(self):
        answer = self.process.stdout.readline().strip()
        assert answer == "done", f"the server's relay said {answer!r}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()
        self.door.close()


class SharedServer:
    """The server of all processes of a test run; each test names collections of its own."""

    def __init__(self, port):
        self.port = port
        self.given = []

    def url(self, collection):
        self.given.append(collection)
        return f"milvus://127.0.0.1:{self.port}/{collection}"

    def drop_given(self):
        """Drop what lies under the names that were given."""
        from facesearch.index.milvus.address import Address
        from facesearch.index.milvus.server import Server

        server = Server(Address.parse(f"milvus://127.0.0.1:{self.port}/any"))
        for name in server.collections():
            if any(name == one or name.startswith(f"{one}_") for one in self.given):
                server.drop(name)


@contextmanager
def shared_server(tmp_path_factory):
    """Yield the one server of a test run: who needs it first starts it, and stops it when nobody needs it.

    Even an idle server takes a third of a processor.
    """
    import fcntl

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    own, place = None, base / "milvus.port"
    with (base / "milvus.users").open("w") as users:
        with filelock.FileLock(base / "milvus.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not place.exists():
                (base / "milvus").mkdir()
                own = MilvusServer(base / "milvus")
                place.write_text(str(own.port))
        try:
            yield SharedServer(int(place.read_text()))
        finally:
            if own is not None:
                fcntl.flock(users, fcntl.LOCK_EX)  # waits until no other process uses it
                own.stop()


class Relay:
    """Runs in the server's network: starts the server and lets in who comes through the door."""

    def __init__(self, door, folder, settings):
        self.door, self.folder, self.settings = door, folder, settings
        self.state = "open"
        self.connections = []
        self.server = None
        self.port = 0

    def start(self):
        code = "import sys; from milvus import main; sys.exit(main())"
        said = Path(self.folder) / "said"
        with said.open("wb") as out:
            self.server = subprocess.Popen(
                [sys.executable, "-u", "-c", code, "--data", self.folder, *self.settings],
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        ends = time.monotonic() + START_SECONDS
        while "Welcome" not in said.read_text():
            if time.monotonic() > ends or self.server.poll() is not None:
                raise TimeoutError("the server does not start")
            time.sleep(0.1)
        # Where a port is still held by what a killed server left, it takes another one.
        config = (Path(self.folder) / "configs" / "milvus.yaml").read_text()
        self.port = int(re.search(r"^proxy:\n(?:.*\n)*?  port: (\d+)", config, re.MULTILINE)[1])

    def kill(self):
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def accept(self):
        while True:
            client, _ = self.door.accept()
            try:
                if self.state == "close":
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.connections.append((client, server))
            threading.Thread(target=self.pass_on, args=(client, server), daemon=True).start()

    def pass_on(self, client, server):
        other = {client: server, server: client}
        try:
            with suppress(OSError, ValueError):
                while True:
                    for ready in select.select([client, server], [], [])[0]:
                        data = ready.recv(1 << 16)
                        while self.state == "hold":
                            time.sleep(0.05)
                        if not data:
                            return
                        other[ready].sendall(data)
        finally:
            client.close()
            server.close()

    def close(self):
        for pair in self.connections:
            for one in pair:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def obey(self, word):
        if word in ("open", "close", "hold"):
            self.state = word
        if word in ("close", "kill"):
            self.close()
        if word in ("kill", "start"):
            getattr(self, word)()


def say_done():
    sys.stdout.write("done\n")
    sys.stdout.flush()


def main(door, folder, *settings):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh", b"lo", 1 | 64)  # IFF_UP, IFF_RUNNING
        import fcntl

        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    relay = Relay(socket.socket(fileno=int(door)), folder, settings)
    try:
        relay.start()
        threading.Thread(target=relay.accept, daemon=True).start()
        say_done()
        for line in sys.stdin:
            relay.obey(line.strip())
            say_done()
    finally:
        relay.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
