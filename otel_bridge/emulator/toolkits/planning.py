"""Notion, Google Calendar and Google Sheets."""

from __future__ import annotations

from typing import Any, Final

from otel_bridge.emulator.scene import CUSTOMERS, Scene
from otel_bridge.emulator.toolkits.tool import Tool


def _page(scene: Scene) -> dict[str, Any]:
    page = scene.hex_id(32)
    return {
        "object": "page",
        "id": page,
        "url": f"https://www.notion.so/lumenshop/{scene.topic.repo}-{page}",
        "created_time": f"{scene.day}T07:20:00.000Z",
        "properties": {"title": [{"plain_text": f"{scene.day} {scene.topic.title}"}]},
    }


def _pages(scene: Scene) -> dict[str, Any]:
    names = ("Runbook", "Decision log", "Weekly review")
    return {
        "results": [{**_page(scene), "properties": {"title": [{"plain_text": name}]}} for name in names],
        "has_more": False,
    }


def _events(scene: Scene) -> dict[str, Any]:
    rows = (
        ("Stand-up", "08:30", "08:45", "fay"),
        (f"Review with {scene.customer.name}", "10:00", "10:30", "bruno"),
        ("Incident follow-up", "13:00", "14:00", "chioma"),
        ("One to one", "15:30", "16:00", "gita"),
    )
    return {
        "items": [
            {
                "id": scene.hex_id(26),
                "summary": name,
                "status": "confirmed",
                "start": {"dateTime": f"{scene.day}T{start}:00+02:00"},
                "end": {"dateTime": f"{scene.day}T{end}:00+02:00"},
                "attendees": [{"email": f"{who}@lumenshop.io", "responseStatus": "accepted"}],
            }
            for name, start, end, who in rows
        ],
        "timeZone": "Europe/Berlin",
    }


def _event(scene: Scene) -> dict[str, Any]:
    event = scene.hex_id(26)
    return {
        "id": event,
        "status": "confirmed",
        "summary": f"{scene.topic.title}: {scene.customer.name}",
        "htmlLink": f"https://calendar.google.com/event?eid={event}",
        "hangoutLink": f"https://meet.google.com/{scene.hex_id(3)}-{scene.hex_id(4)}-{scene.hex_id(3)}",
        "organizer": {"email": scene.user.email, "self": True},
    }


def _rows(scene: Scene) -> dict[str, Any]:
    values = [["Customer", "Plan", "Open tickets", "Last reply"]]
    values += [
        [customer.name, customer.plan, str(int(scene.rng.random() * 9)), f"{scene.day} 0{n}:1{n}"]
        for n, customer in enumerate(CUSTOMERS)
    ]
    return {"spreadsheetId": scene.text_id(44), "valueRanges": [{"range": "Week!A1:D9", "values": values}]}


TOOLS: Final = (
    Tool(
        "NOTION_CREATE_NOTION_PAGE",
        "notion",
        720,
        lambda s: {
            "parent_id": s.hex_id(32),
            "title": f"{s.day} {s.topic.title}",
            "markdown": f"# {s.topic.title}\n\n{s.topic.detail}\n\n- Customer: {s.customer.name}\n"
            f"- Owner: {s.user.name}\n- Channel: {s.channel}\n",
        },
        _page,
    ),
    Tool(
        "NOTION_SEARCH_NOTION_PAGE",
        "notion",
        510,
        lambda s: {"query": s.topic.title, "filter_value": "page", "page_size": 10},
        _pages,
    ),
    Tool(
        "GOOGLECALENDAR_EVENTS_LIST",
        "googlecalendar",
        290,
        lambda s: {
            "calendarId": "primary",
            "timeMin": f"{s.day}T00:00:00Z",
            "timeMax": f"{s.day}T23:59:59Z",
            "singleEvents": True,
        },
        _events,
    ),
    Tool(
        "GOOGLECALENDAR_FIND_FREE_SLOTS",
        "googlecalendar",
        340,
        lambda s: {"items": [s.user.email, "fay@lumenshop.io"], "time_min": f"{s.day}T07:00:00Z"},
        lambda s: {
            "calendars": {
                s.user.email: {"busy": [{"start": f"{s.day}T10:00:00Z", "end": f"{s.day}T10:30:00Z"}]},
                "fay@lumenshop.io": {"busy": []},
            },
            "free": [{"start": f"{s.day}T11:00:00Z", "end": f"{s.day}T11:45:00Z"}],
        },
    ),
    Tool(
        "GOOGLECALENDAR_CREATE_EVENT",
        "googlecalendar",
        450,
        lambda s: {
            "calendar_id": "primary",
            "summary": f"{s.topic.title}: {s.customer.name}",
            "description": s.topic.detail,
            "start_datetime": f"{s.day}T11:00:00",
            "event_duration_minutes": 30,
            "attendees": [s.customer.email, "fay@lumenshop.io"],
            "create_meeting_room": True,
        },
        _event,
    ),
    Tool(
        "GOOGLESHEETS_BATCH_GET",
        "googlesheets",
        480,
        lambda s: {"spreadsheet_id": s.text_id(44), "ranges": ["Week!A1:D9"]},
        _rows,
    ),
    Tool(
        "GOOGLESHEETS_SPREADSHEETS_VALUES_APPEND",
        "googlesheets",
        520,
        lambda s: {
            "spreadsheetId": s.text_id(44),
            "range": "Week!A1",
            "valueInputOption": "USER_ENTERED",
            "values": [[s.day, s.customer.name, s.topic.title, s.user.name]],
        },
        lambda s: {
            "updates": {"updatedRange": f"Week!A{s.number}:D{s.number}", "updatedRows": 1, "updatedCells": 4}
        },
    ),
)
