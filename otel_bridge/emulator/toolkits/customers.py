"""HubSpot and Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.toolkits.tool import Tool

if TYPE_CHECKING:
    from otel_bridge.emulator.scene import Scene


def _contact(scene: Scene) -> dict[str, Any]:
    first, _, last = scene.customer.contact.partition(" ")
    return {
        "id": str(scene.rng.randrange(10**9, 10**10)),
        "properties": {
            "firstname": first,
            "lastname": last,
            "email": scene.customer.email,
            "company": scene.customer.name,
            "lifecyclestage": "customer",
            "hs_lead_status": "CONNECTED",
            "lastmodifieddate": f"{scene.day}T05:11:09.120Z",
        },
        "archived": False,
    }


def _deal(scene: Scene) -> dict[str, Any]:
    return {
        "id": str(scene.rng.randrange(10**9, 10**10)),
        "properties": {
            "dealname": f"{scene.customer.name} renewal",
            "dealstage": scene.pick(("contractsent", "presentationscheduled", "closedwon")),
            "amount": f"{scene.rng.randrange(12, 480) * 100}.00",
            "closedate": f"{scene.day}T00:00:00Z",
            "hubspot_owner_id": "77150231",
        },
    }


def _invoices(scene: Scene) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [
            {
                "id": f"in_{scene.hex_id(24)}",
                "customer_email": scene.customer.email,
                "currency": scene.pick(("eur", "usd")),
                "amount_due": scene.rng.randrange(4_900, 990_000),
                "status": scene.pick(("paid", "open")),
                "hosted_invoice_url": f"https://invoice.stripe.com/i/{scene.text_id(32)}",
                "number": f"LUM-{scene.number}-{n:04d}",
            }
            for n in range(1, 4)
        ],
        "has_more": False,
    }


TOOLS: Final = (
    Tool(
        "HUBSPOT_SEARCH_CONTACTS_BY_CRITERIA",
        "hubspot",
        370,
        lambda s: {
            "filterGroups": [
                {"filters": [{"propertyName": "email", "operator": "EQ", "value": s.customer.email}]}
            ],
            "properties": ["firstname", "lastname", "email", "company", "lifecyclestage"],
            "limit": 10,
        },
        lambda s: {"total": 1, "results": [_contact(s)]},
    ),
    Tool(
        "HUBSPOT_LIST_DEALS",
        "hubspot",
        440,
        lambda _: {"limit": 25, "properties": ["dealname", "dealstage", "amount", "closedate"]},
        lambda s: {"results": [_deal(s) for _ in range(3)], "paging": {"next": {"after": s.hex_id(8)}}},
    ),
    Tool(
        "HUBSPOT_UPDATE_DEAL",
        "hubspot",
        400,
        lambda s: {
            "dealId": str(s.rng.randrange(10**9, 10**10)),
            "properties": {"hs_next_step": f"Follow up on: {s.topic.title}", "dealstage": "contractsent"},
        },
        _deal,
    ),
    Tool(
        "STRIPE_LIST_INVOICES",
        "stripe",
        360,
        lambda s: {"customer": f"cus_{s.hex_id(14)}", "limit": 3},
        _invoices,
    ),
)
