/** Payments that a seller took by single transfers: one row for each authorization it ever ran a request for. */
export const sellerExact = `
CREATE TABLE exactPayments (
  payer TEXT NOT NULL,
  nonce TEXT NOT NULL,
  paymentId TEXT,
  amount INTEGER NOT NULL CHECK (amount > 0),
  bodyHash TEXT NOT NULL,
  offerHash TEXT NOT NULL,
  payment TEXT NOT NULL,
  streamed INTEGER NOT NULL CHECK (streamed IN (0, 1)),
  openedAtMs INTEGER NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('open', 'released', 'abandoned', 'settling', 'settled', 'failed', 'served')),
  txHash TEXT,
  receipt TEXT,
  outcome TEXT,
  closedAtMs INTEGER,
  PRIMARY KEY (payer, nonce),
  CHECK ((state IN ('settled', 'served')) = (txHash IS NOT NULL)),
  CHECK (state IN ('settled', 'served') OR receipt IS NULL)
) STRICT;

CREATE INDEX exactUnfinished ON exactPayments (state) WHERE state IN ('open', 'settling', 'settled');
CREATE INDEX exactByPaymentId ON exactPayments (payer, paymentId) WHERE paymentId IS NOT NULL;

CREATE TRIGGER exactMoves BEFORE UPDATE ON exactPayments
WHEN NOT (
  (old.state = 'released' AND new.state = 'open')
  OR (old.state = 'open' AND new.state IN ('released', 'abandoned', 'settling'))
  OR (old.state = 'settling' AND new.state IN ('settled', 'failed'))
  OR (old.state = 'settled' AND new.state = 'served')
)
BEGIN SELECT RAISE(ABORT, 'a payment never goes back'); END;

CREATE TRIGGER exactKeepsTerms BEFORE UPDATE ON exactPayments
WHEN old.state != 'released' AND (new.amount IS NOT old.amount OR new.bodyHash IS NOT old.bodyHash
  OR new.payment IS NOT old.payment OR (old.txHash IS NOT NULL AND new.txHash IS NOT old.txHash))
BEGIN SELECT RAISE(ABORT, 'a payment keeps what it was made for'); END;

CREATE TRIGGER exactKeepsRows BEFORE DELETE ON exactPayments
BEGIN SELECT RAISE(ABORT, 'a payment is never forgotten'); END;
`
