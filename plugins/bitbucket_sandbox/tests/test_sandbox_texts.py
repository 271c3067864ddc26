"""What a commit says of itself: message, date and author, as git has them."""

from __future__ import annotations

import pytest


def written(repository, raw):
    """Write a commit object byte by byte, as other tools may, and point main to it."""
    sha = repository.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", given=raw).strip()
    repository.set_ref("refs/heads/main", sha)
    return sha


def empty_tree(repository):
    """Write and return the tree without files."""
    return repository.git("hash-object", "-t", "tree", "-w", "--stdin", given=b"").strip().encode()


@pytest.mark.parametrize(
    "message",
    [
        "Plain\n",
        "No newline at its end",
        "Three at its end\n\n\n",
        "Subject\n\nBody with trailing spaces   \n\tand a tab\n",
        "Windows\r\nlines\r\n",
        "\n\nStarts empty\n",
        "Zoë: Größe → 日本語 😀\n",
        "Control \x01\x02\x1b[31m and \x7f\n",
        "Separators \u2028 \u2029 \x85 \x0b \x0c \x1c\n",
        "<b>&amp;</b> \"quoted\" \\ back\n",
        "%H %x00 %n\n",
        "x" * 70_000,
        "",
        " ",
    ],
)  # fmt: skip
def test_message_is_kept_to_the_byte(api, repository, message):
    """A message arrives as it was written, with its trailing newlines."""
    sha = repository.commit(message)

    assert api.json("commits")["values"][0]["message"] == message
    assert api.json(f"commit/{sha}")["message"] == message


def test_messages_do_not_run_into_each_other(api, repository):
    """Odd messages that follow each other stay with their commits."""
    messages = ["", "one\n", "\n", "two", "a\x01\n", ""]
    for message in messages:
        repository.commit(message)

    assert [value["message"] for value in api.values("commits")] == messages[::-1]


def test_message_that_is_not_utf_8(api, repository):
    """Bytes that are not UTF-8 are replaced, and the others are kept."""
    repository.commit(b"caf\xe9 \xff au lait\n")

    assert api.json("commits")["values"][0]["message"] == "caf\ufffd \ufffd au lait\n"


def test_message_that_states_its_encoding(api, repository):
    """A message in another encoding that the commit names is told in UTF-8."""
    person = b"A <a@acme.example> 1700000000 +0000"
    raw = b"tree %b\nauthor %b\ncommitter %b\nencoding ISO-8859-1\n\ncaf\xe9\n" % (
        empty_tree(repository),
        person,
        person,
    )
    written(repository, raw)

    assert api.json("commits")["values"][0]["message"] == "café\n"


def test_summary_and_rendered_follow_the_message(api, repository):
    """Both rendered forms repeat the message raw and as escaped HTML."""
    repository.commit("Use <T> & co\n")

    value = api.json("commits")["values"][0]

    assert value["summary"]["raw"] == value["rendered"]["message"]["raw"] == "Use <T> & co\n"
    assert value["summary"]["html"] == "<p>Use &lt;T&gt; &amp; co</p>"


def test_parts_of_a_commit(api, repository):
    """A commit has the recorded keys; asked for alone it has its participants as well."""
    sha = repository.commit()

    listed, alone = api.json("commits")["values"][0], api.json(f"commit/{sha}")

    assert set(listed) == {
        *("type", "hash", "date", "author", "message", "summary", "rendered", "parents", "links", "repository")
    }
    assert set(listed["links"]) == {"self", "html", "diff", "patch", "approve", "comments", "statuses"}
    assert alone == {**listed, "participants": []}


def test_date_is_the_committers_in_utc(api, repository):
    """The date is when it was committed, in whole seconds and UTC, whatever zone it was written in."""
    repository.commit(written="1600000000 +0200", date="1700000000 -0700")

    assert api.json("commits")["values"][0]["date"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize("seconds", [b"0", b"1", b"4294967296"])
def test_dates_from_the_edges(api, repository, seconds):
    """Dates from the first second to beyond 32 bits are told."""
    person = b"A <a@acme.example> %b +0000" % seconds
    written(repository, b"tree %b\nauthor %b\ncommitter %b\n\nEdge\n" % (empty_tree(repository), person, person))

    assert api.json("commits")["values"][0]["date"].endswith("+00:00")


@pytest.mark.parametrize("stamp", [b" 999999999999999 +0000", b" -1 +0000", b"", b" x y"])
def test_dates_that_are_none(api, repository, stamp):
    """A commit whose date cannot be told is listed nonetheless."""
    person = b"A <a@acme.example>" + stamp
    sha = written(repository, b"tree %b\nauthor %b\ncommitter %b\n\nOdd\n" % (empty_tree(repository), person, person))

    assert api.json("commits")["values"][0]["hash"] == sha


def test_author_with_account(api, repository):
    """A person with an account has a user with uuid and account id, the same in each commit."""
    repository.commit("One\n", author="Ann Archer <ann@acme.example>")
    repository.commit("Two\n", author="Ann Archer <ann@acme.example>")

    authors = [value["author"] for value in api.json("commits")["values"]]

    assert authors[0] == authors[1]
    assert authors[0]["raw"] == "Ann Archer <ann@acme.example>"
    assert authors[0]["user"]["display_name"] == "Ann Archer"
    assert authors[0]["user"]["uuid"].startswith("{")
    assert "username" not in authors[0]["user"]


@pytest.mark.parametrize(
    "author", ["Build Bot <build@ci.invalid>", "No Mail <>", "Odd <not-an-address>", "N <1+n@users.noreply.example>"]
)
def test_author_without_account(api, repository, author):
    """For a person without an account the key `user` is absent, and the address stands in `raw` only."""
    repository.commit(author=author)

    assert api.json("commits")["values"][0]["author"] == {"type": "author", "raw": author}


def test_users_have_accounts(repository, serve):
    """An address that may log in has an account whatever it looks like, the same as in `/user`."""
    repository.commit(author="Bot <bot@build.invalid>")
    api = serve(users={"bot@build.invalid": "t"})
    api.client.auth = ("bot@build.invalid", "t")

    assert api.json("commits")["values"][0]["author"]["user"]["account_id"] == api.json("/user")["account_id"]


def test_author_and_not_committer_is_told(api, repository):
    """The author is who wrote it, not who committed it."""
    raw = b"tree %b\nauthor W <w@acme.example> 1 +0000\ncommitter C <c@acme.example> 2 +0000\n\nOf two\n"
    written(repository, raw % empty_tree(repository))

    assert api.json("commits")["values"][0]["author"]["raw"] == "W <w@acme.example>"


def test_name_that_is_not_ascii(api, repository):
    """Names are told in UTF-8."""
    repository.commit(author="Zoë Ångström <zoe@acme.example>")

    assert api.json("commits")["values"][0]["author"]["raw"] == "Zoë Ångström <zoe@acme.example>"


def test_settings_of_the_repository_change_nothing(api, repository):
    """A repository's own settings for how git prints do not show."""
    for name, value in (
        ("log.showSignature", "true"), ("log.date", "relative"), ("log.decorate", "full"), ("color.ui", "always"),
        ("i18n.logOutputEncoding", "ISO-8859-1"), ("diff.renames", "false"), ("core.quotePath", "true"),
    ):  # fmt: skip
        repository.git("config", name, value)
    repository.commit("Größe\n", {"größe": "1\n"})

    value = api.json("commits")["values"][0]

    assert value["message"] == "Größe\n"
    assert [change["new"]["path"] for change in api.values(f"diffstat/{value['hash']}")] == ["größe"]


def test_replaced_objects_are_not_followed(api, repository):
    """`git replace` is a local habit that the service does not know."""
    real = repository.commit("Real\n")
    other = repository.commit("Other\n", branch="other", parents=[])
    repository.git("replace", real, other)

    assert api.json(f"commit/{real}")["message"] == "Real\n"
