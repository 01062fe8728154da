"""What agents were asked to do, and the tool calls that took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """One request of an agent: a single tool, or several run side by side by a meta tool.

    Attributes:
        thought: What the agent says it is doing.
        tools: Tool slugs.
    """

    thought: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A goal and the steps to it."""

    goal: str
    steps: tuple[Step, ...]


STORIES: Final = (
    Story(
        "Triage the overnight inbox: sort what is urgent, open issues, tell the team",
        (
            Step("Read what came in overnight", ("GMAIL_FETCH_EMAILS",)),
            Step(
                "Look at the urgent thread and who wrote it",
                (
                    "GMAIL_FETCH_MESSAGE_BY_THREAD_ID",
                    "HUBSPOT_SEARCH_CONTACTS_BY_CRITERIA",
                    "GITHUB_SEARCH_ISSUES_AND_PULL_REQUESTS",
                ),
            ),
            Step(
                "Open an issue, answer the customer, tell the team",
                ("LINEAR_CREATE_LINEAR_ISSUE", "GMAIL_REPLY_TO_THREAD", "SLACK_SEND_MESSAGE"),
            ),
            Step("Label the thread as handled", ("GMAIL_ADD_LABEL_TO_EMAIL",)),
        ),
    ),
    Story(
        "Prepare the stand-up: what moved since yesterday",
        (
            Step(
                "Collect what moved",
                (
                    "GITHUB_LIST_PULL_REQUESTS",
                    "GITHUB_LIST_COMMITS",
                    "LINEAR_LIST_LINEAR_ISSUES",
                    "GOOGLECALENDAR_EVENTS_LIST",
                ),
            ),
            Step("Write the notes", ("NOTION_CREATE_NOTION_PAGE",)),
            Step("Post the summary", ("SLACK_SEND_MESSAGE",)),
        ),
    ),
    Story(
        "Turn a customer's bug report into an issue with everything an engineer needs",
        (
            Step("Read the report", ("GMAIL_FETCH_MESSAGE_BY_THREAD_ID",)),
            Step("Is it known?", ("GITHUB_SEARCH_ISSUES_AND_PULL_REQUESTS", "NOTION_SEARCH_NOTION_PAGE")),
            Step("File it", ("GITHUB_CREATE_AN_ISSUE",)),
            Step("Tell both sides", ("GMAIL_SEND_EMAIL", "SLACK_SEND_MESSAGE")),
        ),
    ),
    Story(
        "Get ready for the renewal call with the customer",
        (
            Step(
                "Gather what we know about them",
                (
                    "HUBSPOT_SEARCH_CONTACTS_BY_CRITERIA",
                    "HUBSPOT_LIST_DEALS",
                    "STRIPE_LIST_INVOICES",
                    "EXA_SEARCH",
                ),
            ),
            Step("Read their latest announcement", ("EXA_GET_CONTENTS_ACTION",)),
            Step("Write the brief", ("NOTION_CREATE_NOTION_PAGE",)),
            Step("Find a time and send the invitation", ("GOOGLECALENDAR_FIND_FREE_SLOTS",)),
            Step("Invite them", ("GOOGLECALENDAR_CREATE_EVENT",)),
        ),
    ),
    Story(
        "Follow up on the incident: timeline, action items, owners",
        (
            Step(
                "Rebuild the timeline",
                ("SLACK_FETCH_CONVERSATION_HISTORY", "GITHUB_LIST_COMMITS", "LINEAR_LIST_LINEAR_ISSUES"),
            ),
            Step("Write the report", ("NOTION_CREATE_NOTION_PAGE",)),
            Step("Record the action items", ("LINEAR_CREATE_LINEAR_ISSUE", "LINEAR_UPDATE_ISSUE")),
            Step("Share it", ("SLACK_SEND_MESSAGE",)),
        ),
    ),
    Story(
        "Fill in the weekly support numbers and share the outliers",
        (
            Step("Read the sheet", ("GOOGLESHEETS_BATCH_GET",)),
            Step("Count open tickets by customer", ("COMPOSIO_REMOTE_WORKBENCH",)),
            Step(
                "Write the row and look the outlier up",
                ("GOOGLESHEETS_SPREADSHEETS_VALUES_APPEND", "HUBSPOT_SEARCH_CONTACTS_BY_CRITERIA"),
            ),
            Step("Share the outliers", ("SLACK_SEND_MESSAGE",)),
        ),
    ),
    Story(
        "Answer a billing question and correct the account",
        (
            Step("Read the question", ("GMAIL_FETCH_MESSAGE_BY_THREAD_ID",)),
            Step("Look the account up", ("STRIPE_LIST_INVOICES", "HUBSPOT_SEARCH_CONTACTS_BY_CRITERIA")),
            Step("Note the next step", ("HUBSPOT_UPDATE_DEAL",)),
            Step("Answer", ("GMAIL_REPLY_TO_THREAD",)),
        ),
    ),
    Story(
        "See whether others have had this problem and comment on the issue",
        (
            Step(
                "Search the web and our issues",
                ("COMPOSIO_SEARCH_WEB", "GITHUB_SEARCH_ISSUES_AND_PULL_REQUESTS"),
            ),
            Step("Add what was found", ("GITHUB_CREATE_AN_ISSUE_COMMENT",)),
        ),
    ),
)
