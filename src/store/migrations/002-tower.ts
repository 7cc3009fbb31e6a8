/** A watchtower's sellers, and the newest claim of each of their channels that it could send. */
export const tower = `
CREATE TABLE watched (
  seller TEXT PRIMARY KEY,
  pairing TEXT NOT NULL,
  cursor TEXT NOT NULL,
  pairedAtMs INTEGER NOT NULL
) STRICT;

CREATE TABLE claims (
  channelId TEXT PRIMARY KEY,
  seller TEXT NOT NULL REFERENCES watched (seller),
  config TEXT NOT NULL,
  maxClaimable INTEGER NOT NULL,
  voucher TEXT NOT NULL,
  totalClaimed INTEGER NOT NULL CHECK (totalClaimed > 0),
  claim TEXT NOT NULL,
  atMs INTEGER NOT NULL,
  CHECK (totalClaimed <= maxClaimable)
) STRICT;

CREATE TRIGGER claimsNeverFall BEFORE UPDATE ON claims
WHEN new.maxClaimable < old.maxClaimable OR new.totalClaimed < old.totalClaimed OR new.config IS NOT old.config
BEGIN SELECT RAISE(ABORT, 'a claim never falls'); END;
`
