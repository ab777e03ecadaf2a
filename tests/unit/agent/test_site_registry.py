"""What a robot shows to registries: files that lead tools and Docker to them, and no secret where others see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_registry.core.addresses import registries
from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.core.files import Files
from model_registry.core.layout import Layout
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.runtime.pull_image import pull_image
from stack.agent.settings.config import Config, FetchSettings

AGENT = """
schema = 1
runtime = "process"
source = "https://mirror.example/acme, https://registry.example/acme"
repository = "releases/pilot"
domain_id = 41
device_python = "/usr/bin/python3"
[fetch]
limit_rate = "20M"
give_up_s = 60
"""
NAME = f"homeport/stack@sha256:{'a' * 64}"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "lib", tmp_path / "etc", tmp_path / "run")
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "etc/docker/config.json").write_text(json.dumps({"auths": {"registry.example": {"auth": "c2VjcmV0"}}}))
    (tmp_path / "etc/registry-ca.crt").touch()
    (tmp_path / "etc/agent.toml").write_text(AGENT)
    return made


def test_a_tool_of_row_process_is_led_to_login_and_authority(layout: Layout) -> None:
    runtime = ProcessRuntime(layout, Config.load(layout.agent_toml), Files())
    environment = runtime.device_tool("model_registry.cli").environment
    assert environment["DOCKER_CONFIG"] == str(layout.docker_config)
    assert environment["SSL_CERT_FILE"] == str(layout.registry_ca)
    assert environment["HOMEPORT_LIMIT_RATE"] == "20M"
    assert "c2VjcmV0" not in str(environment)


def test_docker_pulls_with_the_login_from_the_first_that_has_it(layout: Layout) -> None:
    asked: list[tuple[str, ...]] = []

    def ask(*argv: str, timeout_s: float) -> str:
        asked.append(argv)
        if "mirror" in argv[-1]:
            raise HomeportError("docker: manifest unknown")
        return ""

    source = Config.load(layout.agent_toml).source
    assert pull_image(ask, layout.docker_config, source, NAME) == f"registry.example/acme/{NAME}"
    login = ("docker", "--config", str(layout.docker_config), "pull", "--quiet")
    assert asked == [(*login, f"{host}.example/acme/{NAME}") for host in ("mirror", "registry")]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("unauthorized: authentication required", "homeport_registry_login"),
        ("x509: unknown authority", "homeport_registry_ca"),
    ],
)
def test_what_docker_says_of_an_access_leads_to_the_setting(words: str, advice: str, layout: Layout) -> None:
    def ask(*argv: str, timeout_s: float) -> str:
        raise HomeportError(f"docker: {words}")

    with pytest.raises(HomeportError, match=advice):
        pull_image(ask, layout.root / "none", "https://registry.example", NAME)


def test_docker_pulls_from_registries_only(layout: Layout) -> None:
    with pytest.raises(RefusedError, match="runtime docker pulls images from"):
        pull_image(lambda *argv, **named: "", layout.docker_config, "oci:/media/stick", NAME)


def test_a_list_of_sources_may_begin_with_a_stick() -> None:
    assert registries("oci:/media/a,b, https://one.example/x,https://two.example") == [
        "https://one.example/x",
        "https://two.example",
    ]


@pytest.mark.parametrize("limit", ["fast", "20 M", "-1", "20T", ""])
def test_a_limit_that_is_no_rate_is_refused(limit: str, layout: Layout) -> None:
    layout.agent_toml.write_text(AGENT.replace("20M", limit))
    with pytest.raises(UsageError, match="limit_rate"):
        Config.load(layout.agent_toml)


def test_a_login_in_the_source_is_refused_without_being_shown(layout: Layout) -> None:
    layout.agent_toml.write_text(AGENT.replace("https://registry", "https://robot:hunter2@registry"))
    with pytest.raises(UsageError, match="homeport_registry_login") as caught:
        Config.load(layout.agent_toml)
    assert "hunter2" not in str(caught.value)


def test_without_settings_a_stage_waits_four_hours_for_its_link() -> None:
    assert FetchSettings() == FetchSettings(None, 14_400.0)
