"""Clusters that do not answer, against real sockets and servers.

They listen on all addresses of the machine, since Ray takes another one for 127.0.0.1.
"""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from odtk_ray.cluster import reach_cluster
from odtk_ray.cluster.reach_cluster import check_answers
from odtk_ray.errors import OdtkError, UsageError


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(reach_cluster, "_PATIENCE", 1.0)
    monkeypatch.setattr(reach_cluster, "_PAUSE", 0.1)


@pytest.fixture
def deaf():
    """An address where somebody listens and never answers."""
    with socket.create_server(("", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def web_server():
    with HTTPServer(("", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def free_address():
    with socket.create_server(("", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_where_nothing_listens_this_is_said():
    with pytest.raises(OdtkError, match=r"Ray cluster at 127\S+: nothing listens there"):
        check_answers(free_address())


def test_where_nobody_answers_this_is_said(deaf):
    with pytest.raises(OdtkError, match="nothing answers"):
        check_answers(deaf)


def test_another_server_is_told_from_a_cluster(web_server):
    with pytest.raises(OdtkError, match="what answers there is no Ray cluster"):
        check_answers(web_server)


@pytest.mark.parametrize("address", ["nonsense", "ray://host:10001", "host:port:more"])
def test_addresses_that_ray_cannot_use_are_usage_errors(address):
    with pytest.raises(UsageError, match="addresses are HOST:PORT or auto"):
        check_answers(address)


def test_the_address_of_the_job_server_is_understood():
    with pytest.raises(UsageError, match="server for jobs") as caught:
        check_answers("http://127.0.0.1:8265")
    assert "ray job submit --address http://127.0.0.1:8265" in caught.value.hint


def test_a_server_that_comes_late_is_waited_for(monkeypatch):
    monkeypatch.setattr(reach_cluster, "_PATIENCE", 600)
    address = free_address()
    servers = []

    def start():
        server = HTTPServer(("", int(address.rpartition(":")[2])), BaseHTTPRequestHandler)
        servers.append(server)
        server.serve_forever()

    later = threading.Timer(0.5, start)
    later.start()
    with pytest.raises(OdtkError, match="no Ray cluster"):
        check_answers(address)
    servers[0].shutdown()
    servers[0].server_close()
    later.join()
