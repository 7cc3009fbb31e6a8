/** A buyer's channels, the requests it paid for, its deposits, and the sellers it knows. */
export const buyer = `
CREATE TABLE channels (
  id TEXT PRIMARY KEY,
  sellerUrl TEXT NOT NULL,
  config TEXT NOT NULL,
  "index" INTEGER NOT NULL CHECK ("index" >= 0),
  balance INTEGER NOT NULL CHECK (balance >= 0),
  charged INTEGER NOT NULL CHECK (charged >= 0),
  signed INTEGER NOT NULL,
  signature TEXT,
  deposit TEXT,
  refunding INTEGER NOT NULL CHECK (refunding >= 0),
  state TEXT NOT NULL CHECK (state IN ('open', 'distrusted', 'withdrawing', 'closed')),
  rev INTEGER NOT NULL CHECK (rev >= 1),
  CHECK (charged <= signed)
) STRICT;

CREATE TRIGGER channelsNeverFall BEFORE UPDATE ON channels
WHEN new.signed < old.signed OR new.charged < old.charged
BEGIN SELECT RAISE(ABORT, 'signed and charged never fall'); END;

CREATE TRIGGER channelsKeepConfig BEFORE UPDATE ON channels
WHEN new.id IS NOT old.id OR new.config IS NOT old.config OR new."index" IS NOT old."index"
BEGIN SELECT RAISE(ABORT, 'a channel never changes its config'); END;

CREATE TRIGGER channelsKeepRows BEFORE DELETE ON channels
BEGIN SELECT RAISE(ABORT, 'a channel is never forgotten'); END;

CREATE TABLE requests (
  channelId TEXT NOT NULL REFERENCES channels (id),
  id TEXT NOT NULL,
  sellerUrl TEXT NOT NULL,
  model TEXT NOT NULL,
  offerHash TEXT NOT NULL,
  bodyHash TEXT NOT NULL,
  ceiling INTEGER NOT NULL CHECK (ceiling >= 0),
  admitBySec INTEGER NOT NULL,
  openedAtMs INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'final')),
  charged INTEGER NOT NULL CHECK (charged BETWEEN 0 AND ceiling),
  receipt TEXT,
  outcome TEXT,
  closedAtMs INTEGER,
  PRIMARY KEY (channelId, id),
  CHECK ((state = 'final') = (closedAtMs IS NOT NULL)),
  CHECK (state = 'final' OR (charged = 0 AND receipt IS NULL))
) STRICT;

CREATE INDEX requestsOpen ON requests (channelId) WHERE state = 'open';
CREATE INDEX requestsByEnd ON requests (closedAtMs, charged) WHERE state = 'final';

CREATE TRIGGER requestsStayFinal BEFORE UPDATE ON requests WHEN old.state = 'final'
BEGIN SELECT RAISE(ABORT, 'a final request never changes'); END;

CREATE TRIGGER requestsKeepRows BEFORE DELETE ON requests
BEGIN SELECT RAISE(ABORT, 'a receipt is never deleted'); END;

CREATE TABLE deposits (
  channelId TEXT NOT NULL,
  salt TEXT NOT NULL,
  sellerUrl TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0),
  txHash TEXT,
  atMs INTEGER NOT NULL,
  PRIMARY KEY (channelId, salt)
) STRICT;

CREATE TABLE sellers (
  url TEXT PRIMARY KEY,
  terms TEXT NOT NULL,
  atMs INTEGER NOT NULL
) STRICT;
`
