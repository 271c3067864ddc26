"""What people and administrators do to repositories, for the state machine."""

from __future__ import annotations

import shutil

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine_stage import BRANCHES, MESSAGES, SLUGS, Stage, ages
from workspaces import GitRepository


class People(Stage):
    """Those who push."""

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES), hours=ages, count=st.integers(1, 8))
    def commit(self, data: st.DataObject, branch: str, hours: float, count: int) -> None:
        """Add commits to a branch, or start it from another one."""
        api = self.any(data)
        heads = api.branches()
        if branch not in heads and heads:
            api.set(branch, data.draw(st.sampled_from(list(heads.values()))))
        if branch not in heads and api.tips[branch][:-1]:
            event("branch made again after it was deleted")
        event(
            "clock: " + ("ahead" if hours < 0 else "of the last 6 hours" if hours <= 6 else "behind by hours or days")
        )
        messages = [data.draw(st.sampled_from(MESSAGES)) for _ in range(count)]
        api.history(branch, [hours] * count, message=messages)

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES), others=st.integers(1, 3), hours=ages)
    def merge(self, data: st.DataObject, branch: str, others: int, hours: float) -> None:
        """Merge one or several branches, octopus included."""
        api = self.any(data)
        if head := api.branches().get(branch):
            there = api.reachable(*api.branches().values())
            parents = list(dict.fromkeys([head, *(data.draw(st.sampled_from(there)) for _ in range(others))]))
            event(f"merge: {'octopus' if len(parents) > 2 else 'of two' if len(parents) > 1 else 'of itself'}")
            api.commit(branch, "merge", hours_ago=hours, parents=parents)

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES), count=st.integers(0, 3))
    def force_push(self, data: st.DataObject, branch: str, count: int) -> None:
        """Set a branch back, or to any other commit, and go on from there."""
        api = self.any(data)
        heads = api.branches()
        if branch in heads:
            self.remember()
            api.set(branch, data.draw(st.sampled_from(api.reachable(heads[branch], *heads.values()))))
            for _ in range(count):
                api.commit(branch, "once more", hours_ago=1)

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES), hours=ages)
    def rebase(self, data: st.DataObject, branch: str, hours: float) -> None:
        """Replay a branch's own commits on another base."""
        api = self.any(data)
        heads = api.branches()
        if branch in heads:
            self.remember()
            onto = data.draw(st.sampled_from(api.reachable(*heads.values())))
            new = api.rebase(branch, onto, hours_ago=hours)
            event(
                "rebase: " + ("nothing to replay" if not new else "new shas" if set(new) - set(self.ever) else "no-op")
            )

    @rule(data=st.data(), branch=st.sampled_from(BRANCHES[1:]))
    def delete(self, data: st.DataObject, branch: str) -> None:
        """Delete a branch; a later commit re-creates it."""
        self.remember()
        self.any(data).delete(branch)

    @rule(data=st.data())
    def collect_garbage(self, data: st.DataObject) -> None:
        """What no branch and no tag reaches is gone for good."""
        self.remember()
        api = self.any(data)
        before = set(api.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--unordered").split())
        api.collect_garbage()
        after = set(api.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--unordered").split())
        vanished = (before - after) & set(self.ever)
        self.gone |= vanished
        event(f"shas that vanished: {'some' if vanished else 'none'}")

    @rule(data=st.data(), name=st.sampled_from(["v1", "v2"]))
    def tag(self, data: st.DataObject, name: str) -> None:
        """Tag a commit; tags keep commits alive and belong to no branch."""
        api = self.any(data)
        if heads := api.branches():
            api.git("tag", "--force", name, data.draw(st.sampled_from(list(heads.values()))))


class Administrators(Stage):
    """Those who make, rename and delete repositories."""

    @rule(slug=st.sampled_from(SLUGS))
    def create(self, slug: str) -> None:
        """Make a repository, empty at first."""
        if slug not in self.repositories:
            self.add(slug)

    @rule(slug=st.sampled_from(SLUGS))
    def recreate(self, slug: str) -> None:
        """Delete a repository and make another one under its name."""
        if slug in self.repositories:
            event("repository made again under an old name")
            self.remember()
            shutil.rmtree(self.repositories.pop(slug).path)
            self.add(slug).commit("main", "another", hours_ago=1)

    @precondition(lambda self: len(self.repositories) > 1)
    @rule()
    def swap(self) -> None:
        """Two repositories change names."""
        event("repositories swapped")
        one, other = sorted(self.repositories)[:2]
        a, b = self.repositories[one], self.repositories[other]
        aside = self.workspace.folder / "aside.git"
        shutil.move(a.path, aside)
        shutil.move(b.path, a.path)
        shutil.move(aside, b.path)
        a.path, b.path = b.path, a.path
        self.repositories[one], self.repositories[other] = b, a

    @rule(slug=st.sampled_from(SLUGS), name=st.sampled_from(SLUGS))
    def rename(self, slug: str, name: str) -> None:
        """Give a repository a name that nobody has, or has any more; `create` may take its old one."""
        if slug in self.repositories and name not in self.repositories:
            event("repository renamed")
            repository = self.repositories.pop(slug)
            target = self.workspace.repositories / f"{name}.git"
            shutil.move(repository.path, target)
            repository.path = target
            self.repositories[name] = repository

    @rule(slug=st.sampled_from(SLUGS))
    def fork(self, slug: str) -> None:
        """Copy a repository: its commits are in both."""
        if slug not in self.repositories and self.repositories:
            source = self.repositories[min(self.repositories)]
            event("fork with shared shas" if source.branches() else "fork of an empty repository")
            target = self.workspace.repositories / f"{slug}.git"
            shutil.copytree(source.path, target)
            self.repositories[slug] = GitRepository(target)
