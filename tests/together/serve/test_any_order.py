"""The deliveries of a week in any order, some lost and some doubled, with repairs in between: the record is the same."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pushing import CONTENT, SECRET, Developer, content, pull_requests, scan, story, subscribe

from releasecopilot_core import CommitStorage, Ingestor, open_webhook


@attrs.frozen
class Week:
    """What was sent in a week; a database of its begin, one that was scanned after each push, and one of its end."""

    workspace: Any
    ann: Developer
    sent: list[Any] = attrs.field(repr=False)
    begin: Path
    often: Path
    late: Path


@pytest.fixture(scope="module")
def week(shared_workspace: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """Return the week; nobody was there to take its deliveries."""
    folder = tmp_path_factory.mktemp("week")
    begin, often, late = (folder / f"{name}.db" for name in ("begin", "often", "late"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDBOX_TOKEN", "s3cret-token")
        ann = Developer(shared_workspace, folder / "ann")
        steps = itertools.chain(story(ann), pull_requests(ann))
        next(steps)
        for file in (begin, often):
            scan(shared_workspace, file)
        subscribe(shared_workspace, "http://127.0.0.1:9/webhooks/bitbucket")
        for _ in steps:
            scan(shared_workspace, often)
        scan(shared_workspace, late)
        yield Week(shared_workspace, ann, shared_workspace.sandbox.deliveries, begin, often, late)


def taken(deliveries: list[Any], file: Path) -> None:
    """Take deliveries one after the other."""
    with CommitStorage(file) as storage:
        webhook = open_webhook("bitbucket", storage=storage, secret=SECRET)
        for delivery in deliveries:
            assert webhook.receive(delivery.headers.items(), delivery.body).status == 202


def repaired(week: Week, file: Path) -> None:
    with Ingestor(week.workspace.settings(), database=file) as ingestor:
        assert ingestor.repair("bitbucket").status == "complete"


def held(week: Week, file: Path, *, whole: bool) -> None:
    """Assert that nothing is missing that a late scan finds, and that nothing is there that never was."""
    told, least, most = map(content, (file, week.late, week.often))
    # Of branches that share commits the one that is walked first gets them.
    most["branches"] = week.ann.reached
    for name in CONTENT:
        assert not whole or told[name] >= least[name], name
        more = told[name] - most[name]
        if name == "heads":
            # That of a branch that is gone is of the delivery that came last: none says when it was sent.
            more = {row for row in more if row[-1]}
        elif name == "stories":
            # A title of old may come after commits that it never had, a new branch before what is main's of it.
            more = {row for row in more if row[-1] == "message"}
        assert more == set(), name


# Shrinking would take minutes: what was drawn is short enough to read.
@settings(max_examples=8, phases=(Phase.explicit, Phase.generate))
@given(data=st.data())
def test_order_losses_and_repeats_do_not_matter(week: Week, data: st.DataObject) -> None:
    """After the last repair nothing is missing unless it was lost, and after the next scan nothing at all."""
    numbers = range(len(week.sent))
    order = data.draw(st.permutations(numbers))
    lost = data.draw(st.sampled_from([0, 0, 1, 4]))
    again = data.draw(st.lists(st.sampled_from(numbers), max_size=4))
    cut = data.draw(st.integers(0, len(order)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "commits.db"
        shutil.copy(week.begin, file)
        taken([week.sent[n] for n in order[lost:cut]], file)
        if data.draw(st.booleans()):
            repaired(week, file)
        taken([week.sent[n] for n in [*order[max(lost, cut) :], *again]], file)
        repaired(week, file)
        held(week, file, whole=not lost)
        scan(week.workspace, file)
        held(week, file, whole=True)
