"""Clones, fetches and pushes by git itself, over smart HTTP."""

from __future__ import annotations

import random
import subprocess
import threading
import tracemalloc

import httpx
import pytest

EMAIL, TOKEN, ACCESS, OLD = "bot@acme.example", "an-api-token", "an-access-token", "an-app-password"


@pytest.fixture
def address(api):
    """Return the address from which the repository `api` is cloned."""
    return f"{api.sandbox.git_url}/acme/api.git"


@pytest.fixture
def guarded(repository, serve):
    """Serve the repository to one user and one access token; an app password is known."""
    repository.commit("One\n", {"a": "1\n"})
    return serve(users={EMAIL: TOKEN}, tokens=[ACCESS], app_passwords={"ann": OLD})


def guarded_address(guarded, name, secret):
    """Return an address with a credential in it."""
    return f"{guarded.sandbox.git_url.replace('://', f'://{name}:{secret}@')}/acme/api.git"


def missing(git, folder):
    """Return the objects that a clone has not, though something it has leads to them."""
    listed = git("rev-list", "--objects", "--all", "--missing=print", folder=folder).stdout.split()
    return [sha[1:] for sha in listed if sha.startswith("?")]


# --- clone and fetch ---------------------------------------------------------------------------------------------


def test_clone_has_branches_and_tags(repository, address, git, tmp_path, forked):
    """A mirror has all branches and tags, and none of what else is in the repository."""
    repository.tag("v1", forked["b"])
    for name in ("refs/pull/1/head", "refs/notes/x", "refs/remotes/origin/main", "refs/stash"):
        repository.set_ref(name, forked["a"])

    git("clone", "-q", "--mirror", address, tmp_path / "m")

    served = repository.lines("for-each-ref", "refs/heads", "refs/tags")
    assert git("for-each-ref", folder=tmp_path / "m").stdout.splitlines() == served


@pytest.mark.parametrize("version", ["0", "2"])
def test_fetch_brings_what_is_new(repository, address, git, tmp_path, version):
    """An incremental fetch works in either version of the protocol, and version 2 is spoken when it is offered."""
    repository.line(20)
    git("clone", "-q", address, tmp_path / "c")
    sha = repository.commit("Later\n")

    trace = {"GIT_TRACE_PACKET": str(tmp_path / "trace")}
    git("-c", f"protocol.version={version}", "fetch", "-q", folder=tmp_path / "c", **trace)

    assert git("rev-parse", "origin/main", folder=tmp_path / "c").stdout.strip() == sha
    assert ("fetch< version 2" in (tmp_path / "trace").read_text()) == (version == "2")


def test_shallow_clone(repository, address, git, tmp_path):
    """A clone may be shallow."""
    repository.line(5)

    git("clone", "-q", "--bare", "--depth", "2", address, tmp_path / "c")

    assert git("rev-list", "--count", "main", folder=tmp_path / "c").stdout == "2\n"


@pytest.mark.parametrize("version", ["0", "2"])
def test_partial_clone(repository, address, git, tmp_path, version):
    """With a filter the blobs stay behind, and those that are needed are fetched later."""
    repository.commit("One\n", {"a": "old\n"})
    repository.commit("Two\n", {"a": "new\n", "b": "b\n"})

    protocol = ("-c", f"protocol.version={version}")
    git(*protocol, "clone", "-q", "--bare", "--filter=blob:none", address, tmp_path / "c")

    assert sorted(missing(git, tmp_path / "c")) == sorted(repository.lines("rev-parse", "main~:a", "main:a", "main:b"))
    assert git(*protocol, "show", "main~:a", folder=tmp_path / "c").stdout == "old\n"


def test_filter_that_is_ignored(repository, api, address, git, tmp_path):
    """By fault the server knows no filters: the clone is a full one, and nothing was written into the repository."""
    repository.commit("One\n", {"a": "1\n"})
    before = (repository.path / "config").read_bytes()
    api.sandbox.set_fault("no-filter@git")

    done = git("clone", "-q", "--bare", "--filter=blob:none", address, tmp_path / "c")

    assert "filtering not recognized by server" in done.stderr
    assert missing(git, tmp_path / "c") == []
    assert (repository.path / "config").read_bytes() == before


def test_settings_of_the_repository_do_not_count(repository, address, git, tmp_path):
    """A repository that forbids all this on its own is served nonetheless."""
    for name in ("http.uploadpack", "http.receivepack", "uploadpack.allowFilter"):
        repository.git("config", name, "false")
    repository.commit()

    git("clone", "-q", address, tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=tmp_path / "c")
    git("push", "-q", folder=tmp_path / "c")

    assert repository.lines("log", "-1", "--format=%s", "main") == ["Mine"]


def test_empty_repository(api, repository, address, git, tmp_path):
    """A repository without commits is cloned, and filled by a push."""
    git("clone", "-q", address, tmp_path / "c")
    git("checkout", "-q", "-b", "main", folder=tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "First", folder=tmp_path / "c")
    git("push", "-q", "origin", "main", folder=tmp_path / "c")

    assert api.hashes() == repository.lines("rev-parse", "main")


# --- push --------------------------------------------------------------------------------------------------------


def test_push_of_everything(repository, api, address, git, tmp_path):
    """Branches are made, moved, rewritten and deleted, and tags made; the API says so at once."""
    repository.commit("One\n", {"a": "1\n"})
    repository.set_ref("refs/heads/old", repository.lines("rev-parse", "main")[0])
    clone = tmp_path / "c"
    git("clone", "-q", address, clone)
    git("commit", "-q", "--amend", "-m", "One, again", folder=clone)
    git("tag", "v1", folder=clone)

    git("push", "-q", "origin", "+main", "main:feature/x", "v1", ":old", folder=clone)

    assert [value["name"] for value in api.values("refs")] == ["feature/x", "main", "v1"]
    assert api.json("commits")["values"][0]["message"] == "One, again\n"


def test_push_without_force_is_refused(repository, address, git, tmp_path):
    """What is no fast-forward is refused by git, as everywhere."""
    base = repository.commit()
    git("clone", "-q", address, tmp_path / "c")
    repository.commit("Theirs\n", parents=[base])
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=tmp_path / "c")

    done = git("push", "-q", folder=tmp_path / "c", check=False)

    assert done.returncode != 0
    assert "rejected" in done.stderr
    assert repository.lines("log", "-1", "--format=%s", "main") == ["Theirs"]


@pytest.mark.parametrize(("buffer", "header"), [("64k", "transfer-encoding: chunked"), ("1g", "content-length: 500")])
def test_large_pack(repository, address, git, tmp_path, buffer, header):
    """A pack of 5 MB passes through in either direction, in chunks or in one piece, and is never held in memory."""
    repository.commit()
    git("clone", "-q", address, tmp_path / "c")
    content = random.Random(1).randbytes(5_000_000)
    (tmp_path / "c" / "big").write_bytes(content)
    git("add", "big", folder=tmp_path / "c")
    git("commit", "-q", "-m", "Big", folder=tmp_path / "c")

    tracemalloc.start()
    trace = {"GIT_TRACE_CURL": str(tmp_path / "trace"), "GIT_TRACE_CURL_NO_DATA": "1"}
    git("-c", f"http.postBuffer={buffer}", "push", "-q", folder=tmp_path / "c", **trace)
    git("clone", "-q", address, tmp_path / "again")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (tmp_path / "again" / "big").read_bytes() == content
    assert header in (tmp_path / "trace").read_text().lower()
    assert peak < 2_000_000


def test_long_list_of_what_is_there(repository, address, git, tmp_path):
    """A request with many haves, which git compresses, is understood."""
    sha = repository.line(1)[0]
    refs = "".join(f"create refs/heads/b{number} {sha}\n" for number in range(400))
    repository.git("update-ref", "--stdin", given=refs.encode())
    git("init", "-q", "--bare", tmp_path / "c")
    stamps = "".join(f"commit refs/heads/x\ncommitter A <a@b.c> {n} +0000\ndata 1\nx\n" for n in range(400))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=tmp_path / "c", input=stamps.encode(), check=True)

    trace = {"GIT_TRACE_CURL": str(tmp_path / "trace")}
    git("-c", "protocol.version=0", "fetch", "-q", address, "refs/heads/*:refs/heads/*", folder=tmp_path / "c", **trace)

    assert "content-encoding: gzip" in (tmp_path / "trace").read_text().lower()
    assert git("rev-parse", "b399", folder=tmp_path / "c").stdout.strip() == sha


def test_hooks_of_the_repository_do_not_run(repository, address, git, tmp_path):
    """A hook that would refuse the push is not asked: the service knows none."""
    repository.commit()
    hook = repository.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)

    git("clone", "-q", address, tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=tmp_path / "c")
    git("push", "-q", folder=tmp_path / "c")

    assert repository.lines("log", "-1", "--format=%s", "main") == ["Mine"]


def test_branch_that_somebody_works_on(serve, git, tmp_path):
    """A push into the branch that is checked out in the served folder is refused; others are taken."""
    work = tmp_path / "work"
    git("init", "-q", "-b", "main", work)
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=work)
    address = f"{serve(work).sandbox.git_url}/acme/work.git"
    git("clone", "-q", address, tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "Theirs", folder=tmp_path / "c")

    refused = git("push", "-q", "origin", "main", folder=tmp_path / "c", check=False)
    git("push", "-q", "origin", "main:other", folder=tmp_path / "c")

    assert "refusing to update checked out branch" in refused.stderr
    assert git("log", "-1", "--format=%s", "main", folder=work).stdout == "Mine\n"
    assert git("log", "-1", "--format=%s", "other", folder=work).stdout == "Theirs\n"


# --- who may -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "secret"), [("x-bitbucket-api-token-auth", TOKEN), ("bot", TOKEN), ("x-token-auth", ACCESS)]
)
def test_user_names_that_are_right(guarded, git, tmp_path, name, secret):
    """Each kind of token goes with its user name, for fetching and for pushing."""
    git("clone", "-q", guarded_address(guarded, name, secret), tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=tmp_path / "c")
    git("push", "-q", folder=tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (EMAIL.replace("@", "%40"), TOKEN),
        ("x-token-auth", TOKEN),
        ("x-bitbucket-api-token-auth", ACCESS),
        ("bot", "wrong"),
        ("bot", ""),
        ("x-token-auth", ""),
    ],
)
def test_user_names_that_are_wrong(guarded, git, tmp_path, name, secret):
    """The e-mail address, another kind's user name and wrong tokens are a 401."""
    done = git("clone", "-q", guarded_address(guarded, name, secret), tmp_path / "c", check=False)

    assert done.returncode != 0
    assert "Authentication failed" in done.stderr or "could not read Password" in done.stderr
    assert {served.status for served in guarded.sandbox.requests} == {401}


def test_app_password_is_gone(guarded, git, tmp_path):
    """An app password is a 410 for git and a 401 for the API."""
    done = git("clone", "-q", guarded_address(guarded, "ann", OLD), tmp_path / "c", check=False)

    assert "410" in done.stderr
    assert guarded.get("commits", auth=("ann", OLD)).status_code == 401


def test_nobody_is_asked_for_a_credential(guarded):
    """Without a credential the answer is a 401 with a challenge, so that git asks its helpers."""
    answer = httpx.get(f"{guarded.sandbox.git_url}/acme/api.git/info/refs?service=git-upload-pack", trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_credential_that_may_only_read(guarded, git, tmp_path):
    """With the scope to read alone, a clone works, and a push is a 403 that names the scope's absence."""
    guarded.sandbox.set_fault("scopes", "repository")
    git("clone", "-q", guarded_address(guarded, "bot", TOKEN), tmp_path / "c")
    git("commit", "-q", "--allow-empty", "-m", "Mine", folder=tmp_path / "c")

    done = git("push", "-q", folder=tmp_path / "c", check=False)

    assert "403" in done.stderr
    assert "lack one or more required privilege scopes" in done.stderr


def test_repository_that_is_missing(api, git, tmp_path):
    """A repository or workspace that is not there is a 404 in words that git shows."""
    for path in ("acme/nowhere.git", "umbrella/api.git"):
        done = git("clone", f"{api.sandbox.git_url}/{path}", tmp_path / "c", check=False)
        assert "may not have access" in done.stderr
        assert "not found" in done.stderr


# --- requests and faults -----------------------------------------------------------------------------------------


def test_requests_are_recorded(repository, api, address, git, tmp_path):
    """Each request of git is recorded under the kind `git`; the address does without `.git`."""
    repository.commit()

    git("-c", "protocol.version=0", "clone", "-q", address.removesuffix(".git"), tmp_path / "c")

    found = [(served.method, served.path, served.kind, served.status) for served in api.sandbox.requests]
    assert found == [("GET", "/acme/api/info/refs", "git", 200), ("POST", "/acme/api/git-upload-pack", "git", 200)]


def test_old_protocol_is_not_spoken(repository, api):
    """Files of the repository cannot be read, whichever way they are asked for."""
    for path in ("info/refs", "HEAD", "config", "objects/info/packs", "info/refs?service=git-upload-archive"):
        assert api.client.get(f"{api.sandbox.git_url}/acme/api.git/{path}").status_code == 404


def test_limit_of_git_is_its_own(repository, api, address, git, tmp_path):
    """The limit on all requests does not count git, which has one of its own."""
    repository.commit()
    api.sandbox.set_fault("rate-limit", "0")
    git("clone", "-q", address, tmp_path / "c")
    api.sandbox.set_fault("rate-limit@git", "0")

    done = git("clone", "-q", address, tmp_path / "d", check=False)

    assert "429" in done.stderr
    assert "Rate limit" in done.stderr


@pytest.mark.parametrize(("fault", "value"), [("status@git", "503:1"), ("reset@git", "1"), ("truncate@git", "1")])
def test_faults_of_the_line(repository, api, address, git, tmp_path, fault, value):
    """An answer may fail or break off; git says so, and the next try works."""
    repository.commit("One\n", {"a": "1\n"})
    api.sandbox.set_fault(fault, value)

    done = git("clone", "-q", address, tmp_path / "c", check=False)

    assert done.returncode != 0
    git("clone", "-q", address, tmp_path / "c")


def test_client_that_goes_away(repository, api, address):
    """A client that hangs up in the middle of a push leaves no process and no thread behind."""
    repository.commit()
    before = set(threading.enumerate())

    def half():
        yield b"0000PACK"
        raise ZeroDivisionError

    headers = {"Content-Type": "application/x-git-receive-pack-request"}
    with httpx.Client(trust_env=False, timeout=10) as client:
        with pytest.raises(ZeroDivisionError):
            client.post(f"{address}/git-receive-pack", content=half(), headers=headers)
    api.client.close()
    api.sandbox.stop()

    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("sandbox")]
    assert [thread for thread in left if thread.is_alive()] == []
