"""Rate limiters: keyed, exact, alone and in batches, on one table of what is live."""

from algos._variant import Variant, face

_TURNER = "Turner: New directions in communications, IEEE Communications Magazine, 1986"
_TANENBAUM = "Tanenbaum, Wetherall: Computer networks, 2011"

VARIANTS = (
    Variant(
        name="Gcra",
        target="algos.ratelimit.gcra:Gcra",
        paper="ATM Forum: Traffic management specification 4.0, 1996",
        standard="ITU-T I.371, virtual scheduling",
        topics=("1.10", "4.2", "7.12", "30.1", "30.8", "33.11"),
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="TokenBucket",
        target="algos.ratelimit.token_bucket:TokenBucket",
        paper=_TURNER,
        topics=("4.2", "4.8", "7.22", "15.11", "15.16", "25.1", "30.1"),
        properties=frozenset({"exact"}),
    ),
    Variant(
        name="LeakyBucket",
        target="algos.ratelimit.leaky_bucket:LeakyBucket",
        paper=_TURNER,
        standard="ITU-T I.371, continuous-state leaky bucket",
        topics=("30.1",),
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="FixedWindow",
        target="algos.ratelimit.fixed_window:FixedWindow",
        paper=_TANENBAUM,
        topics=("4.2", "30.4"),
    ),
    Variant(
        name="SlidingCounter",
        target="algos.ratelimit.sliding_counter:SlidingCounter",
        paper="Matthews: How we built rate limiting capable of scaling to millions of domains, 2017",
        topics=("4.2", "7.12", "29.2", "30.3"),
    ),
    Variant(
        name="SlidingLog",
        target="algos.ratelimit.sliding_log:SlidingLog",
        paper=_TANENBAUM,
        topics=("7.12", "30.2"),
        properties=frozenset({"exact"}),
    ),
    Variant(
        name="MultiTier",
        target="algos.ratelimit.multi_tier:MultiTier",
        paper=_TURNER,
        topics=("4.8", "15.11"),
        properties=frozenset({"exact"}),
    ),
    Variant(
        name="SharedGcra",
        target="algos.ratelimit.shared_gcra:SharedGcra",
        paper="ATM Forum: Traffic management specification 4.0, 1996",
        standard="ITU-T I.371, virtual scheduling",
        topics=("30.1",),
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="SharedFixedWindow",
        target="algos.ratelimit.shared_fixed_window:SharedFixedWindow",
        paper=_TANENBAUM,
        topics=("30.4",),
    ),
    Variant(
        name="ConcurrencyLimiter",
        target="algos.ratelimit.concurrency:ConcurrencyLimiter",
        paper="Dijkstra: Cooperating sequential processes, EWD 123, 1965",
        properties=frozenset({"exact", "removable"}),
    ),
    Variant(
        name="Hierarchical",
        target="algos.ratelimit.hierarchical:Hierarchical",
        paper="Floyd, Jacobson: Link-sharing and resource management models for packet networks, 1995",
        topics=("4.2", "30.7"),
        properties=frozenset({"exact"}),
    ),
    Variant(
        name="CountMinLimiter",
        target="algos.ratelimit.count_min:CountMinLimiter",
        paper="Estan, Varghese: New directions in traffic measurement and accounting, 2002",
        topics=("29.2",),
    ),
)

_OTHERS = ("algos.ratelimit._limiter:Decision", "algos.ratelimit._limiter:Decisions")

__all__, __getattr__ = face(__name__, [*_OTHERS, *(v.target for v in VARIANTS)])
