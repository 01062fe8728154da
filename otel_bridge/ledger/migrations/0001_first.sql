-- What is done: windows of time, delivered ids with their identity, and what was set aside. Never a payload.
-- Times are ms since the epoch. Log ids are blobs of UTF-8 (lone surrogates passed through), since nobody has
-- promised that they are clean text.

-- Names are kept once, so that a record's row is small.
CREATE TABLE projects (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    delivered INTEGER NOT NULL DEFAULT 0, -- records in all, forgotten ones included
    last_error TEXT,
    last_error_ms INTEGER,
    last_success_ms INTEGER
);

-- [from_ms, to_ms); windows of one project's lane never overlap.
CREATE TABLE windows (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    lane TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL CHECK (to_ms > from_ms),
    passes INTEGER NOT NULL,
    due_ms INTEGER, -- NULL: sealed
    records INTEGER NOT NULL,
    PRIMARY KEY (project_id, lane, from_ms)
) WITHOUT ROWID;

CREATE INDEX windows_open ON windows (project_id, lane, from_ms) WHERE due_ms IS NOT NULL;

-- A rowid table on purpose: log ids are random, and the wide rows then append in order of arrival while only
-- the narrow index is written at random places (measured a third faster than a table clustered by id).
CREATE TABLE delivered (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    log_id BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    trace_id BLOB NOT NULL,
    span_id BLOB NOT NULL,
    parent_span_id BLOB,
    depth INTEGER NOT NULL
);

CREATE UNIQUE INDEX delivered_by_id ON delivered (project_id, log_id);
CREATE INDEX delivered_by_time ON delivered (project_id, time_ms);

CREATE TABLE set_aside (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    log_id BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    retry_ms INTEGER, -- NULL: never by itself
    PRIMARY KEY (project_id, log_id)
) WITHOUT ROWID;

CREATE INDEX set_aside_by_time ON set_aside (project_id, time_ms, log_id);
