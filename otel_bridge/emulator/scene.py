"""Who works on what: the people, customers and subjects that synthetic tool calls are about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@dataclass(frozen=True, slots=True)
class User:
    """Someone on whose behalf an agent calls tools."""

    user_id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Customer:
    """A company that writes in."""

    name: str
    contact: str
    email: str
    plan: str


@dataclass(frozen=True, slots=True)
class Topic:
    """What a session is about."""

    title: str
    detail: str
    repo: str
    label: str


USERS: Final = (
    User("user_ada_8f21", "Ada Winter", "ada@lumenshop.io"),
    User("user_bruno_1c9e", "Bruno Costa", "bruno@lumenshop.io"),
    User("user_chioma_77d0", "Chioma Eze", "chioma@lumenshop.io"),
    User("emre@lumenshop.io", "Emre Öztürk", "emre@lumenshop.io"),
    User("user_fay_0b52", "Fay Lindqvist", "fay@lumenshop.io"),
    User("3f0c5f5e-6d0e-4a53-9d43-6f6f2f1f9a11", "Gita Rao", "gita@lumenshop.io"),
    User("user_henrik_e5a4", "Henrik Sørensen", "henrik@lumenshop.io"),
    User("user_ines_92bb", "Inés Ortega", "ines@lumenshop.io"),
    User("default", "Ops bot", "ops@lumenshop.io"),
)
CUSTOMERS: Final = (
    Customer("Northwind Traders", "Maya Patel", "maya.patel@northwind.example", "enterprise"),
    Customer("Blue Fern Bakery", "Tom Okafor", "tom@bluefern.example", "starter"),
    Customer("Kestrel Robotics", "Lena Fischer", "lena.fischer@kestrel.example", "growth"),
    Customer("Harbor & Pine", "Jonas Berg", "jonas@harborpine.example", "growth"),
    Customer("Solstice Clinics", "Priya Nair", "p.nair@solstice.example", "enterprise"),
    Customer("Café Minuit", "Élodie Marchand", "elodie@cafe-minuit.example", "starter"),
    Customer("Orbit Freight", "Sam Whitaker", "sam.whitaker@orbitfreight.example", "enterprise"),
    Customer("高橋商店", "Yuki Takahashi", "yuki@takahashi.example", "starter"),
)
TOPICS: Final = (
    Topic(
        "Webhook retries time out",
        "Deliveries to their endpoint stop after the second attempt with a 504; orders arrive hours late.",
        "webhooks",
        "reliability",
    ),
    Topic(
        "Invoices show the wrong currency",
        "EU invoices print USD amounts since Tuesday's release although the account is set to EUR.",
        "billing",
        "billing",
    ),
    Topic(
        "Checkout button stays disabled on Safari",
        "On Safari 18 the pay button never becomes active after the address form is completed.",
        "storefront",
        "bug",
    ),
    Topic(
        "CSV export drops the last row",
        "Exports with more than 10,000 rows are one row short; the row is there in the dashboard.",
        "reports",
        "bug",
    ),
    Topic(
        "Single sign-on loops back to the login page",
        "After a rename of their tenant, users are sent in circles between the identity provider and us.",
        "identity",
        "security",
    ),
    Topic(
        "Asking for a higher API quota",
        "They plan a flash sale on Friday and expect about four times their usual request rate.",
        "gateway",
        "capacity",
    ),
    Topic(
        "Inventory sync is six hours behind",
        "Stock levels in two warehouses lag behind; one article was oversold eleven times.",
        "inventory",
        "reliability",
    ),
)
CHANNELS: Final = ("#support", "#engineering", "#on-call", "#customer-success", "#releases")


@dataclass(frozen=True, slots=True)
class Scene:
    """One session's setting: what its tool calls have in common.

    Attributes:
        day: The session's date, ``YYYY-MM-DD``.
        goal: What the agent was asked to do.
    """

    rng: random.Random
    user: User
    customer: Customer
    topic: Topic
    channel: str
    goal: str
    day: str
    number: int
    thread: str = field(default="")

    def pick(self, options: tuple[str, ...]) -> str:
        """One of the options."""
        return options[int(self.rng.random() * len(options))]

    def text_id(self, length: int) -> str:
        """An opaque id of letters, digits, ``_`` and ``-``."""
        return text_id(self.rng, length)

    def hex_id(self, length: int) -> str:
        """An opaque id of hexadecimal digits."""
        return f"{self.rng.getrandbits(4 * length):0{length}x}"


def text_id(rng: random.Random, length: int) -> str:
    """An opaque id of letters, digits, ``_`` and ``-``: 6 random bits a character."""
    bits = rng.getrandbits(6 * length)
    return "".join([ALPHABET[bits >> shift & 63] for shift in range(0, 6 * length, 6)])
