"""The code of docs/rate-limiting-a-web-service.md as it is written there, in front of a real server."""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from http.client import HTTPConnection
from multiprocessing.shared_memory import SharedMemory
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from helpers import ROOT

from algos.ratelimit import Gcra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

uvicorn = pytest.importorskip("uvicorn", reason="the server is not installed")

TEXT = (ROOT / "docs" / "rate-limiting-a-web-service.md").read_text(encoding="utf-8")
WEB, BY_FIELD, ADD, SHARED = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
BURST, DAY = 5, 86_400
PATIENCE = 60  # seconds until a server or an answer counts as lost; nothing is expected to take that long


@cache
def page(*blocks: str) -> dict[str, Any]:
    """Run code of the page, and return what it defines."""
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "rate-limiting-a-web-service.md", "exec"), names)
    return names


def five_a_day() -> Gcra:
    """Return a limiter that regains nothing while a test runs."""
    return Gcra(BURST, BURST, DAY)


def limited(app: Any = None) -> Any:
    """Return an application, or that of the page, behind such a limiter."""
    names = page(WEB)
    return names["RateLimit"](app or names["hello"], five_a_day())


# ---------------------------------------------------------------------------------------------------
# Server and client


class Server(uvicorn.Server):
    """A server that says when it has started, and where."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.address: Future[tuple[str, int]] = Future()

    async def startup(self, sockets: Any = None) -> None:
        try:
            await super().startup(sockets)
            self.address.set_result(self.servers[0].sockets[0].getsockname())
        except BaseException as error:
            self.address.set_exception(RuntimeError(f"the server did not start: {error!r}"))
            raise


@contextmanager
def served(app: Any, **options: Any) -> Iterator[Callable[[], HTTPConnection]]:
    """Serve an application on a port of its own; yield what connects to it."""
    fixed = {
        "host": "127.0.0.1",
        "port": 0,
        "loop": "asyncio",
        "http": "h11",
        "ws": "none",
        "log_config": None,
    }
    server = Server(uvicorn.Config(app, **fixed, timeout_keep_alive=10 * PATIENCE, **options))
    connections: list[HTTPConnection] = []

    def connect() -> HTTPConnection:
        connections.append(HTTPConnection(*server.address.result(), timeout=PATIENCE))
        return connections[-1]

    thread = Thread(target=copy_context().run, args=(server.run,))  # with what NumPy is told of overflow
    thread.start()
    try:
        server.address.result(PATIENCE)
        yield connect
    finally:
        for connection in connections:
            connection.close()
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes

    def _said(self) -> re.Match[str]:
        found = re.fullmatch(r'"default";r=(\d+);t=(\d+)', self.fields["ratelimit"])
        assert found
        return found

    @property
    def remaining(self) -> int:
        return int(self._said()[1])

    @property
    def seconds(self) -> int:
        return int(self._said()[2])


def ask(connection: HTTPConnection, method: str = "GET", body: bytes | None = None, **fields: str) -> Answer:
    """Make one request; ``x_y`` is the field ``x-y``."""
    connection.request(method, "/", body, {name.replace("_", "-"): value for name, value in fields.items()})
    response = connection.getresponse()
    names = [name.lower() for name, _ in response.getheaders()]
    assert len(set(names)) == len(names), "a field came twice"
    return Answer(response.status, dict(zip(names, response.headers.values(), strict=True)), response.read())


def ask_often(connection: HTTPConnection, n: int, **fields: str) -> list[int]:
    return [ask(connection, **fields).status for _ in range(n)]


# ---------------------------------------------------------------------------------------------------
# What a client sees


def test_a_burst_passes_and_then_429_says_when_to_come_back() -> None:
    with served(limited()) as connect:
        connection = connect()
        for left in reversed(range(BURST)):
            answer = ask(connection)
            assert (answer.status, answer.body, answer.remaining) == (200, b"Hello\n", left)
            assert answer.fields["ratelimit-policy"] == f'"default";q={BURST};w={DAY}'
            assert answer.fields["content-type"] == "text/plain"
            assert "retry-after" not in answer.fields
        for _ in range(3):
            answer = ask(connection)
            assert (answer.status, answer.body, answer.remaining) == (429, b"Too many requests\n", 0)
            assert answer.fields["ratelimit-policy"] == f'"default";q={BURST};w={DAY}'
            assert answer.fields["content-type"] == "text/plain"
            assert re.fullmatch(r"[1-9]\d*", answer.fields["retry-after"])
            assert int(answer.fields["retry-after"]) == answer.seconds <= DAY // BURST


def test_the_page_serves_and_shows_what_it_says() -> None:
    """The application of the page, its own rate, its own refusal."""
    with served(page(WEB)["app"]) as connect:
        answer = ask(connect())
        assert (answer.status, answer.remaining) == (200, 19)
    (text,) = re.findall(r"```text\nHTTP/1.1 429 Too Many Requests\n(.*?)```", TEXT, re.DOTALL)
    shown = dict(line.split(": ") for line in text.splitlines() if not line.startswith("content-"))
    limiter = Gcra(rate=100, period=60, burst=20)  # the same again, by a clock that stands
    refused = [limiter.check("client", 1, 0) for _ in range(21)][-1]
    assert {name.lower(): value for name, value in limiter.headers(refused).items()} == shown


def test_a_connection_is_kept_through_refusals() -> None:
    with served(limited()) as connect:
        connection = connect()
        assert ask(connection).status == 200
        kept = connection.sock
        assert kept is not None
        assert ask_often(connection, 2 * BURST) == [200] * (BURST - 1) + [429] * (BURST + 1)
        assert connection.sock is kept  # http.client forgets one that is to be closed


def test_head_and_post_count_and_are_refused_alike() -> None:
    upload = bytes(1 << 20)
    with served(limited()) as connect:
        connection = connect()
        methods = ["GET", "HEAD", "POST", "DELETE", "POST"]
        for left, method in enumerate(methods, 1):
            answer = ask(connection, method, b"small" if method == "POST" else None)
            assert (answer.status, answer.remaining) == (200, BURST - left)
        head = ask(connection, "HEAD")
        assert (head.status, head.body, head.fields["content-length"]) == (429, b"", "18")
        assert int(head.fields["retry-after"]) == head.seconds >= 1
        post = ask(connection, "POST", upload)
        assert (post.status, post.body) == (429, b"Too many requests\n")
        assert ask(connection).status == 429  # and what was not read is not taken for the next request


@pytest.mark.parametrize("connections", [1, 8])
def test_of_requests_at_once_exactly_the_burst_passes(connections: int) -> None:
    """Over several connections, to an application that is under way with all it was given."""
    served_now = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        served_now.append(scope["client"])
        for _ in range(10):
            await asyncio.sleep(0)
        await page(WEB)["hello"](scope, receive, send)

    together = Barrier(connections)

    def client(connection: HTTPConnection) -> list[int]:
        together.wait(PATIENCE)
        return ask_often(connection, 2 * BURST)

    with (
        served(limited(slow)) as connect,
        ThreadPoolExecutor(connections) as pool,
    ):
        answers = list(pool.map(client, [connect() for _ in range(connections)]))
    assert sum(each.count(200) for each in answers) == len(served_now) == BURST
    assert sum(each.count(429) for each in answers) == (2 * connections - 1) * BURST
    assert all(each == sorted(each) for each in answers)  # who was refused once is not let through later


# ---------------------------------------------------------------------------------------------------
# Whom it counts


def test_clients_behind_a_proxy_do_not_count_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is this test, from the one address that uvicorn believes by default."""
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    with served(limited()) as connect:
        connection = connect()
        spent = [200] * BURST + [429]
        assert ask_often(connection, BURST + 1, x_forwarded_for="203.0.113.7") == spent
        assert ask_often(connection, BURST + 1, x_forwarded_for="203.0.113.8") == spent
        assert ask(connection, x_forwarded_for="203.0.113.7").status == 429
        # What a client writes into the field itself stands before what the proxy adds.
        assert ask(connection, x_forwarded_for="198.51.100.1, 203.0.113.7").status == 429
        assert ask_often(connection, BURST + 1) == spent
        assert ask_often(connection, BURST + 1, x_forwarded_for="2001:db8::1") == spent
        assert ask(connection, x_forwarded_for="2001:db8::ffff:1").status == 429
        assert ask(connection, x_forwarded_for="2001:db8:0:1::1").status == 200
        assert ask(connection, x_forwarded_for="no: address").status == 200


def test_a_client_that_is_no_proxy_cannot_be_another() -> None:
    with served(limited(), forwarded_allow_ips="192.0.2.1") as connect:
        connection = connect()
        assert ask_often(connection, BURST, x_forwarded_for="203.0.113.7") == [200] * BURST
        assert ask(connection, x_forwarded_for="203.0.113.8").status == 429


def test_who_believes_everyone_limits_nobody() -> None:
    """Why the page says not to: of ``*`` uvicorn takes what the client wrote."""
    with served(limited(), forwarded_allow_ips="*") as connect:
        connection = connect()
        made_up = [f"198.51.100.{i}, 203.0.113.7" for i in range(2 * BURST)]
        assert {ask(connection, x_forwarded_for=each).status for each in made_up} == {200}


def test_a_key_from_a_field_of_the_proxys_own() -> None:
    names = page(WEB, BY_FIELD)
    assert names["app"].key is names["client_of_proxy"]
    with served(names["RateLimit"](names["hello"], five_a_day(), names["client_of_proxy"])) as connect:
        connection = connect()
        assert ask_often(connection, BURST + 1, x_real_ip="203.0.113.7") == [200] * BURST + [429]
        assert ask(connection, x_real_ip="203.0.113.8").status == 200


@pytest.mark.parametrize(
    ("address", "key"),
    [
        (("203.0.113.7", 1), "203.0.113.7"),
        (("2001:db8:0:1:a:b:c:d", 1), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("::ffff:203.0.113.7", 1), "203.0.113.7"),
        (("unix:", 1), "unix:"),
        (None, "local"),
    ],
)
def test_the_key_of_an_address(address: Any, key: str) -> None:
    assert page(WEB)["client"]({"client": address}) == key


# ---------------------------------------------------------------------------------------------------
# What else an application is sent


def test_the_lifespan_passes_through() -> None:
    events = []

    async def lives(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{event}"
                events.append(event)
                scope["state"]["since"] = "startup"
                await send({"type": f"lifespan.{event}.complete"})
        else:
            events.append(scope["state"]["since"])
            await page(WEB)["hello"](scope, receive, send)

    with served(limited(lives), lifespan="on") as connect:
        assert events == ["startup"]
        answer = ask(connect())
        assert (answer.status, answer.remaining) == (200, BURST - 1)  # none of it was counted
    assert events == ["startup", "startup", "shutdown"]


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "a kind to come"])
def test_what_is_not_http_is_handed_on_as_it_is(kind: str) -> None:
    given = {"type": kind, "client": ("203.0.113.7", 1)}, object(), object()
    passed = []

    async def takes(*arguments: Any) -> None:
        passed.append(arguments)

    passes = limited(takes)
    for _ in range(BURST + 1):
        asyncio.run(passes(*given))
    assert all(a is b for arguments in passed for a, b in zip(arguments, given, strict=True))
    assert len(passed) == BURST + 1
    assert passes.limiter.check("203.0.113.7").remaining == BURST - 1  # the first that is counted


def test_the_decision_waits_for_nothing() -> None:
    """Driven by hand: the first thing that a refused request does is to answer."""
    spent = limited()
    assert all(spent.limiter.allow("203.0.113.7") for _ in range(BURST))
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    call = spent({"type": "http", "client": ("203.0.113.7", 1)}, None, send)
    with pytest.raises(StopIteration):
        call.send(None)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert all(name == name.lower() for name, _ in sent[0]["headers"])  # as ASGI has it


def test_in_front_of_starlette() -> None:
    starlette = pytest.importorskip("starlette.applications", reason="the framework is not installed")
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def hello(_request: Any) -> Any:
        return PlainTextResponse("Hello\n")

    application = starlette.Starlette(routes=[Route("/", hello)])
    line = ADD.replace("Gcra(rate=100, period=60, burst=20)", "limiter")
    assert line != ADD
    names = {"application": application, "RateLimit": page(WEB)["RateLimit"], "limiter": five_a_day()}
    exec(compile(line, "rate-limiting-a-web-service.md", "exec"), names)
    with served(application, lifespan="on") as connect:
        answers = [ask(connect()) for _ in range(BURST + 1)]
    assert [answer.status for answer in answers] == [200] * BURST + [429]
    assert [answer.remaining for answer in answers] == [4, 3, 2, 1, 0, 0]
    assert int(answers[-1].fields["retry-after"]) == answers[-1].seconds >= 1


def test_workers_that_share_a_limit() -> None:
    """The page's limiter in memory is one for whoever comes second, too."""
    name = f"hotpath-test-{os.getpid()}"
    workers = [dict(page(WEB)) for _ in range(2)]
    try:
        for worker in workers:
            exec(SHARED.replace("web-limits", name), worker)
        first, second = (worker["app"].limiter for worker in workers)
        assert all(limiter.allow("a") for limiter in (first, second) for _ in range(10))
        assert not first.allow("a")
        assert not second.allow("a")
    finally:
        SharedMemory(name).unlink()
