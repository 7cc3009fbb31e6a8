/** Tables of every role: its offers, its chain outbox, and single facts. */
export const common = `
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE offers (
  hash TEXT PRIMARY KEY,
  json TEXT NOT NULL,
  atMs INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox (
  key TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  "to" TEXT NOT NULL,
  data TEXT NOT NULL,
  nonce INTEGER UNIQUE,
  raw TEXT,
  hash TEXT,
  status TEXT NOT NULL CHECK (status IN ('intended', 'signed', 'confirmed', 'reverted', 'dropped')),
  block INTEGER,
  result TEXT,
  createdAtMs INTEGER NOT NULL,
  CHECK ((nonce IS NULL) = (raw IS NULL) AND (raw IS NULL) = (hash IS NULL)),
  CHECK (status NOT IN ('signed', 'confirmed', 'reverted') OR raw IS NOT NULL)
) STRICT;

CREATE INDEX outboxPending ON outbox (createdAtMs) WHERE status IN ('intended', 'signed');

CREATE TRIGGER outboxKeepsSigned BEFORE UPDATE ON outbox
WHEN old.raw IS NOT NULL AND (new.raw IS NOT old.raw OR new.nonce IS NOT old.nonce OR new.hash IS NOT old.hash)
BEGIN SELECT RAISE(ABORT, 'a signed transaction never changes'); END;

CREATE TRIGGER outboxKeepsRows BEFORE DELETE ON outbox
BEGIN SELECT RAISE(ABORT, 'a transaction is never forgotten'); END;
`
