"""Ids: minted in batches and alone, to the bit of their standards, in order, and apart from each other."""

from algos._variant import Variant, face

VARIANTS = (
    Variant(
        name="Uuid4",
        target="algos.ids.uuid4:Uuid4",
        paper="Leach, Mealling, Salz: A universally unique identifier (UUID) URN namespace, RFC 4122, 2005",
        standard="RFC 9562, section 5.4",
        topics=("36.1",),
        properties=frozenset({"standard"}),
    ),
    Variant(
        name="Uuid5",
        target="algos.ids.uuid5:Uuid5",
        paper="Leach, Mealling, Salz: A universally unique identifier (UUID) URN namespace, RFC 4122, 2005",
        standard="RFC 9562, section 5.5",
        topics=("36.1",),
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="Uuid7",
        target="algos.ids.uuid7:Uuid7",
        paper="Davis, Peabody, Leach: Universally unique identifiers (UUIDs), 2024",
        standard="RFC 9562, sections 5.7 and 6.2",
        topics=("36.1", "36.7"),
        properties=frozenset({"ordered", "standard"}),
    ),
    Variant(
        name="Ulid",
        target="algos.ids.ulid:Ulid",
        paper="Feerasta: ULID, 2016",
        standard="ulid/spec, with its monotonic mode",
        topics=("36.3",),
        properties=frozenset({"ordered", "standard"}),
    ),
    Variant(
        name="Snowflake",
        target="algos.ids.snowflake:Snowflake",
        paper="King: Announcing Snowflake, Twitter, 2010",
        standard="layouts of Twitter, Discord and Instagram",
        topics=("36.2",),
        properties=frozenset({"ordered", "standard"}),
    ),
    Variant(
        name="Tsid",
        target="algos.ids.tsid:Tsid",
        paper="Lima: tsid-creator, 2020",
        standard="f4b6a3/tsid-creator",
        topics=("36.7",),
        properties=frozenset({"ordered", "standard"}),
    ),
    Variant(
        name="Ksuid",
        target="algos.ids.ksuid:Ksuid",
        paper="Segment: A brief history of the UUID, 2017",
        standard="segmentio/ksuid",
        topics=("36.7",),
        properties=frozenset({"standard"}),
    ),
    Variant(
        name="Xid",
        target="algos.ids.xid:Xid",
        paper="Poitrey: xid, 2015",
        standard="rs/xid",
        topics=("36.7",),
        properties=frozenset({"standard"}),
    ),
    Variant(
        name="ObjectId",
        target="algos.ids.objectid:ObjectId",
        paper="MongoDB: ObjectId, 2009",
        standard="BSON ObjectId",
        topics=("36.7",),
        properties=frozenset({"standard"}),
    ),
    Variant(
        name="NanoId",
        target="algos.ids.nanoid:NanoId",
        paper="Sitnik: Nano ID, 2017",
        standard="ai/nanoid",
        topics=("36.4",),
        properties=frozenset({"standard"}),
    ),
)

_OTHERS = ("algos.ids._node:Layout", "algos.ids.collisions:collision_probability")

__all__, __getattr__ = face(__name__, [*_OTHERS, *(v.target for v in VARIANTS)])
