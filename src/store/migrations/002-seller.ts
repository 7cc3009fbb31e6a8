/** A seller's channels, the requests it admitted, and the deposits it put on chain. */
export const seller = `
CREATE TABLE channels (
  id TEXT PRIMARY KEY,
  config TEXT NOT NULL,
  balance INTEGER NOT NULL CHECK (balance >= 0),
  totalClaimed INTEGER NOT NULL CHECK (totalClaimed >= 0),
  charged INTEGER NOT NULL CHECK (charged >= 0),
  signed INTEGER NOT NULL,
  signature TEXT,
  told INTEGER NOT NULL CHECK (told >= 0),
  refunding INTEGER NOT NULL CHECK (refunding >= 0),
  withdrawing INTEGER NOT NULL CHECK (withdrawing >= 0),
  withdrawInitiatedAtSec INTEGER NOT NULL CHECK (withdrawInitiatedAtSec >= 0),
  refundNonce INTEGER NOT NULL CHECK (refundNonce >= 0),
  rev INTEGER NOT NULL CHECK (rev >= 1),
  CHECK (charged <= signed)
) STRICT;

CREATE TRIGGER channelsNeverFall BEFORE UPDATE ON channels
WHEN new.signed < old.signed OR new.charged < old.charged OR new.totalClaimed < old.totalClaimed
BEGIN SELECT RAISE(ABORT, 'signed, charged and totalClaimed never fall'); END;

CREATE TRIGGER channelsKeepConfig BEFORE UPDATE ON channels
WHEN new.id IS NOT old.id OR new.config IS NOT old.config
BEGIN SELECT RAISE(ABORT, 'a channel never changes its config'); END;

CREATE TRIGGER channelsKeepRows BEFORE DELETE ON channels
BEGIN SELECT RAISE(ABORT, 'a channel is never forgotten'); END;

CREATE TABLE requests (
  channelId TEXT NOT NULL REFERENCES channels (id),
  id TEXT NOT NULL,
  stock INTEGER NOT NULL CHECK (stock IN (0, 1)),
  ceiling INTEGER NOT NULL CHECK (ceiling >= 0),
  meter INTEGER NOT NULL CHECK (meter BETWEEN 0 AND ceiling),
  bodyHash TEXT NOT NULL,
  offerHash TEXT NOT NULL,
  admitBySec INTEGER NOT NULL,
  openedAtMs INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
  charged INTEGER NOT NULL CHECK (charged BETWEEN 0 AND ceiling),
  cumulative INTEGER NOT NULL CHECK (cumulative >= 0),
  receipt TEXT,
  streamed INTEGER NOT NULL CHECK (streamed IN (0, 1)),
  closedAtMs INTEGER,
  PRIMARY KEY (channelId, id),
  CHECK ((state = 'closed') = (closedAtMs IS NOT NULL)),
  CHECK (state = 'closed' OR (charged = 0 AND receipt IS NULL))
) STRICT;

CREATE INDEX requestsOpen ON requests (channelId) WHERE state = 'open';

CREATE TRIGGER requestsStayClosed BEFORE UPDATE ON requests WHEN old.state = 'closed'
BEGIN SELECT RAISE(ABORT, 'a closed request never changes'); END;

CREATE TRIGGER requestsKeepRows BEFORE DELETE ON requests
BEGIN SELECT RAISE(ABORT, 'a receipt is never deleted'); END;

CREATE TABLE deposits (
  channelId TEXT NOT NULL,
  salt TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0),
  txHash TEXT NOT NULL,
  PRIMARY KEY (channelId, salt)
) STRICT;
`
