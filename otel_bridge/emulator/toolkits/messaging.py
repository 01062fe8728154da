"""Gmail and Slack."""

from __future__ import annotations

from typing import Any, Final

from otel_bridge.emulator.scene import CUSTOMERS, TOPICS, Scene
from otel_bridge.emulator.toolkits.tool import Tool


def _email(scene: Scene, customer: int, topic: int) -> dict[str, Any]:
    sender, subject = CUSTOMERS[customer % len(CUSTOMERS)], TOPICS[topic % len(TOPICS)]
    return {
        "messageId": scene.hex_id(16),
        "threadId": scene.hex_id(16),
        "sender": f"{sender.contact} <{sender.email}>",
        "subject": subject.title,
        "snippet": subject.detail,
        "labelIds": ["UNREAD", "INBOX"],
    }


def _fetched(scene: Scene) -> dict[str, Any]:
    first = int(scene.rng.random() * 50)
    messages = [_email(scene, first + n, first + 3 * n) for n in range(3 + first % 3)]
    return {"messages": messages, "resultSizeEstimate": 9 + first, "nextPageToken": scene.hex_id(20)}


def _thread(scene: Scene) -> dict[str, Any]:
    customer, topic = scene.customer, scene.topic
    return {
        "threadId": scene.thread,
        "messages": [
            {
                "messageId": scene.hex_id(16),
                "sender": f"{customer.contact} <{customer.email}>",
                "to": "support@lumenshop.io",
                "subject": topic.title,
                "messageText": f"Hello,\n\n{topic.detail} Could you have a look today? It blocks our team "
                f"here at {customer.name}.\n\nBest regards,\n{customer.contact}",
                "messageTimestamp": f"{scene.day}T06:12:41Z",
            },
            {
                "messageId": scene.hex_id(16),
                "sender": "Lumenshop Support <support@lumenshop.io>",
                "to": customer.email,
                "subject": f"Re: {topic.title}",
                "messageText": f"Hi {customer.contact.split()[0]},\n\nthank you for writing in. We have "
                "received your message and somebody will be with you shortly.",
                "messageTimestamp": f"{scene.day}T06:12:58Z",
            },
        ],
    }


def _reply_body(scene: Scene) -> str:
    return (
        f"Hi {scene.customer.contact.split()[0]},\n\nthank you for the clear report about "
        f"“{scene.topic.title.lower()}”. We could reproduce it and an engineer is on it; I will write "
        f"again as soon as there is a fix.\n\nKind regards,\n{scene.user.name}"
    )


def _sent(scene: Scene) -> dict[str, Any]:
    return {"id": scene.hex_id(16), "threadId": scene.thread, "labelIds": ["SENT"]}


def _posted(scene: Scene) -> dict[str, Any]:
    ts = f"17{scene.rng.randrange(10**8):08d}.{scene.rng.randrange(10**6):06d}"
    return {
        "ok": True,
        "channel": f"C0{scene.hex_id(9).upper()}",
        "ts": ts,
        "message": {
            "type": "message",
            "user": f"U0{scene.hex_id(9).upper()}",
            "ts": ts,
            "bot_id": "B07AGENT",
        },
    }


def _history(scene: Scene) -> dict[str, Any]:
    lines = (
        f"Anybody else seeing this? {scene.topic.title}",
        f"{scene.customer.name} wrote in as well, they are on {scene.customer.plan}.",
        "Looks like it began with yesterday's deploy, rolling back in staging to check.",
        f"Confirmed, it is in `{scene.topic.repo}`. Opening an issue.",
    )
    return {
        "ok": True,
        "messages": [
            {"type": "message", "user": f"U0{scene.hex_id(9).upper()}", "text": line, "ts": f"17{n}.{n:06d}"}
            for n, line in enumerate(lines, 1)
        ],
        "has_more": False,
    }


TOOLS: Final = (
    Tool(
        "GMAIL_FETCH_EMAILS",
        "gmail",
        620,
        lambda _: {"query": "is:unread newer_than:1d", "max_results": 20, "include_payload": False},
        _fetched,
    ),
    Tool("GMAIL_FETCH_MESSAGE_BY_THREAD_ID", "gmail", 280, lambda s: {"thread_id": s.thread}, _thread),
    Tool(
        "GMAIL_SEND_EMAIL",
        "gmail",
        410,
        lambda s: {
            "recipient_email": s.customer.email,
            "subject": f"Re: {s.topic.title}",
            "body": _reply_body(s),
            "is_html": False,
        },
        _sent,
    ),
    Tool(
        "GMAIL_REPLY_TO_THREAD",
        "gmail",
        430,
        lambda s: {
            "thread_id": s.thread,
            "recipient_email": s.customer.email,
            "message_body": _reply_body(s),
        },
        _sent,
    ),
    Tool(
        "GMAIL_ADD_LABEL_TO_EMAIL",
        "gmail",
        190,
        lambda s: {"message_id": s.hex_id(16), "add_label_ids": [f"triage/{s.topic.label}"]},
        lambda s: {
            "id": s.hex_id(16),
            "threadId": s.thread,
            "labelIds": [f"triage/{s.topic.label}", "INBOX"],
        },
    ),
    Tool(
        "SLACK_SEND_MESSAGE",
        "slack",
        240,
        lambda s: {
            "channel": s.channel,
            "markdown_text": f"*{s.topic.title}* reported by {s.customer.name} ({s.customer.plan}). "
            f"{s.topic.detail} Owner for now: {s.user.name}.",
        },
        _posted,
    ),
    Tool(
        "SLACK_FETCH_CONVERSATION_HISTORY",
        "slack",
        330,
        lambda s: {"channel": s.channel, "limit": 50, "oldest": f"{s.day}T00:00:00Z"},
        _history,
    ),
)
