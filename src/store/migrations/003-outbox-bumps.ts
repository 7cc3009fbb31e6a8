/** Copies of a signed transaction at a higher fee: the same nonce, so one of them all is mined at most. */
export const outboxBumps = `
CREATE TABLE outboxBumps (
  hash TEXT PRIMARY KEY,
  key TEXT NOT NULL REFERENCES outbox (key),
  raw TEXT NOT NULL
) STRICT;

CREATE INDEX outboxBumpsByKey ON outboxBumps (key);
CREATE INDEX outboxByBlock ON outbox (block) WHERE block IS NOT NULL;

CREATE TRIGGER outboxBumpsKeepBytes BEFORE UPDATE ON outboxBumps
BEGIN SELECT RAISE(ABORT, 'a signed transaction never changes'); END;

CREATE TRIGGER outboxBumpsKeepRows BEFORE DELETE ON outboxBumps
BEGIN SELECT RAISE(ABORT, 'a transaction is never forgotten'); END;
`
