"""What people do with pull requests, for the state machine; all through the service's API."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine_stage import BRANCHES, TITLES, Opened, Stage, within

#: Deliveries that are held back come later than others.
LOSSY = {"drop", "reorder"}

titles = st.sampled_from(sorted(TITLES))


class Requesters(Stage):
    """Those who open, change, merge and decline; new commits come to an open one by pushes to its source branch."""

    @rule(
        data=st.data(),
        source=st.sampled_from(BRANCHES[1:]),
        destination=st.sampled_from(BRANCHES[:2]),
        title=titles,
        deleted=st.booleans(),
    )
    def open_request(self, data: st.DataObject, source: str, destination: str, title: str, *, deleted: bool) -> None:
        """Ask to pull one branch into another one, or into main; with nothing on it, it gets a commit first.

        The source may be deleted at once: then only the pull request shows its commits.
        """
        api = self.any(data)
        heads = api.branches()
        destination = destination if destination in heads and destination != source else "main"
        if destination not in heads:
            return
        if heads.get(source) in (None, heads[destination]):
            api.commit(source, "work", parents=[heads[destination]])
        body = {
            "title": title,
            "source": {"branch": {"name": source}},
            "destination": {"branch": {"name": destination}},
        }
        answer = self.ask("POST", self.slug_of(api), body=body)
        assert answer.status_code == 201, answer.text
        event("pull request opened, " + ("with webhooks" if self.hooked else "without webhooks"))
        value = answer.json()
        begin = (len(api.tips[source]) - 1, len(api.tips[destination]) - 1)
        uuid = value["destination"]["repository"]["uuid"]
        self.opened.append(Opened(api, uuid, value["id"], source, destination, [title], begin))
        if deleted:
            self.remember()
            api.delete(source)

    @precondition(lambda self: self._open())
    @rule(
        data=st.data(),
        how=st.sampled_from(["title", "decline", "merge_commit", "squash", "fast_forward"]),
        title=titles,
        closing=st.booleans(),
    )
    def answer_request(self, data: st.DataObject, how: str, title: str, *, closing: bool) -> None:
        """Give an open pull request another title, decline it, or merge it where that is possible."""
        request = data.draw(st.sampled_from(self._open()))
        self.remember()
        end = len(request.repository.tips[request.destination])
        if how == "title":
            self._retitle(request, title)
        elif how == "decline":
            self._said(request, "POST", "/decline", {})
            event("pull request declined")
            request.end = end
        elif self._said(
            request, "POST", "/merge", {"merge_strategy": how, "close_source_branch": closing}, refusals=(400, 409)
        ):
            event(f"pull request merged: {how}")
            request.end = end
            request.repository.note()

    def _retitle(self, request: Opened, title: str) -> None:
        linked = self.linked_to(request)
        self._said(request, "PUT", "", {"title": title})
        event("pull request got another title")
        request.titles.append(title)
        if self.hooked and not LOSSY & self.workspace.sandbox.faults.keys():
            self.flush()
            if self._accepted(request):
                # Long before anybody fetches anything.
                within(linked if TITLES[title] else set(), self.named_by_titles(TITLES[title]))

    def _accepted(self, request: Opened) -> bool:
        """Say whether the last delivery about a pull request was accepted."""
        bodies = [(json.loads(delivery.body), delivery) for delivery in self.workspace.sandbox.deliveries]
        told = [delivery for body, delivery in bodies if body["repository"]["uuid"] == request.uuid
                and body.get("pullrequest", {}).get("id") == request.number]  # fmt: skip
        return any(attempt.status == 202 for attempt in told[-1].attempts)

    def _open(self) -> list[Opened]:
        there = list(self.repositories.values())
        return [request for request in self.opened if request.end is None and request.repository in there]

    def _said(self, request: Opened, method: str, place: str, body: Any, *, refusals: tuple[int, ...] = ()) -> bool:
        slug = self.slug_of(request.repository)
        answer = self.ask(method, slug, f"/{request.number}{place}", body)
        assert answer.status_code in (200, *refusals), answer.text
        return answer.status_code == 200
