"""Context, stream, memory and threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from launches import on_stream

import cuda_ops

pytestmark = pytest.mark.gpu


def test_torch_and_the_device_share_memory_and_the_stream(device):
    with on_stream(device):
        tensor = torch.arange(1000, dtype=torch.float32, device="cuda") * 2
        array = device.pinned(1000, np.float32)
        device.download(array, tensor.data_ptr())
        device.synchronize()
        assert array.tolist() == [2.0 * i for i in range(1000)]
        buffer = device.alloc(array.nbytes)
        array[:] = 7
        device.upload(buffer.ptr, array)
        device.download(array, buffer.ptr)
        device.synchronize()
        assert (array == 7).all()
        buffer.free()


def test_name_and_capability_are_those_of_torch(device):
    assert device.name == torch.cuda.get_device_name(0)
    assert device.capability == torch.cuda.get_device_capability(0)


def test_events_measure_the_stream(device):
    first, second = device.event(), device.event()
    first.record()
    with on_stream(device):
        torch.randn(1000, 1000, device="cuda") @ torch.randn(1000, 1000, device="cuda")
    second.record()
    second.synchronize()
    assert second.query()
    assert second.elapsed(first) > 0


def test_a_gpu_that_is_not_there(device):
    with pytest.raises(cuda_ops.CudaUnavailable, match="there is no GPU 99 among"):
        cuda_ops.Device(99)


@pytest.mark.parametrize("end", ["device.close()", "pass", "keep.append(device)"])
@pytest.mark.parametrize("with_torch", [False, True])
def test_a_thread_may_end_with_or_without_close(device, end, with_torch):
    """PyCUDA would abort the process where a context is left on a thread's stack."""
    code = f"""
import threading
if {with_torch}:
    import torch
    torch.cuda.init()
import cuda_ops
keep = []
def work():
    device = cuda_ops.Device()
    buffer = device.alloc(1000)
    device.synchronize()
    {end}
for _ in range(2):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
main = cuda_ops.Device()
main.synchronize()
print("done", end="")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done"), done.stderr


def test_a_graph_does_again_what_was_captured(device):
    values = device.pinned(256, np.float32)
    buffer, copy = device.alloc(values.nbytes), device.pinned(256, np.float32)

    def queue():
        device.upload(buffer.ptr, values)
        device.download(copy, buffer.ptr)

    queue()
    device.synchronize()
    values[:] = 3
    graph = device.capture(queue)
    device.synchronize()
    assert not (copy == 3).any()  # recorded, not run
    for number in (3, 4):
        values[:] = number
        graph.launch()
        device.synchronize()
        assert (copy == number).all()
    graph.close()


def test_what_cannot_be_captured_is_said_and_the_stream_goes_on(device):
    with pytest.raises(Exception, match=r"(?i)captur"):
        device.capture(device.synchronize)
    event = device.event()
    event.record()
    event.synchronize()


def test_any_thread_may_wait_for_an_event(device):
    event = device.event()
    event.record()
    with ThreadPoolExecutor(1) as other:
        other.submit(event.synchronize).result()
    assert event.query()


def test_memory_is_that_of_torch(device):
    assert device.memory()[1] == torch.cuda.mem_get_info()[1]


def test_another_thread_frees_an_event_of_the_older_of_two_devices(device):
    """PyCUDA warns where it cannot: the event would stay until the process ends."""
    code = """
import threading
import cuda_ops
older, newer = cuda_ops.Device(), cuda_ops.Device()
held = [older.event()]
held[0].record()
thread = threading.Thread(target=lambda: (held[0].synchronize(), held.clear()))
thread.start()
thread.join()
newer.close()
older.close()
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
