"""Ansible's own engine finds the filters of this checkout by the names that its templates use."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader

from tests.fakes.ros import REPOSITORY

init_plugin_loader([str(REPOSITORY)])
