"""The tables of the ledger; a change of any of them raises VERSION and adds the way there."""

VERSION = 2

TABLES = """
-- One row per request. Money is counted in whole picodollars (1e-12 USD), so that sums are exact.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    request_hash TEXT NOT NULL UNIQUE,
    request TEXT NOT NULL,                      -- Request as JSON
    channel TEXT NOT NULL,                      -- api, local, scripted, import
    state TEXT NOT NULL DEFAULT 'planned'
        CHECK (state IN ('planned', 'in_flight', 'unknown', 'settled', 'failed', 'rejected')),
    attempts INTEGER NOT NULL DEFAULT 0,
    bound_tokens INTEGER NOT NULL DEFAULT 0,    -- reservation of the attempt in flight, else 0
    bound_pico INTEGER NOT NULL DEFAULT 0,
    unknown_attempts INTEGER NOT NULL DEFAULT 0,    -- attempts that may have been billed without an answer
    unknown_tokens INTEGER NOT NULL DEFAULT 0,      -- their reservations, which stay charged
    unknown_pico INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    spent_tokens INTEGER NOT NULL DEFAULT 0,    -- as billed, or the bound where the server does not say
    spent_pico INTEGER NOT NULL DEFAULT 0,
    reason TEXT,                                -- of the last failed attempt
    retryable INTEGER NOT NULL DEFAULT 1,       -- of the last failed attempt
    reply TEXT,                                 -- Reply as JSON
    accepted INTEGER,                           -- NULL before selection
    reject_reason TEXT,
    planned_at REAL NOT NULL,                   -- seconds since the epoch, UTC
    sent_at REAL,
    settled_at REAL,
    batch INTEGER                               -- of the attempt in flight, or of the answer; else NULL
);
-- Batches: prepared -> submitting -> submitted -> ended; `submitting` stands before the call that may bill.
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    mark TEXT NOT NULL UNIQUE,                  -- random; stands in the provider's metadata where it has any
    service TEXT NOT NULL,                      -- who runs it
    state TEXT NOT NULL CHECK (state IN ('prepared', 'submitting', 'submitted', 'ended')),
    remote TEXT,                                -- the provider's id
    requests INTEGER NOT NULL DEFAULT 0,
    status TEXT,                                -- how it ended
    began_at REAL NOT NULL,                     -- of the last change of state, seconds since the epoch, UTC
    purpose TEXT NOT NULL
);
-- Which stage wants which answer, under which of its prompts; an answer wanted twice is paid once.
CREATE TABLE purposes (
    purpose TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    prompt_id TEXT NOT NULL,
    PRIMARY KEY (purpose, request_hash, prompt_id)
) WITHOUT ROWID;
-- Failed attempts, counted by reason over the whole life of the ledger.
CREATE TABLE failures (reason TEXT PRIMARY KEY, attempts INTEGER NOT NULL) WITHOUT ROWID;
"""

MIGRATIONS = {
    1: "ALTER TABLE requests ADD COLUMN batch INTEGER; "
    + TABLES[TABLES.index("CREATE TABLE batches") : TABLES.index("-- Which stage wants")],
}
"""Statements that turn a ledger of this version into one of the next."""
