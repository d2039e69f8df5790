import subprocess
import sys

SCRIPT = """
import sys, threading
from facesearch.models.openvino import load_openvino, openvino_core
sys.setswitchinterval(1e-5)
start = threading.Barrier(8)
failed = []

def use(number):
    start.wait()
    try:
        if number % 2:
            openvino_core().available_devices
        else:
            load_openvino().Type.u8
    except Exception as error:
        failed.append(error)

threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""


def test_threads_that_need_it_at_once_all_get_the_whole_of_it():
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
