"""`python -m releasecopilot_bitbucket_sandbox`: the command without `rc` around it."""

from .commands import sandbox

sandbox(prog_name="bitbucket-sandbox")
