"""What a system made here is told of the way to package registries."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from tests.testbed import site


def test_variables_of_registries_go_on_and_no_others_do() -> None:
    own = {"HTTPS_PROXY": "http://proxy:1", "PIP_INDEX_URL": "http://index", "HOME": "/root", "TOKEN": "secret"}

    assert site.environment(own) == {"HTTPS_PROXY": "http://proxy:1", "PIP_INDEX_URL": "http://index"}


def test_folders_that_pip_is_told_of_are_seen_and_so_is_what_lies_beside_an_index(tmp_path: Path) -> None:
    index = tmp_path / "mirror/simple"
    wheels = tmp_path / "wheels"
    index.mkdir(parents=True)
    wheels.mkdir()
    own = {"PIP_FIND_LINKS": str(wheels), "PIP_EXTRA_INDEX_URL": f"file://{index}", "PIP_CERT": "/etc/ssl/certs/ca.crt"}

    found = site.folders(own)

    assert {str(wheels), str(tmp_path / "mirror")} <= set(found)
    assert "/etc/ssl/certs/ca.crt" not in found


def test_apt_gets_the_proxy_from_a_file_since_sudo_drops_variables() -> None:
    found = site.files({"http_proxy": "http://proxy.example.org:3128"})

    assert b'Acquire::http::Proxy "http://proxy.example.org:3128";' in found["/etc/apt/apt.conf.d/90site"]


def test_pips_own_settings_are_one_file_that_pip_reads() -> None:
    for path, content in site.files(dict(os.environ)).items():
        if path == "/etc/pip.conf":
            parser = configparser.RawConfigParser()
            parser.read_string(content.decode())
            told = {(part, key, parser.get(part, key)) for part in parser.sections() for key in parser[part]}
            assert told == set(site.pip_options())
