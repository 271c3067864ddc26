"""What `rc init` asks to write the `bitbucket` section."""

from __future__ import annotations

import json
from collections.abc import Mapping

from releasecopilot_core import Question, SettingsForm


def form() -> SettingsForm:
    """Return the questions; the token itself is never asked for, only the variable that will hold it."""
    return SettingsForm(
        questions=(
            Question(name="workspace", prompt="Workspace (the slug in bitbucket.org/SLUG)"),
            Question(name="username", prompt="E-mail of the Atlassian account (empty for an access token)", default=""),
            Question(
                name="token-variable", prompt="Environment variable that holds the token", default="BITBUCKET_API_TOKEN"
            ),
            Question(name="branches", prompt="Branches, by name or glob (empty: the main branch)", default=""),
            Question(name="api-url", prompt="Address of the API", default="https://api.bitbucket.org/2.0"),
        ),
        render=_render,
    )


def _render(answers: Mapping[str, str]) -> str:
    """Return the section's YAML; values are written as JSON strings, which YAML reads as they are."""
    lines = [f"workspace: {json.dumps(answers['workspace'])}", '# repositories: [api, "web-*"]   # absent: all of them']
    branches = [name for name in answers["branches"].replace(",", " ").split() if name]
    if branches:
        lines.append(f"default_branches: {json.dumps(branches)}")
    else:
        lines.append('# default_branches: [main, "release/*"]   # absent: each main branch')
    reference = json.dumps(f"${{{answers['token-variable']}}}")
    lines.append("credentials:")
    if answers["username"]:
        lines += [f"  username: {json.dumps(answers['username'])}", f"  api_token: {reference}"]
    else:
        lines.append(f"  access_token: {reference}")
    lines.append(f"api_url: {json.dumps(answers['api-url'])}")
    return "".join(f"  {line}\n" for line in lines)
