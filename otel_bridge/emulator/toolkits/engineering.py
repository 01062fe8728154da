"""GitHub and Linear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.emulator.toolkits.tool import Tool

if TYPE_CHECKING:
    from otel_bridge.emulator.scene import Scene


def _issue_body(scene: Scene) -> str:
    return (
        f"## What happens\n\n{scene.topic.detail}\n\n## Who is affected\n\n{scene.customer.name} "
        f"({scene.customer.plan}), reported by {scene.customer.contact}.\n\n## Where\n\n`lumenshop/"
        f"{scene.topic.repo}`, first seen {scene.day}."
    )


def _repo(scene: Scene) -> dict[str, Any]:
    return {"owner": "lumenshop", "repo": scene.topic.repo}


def _issue(scene: Scene) -> dict[str, Any]:
    return {
        "number": scene.number,
        "html_url": f"https://github.com/lumenshop/{scene.topic.repo}/issues/{scene.number}",
        "state": "open",
        "title": scene.topic.title,
        "body": _issue_body(scene),
        "labels": [{"name": scene.topic.label}, {"name": "from-support"}],
        "user": {"login": scene.user.email.split("@", 1)[0]},
        "created_at": f"{scene.day}T07:02:11Z",
    }


def _pulls(scene: Scene) -> dict[str, Any]:
    titles = (
        "Retry deliveries with backoff",
        "Read the currency from the account, not the locale",
        "Enable the pay button on autofill",
        "Write the last page of an export",
        "Bump the gateway's default quota",
    )
    first = int(scene.rng.random() * len(titles))
    return {
        "pull_requests": [
            {
                "number": scene.number + n,
                "title": titles[(first + n) % len(titles)],
                "state": "open",
                "draft": n == 1,
                "user": {"login": ("chioma", "henrik", "gita")[n]},
                "html_url": f"https://github.com/lumenshop/{scene.topic.repo}/pull/{scene.number + n}",
                "head": {"ref": f"fix/{scene.topic.label}-{n}", "sha": scene.hex_id(40)},
                "requested_reviewers": [{"login": "fay"}],
            }
            for n in range(3)
        ]
    }


def _commits(scene: Scene) -> dict[str, Any]:
    return {
        "commits": [
            {
                "sha": scene.hex_id(40),
                "message": message,
                "author": {"name": scene.user.name, "date": f"{scene.day}T0{n}:3{n}:00Z"},
            }
            for n, message in enumerate(
                (
                    "Merge branch 'main'",
                    f"Fix: {scene.topic.title.lower()}",
                    "Add a regression test",
                    "Tidy up",
                )
            )
        ]
    }


def _linear_issue(scene: Scene) -> dict[str, Any]:
    key = f"ENG-{scene.number}"
    return {
        "id": scene.hex_id(32),
        "identifier": key,
        "title": scene.topic.title,
        "url": f"https://linear.app/lumenshop/issue/{key}",
        "state": {"name": "Triage", "type": "triage"},
        "priority": 2,
        "assignee": {"name": scene.user.name, "email": scene.user.email},
    }


def _linear_list(scene: Scene) -> dict[str, Any]:
    states = ("Triage", "In Progress", "In Review", "Backlog")
    titles = ("Alert on late deliveries", scene.topic.title, "Document the retry schedule")
    return {
        "issues": [
            {
                "id": scene.hex_id(32),
                "identifier": f"ENG-{scene.number - 3 * n}",
                "title": title,
                "state": {"name": scene.pick(states)},
                "updatedAt": f"{scene.day}T0{n + 1}:15:00Z",
            }
            for n, title in enumerate(titles)
        ],
        "page_info": {"hasNextPage": False, "endCursor": scene.hex_id(24)},
    }


TOOLS: Final = (
    Tool(
        "GITHUB_CREATE_AN_ISSUE",
        "github",
        540,
        lambda s: {
            **_repo(s),
            "title": s.topic.title,
            "body": _issue_body(s),
            "labels": [s.topic.label, "from-support"],
        },
        _issue,
    ),
    Tool(
        "GITHUB_SEARCH_ISSUES_AND_PULL_REQUESTS",
        "github",
        460,
        lambda s: {"q": f"repo:lumenshop/{s.topic.repo} is:issue is:open {s.topic.title}", "per_page": 10},
        lambda s: {"total_count": 1, "incomplete_results": False, "items": [_issue(s)]},
    ),
    Tool(
        "GITHUB_LIST_PULL_REQUESTS",
        "github",
        380,
        lambda s: {**_repo(s), "state": "open", "sort": "updated", "per_page": 30},
        _pulls,
    ),
    Tool(
        "GITHUB_LIST_COMMITS",
        "github",
        350,
        lambda s: {**_repo(s), "since": f"{s.day}T00:00:00Z", "per_page": 50},
        _commits,
    ),
    Tool(
        "GITHUB_CREATE_AN_ISSUE_COMMENT",
        "github",
        420,
        lambda s: {
            **_repo(s),
            "issue_number": s.number,
            "body": f"{s.customer.name} reports the same. {s.topic.detail}",
        },
        lambda s: {
            "id": s.rng.randrange(10**9, 4 * 10**9),
            "html_url": f"https://github.com/lumenshop/{s.topic.repo}/issues/{s.number}#issuecomment",
            "user": {"login": s.user.email.split("@", 1)[0]},
            "body": f"{s.customer.name} reports the same. {s.topic.detail}",
        },
    ),
    Tool(
        "LINEAR_CREATE_LINEAR_ISSUE",
        "linear",
        390,
        lambda s: {
            "team_id": "3f8c2d0e-eng",
            "title": s.topic.title,
            "description": _issue_body(s),
            "priority": 2,
        },
        _linear_issue,
    ),
    Tool(
        "LINEAR_LIST_LINEAR_ISSUES",
        "linear",
        310,
        lambda s: {"project_id": f"prj_{s.topic.repo}", "first": 20},
        _linear_list,
    ),
    Tool(
        "LINEAR_UPDATE_ISSUE",
        "linear",
        300,
        lambda s: {"issue_id": f"ENG-{s.number}", "state": "In Progress", "assignee": s.user.email},
        _linear_issue,
    ),
)
