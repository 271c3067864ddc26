"""Pull requests over the API: list, read, open, update, merge, decline."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .answers import Answer, Refused, bad_request, error
from .call import Call
from .filtering import matching, ordered
from .git import Selection
from .merging import BranchMoved, CannotMerge, Merge, close, merge
from .paging import with_query
from .payloads import Payload
from .pull_shapes import HELD_BACK, difference, pull_request
from .pulls import DECLINED, MERGED, OPEN, STATES, PullRequest, now
from .shapes import MERGE_STRATEGIES

_TOKENS = "bcdfghjklmnpqrstvwxyzBCDFGHJKLMNPQRSTVWXYZ"


def pull_requests(call: Call) -> Answer:
    """`GET …/pullrequests`: open ones only, unless `state` says otherwise, as often as wanted.

    10 a page, and 50 at most: more is a 400, which the documentation does not say (constructorfabric/insight; BCLOUD-9659).
    The last updated comes first without `sort`, which is our guess.
    """
    keys: dict[str, Callable[[PullRequest], Any]] = {
        "updated_on": lambda pull: pull.updated_on,
        "created_on": lambda pull: pull.created_on,
        "state": lambda pull: pull.state,
        "title": lambda pull: pull.title,
        "source.branch.name": lambda pull: pull.source,
        "destination.branch.name": lambda pull: pull.destination,
    }
    states = call.arguments.getlist("state") or [OPEN]
    if unknown := set(states) - set(STATES):
        raise bad_request("Bad request", {"state": f"{min(unknown)!r} is none of {', '.join(STATES)}"})
    found = [pull for pull in _all(call) if pull.state in states]
    found = ordered(matching(found, call.arguments.get("q"), keys), call.arguments.get("sort", "-updated_on"), keys)
    page, envelope = call.page(found, default=10, most=50)
    return Answer(200, {"values": [_shape(call, pull) for pull in page], **envelope}, held_back=HELD_BACK)


def one(call: Call, number: str) -> Answer:
    """`GET …/pullrequests/{id}`: a 404 in plain text for one that is not there (codecov/shared; sourcegraph)."""
    return Answer(200, _shape(call, _found(call, number)))


def create(call: Call) -> Answer:
    """`POST …/pullrequests`: title and source branch are needed; the destination is the main branch by default.

    Both branches are in this repository. Reviewers are ignored.
    """
    given = call.payload()
    title = given.text("title", most=255)
    source = given.name("source", "branch", "name")
    if source is None:
        raise bad_request("Bad request", {"source": "required key not provided"})
    destination = given.name("destination", "branch", "name") or call.repository.main_branch
    heads = call.repository.git.heads()
    for key, name in (("source", source), ("destination", destination)):
        if name not in heads:
            raise bad_request("Bad request", {key: f"branch not found: {name}"})
    if source == destination or heads[source] == heads[destination or ""]:
        raise bad_request("There are no changes to be pulled")
    made = call.pull_requests.open(
        call.repository.uuid,
        title=title,
        description=given.text("description", ""),
        source=source,
        source_sha=heads[source],
        destination=destination,
        destination_sha=heads[destination or ""],
        author=call.caller.email,
        close_source_branch=given.flag("close_source_branch", default=False),
        draft=given.flag("draft", default=False),
    )
    call.events.pull_request("created", call.repository, made, call.caller.email)
    value = _shape(call, made)
    return Answer(201, value, {"Location": value["links"]["self"]["href"]})


def update(call: Call, number: str) -> Answer:
    """`PUT …/pullrequests/{id}`: title, description, destination, draft; what is not there stays."""
    pull = _open(call, number)
    given = call.payload()
    fields: dict[str, Any] = {
        "title": given.text("title", pull.title, most=255),
        "description": given.text("description", pull.description),
        "draft": given.flag("draft", default=pull.draft),
        "close_source_branch": given.flag("close_source_branch", default=pull.close_source_branch),
    }
    destination = given.name("destination", "branch", "name")
    if destination is not None and destination != pull.destination:
        heads = call.repository.git.heads()
        if destination not in heads or destination == pull.source:
            raise bad_request("Bad request", {"destination": f"branch not found: {destination}"})
        fields |= {"destination": destination, "destination_sha": heads[destination]}
    changed = _changed(call, pull, **fields)
    call.events.pull_request("updated", call.repository, changed, call.caller.email)
    return Answer(200, _shape(call, changed))


def decline(call: Call, number: str) -> Answer:
    """`POST …/pullrequests/{id}/decline`."""
    pull = _open(call, number)
    declined = _changed(call, pull, state=DECLINED, closed_by=call.caller.email)
    call.events.pull_request("rejected", call.repository, declined, call.caller.email)
    return Answer(200, _shape(call, declined))


def merge_it(call: Call, number: str) -> Answer:
    """`POST …/pullrequests/{id}/merge`: by `merge_commit` (default), `squash` or `fast_forward`, in the real repository.

    `message` and `close_source_branch` may be given. A conflict is a 400, a branch that moved meanwhile a 409.
    """
    pull = _open(call, number)
    given = call.payload()
    closing = given.flag("close_source_branch", default=pull.close_source_branch)
    wanted = _wanted(call, pull, given)
    with call.events.push(call.repository, call.caller.email):
        try:
            head = merge(call.repository.git, wanted)
        except BranchMoved as moved:
            raise error(409, str(moved)) from moved
        except CannotMerge as reason:
            raise bad_request(str(reason)) from reason
        merged = _changed(
            call,
            pull,
            state=MERGED,
            merge_sha=head,
            source_sha=pull.source_sha,
            destination_sha=pull.destination_sha,
            closed_by=call.caller.email,
            close_source_branch=closing,
        )
        if closing:
            close(call.repository.git, pull.source, pull.source_sha)
    call.events.pull_request("fulfilled", call.repository, merged, call.caller.email)
    return Answer(200, _shape(call, merged))


def _wanted(call: Call, pull: PullRequest, given: Payload) -> Merge:
    return Merge(
        branch=pull.destination,
        onto=pull.destination_sha,
        sha=pull.source_sha,
        strategy=given.text("merge_strategy", MERGE_STRATEGIES[0], among=MERGE_STRATEGIES),
        message=given.text("message", f"Merged in {pull.source} (pull request #{pull.id})\n\n{pull.title}\n"),
        name=call.shapes.user(call.caller.email)["display_name"],
        email=call.caller.email or f"bot@{call.shapes.workspace}.invalid",
        when=now(),
    )


def commits(call: Call, number: str) -> Answer:
    """`GET …/pullrequests/{id}/commits`: what the source has and the destination has not, newest first, full hashes.

    10 a page, 100 at most. `page` is an opaque token, the same for everybody; a number is a 400 "Invalid page"
    (BCLOUD-19593; codecov/shared, `test_get_pull_request_commits_multiple_pages.yaml`). How tokens are made is our guess.
    """
    pull = _found(call, number)
    if call.fault("fork-gone"):
        raise _missing()
    length = call.length(default=10, most=100)
    token = call.arguments.get("page")
    place = 1 if token is None else _page_of(token)
    git = call.repository.git
    shas, more = git.listing(Selection((pull.source_sha,), (pull.destination_sha,)), (place - 1) * length, length)
    body: dict[str, Any] = {
        "values": [call.shapes.commit(call.repository, commit) for commit in git.commits(shas)],
        "pagelen": length,
        "page": place,
    }
    if more:
        following = place if call.fault("next-loop") else place + 1
        query = [(key, value) for key, value in call.arguments.items(multi=True) if key != "page"]
        body["next"] = with_query(call.fault("foreign-next") or call.address, [*query, ("page", page_token(following))])
    return Answer(200, body)


def changed_files(call: Call, number: str) -> Answer:
    """`GET …/pullrequests/{id}/diffstat`: a 302 to the repository's diffstat of source and destination."""
    pull = _found(call, number)
    return Answer(302, "", {"Location": difference(call.shapes, call.repository, pull, "diffstat")})


def page_token(number: int) -> str:
    """Return the token of a page: a few letters without a visible order."""
    rest, letters = number * 104_729 + 31_337, ""
    while rest:
        rest, digit = divmod(rest, len(_TOKENS))
        letters += _TOKENS[digit]
    return letters


def _page_of(token: str) -> int:
    value = 0
    if re.fullmatch(f"[{_TOKENS}]{{3,12}}", token):
        for letter in reversed(token):
            value = value * len(_TOKENS) + _TOKENS.index(letter)
    number, rest = divmod(value - 31_337, 104_729)
    if rest or number < 1:
        raise bad_request("Invalid page")
    return number


def _all(call: Call) -> list[PullRequest]:
    return call.pull_requests.of(call.repository.uuid, call.repository.git.heads())


def _found(call: Call, number: str) -> PullRequest:
    for pull in _all(call):
        if str(pull.id) == number:
            return pull
    raise _missing()


def _open(call: Call, number: str) -> PullRequest:
    pull = _found(call, number)
    if not pull.is_open:
        raise _closed(pull)
    return pull


def _changed(call: Call, pull: PullRequest, **fields: Any) -> PullRequest:
    changed = call.pull_requests.change(call.repository.uuid, pull, **fields)
    if changed is None:
        raise _closed(pull)
    return changed


def _closed(pull: PullRequest) -> Refused:
    return bad_request(f"Pull request {pull.id} is not open")


def _missing() -> Refused:
    return Refused(Answer(404, "Not Found"))


def _shape(call: Call, pull: PullRequest) -> dict[str, Any]:
    return pull_request(call.shapes, call.repository, pull, fork_gone=bool(call.fault("fork-gone")))
