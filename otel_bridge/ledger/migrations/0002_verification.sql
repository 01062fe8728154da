-- What comparing the ledger with the source needs: tool calls told apart from other entries, how many of them
-- have been forgotten and when, and the last comparison's result.

ALTER TABLE delivered ADD COLUMN tool_call INTEGER NOT NULL DEFAULT 1;
ALTER TABLE set_aside ADD COLUMN tool_call INTEGER NOT NULL DEFAULT 1;

-- With the flag in it, tool calls of a range are counted from the index alone.
DROP INDEX delivered_by_time;
CREATE INDEX delivered_by_time ON delivered (project_id, time_ms, tool_call);

-- Delivered ids that are no longer kept, by the UTC day of their time.
CREATE TABLE forgotten (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    day_ms INTEGER NOT NULL,
    from_ms INTEGER NOT NULL, -- [from_ms, to_ms) holds the times of all that were forgotten
    to_ms INTEGER NOT NULL,
    tool_calls INTEGER, -- how many of them were tool calls; NULL: nobody has counted
    again INTEGER NOT NULL, -- tool calls that came there afterwards: new ones, or forgotten ones once more
    PRIMARY KEY (project_id, day_ms)
) WITHOUT ROWID;

-- Until now nobody has counted: of every day with sealed windows, ids may be gone.
INSERT INTO forgotten (project_id, day_ms, from_ms, to_ms, tool_calls, again)
SELECT project_id, day_ms, day_ms, MIN(MAX(to_ms), day_ms + 86400000), NULL, 0
FROM (
    SELECT project_id, from_ms - from_ms % 86400000 AS day_ms, to_ms FROM windows WHERE due_ms IS NULL
    UNION ALL
    SELECT project_id, (to_ms - 1) - (to_ms - 1) % 86400000, to_ms FROM windows WHERE due_ms IS NULL
)
GROUP BY project_id, day_ms;

CREATE TABLE verifications (
    project_id INTEGER PRIMARY KEY REFERENCES projects (id),
    at_ms INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    source INTEGER NOT NULL,
    ledger INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    repaired INTEGER NOT NULL
);
