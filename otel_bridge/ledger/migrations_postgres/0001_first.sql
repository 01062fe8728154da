-- works from: 1
-- What is done: windows of time, delivered ids with their identity, and what was set aside. Never a payload.
-- Times are ms since the epoch. Log ids are bytea of UTF-8 (lone surrogates passed through), since nobody has
-- promised that they are clean text.

-- Names are kept once, so that a record's row is small. Whoever writes for a project locks its row first: all
-- writes of one project come one after the other, as they do in a file.
CREATE TABLE otel_bridge.projects (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    delivered bigint NOT NULL DEFAULT 0, -- records in all, forgotten ones included
    last_error text,
    last_error_ms bigint,
    last_success_ms bigint,
    correlated_ms bigint -- when a correlation was last used, or came too late
);

-- [from_ms, to_ms); windows of one project's lane never overlap.
CREATE TABLE otel_bridge.windows (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    lane text COLLATE "C" NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL CHECK (to_ms > from_ms),
    passes integer NOT NULL,
    due_ms bigint, -- NULL: sealed
    records bigint NOT NULL,
    PRIMARY KEY (project_id, lane, from_ms)
);

CREATE INDEX windows_open ON otel_bridge.windows (project_id, lane, from_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE otel_bridge.delivered (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    log_id bytea NOT NULL,
    time_ms bigint NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    parent_span_id bytea,
    depth integer NOT NULL,
    tool_call boolean NOT NULL,
    sampled boolean NOT NULL,
    PRIMARY KEY (project_id, log_id)
);

-- With the flag in it, tool calls of a range are counted from the index alone.
CREATE INDEX delivered_by_time ON otel_bridge.delivered (project_id, time_ms, tool_call);

CREATE TABLE otel_bridge.set_aside (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    log_id bytea NOT NULL,
    time_ms bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    message text NOT NULL,
    attempts integer NOT NULL,
    since_ms bigint NOT NULL,
    retry_ms bigint, -- NULL: never by itself
    tool_call boolean NOT NULL,
    PRIMARY KEY (project_id, log_id)
);

CREATE INDEX set_aside_by_time ON otel_bridge.set_aside (project_id, time_ms, log_id);

-- Delivered ids that are no longer kept, by the UTC day of their time.
CREATE TABLE otel_bridge.forgotten (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    day_ms bigint NOT NULL,
    from_ms bigint NOT NULL, -- [from_ms, to_ms) holds the times of all that were forgotten
    to_ms bigint NOT NULL,
    tool_calls bigint, -- how many of them were tool calls; NULL: nobody has counted
    again bigint NOT NULL, -- tool calls that came there afterwards: new ones, or forgotten ones once more
    PRIMARY KEY (project_id, day_ms)
);

CREATE TABLE otel_bridge.verifications (
    project_id integer PRIMARY KEY REFERENCES otel_bridge.projects (id),
    at_ms bigint NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL,
    source bigint NOT NULL,
    ledger bigint NOT NULL,
    missing bigint NOT NULL,
    repaired bigint NOT NULL
);

-- Where calls belong in the traces of the applications that made them, as these register them; they name no
-- project. Kind: log_id or request_id. Trace ids and span ids have 16 and 8 bytes.
CREATE TABLE otel_bridge.correlations (
    kind text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    sampled boolean NOT NULL,
    expires_ms bigint NOT NULL,
    used boolean NOT NULL DEFAULT false, -- whether a record has gone by it
    PRIMARY KEY (kind, key)
);

CREATE INDEX correlations_by_expiry ON otel_bridge.correlations (expires_ms);

-- What was decided for a record before it first goes out: one row a record until it is delivered.
CREATE TABLE otel_bridge.settled (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    log_id bytea NOT NULL,
    settled_ms bigint NOT NULL,
    trace_id bytea, -- NULL: no correlation
    span_id bytea,
    sampled boolean NOT NULL,
    retries boolean NOT NULL, -- whether the next two are decided
    retry_trace_id bytea,
    retry_span_id bytea,
    PRIMARY KEY (project_id, log_id)
);

CREATE INDEX settled_by_time ON otel_bridge.settled (project_id, settled_ms);

-- Failed calls, for the links of the tries that come after them.
CREATE TABLE otel_bridge.failed_attempts (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    key bytea NOT NULL, -- a hash of what tries of one thing have in common
    log_id bytea NOT NULL,
    noted_ms bigint NOT NULL,
    start_ns bigint NOT NULL,
    end_ns bigint NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    PRIMARY KEY (project_id, key, log_id)
);

CREATE INDEX failed_attempts_by_time ON otel_bridge.failed_attempts (project_id, noted_ms);

-- Who may commit for a project, and what: each lease that is given has an epoch of its own, and a commit
-- under an older one is refused. The database's clock alone says when a lease has run out.
CREATE TABLE otel_bridge.leases (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    scope text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    holder text, -- NULL: handed back
    since timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL, -- when there may be something to do again
    failures integer NOT NULL, -- passes that have failed since one went well, whoever made them
    PRIMARY KEY (project_id, scope)
);

-- Who is at work, by the signs of life that each replica gives.
CREATE TABLE otel_bridge.replicas (
    name text COLLATE "C" PRIMARY KEY,
    projects text[] NOT NULL, -- what it collects
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
