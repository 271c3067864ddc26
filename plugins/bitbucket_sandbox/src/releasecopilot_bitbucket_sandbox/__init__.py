"""Bitbucket Cloud on a laptop. `server.Sandbox` is the Python interface; `rc sandbox` the command."""
