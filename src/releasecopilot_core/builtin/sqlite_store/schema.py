"""The tables, and the way from any older version to this one; `docs/database.md` explains them."""

from __future__ import annotations

from sqlite_utils.db import Database
from sqlite_utils.migrations import Migrations

#: Marks a file as ours (`PRAGMA application_id`): the letters RCOP.
APPLICATION_ID = 0x52434F50

#: The schema version of this release (`PRAGMA user_version`): how many migrations there are.
VERSION = 3

migrations = Migrations("releasecopilot")

_FIRST = """
CREATE TABLE repositories (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    uuid TEXT NOT NULL,
    full_name TEXT NOT NULL,
    main_branch TEXT,
    updated_on TEXT,
    swept_at TEXT,
    status TEXT,
    selection TEXT,
    UNIQUE (source, uuid)
);
CREATE TABLE commits (
    sha TEXT PRIMARY KEY,
    author TEXT,
    author_name TEXT,
    author_email TEXT,
    date TEXT,
    author_date TEXT,
    message TEXT,
    files_status TEXT NOT NULL,
    first_seen_at TEXT,
    last_seen_at TEXT
);
CREATE INDEX commits_date ON commits (date);
CREATE INDEX commits_files_status ON commits (files_status, sha) WHERE files_status <> 'known';
CREATE TABLE commit_parents (
    sha TEXT NOT NULL REFERENCES commits (sha),
    position INTEGER NOT NULL,
    parent TEXT NOT NULL,
    PRIMARY KEY (sha, position)
) WITHOUT ROWID;
CREATE INDEX commit_parents_parent ON commit_parents (parent);
CREATE TABLE commit_files (
    sha TEXT NOT NULL REFERENCES commits (sha),
    path TEXT NOT NULL,
    status TEXT NOT NULL,
    old_path TEXT,
    lines_added INTEGER,
    lines_removed INTEGER,
    PRIMARY KEY (sha, path)
) WITHOUT ROWID;
CREATE TABLE commit_branches (
    sha TEXT NOT NULL REFERENCES commits (sha),
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    branch TEXT NOT NULL,
    via TEXT NOT NULL,
    own INTEGER NOT NULL DEFAULT 0,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    PRIMARY KEY (sha, repository_id, branch, via)
) WITHOUT ROWID;
CREATE TABLE pull_requests (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    id INTEGER NOT NULL,
    title TEXT,
    state TEXT,
    author TEXT,
    source_branch TEXT,
    destination_branch TEXT,
    merge_commit TEXT,
    updated_on TEXT,
    PRIMARY KEY (repository_id, id)
) WITHOUT ROWID;
CREATE TABLE commit_pull_requests (
    sha TEXT NOT NULL REFERENCES commits (sha),
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    pull_request INTEGER NOT NULL,
    PRIMARY KEY (sha, repository_id, pull_request)
) WITHOUT ROWID;
CREATE TABLE commit_story_keys (
    sha TEXT NOT NULL REFERENCES commits (sha),
    story_key TEXT NOT NULL,
    origin TEXT NOT NULL,
    plugin TEXT NOT NULL,
    PRIMARY KEY (sha, story_key, origin, plugin)
) WITHOUT ROWID;
CREATE INDEX commit_story_keys_story_key ON commit_story_keys (story_key);
CREATE TABLE heads (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    branch TEXT NOT NULL,
    sha TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    deleted_at TEXT,
    PRIMARY KEY (repository_id, branch)
) WITHOUT ROWID;
CREATE TABLE walks (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    branch TEXT NOT NULL,
    target TEXT NOT NULL,
    line TEXT,
    since TEXT,
    bounded INTEGER NOT NULL DEFAULT 0,
    opened_at TEXT NOT NULL,
    PRIMARY KEY (repository_id, branch, target)
) WITHOUT ROWID;
CREATE TABLE boundaries (
    repository_id INTEGER NOT NULL,
    branch TEXT NOT NULL,
    target TEXT NOT NULL,
    sha TEXT NOT NULL,
    PRIMARY KEY (repository_id, branch, target, sha),
    FOREIGN KEY (repository_id, branch, target) REFERENCES walks (repository_id, branch, target) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE stale_branches (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    branch TEXT NOT NULL,
    reason TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (repository_id, branch)
) WITHOUT ROWID;
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    request_id TEXT,
    event TEXT,
    received_at TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    headers TEXT NOT NULL,
    body BLOB,
    body_sha256 TEXT NOT NULL
);
CREATE INDEX deliveries_request_id ON deliveries (request_id);
CREATE INDEX deliveries_body_sha256 ON deliveries (body_sha256);
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    window_start TEXT NOT NULL,
    window_end TEXT NOT NULL,
    new INTEGER NOT NULL DEFAULT 0,
    listed INTEGER NOT NULL DEFAULT 0,
    refreshed INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    artifact TEXT,
    git_sha TEXT,
    key_rules TEXT,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    report TEXT
);
CREATE INDEX runs_started_at ON runs (started_at);
CREATE VIEW commit_summary AS
SELECT
    c.sha AS hash,
    r.full_name AS repository,
    c.author AS authorship,
    coalesce(
        (SELECT min(b.branch) FROM commit_branches b
            WHERE b.sha = c.sha AND b.repository_id = r.id AND b.branch = r.main_branch),
        (SELECT min(b.branch) FROM commit_branches b WHERE b.sha = c.sha AND b.repository_id = r.id)
    ) AS branch,
    (SELECT json_group_array(branch) FROM (SELECT DISTINCT b.branch FROM commit_branches b
        WHERE b.sha = c.sha AND b.repository_id = r.id ORDER BY b.branch)) AS branches,
    (SELECT json_group_array(path) FROM (SELECT f.path FROM commit_files f
        WHERE f.sha = c.sha ORDER BY f.path)) AS files_changed,
    (SELECT json_group_array(story_key) FROM (SELECT DISTINCT k.story_key FROM commit_story_keys k
        WHERE k.sha = c.sha ORDER BY k.story_key)) AS story_keys,
    c.date AS modified_on,
    coalesce(l.last_seen_at, c.last_seen_at) AS last_seen_at
FROM (
    SELECT sha, repository_id, max(last_seen_at) AS last_seen_at FROM (
        SELECT sha, repository_id, last_seen_at FROM commit_branches
        UNION ALL
        SELECT sha, repository_id, NULL FROM commit_pull_requests
    ) GROUP BY sha, repository_id
) l JOIN commits c ON c.sha = l.sha JOIN repositories r ON r.id = l.repository_id
"""

_SECOND = """
DROP TABLE stale_branches;
CREATE TABLE stale_branches (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    branch TEXT NOT NULL,
    target TEXT,
    reason TEXT NOT NULL,
    marks INTEGER NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (repository_id, branch)
) WITHOUT ROWID;
CREATE TABLE stale_pull_requests (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    pull_request INTEGER NOT NULL,
    target TEXT,
    reason TEXT NOT NULL,
    marks INTEGER NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (repository_id, pull_request)
) WITHOUT ROWID;
CREATE INDEX commit_pull_requests_pull_request ON commit_pull_requests (repository_id, pull_request);
DROP TABLE deliveries;
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    event TEXT,
    request_id TEXT,
    received_at TEXT NOT NULL,
    last_received_at TEXT NOT NULL,
    times INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    headers TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    body BLOB
);
CREATE INDEX deliveries_request_id ON deliveries (request_id);
CREATE INDEX deliveries_body_sha256 ON deliveries (body_sha256);
CREATE INDEX deliveries_last_received_at ON deliveries (last_received_at);
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    expires_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE budgets (
    account TEXT NOT NULL,
    minute TEXT NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (account, minute)
) WITHOUT ROWID;
ALTER TABLE pull_requests ADD COLUMN updated_micros INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN pull_requests_to TEXT
"""


@migrations(name="0001_first_release")
def first_release(db: Database) -> None:
    """Create everything."""
    _execute(db, _FIRST)


@migrations(name="0002_webhooks")
def webhooks(db: Database) -> None:
    """Make room for deliveries, leases and pull requests; nothing wrote to the tables that are made anew."""
    _execute(db, _SECOND)


@migrations(name="0003_processes")
def processes(db: Database) -> None:
    """Make room for what tells a process apart from others of its number."""
    _execute(db, "ALTER TABLE leases ADD COLUMN process TEXT;\nALTER TABLE runs ADD COLUMN process TEXT")


def _execute(db: Database, script: str) -> None:
    # Not executescript: that would end the transaction which makes a migration whole.
    for statement in script.split(";\n"):
        db.conn.execute(statement)
