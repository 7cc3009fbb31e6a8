/** What makes receipts evidence: the signed request beside them, and offers that are never lost. */
const evidence = `
ALTER TABLE requests ADD COLUMN signature TEXT;

CREATE TRIGGER offersNeverChange BEFORE UPDATE ON offers
BEGIN SELECT RAISE(ABORT, 'a signed offer never changes'); END;

CREATE TRIGGER offersKeepRows BEFORE DELETE ON offers
BEGIN SELECT RAISE(ABORT, 'an offer that receipts refer to is never deleted'); END;
`

export const sellerEvidence = evidence

/** For a buyer also: receipts that it disputes, whom it does not pay because of them, and how far counts drift. */
export const buyerEvidence = `${evidence}
CREATE TABLE disputes (
  channelId TEXT NOT NULL,
  requestId TEXT NOT NULL,
  sellerUrl TEXT NOT NULL,
  reason TEXT NOT NULL,
  provable INTEGER NOT NULL CHECK (provable IN (0, 1)),
  receipt TEXT NOT NULL,
  facts TEXT NOT NULL,
  atMs INTEGER NOT NULL,
  PRIMARY KEY (channelId, requestId)
) STRICT;

CREATE TRIGGER disputesNeverChange BEFORE UPDATE ON disputes
BEGIN SELECT RAISE(ABORT, 'evidence never changes'); END;

CREATE TRIGGER disputesKeepRows BEFORE DELETE ON disputes
BEGIN SELECT RAISE(ABORT, 'evidence is never deleted'); END;

CREATE TABLE distrusted (
  signer TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  sinceMs INTEGER NOT NULL,
  untilMs INTEGER NOT NULL CHECK (untilMs >= sinceMs)
) STRICT;

CREATE TABLE drift (
  signer TEXT NOT NULL,
  model TEXT NOT NULL,
  replies INTEGER NOT NULL,
  reportedOutput INTEGER NOT NULL,
  countedOutput INTEGER NOT NULL,
  reportedInput INTEGER NOT NULL,
  countedInput INTEGER NOT NULL,
  atMs INTEGER NOT NULL,
  PRIMARY KEY (signer, model)
) STRICT;
`
