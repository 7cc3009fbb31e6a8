/** Transfers that a buyer signed for single requests: each counts in full until the chain says what became of it. */
export const buyerExact = `
CREATE TABLE exactPayments (
  nonce TEXT PRIMARY KEY,
  sellerUrl TEXT NOT NULL,
  payTo TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0),
  validBeforeSec INTEGER NOT NULL,
  model TEXT NOT NULL,
  bodyHash TEXT NOT NULL,
  openedAtMs INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'final')),
  charged INTEGER NOT NULL CHECK (charged IN (0, amount)),
  outcome TEXT,
  txHash TEXT,
  closedAtMs INTEGER,
  CHECK ((state = 'final') = (closedAtMs IS NOT NULL)),
  CHECK (state = 'final' OR charged = 0)
) STRICT;

CREATE INDEX exactOpen ON exactPayments (openedAtMs) WHERE state = 'open';
CREATE INDEX exactByEnd ON exactPayments (closedAtMs, charged) WHERE state = 'final';

CREATE TRIGGER exactStaysFinal BEFORE UPDATE ON exactPayments WHEN old.state = 'final'
BEGIN SELECT RAISE(ABORT, 'a final payment never changes'); END;

CREATE TRIGGER exactKeepsRows BEFORE DELETE ON exactPayments
BEGIN SELECT RAISE(ABORT, 'a payment is never forgotten'); END;
`
