"""Projects that are kept apart from the settings: in a file or a folder; a table is in another test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_bridge.errors import SettingsError
from otel_bridge.settings import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"CRM_KEY": "ak_crm", "COMPOSIO_BASE_URL": "https://composio.example"}


def loaded(place: Path | str, **more: str) -> Settings:
    return load(None, {**ENVIRON, "OTEL_BRIDGE_PROJECTS": str(place), **more})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "crm.yaml").write_text("api_key: ${env:CRM_KEY}\norganization: acme\n")
    (tmp_path / "key").write_text("ak_billing\n")
    (tmp_path / "billing.yml").write_text(f"name: Billing\napi_key: ${{file:{tmp_path}/key}}\n")
    (tmp_path / ".hidden.yaml").write_text("nonsense: [")
    (tmp_path / "README").write_text("not a project")
    return tmp_path


def test_each_file_of_a_folder_is_a_project(folder: Path) -> None:
    settings = loaded(folder)
    assert [project.name for project in settings.projects] == ["Billing", "crm"]
    keys = [project.api_key.get_secret_value() for project in settings.projects if project.api_key]
    assert keys == ["ak_billing", "ak_crm"]
    assert settings.projects[1].organization == "acme"
    assert settings.projects[1].base_url == "https://composio.example"
    assert settings.found.refused == {}


def test_a_file_has_a_list_of_them(tmp_path: Path) -> None:
    path = tmp_path / "projects.yaml"
    path.write_text("projects:\n- {name: a, api_key: ak_a}\n- {name: b, api_key: '${env:NOT_THERE}'}\n")
    settings = loaded(path)
    assert [project.name for project in settings.projects] == ["a"]
    assert settings.found.refused == {
        f"{path}: projects.1 (b)": f"{path}: projects.1 (b): api_key is ${{env:NOT_THERE}}: "
        "the variable NOT_THERE is not set"
    }
    path.write_text("")
    assert loaded(path).projects == ()


def test_a_key_is_known_by_the_place_it_comes_from(folder: Path) -> None:
    billing, crm = loaded(folder).projects
    assert billing.key_from == f"{folder}/billing.yml: api_key (${{file:{folder}/key}})"
    assert crm.key_from == f"{folder}/crm.yaml: api_key (${{env:CRM_KEY}})"


def test_a_project_stays_the_same_when_another_one_before_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "projects.yaml"
    path.write_text("projects:\n- {name: a, api_key: ak_a}\n- {name: b, api_key: ak_b}\n")
    (_, before) = loaded(path).projects
    path.write_text("projects:\n- {name: b, api_key: ak_b}\n")
    assert loaded(path).projects == (before,)
    assert before.key_from == f"{path}: projects: b: api_key"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("api_key: [", "not valid YAML"),
        ("- a", "holds a list: takes a mapping"),
        ("api_key: ${env:NOT_THERE}", "the variable NOT_THERE is not set"),
        ("api_key: ${file:/not/there}", "the file can't be read: No such file or directory"),
        ("base_url: https://a.example", "api_key is missing: takes the project API key, as ${env:NAME}"),
        ("api_key: ak s3cret", "api_key is a value that is not shown: takes the project API key"),
        ("api_key: '  '", "api_key is a value that is not shown: takes the project API key"),
        ("{api_key: ak_s3cret, keys: 1}", "keys is no setting"),
        ("{api_key: ak_s3cret, concurrency: 0}", "concurrency is 0: takes auto or a number from 1 to 256"),
        ("{api_key: ak_s3cret, name: crm}", "the name 'crm' is taken by "),
        ("", "api_key is missing"),
    ],
)
def test_what_is_wrong_with_one_leaves_the_others_alone(folder: Path, text: str, words: str) -> None:
    path = folder / "wrong.yaml"
    path.write_text(text)
    settings = loaded(folder)
    assert [project.name for project in settings.projects] == ["Billing", "crm"]
    [line] = settings.found.refused.values()
    assert line.startswith(f"{path}")
    assert words in line
    assert "s3cret" not in line
    assert "\n" not in line


def test_a_file_that_can_not_be_read_is_named(folder: Path) -> None:
    (folder / "gone.yaml").symlink_to(folder / "nothing")
    [line] = loaded(folder).found.refused.values()
    assert line == f"{folder}/gone.yaml: can't be read: No such file or directory"


def test_where_nothing_can_be_read_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"not-there: can't be read: No such file"):
        loaded(tmp_path / "not-there")
    with pytest.raises(SettingsError, match=r"OTEL_BRIDGE_PROJECTS is 'table': takes a ledger in PostgreSQL"):
        loaded("table", OTEL_BRIDGE_STATE=f"sqlite:///{tmp_path}/ledger.db")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("{projects: [], collect: {}}")
    with pytest.raises(SettingsError, match="takes 'projects:' with a list of projects, and nothing else"):
        loaded(wrong)
    file = tmp_path / "config.yaml"
    file.write_text("projects: [{name: a, api_key: ak_a}]\n")
    with pytest.raises(SettingsError, match="are both there: takes one of them"):
        load(file, {**ENVIRON, "OTEL_BRIDGE_PROJECTS": str(tmp_path)})


def test_a_worker_may_be_pinned_to_some_of_them(folder: Path) -> None:
    settings = loaded(folder).pinned_to(["crm", "later"])
    assert [project.name for project in settings.projects] == ["crm"]
    (folder / "later.yaml").write_text("api_key: ak_later")
    place = settings.projects_place
    assert place is not None
    assert [project.name for project in place.read().good.values()] == ["crm", "later"]
    assert len(loaded(folder).projects) == 3


def test_an_empty_folder_is_a_beginning(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.projects == ()
    place = settings.projects_place
    assert place is not None
    (tmp_path / "first.yaml").write_text("api_key: ak_first")
    assert [project.name for project in place.read().good.values()] == ["first"]
    assert "ak_first" not in repr(place)
    assert load(None, ENVIRON).projects_place is None
