from algos._variant import Variant
from algos.ids._node import Layout as Layout
from algos.ids.collisions import collision_probability as collision_probability
from algos.ids.ksuid import Ksuid as Ksuid
from algos.ids.nanoid import NanoId as NanoId
from algos.ids.objectid import ObjectId as ObjectId
from algos.ids.snowflake import Snowflake as Snowflake
from algos.ids.tsid import Tsid as Tsid
from algos.ids.ulid import Ulid as Ulid
from algos.ids.uuid4 import Uuid4 as Uuid4
from algos.ids.uuid5 import Uuid5 as Uuid5
from algos.ids.uuid7 import Uuid7 as Uuid7
from algos.ids.xid import Xid as Xid

VARIANTS: tuple[Variant, ...]
